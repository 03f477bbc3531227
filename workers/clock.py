"""The clock: wakes workers when something is due, and does its chores.

A plain loop. Any number of clocks may run: every statement is safe to run twice.
"""

import logging
import time
from contextlib import suppress

from redis import RedisError

from service.billing import budget
from service.events import event_list, event_retention
from service.graph import outage
from service.jobs import job_table
from service.replies import service_request
from service.runtime import heartbeat, tracing
from service.runtime.db import connection, execute, reason
from service.runtime.queues import SEND, enqueue_drain, forget_abandoned
from workers import chores, retention
from workers.delete_files import deleter
from workers.loop import stopping

log = logging.getLogger(__name__)
TICK = 0.5  # seconds between two rounds; for what falls due in between a worker is woken in time
SWEEP_EVERY = 2  # seconds
TIDY_EVERY = 600  # seconds
IDEMPOTENCY_HOURS = 48
LATE = 60  # seconds after which work that waits is late; also between two log lines about it

DELETE_IDEMPOTENCY_KEYS = """
DELETE FROM idempotency_key WHERE created_at < now() - %s * interval '1 hour'
"""


def run() -> None:
    """Wake workers, sweep and tidy until SIGTERM."""
    sweep_at = tidy_at = report_at = 0.0
    while not stopping.is_set():
        began = time.monotonic()
        try:
            with connection():
                chores.do_often()
                heartbeat.beat('clock')
                next_due = job_table.next_due()
                if began >= sweep_at:
                    chores.sweep()
                    chores.attempt(retention.step)
                    chores.attempt(deleter.step)
                    sweep_at = began + SWEEP_EVERY
                if began >= tidy_at:
                    chores.attempt(tidy)
                    tidy_at = began + TIDY_EVERY
            if began >= report_at and report_late_work(next_due):
                report_at = began + LATE
            _wake_in_time(job_table.until_next_wakeup(next_due), began + TICK)
        except RedisError as error:
            log.warning('redis is away, work waits for it', extra={'reason': type(error).__name__})
        except Exception as error:
            log.error('the clock missed a tick', exc_info=error, extra={'reason': reason(error)})
        stopping.wait(max(0.05, began + TICK - time.monotonic()))


def report_late_work(next_due: dict[str, float | None]) -> bool:
    """Log which kinds of work are late; whether there are any."""
    late = job_table.late_by(next_due, LATE)
    if late:
        log.warning('work is late', extra={'oldest_due_seconds': late})
    return bool(late)


def _wake_in_time(waits: dict[str, float], end: float) -> None:
    """Wake the workers of each queue when its first row is due, if that is before `end`."""
    began = time.monotonic()
    for name, wait in sorted(waits.items(), key=lambda item: item[1]):
        if began + wait < end:
            stopping.wait(max(0, began + wait - time.monotonic()))
            if name == SEND:
                with connection():
                    chores.do_often()
            enqueue_drain(name)


def tidy() -> None:
    """Delete what is kept for a limited time, and look at what is seldom looked at."""
    heartbeat.delete_old()
    tracing.delete_old()
    outage.delete_old()
    service_request.delete_old()
    event_retention.delete_old()
    event_list.forget_listeners()
    execute(DELETE_IDEMPOTENCY_KEYS, (IDEMPOTENCY_HOURS,))
    with suppress(RedisError):
        forget_abandoned()
    budget.check()
