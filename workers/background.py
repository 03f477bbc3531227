"""Background jobs at the Graph API beside the messages, each kind with its rows, its pool and its
own pace.
"""

import time
from functools import cache

from service.runtime.queues import ERRANDS
from workers import fetch_media, loop, send_receipts, sync_templates

PARTS = (
    send_receipts,
    fetch_media,
    sync_templates,
)  # modules; each has job(), its pool.BackgroundJob
# seconds between two looks: a few files at a time cost less than one by one, and nobody waits for
# them
PACE = 0.05


class BackgroundJobs:
    """This process's pools, and all of them as the one that a drain looks after."""

    def __init__(self):
        self.jobs = [part.job() for part in PARTS]

    def step(self):
        return loop.step_all([job.step for job in self.jobs])

    @property
    def free(self):
        return sum(job.pool.free for job in self.jobs)

    def in_flight(self):
        return [row for job in self.jobs for row in job.pool.in_flight()]

    def close(self, timeout):
        deadline = time.monotonic() + timeout
        return all([job.pool.close(max(0, deadline - time.monotonic())) for job in self.jobs])


@cache
def jobs_of_this_process():
    """Made at the first drain, after which they live as long as the process."""
    return BackgroundJobs()


def drain():
    """What a job in the queue of background jobs does."""
    loop.drain(ERRANDS, jobs_of_this_process().step, pool=jobs_of_this_process(), pace=PACE)


def close(timeout):
    """Let what is under way be done and recorded; True when nothing is left."""
    return jobs_of_this_process.cache_info().currsize == 0 or jobs_of_this_process().close(timeout)
