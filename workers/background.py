"""Calls of the Graph API besides messages: each kind with its rows, its pool and its own pace."""

import time
from functools import cache

from service.runtime.queues import ERRANDS
from workers import fetch_media, loop, send_receipts, sync_templates
from workers.pool import ClaimedRow

PARTS = (send_receipts, fetch_media, sync_templates)  # modules; each has job()
# seconds between two steps: nobody waits for these rows, and a few at a time cost less than one by
# one
PACE = 0.05


class BackgroundJobs:
    """The jobs of this process, each with its pool, as one pool for the drain."""

    def __init__(self) -> None:
        self.jobs = [part.job() for part in PARTS]

    def step(self) -> int:
        """Take a step of every job; how much they found."""
        return loop.step_all([job.step for job in self.jobs])

    @property
    def free(self) -> int:
        return sum(job.pool.free for job in self.jobs)

    def in_flight(self) -> list[ClaimedRow]:
        return [row for job in self.jobs for row in job.pool.in_flight()]

    def close(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until all pools are done; whether they are."""
        deadline = time.monotonic() + timeout
        are_done = [job.pool.close(max(0, deadline - time.monotonic())) for job in self.jobs]
        return all(are_done)


@cache
def jobs_of_this_process() -> BackgroundJobs:
    """Made at the first drain, after which they live as long as the process."""
    return BackgroundJobs()


def drain() -> None:
    """The job of the queue of background jobs."""
    loop.drain(ERRANDS, jobs_of_this_process().step, pool=jobs_of_this_process(), pace=PACE)


def close(timeout: float) -> bool:
    """Wait until what is in flight is recorded; whether nothing is left."""
    return jobs_of_this_process.cache_info().currsize == 0 or jobs_of_this_process().close(timeout)
