"""Errands at the Graph API beside the messages, each kind with its rows, its crew and its own pace."""

import time
from functools import cache

from service.runtime.queues import ERRANDS
from workers import fetch_media, loop, send_receipts, sync_templates

PARTS = (send_receipts, fetch_media, sync_templates)  # modules; each has errand(), its pool.Errand
PACE = 0.05  # seconds between two looks: a few files at a time cost less than one by one, and nobody waits for them


class Errands:
    """This process's crews, and all of them as the one that a drain looks after."""

    def __init__(self):
        self.errands = [part.errand() for part in PARTS]

    def step(self):
        return loop.step_all([errand.step for errand in self.errands])

    @property
    def free(self):
        return sum(errand.crew.free for errand in self.errands)

    def in_flight(self):
        return [row for errand in self.errands for row in errand.crew.in_flight()]

    def close(self, timeout):
        deadline = time.monotonic() + timeout
        return all([errand.crew.close(max(0, deadline - time.monotonic())) for errand in self.errands])


@cache
def errands_of_this_process():
    """Made at the first drain, after which they live as long as the process."""
    return Errands()


def drain():
    """The job of the errands' queue."""
    loop.drain(ERRANDS, errands_of_this_process().step, crew=errands_of_this_process(), pace=PACE)


def close(timeout):
    """Let what is under way be done and recorded; True when nothing is left."""
    return errands_of_this_process.cache_info().currsize == 0 or errands_of_this_process().close(timeout)
