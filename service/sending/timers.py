"""Timers of messages: what becomes of them when nobody does anything.

The clock calls each; any may run twice.
"""

import json
from datetime import UTC, datetime

from service.accounts.account import MAY_SEND
from service.runtime.config import settings
from service.runtime.db import execute, fetch
from service.runtime.timestamps import to_rfc3339

# What becomes queued here goes in order: of two clocks that each take a part, the later part could
# be first to leave.
ONE_CLOCK = "(SELECT pg_try_advisory_xact_lock(hashtextextended('whatsapp gateway clock', 0)))"

EXPIRE_LEASES = """
UPDATE message SET status = 'unknown', error = %(error)s, updated_at = now(),
  tries = tries || (jsonb_build_object('attempt', attempts) || %(try)s::jsonb),
  due_at = now() + %(grace)s * interval '1 second'
WHERE id IN (
  SELECT id FROM message WHERE status = 'sending' AND due_at <= now() ORDER BY id LIMIT 1000
  FOR NO KEY UPDATE SKIP LOCKED)
"""
# A one-time code that comes late or twice helps nobody: templates that Meta calls authentication
# are not sent again (nor those that look like it: outbox.queue starts them with their resend used
# up).
DECIDE = f"""
UPDATE message m SET updated_at = now(), resends = resends + CASE WHEN d.resend THEN 1 ELSE 0 END,
  status = CASE WHEN NOT d.resend THEN 'failed' WHEN d.free THEN 'queued' ELSE 'held' END,
  hold_reason = CASE WHEN d.resend AND NOT d.free THEN 'account' END,
  due_at = CASE WHEN d.resend AND d.free THEN now() END
FROM (
  SELECT m.id, {MAY_SEND} AS free, a.on_unknown = 'resend' AND m.resends = 0
    AND t.category IS DISTINCT FROM 'authentication' AS resend
  FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
    LEFT JOIN template t ON t.waba_id = a.waba_id
      AND t.name = m.template_name AND t.language = m.template_language
  WHERE m.status = 'unknown' AND m.due_at <= now() AND {ONE_CLOCK}
  ORDER BY m.id LIMIT 1000 FOR NO KEY UPDATE OF m SKIP LOCKED) d
WHERE m.id = d.id
RETURNING d.resend
"""
START_SCHEDULED = f"""
UPDATE message m SET status = CASE WHEN d.free THEN 'queued' ELSE 'held' END, updated_at = now(),
  hold_reason = CASE WHEN d.free THEN NULL ELSE 'account' END, due_at = CASE WHEN d.free THEN m.due_at END
FROM (
  SELECT m.id, {MAY_SEND} AS free FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE m.status = 'scheduled' AND m.due_at <= now() AND {ONE_CLOCK}
  ORDER BY m.id LIMIT 10000 FOR NO KEY UPDATE OF m SKIP LOCKED) d
WHERE m.id = d.id
"""
EXPIRE = """
UPDATE message SET status = 'expired', hold_reason = NULL, due_at = NULL, updated_at = now() WHERE id IN (
  SELECT id FROM message WHERE expires_at <= now() AND status IN ('scheduled', 'queued', 'held')
  ORDER BY id LIMIT 10000 FOR NO KEY UPDATE SKIP LOCKED)
"""


def expire_leases():
    """A worker died in mid-call: whether its messages left nobody knows.

    They become unknown; returns how many.
    """
    title = 'The worker stopped during the call'
    error = {
        'code': None,
        'title': title,
        'details': None,
        'fbtrace_id': None,
        'cause': 'worker_stopped',
    }
    one = {
        'at': to_rfc3339(datetime.now(UTC)),
        'outcome': 'unknown',
        'code': None,
        'title': error['title'],
    }
    values = {
        'error': json.dumps(error),
        'try': json.dumps(one),
        'grace': settings.UNKNOWN_GRACE_SECONDS,
    }
    return execute(EXPIRE_LEASES, values)


def decide_unknown():
    """No status came within the grace: the account's on_unknown decides.

    Returns (resent, failed).
    """
    decisions = [resend for (resend,) in fetch(DECIDE)]
    return sum(decisions), len(decisions) - sum(decisions)


def start_scheduled():
    """send_at has come; returns how many."""
    return execute(START_SCHEDULED)


def expire():
    """expires_at has passed and nobody sent them; returns how many."""
    return execute(EXPIRE)
