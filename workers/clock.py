"""The periodic wake-up and sweep.

A plain loop that may run in any number: every statement is safe to run twice.
"""

import logging
import time
from contextlib import suppress

from redis import RedisError

from service.graph import outage
from service.jobs import job_table
from service.runtime import heartbeat
from service.runtime.db import connection, db, execute, passes, reason
from service.runtime.queues import SEND, enqueue_drain, forget_abandoned
from service.sending import delivery_status, escalation, holds, timers
from workers.loop import stopping

log = logging.getLogger(__name__)
TICK = 0.5  # seconds between two looks; what falls due in between is rung for at its time
SWEEP_EVERY = 2
TIDY_EVERY = 600
IDEMPOTENCY_HOURS = 48

LATE = (
    60  # seconds after its time at which what waits is worth a line, at most one in as many seconds
)


def run():
    """Ring for what is due, sweep what was left lying, until SIGTERM."""
    sweep_at = tidy_at = tell_at = 0
    while not stopping.is_set():
        began = time.monotonic()
        try:
            with connection():
                each(promote)
                heartbeat.beat('clock')
                next_due = job_table.next_due()
                if began >= sweep_at:
                    sweep()
                    sweep_at = began + SWEEP_EVERY
                if began >= tidy_at:
                    each(tidy)
                    tidy_at = began + TIDY_EVERY
            if began >= tell_at and tell_of_late_work(next_due):
                tell_at = began + LATE
            _ring_in_time(job_table.until_next_ring(next_due), began + TICK)
        except RedisError as error:
            log.warning('redis is away, work waits for it', extra={'reason': type(error).__name__})
        except Exception as error:
            log.error('the clock missed a tick', exc_info=error, extra={'reason': reason(error)})
        stopping.wait(max(0.05, began + TICK - time.monotonic()))


def each(*parts):
    """Run them all: a row that PostgreSQL refuses in one stops neither the others nor the bells."""
    for part in parts:
        try:
            part()
        except Exception as error:
            if passes(error):
                raise
            log.error('a part of the clock failed', exc_info=error, extra={'part': part.__name__})


def tell_of_late_work(next_due: dict[str, float | None]) -> bool:
    late = job_table.late_by(next_due, LATE)
    if late:
        log.warning('work is late', extra={'oldest_due_seconds': late})
    return bool(late)


def _ring_in_time(waits, end):
    began = time.monotonic()
    for name, wait in sorted(waits.items(), key=lambda item: item[1]):
        if began + wait < end:
            stopping.wait(max(0, began + wait - time.monotonic()))
            if name == SEND:
                with connection():
                    each(promote)
            enqueue_drain(name)


def promote():
    """What its own time moves: a scheduled message is due, or one has expired."""
    with db.atomic():
        timers.expire()
        if timers.start_scheduled():
            holds.apply_template_stops()


def sweep():
    """What a dead worker, a lost answer or a crossing of two transactions left behind."""
    each(settle_lost, settle_strays, join_orphans)


def settle_lost():
    with db.atomic():
        lost = timers.expire_leases()
        resent, failed = timers.decide_unknown()
    _log_swept(lost=lost, resent=resent, failed=failed)


def settle_strays():
    with db.atomic():
        strays = holds.reconcile_strays()
    _log_swept(strays=strays)


def join_orphans():
    with db.atomic():
        joined, refusals = delivery_status.join_orphans()
        escalation.apply(refusals)
    _log_swept(joined=joined)


def _log_swept(**counts):
    if any(counts.values()):
        log.info('swept', extra=counts)


def tidy():
    """What is kept for a time only."""
    heartbeat.forget_gone()
    outage.delete_old()
    execute(
        "DELETE FROM idempotency_key WHERE created_at < now() - %s * interval '1 hour'",
        (IDEMPOTENCY_HOURS,),
    )
    with suppress(RedisError):
        forget_abandoned()
