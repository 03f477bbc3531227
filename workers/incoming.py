"""Webhook events → rows, then customers who wait → replies.

One loop does both, so a slow AI never delays an event.
"""

from service.runtime import timetable
from service.runtime.queues import INCOMING
from service.webhooks import process
from workers import loop, replies


def step() -> int:
    """Events first, then the customers who have waited long enough."""
    return loop.step_all([process.process_due, replies.replies_of_this_process().step])


def drain() -> None:
    """The job of the incoming queue."""
    pool = replies.replies_of_this_process().pool
    loop.drain(INCOMING, step, pool, departures=timetable.READ)


close = replies.close
