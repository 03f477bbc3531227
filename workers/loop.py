"""claim → do → record, until nothing is due: the only loop."""

import logging
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from redis import RedisError

from service.runtime.db import CONNECTION_LOST, connection, reason
from service.runtime.queues import clear_wakeup, wake

log = logging.getLogger(__name__)

# seconds of one drain; then it wakes its successor, so that RQ's heartbeats and warm shutdown work
# as usual
BUDGET = 5
LINGER = 0.5  # seconds without work after which a drain ends; a later wake-up starts the next
POLL_SECONDS = 0.02  # between two steps while there is nothing to do
FAILURE_REST_SECONDS = 0.2  # after a step that failed
AWAY = (*CONNECTION_LOST, MaxConnectionsExceeded)  # it may work the next time

Step = Callable[[], int]  # claims and submits what is due; returns how much it found


class Pool(Protocol):
    """What a drain has to know of the pool, or pools, that its steps fill."""

    @property
    def free(self) -> int: ...

    def in_flight(self) -> Sequence[object]: ...


class Stop:
    """A flag that a signal handler may set.

    An Event does not do: its lock may be held by the very code that the signal interrupts.
    """

    def __init__(self) -> None:
        self._set = False
        self._at: float | None = None
        self._read, self._write = os.pipe()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._at = self._at or time.monotonic()
        self._set = True
        os.write(self._write, b'.')

    def seconds(self) -> float:
        """For how long it has been set."""
        return time.monotonic() - self._at if self._set and self._at else 0

    def clear(self) -> None:
        self._set = False
        self._at = None
        os.read(self._read, 65536)

    def wait(self, seconds: float) -> bool:
        """Sleep until it is set, at most so many seconds; whether it is set."""
        if not self._set:
            select.select([self._read], [], [], seconds)
        return self._set


stopping = Stop()  # set at SIGTERM: nothing is claimed any more


def drain(name: str, step: Step, pool: Pool, enough: int = 0, pace: float = 0) -> None:
    """Work off a queue: repeat `step` until it has found nothing for LINGER seconds.

    Never raises. A step is taken when `enough` places of the pool are free. While calls are in
    flight the drain goes on, as the end of one may bring new work. `pace`: seconds between two
    steps even when there is work.
    """
    idle_since = time.monotonic()
    end = idle_since + BUDGET
    with suppress(RedisError):  # the flag expires by itself
        clear_wakeup(name)
    while not stopping.is_set():
        found = _guarded(step) if pool.free >= enough else 0
        now = time.monotonic()
        if found or pool.in_flight():
            idle_since = now
        if now > end:
            wake(name)  # the next drain goes on
            return
        if now - idle_since > LINGER:
            return
        if rest := pace if found else max(pace, POLL_SECONDS):
            stopping.wait(rest)


def step_all(steps: Sequence[Step]) -> int:
    """Take all steps, even if one fails: work of one kind never waits for another kind.

    Returns how much they found. When one failed and no other found anything, its error is raised,
    so that the loop takes a rest.
    """
    found = 0
    failure: Exception | None = None
    for step in steps:
        try:
            found += step()
        except (PeeweeException, *AWAY) as error:
            failure = error
    if failure and not found:
        raise failure
    if failure:
        log.error('a step failed and will be repeated', exc_info=failure)
    return found


def _guarded(step: Step) -> int:
    """Take a step with a connection; a failure is logged, and the rows are as they were."""
    try:
        with connection():
            return step()
    except (PeeweeException, *AWAY) as error:
        log.error(
            'a step failed and will be repeated', exc_info=error, extra={'reason': reason(error)}
        )
        stopping.wait(FAILURE_REST_SECONDS)
        return 0
