"""Several looks side by side, each with a limit of time: whatever hangs holds up nobody else."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from service.doctor.check import Check, fail
from service.runtime.config import ConfigError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Lane:
    """Checks that follow one upon the other: each may find that the next cannot be asked.

    `name`: of the check that tells when the lane itself fails; `seconds`: for all of it.
    """

    name: str
    look: Callable[[], Iterator[Check]]
    seconds: float
    found: list[Check] = field(default_factory=list)
    is_done: bool = False

    def go(self) -> None:
        """Look, and keep what is found as it comes. Raises nothing."""
        try:
            for check in self.look():
                self.found.append(check)
        except ConfigError as error:
            self.found.append(fail(self.name, str(error), 'Set it in the environment.'))
        except Exception as error:
            log.exception('the doctor failed', extra={'lane': self.name})
            detail = f'The look at it ended with {type(error).__name__}.'
            self.found.append(fail(self.name, detail, 'See the log.'))
        self.is_done = True

    def result(self) -> list[Check]:
        """What was found by now, and that it is not all if it is not."""
        found = list(self.found)
        if self.is_done:
            return found
        detail = f'No answer within {self.seconds:g} seconds.'
        fix = 'See whether it is overloaded, or cut off from this machine; then look again.'
        return [*found, fail(self.name, detail, fix)]


def run(lanes: Sequence[Lane]) -> list[list[Check]]:
    """What each lane finds; takes as long as the longest of them may at most.

    A lane that hangs is left alone: its thread ends with what it waits for, or with the process.
    """
    began = time.monotonic()
    threads = [
        threading.Thread(target=lane.go, name=f'doctor {lane.name}', daemon=True) for lane in lanes
    ]
    for thread in threads:
        thread.start()
    for lane, thread in zip(lanes, threads, strict=True):
        thread.join(max(0, began + lane.seconds - time.monotonic()))
    return [lane.result() for lane in lanes]
