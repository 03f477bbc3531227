"""The periodic wake-up and sweep. A plain loop that may run in any number: every statement is safe to run twice."""

import logging
import time

from redis import RedisError

from service import account, batch, consequences, dispatch, status, template
from service.db import connection, db, execute, fetch
from service.queues import ERRANDS, INCOMING, SEND, ring
from workers.drain import stopping

log = logging.getLogger(__name__)
TICK = 0.5  # seconds between two looks; what falls due in between is rung for at its time
SWEEP_EVERY = 2
TIDY_EVERY = 600
IDEMPOTENCY_HOURS = 48

NEXT_INCOMING = """
SELECT least((SELECT min(due_at) FROM webhook_event WHERE status = 'received'),
             (SELECT min(greatest(c.reply_due_at, c.reply_lease_until, c.paused_until)) FROM conversation c
              JOIN whatsapp_cloud_account a USING (chatbot_id) WHERE c.reply_due_at IS NOT NULL AND a.active)) - now()
"""
NEXT_SEND = """
SELECT min(due_at) - now() FROM message
WHERE status IN ('scheduled', 'queued', 'sending', 'unknown') AND status IN ('scheduled', 'queued')
"""
NEXT_ERRAND = """
SELECT least((SELECT min(due_at) FROM media WHERE status = 'fetching'),
             (SELECT min(due_at) FROM read_receipt WHERE due_at IS NOT NULL),
             (SELECT min(greatest(due_at, lease_until)) FROM template_sync WHERE due_at IS NOT NULL)) - now()
"""
NEXT = {INCOMING: NEXT_INCOMING, SEND: NEXT_SEND, ERRANDS: NEXT_ERRAND}


def run():
    """Ring for what is due, sweep what was left lying, until SIGTERM."""
    sweep_at = tidy_at = 0
    while not stopping.is_set():
        began = time.monotonic()
        try:
            with connection():
                promote()
                waits = {name: _seconds(sql) for name, sql in NEXT.items()}
                if began >= sweep_at:
                    sweep()
                    sweep_at = began + SWEEP_EVERY
                if began >= tidy_at:
                    tidy()
                    tidy_at = began + TIDY_EVERY
            _ring_in_time(waits, began + TICK)
        except RedisError as error:
            log.warning('redis is away, work waits for it', extra={'reason': type(error).__name__})
        except Exception as error:
            log.error('the clock missed a tick', exc_info=error)
        stopping.wait(max(0.05, began + TICK - time.monotonic()))


def _seconds(sql):
    """How long until something is due; None when nothing is."""
    wait = fetch(sql)[0][0]
    return None if wait is None else max(0, wait.total_seconds())


def _ring_in_time(waits, end):
    began = time.monotonic()
    for name, wait in sorted(waits.items(), key=lambda item: item[1] or 0):
        if wait is not None and began + wait < end:
            stopping.wait(max(0, began + wait - time.monotonic()))
            if name == SEND:
                with connection():
                    promote()
            ring(name)


def promote():
    """What its own time moves: a scheduled message is due, or one has expired."""
    with db.atomic():
        dispatch.expire()
        if dispatch.start_scheduled():
            template.settle()


def sweep():
    """What a dead worker, a lost answer or a crossing of two transactions left behind."""
    with db.atomic():
        lost = dispatch.expire_leases()
        resent, failed = dispatch.decide_unknown()
        strays = account.settle_strays() + batch.settle_strays() + template.settle_strays()
    with db.atomic():
        joined, refusals = status.join_orphans()
        consequences.draw(refusals)
    if lost or resent or failed or strays or joined:
        counts = {'lost': lost, 'resent': resent, 'failed': failed, 'strays': strays, 'joined': joined}
        log.info('swept', extra=counts)


def tidy():
    """What is kept for a time only."""
    execute("DELETE FROM idempotency_key WHERE created_at < now() - %s * interval '1 hour'", (IDEMPOTENCY_HOURS,))
