"""The clock: wakes workers when something is due, and repairs what was left behind.

A plain loop. Any number of clocks may run: every statement is safe to run twice.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from redis import RedisError

from service.billing import budget, roll_up
from service.events import event_list, event_retention
from service.graph import outage
from service.jobs import job_table
from service.messages import search_index
from service.replies import service_request
from service.runtime import heartbeat, tracing
from service.runtime.db import connection, db, execute, passes, reason
from service.runtime.queues import SEND, enqueue_drain, forget_abandoned
from service.sending import batch, delivery_status, escalation, holds, timers
from service.stats import hourly
from workers import retention
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
                _run_parts(promote)
                heartbeat.beat('clock')
                next_due = job_table.next_due()
                if began >= sweep_at:
                    sweep()
                    sweep_at = began + SWEEP_EVERY
                if began >= tidy_at:
                    _run_parts(tidy)
                    tidy_at = began + TIDY_EVERY
            if began >= report_at and report_late_work(next_due):
                report_at = began + LATE
            _wake_in_time(job_table.until_next_wakeup(next_due), began + TICK)
        except RedisError as error:
            log.warning('redis is away, work waits for it', extra={'reason': type(error).__name__})
        except Exception as error:
            log.error('the clock missed a tick', exc_info=error, extra={'reason': reason(error)})
        stopping.wait(max(0.05, began + TICK - time.monotonic()))


def _run_parts(*parts: Callable[[], None]) -> None:
    """Run all parts: a row that PostgreSQL refuses in one stops neither the others nor the clock.

    Raises what may pass by itself, as a lost connection does.
    """
    for part in parts:
        try:
            part()
        except Exception as error:
            if passes(error):
                raise
            log.error('a part of the clock failed', exc_info=error, extra={'part': part.__name__})


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
                    _run_parts(promote)
            enqueue_drain(name)


def promote() -> None:
    """Start scheduled messages that are due, and expire those whose time is over."""
    with db.atomic():
        timers.expire()
        if timers.start_scheduled():
            holds.apply_template_stops()


def sweep() -> None:
    """Repair what a dead worker, a lost answer or two concurrent transactions left behind."""
    _run_parts(settle_lost, settle_strays, join_orphans, end_batches, complete_old)
    _run_parts(add_up_usage, add_up_statistics, let_go)


def settle_lost() -> None:
    """Decide about messages whose worker died or whose answer was lost."""
    with db.atomic():
        lost = timers.expire_leases()
        resent, failed = timers.decide_unknown()
    _log_swept(lost=lost, resent=resent, failed=failed)


def settle_strays() -> None:
    """Move messages that are held, or not held, against what their account or batch says."""
    with db.atomic():
        strays = holds.reconcile_strays()
    _log_swept(strays=strays)


def join_orphans() -> None:
    """Apply statuses that came before their message was known."""
    with db.atomic():
        joined, refusals = delivery_status.join_orphans()
        escalation.apply(refusals)
    _log_swept(joined=joined)


def end_batches() -> None:
    """Write down which batches are done."""
    with db.atomic():
        ended = batch.end()
    _log_swept(batches_done=ended)


def complete_old() -> None:
    """Derive what some messages of an earlier version lack."""
    with db.atomic():
        search_index.backfill()


def add_up_usage() -> None:
    """Move what messages cost into the sums of their days; watch the budgets."""
    roll_up.count_old()
    if touched := roll_up.fold():
        budget.check(touched)


def add_up_statistics() -> None:
    """Move what messages count for into the sums of their hours and days."""
    hourly.backfill()
    hourly.fold()


def let_go() -> None:
    """Delete some of what is older than the accounts' rules."""
    retention.step()


def _log_swept(**counts: int) -> None:
    if any(counts.values()):
        log.info('swept', extra=counts)


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
