"""Timers of messages: what becomes of them when nobody does anything.

The clock calls each of these functions; any may run twice.
"""

from datetime import UTC, datetime

from service.accounts.account import MAY_SEND
from service.graph.outcome import make_error
from service.runtime.config import settings
from service.runtime.db import execute, fetch, to_json
from service.runtime.prepared import Prepared, fill
from service.runtime.timestamps import to_rfc3339

# What becomes queued here goes in order: if two clocks each took a part, the later part could be
# sent first.
ONE_CLOCK = "(SELECT pg_try_advisory_xact_lock(hashtextextended('whatsapp gateway clock', 0)))"

# Planned each time: which index is better depends on how many there are of each state.
EXPIRE_LEASES = """
UPDATE message SET status = 'unknown', error = %(error)s, updated_at = now(),
  tries = tries || (jsonb_build_object('attempt', attempts) || %(entry)s::jsonb),
  due_at = now() + %(grace)s * interval '1 second'
WHERE id IN (
  SELECT id FROM message WHERE waiting = 'sending' AND due_at <= now()
  ORDER BY due_at, id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED)
"""
# A one-time code that comes late or twice helps nobody: templates that Meta calls authentication
# are not sent again. (Nor are those that look like it: outbox.queue starts them with their resend
# used up.)
DECIDE_UNKNOWN = fill(
    """
UPDATE message m SET updated_at = now(), resends = resends + CASE WHEN d.resend THEN 1 ELSE 0 END,
  status = CASE WHEN NOT d.resend THEN 'failed' WHEN d.free THEN 'queued' ELSE 'held' END,
  hold_reason = CASE WHEN d.resend AND NOT d.free THEN 'account' END,
  due_at = CASE WHEN d.resend AND d.free THEN now() END
FROM (
  SELECT m.id, {may_send} AS free, a.on_unknown = 'resend' AND m.resends = 0
    AND t.category IS DISTINCT FROM 'authentication' AS resend
  FROM (
    SELECT id, chatbot_id, resends, template_name, template_language FROM message
    WHERE waiting = 'unknown' AND due_at <= now() AND {one_clock}
    ORDER BY due_at, id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED) m
  JOIN whatsapp_cloud_account a USING (chatbot_id)
  LEFT JOIN template t ON t.waba_id = a.waba_id
    AND t.name = m.template_name AND t.language = m.template_language) d
WHERE m.id = d.id
RETURNING d.resend
""",
    may_send=MAY_SEND,
    one_clock=ONE_CLOCK,
)
START_SCHEDULED = fill(
    """
UPDATE message m SET status = CASE WHEN d.free THEN 'queued' ELSE 'held' END, updated_at = now(),
  hold_reason = CASE WHEN d.free THEN NULL ELSE 'account' END,
  due_at = CASE WHEN d.free THEN m.due_at END
FROM (
  SELECT m.id, {may_send} AS free FROM (
    SELECT id, chatbot_id FROM message
    WHERE waiting = 'scheduled' AND due_at <= now() AND {one_clock}
    ORDER BY due_at, id LIMIT 10000 FOR NO KEY UPDATE SKIP LOCKED) m
  JOIN whatsapp_cloud_account a USING (chatbot_id)) d
WHERE m.id = d.id
""",
    may_send=MAY_SEND,
    one_clock=ONE_CLOCK,
)
RECALL_DEFERRED = Prepared(
    """
UPDATE message SET deferred = false WHERE id IN (
  SELECT id FROM message WHERE deferred AND due_at <= now() AND {one_clock}
  ORDER BY due_at, id LIMIT 10000 FOR NO KEY UPDATE SKIP LOCKED)
""",
    one_clock=ONE_CLOCK,
)
EXPIRE_MESSAGES = Prepared("""
UPDATE message SET status = 'expired', hold_reason = NULL, due_at = NULL, updated_at = now()
WHERE id IN (
  SELECT id FROM message WHERE expires_at <= now() AND waiting IN ('scheduled', 'queued', 'held')
  ORDER BY expires_at LIMIT 10000 FOR NO KEY UPDATE SKIP LOCKED)
""")


def expire_leases() -> int:
    """Make messages unknown whose worker died during the call; returns how many.

    Nobody knows whether they left.
    """
    error = make_error('The worker stopped during the call', cause='worker_stopped')
    entry = {
        'at': to_rfc3339(datetime.now(UTC)),
        'outcome': 'unknown',
        'code': None,
        'title': error['title'],
    }
    values = {
        'error': to_json(error),
        'entry': to_json(entry),
        'grace': settings.UNKNOWN_GRACE_SECONDS,
    }
    return execute(EXPIRE_LEASES, values)


def decide_unknown() -> tuple[int, int]:
    """Send unknown messages again or fail them, as their account's `on_unknown` says.

    Of messages whose grace ended without a status. Returns how many are sent again, and how many
    failed.
    """
    decisions = [resend for (resend,) in fetch(DECIDE_UNKNOWN)]
    resent = sum(decisions)
    return resent, len(decisions) - resent


def start_scheduled() -> int:
    """Queue scheduled messages whose time has come; returns how many."""
    return execute(START_SCHEDULED)


def recall_deferred() -> int:
    """Hand back to the claims what Meta wanted to be sent later, in its time; returns how many."""
    return execute(RECALL_DEFERRED)


def expire() -> int:
    """Expire messages that nobody sent before their expires_at; returns how many."""
    return execute(EXPIRE_MESSAGES)
