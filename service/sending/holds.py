"""Holds: what an account, a template, a batch or an opt-out does to messages that wait.

They are held, released, cancelled or failed. The row of the account itself (of the template, the
batch, the person) is changed by its own module; what follows for messages stands here. What crosses
such a change: strays.py.
"""

import logging
from collections.abc import Iterable
from typing import Any

from service.accounts import account
from service.accounts.account import MAY_SEND, Account
from service.conversations import opt_out
from service.conversations.merge import IdentityConflict
from service.conversations.opt_out import UNWANTED
from service.graph.outcome import ErrorDict
from service.media import inbound_file
from service.messages.state_machine import HoldReason
from service.runtime.db import db, execute, execute_long, to_json
from service.runtime.prepared import fill
from service.runtime.rows import fetch_bulk_dicts
from service.templates import template_sync
from service.templates.template import STOPS, TemplateKey
from service.templates.template_event import Verdict
from service.templates.template_sync import ClaimedSync

log = logging.getLogger(__name__)

# They keep due_at: a wait that Meta asked for (131049: a day) goes on meanwhile.
HOLD_MESSAGES_OF_ACCOUNT = """
UPDATE message m SET status = 'held', hold_reason = 'account', updated_at = now()
FROM (
  SELECT id FROM message WHERE chatbot_id = %s AND waiting = 'queued'
  ORDER BY id FOR NO KEY UPDATE) d
WHERE m.id = d.id
"""
# They go from the number that the account has now: it may have been held for its former number
# (error 33: deleted).
RELEASE_MESSAGES_OF_ACCOUNT = fill(
    """
UPDATE message m SET status = 'queued', hold_reason = NULL, due_at = greatest(m.due_at, now()),
  phone_number_id = d.phone_number_id, attempts = 0, error = NULL, updated_at = now()
FROM (
  SELECT m.id, a.phone_number_id FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE {may_send} AND m.waiting = 'held' AND m.hold_reason = ANY(%(reasons)s)
    AND a.chatbot_id = coalesce(%(chatbot)s, a.chatbot_id) ORDER BY m.id FOR NO KEY UPDATE OF m) d
WHERE m.id = d.id
""",
    may_send=MAY_SEND,
)


def hold_account(chatbot_id: str, reason: ErrorDict, access_token: str | None = None) -> bool:
    """Let the messages of an account wait, because Meta refuses it.

    False when the account has another token by now.
    """
    with db.atomic():
        held = account.hold(chatbot_id, reason, access_token)
        if held:
            execute_long(HOLD_MESSAGES_OF_ACCOUNT, (chatbot_id,))
    return held


def deactivate_account(found: Account) -> None:
    """Refuse sends from now on, and hold what is queued until the account is connected again."""
    with db.atomic():
        found.deactivate()
        execute_long(HOLD_MESSAGES_OF_ACCOUNT, (found.chatbot_id,))


def release_account(chatbot_id: str) -> None:
    """Make what is held due now, with all its attempts, because the account works again.

    Nothing is due while the account is not active.
    """
    reasons = [HoldReason.ACCOUNT, HoldReason.TEMPLATE]
    with db.atomic():
        account.release(chatbot_id)
        execute_long(RELEASE_MESSAGES_OF_ACCOUNT, {'reasons': reasons, 'chatbot': chatbot_id})
        apply_template_stops()
        inbound_file.resume_account(chatbot_id)


RELEASE_MESSAGES = fill(
    """
UPDATE message m SET status = CASE WHEN d.free THEN 'queued' ELSE 'held' END, error = NULL,
  attempts = 0, hold_reason = CASE WHEN NOT d.free THEN 'account' END, updated_at = now(),
  due_at = CASE WHEN d.free THEN greatest(m.due_at, now()) ELSE m.due_at END
FROM (
  SELECT m.id, {may_send} AS free FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
    JOIN {templates} ON t.name = m.template_name AND t.language = m.template_language
  WHERE m.waiting = 'held' AND m.hold_reason = 'template' AND {which}
  ORDER BY m.id FOR NO KEY UPDATE OF m) d
WHERE m.id = d.id
""",
    may_send=MAY_SEND,
)
IS_APPROVED = "t.waba_id = a.waba_id AND t.status = 'APPROVED'"
RELEASE_MESSAGES_OF_TEMPLATE = RELEASE_MESSAGES.format(
    templates='template t',
    which=f"""{IS_APPROVED} AND a.waba_id = %(waba)s
    AND t.name = coalesce(%(name)s, t.name) AND t.language = coalesce(%(language)s, t.language)""",
)
RELEASE_MESSAGES_OF_GONE_TEMPLATES = RELEASE_MESSAGES.format(
    templates='unnest(%(names)s::text[], %(languages)s::text[]) AS t (name, language)',
    which='a.waba_id = %(waba_id)s',
)
# The template's stop is read in the same statement that obeys it.
APPLY_STOPS = """
WITH stopped AS (
UPDATE message m SET status = d.status, hold_reason = d.hold_reason, updated_at = now(),
  error = json_build_object('code', NULL, 'title', d.title, 'details', d.reason,
    'fbtrace_id', NULL, 'cause', d.cause),
  due_at = CASE d.status WHEN 'held' THEN m.due_at END
FROM (
  SELECT m.id, n.status, n.hold_reason, n.cause, n.title, t.reason
  FROM template t JOIN message m ON m.template_name = t.name AND m.template_language = t.language
    JOIN whatsapp_cloud_account a ON a.chatbot_id = m.chatbot_id AND a.waba_id = t.waba_id
    JOIN {rows} ON n.verdict = t.status
  WHERE t.status IN ('PAUSED', 'DISABLED', 'REJECTED', 'DELETED')
    AND (m.waiting = 'queued'
      OR m.waiting = 'held' AND m.hold_reason = 'template' AND n.status = 'failed')
  ORDER BY m.id FOR NO KEY UPDATE OF m) d
WHERE m.id = d.id
RETURNING m.chatbot_id, m.template_name, m.template_language, m.status, d.cause)
SELECT chatbot_id, template_name, template_language, status, cause, count(*) AS messages
FROM stopped GROUP BY 1, 2, 3, 4, 5
"""


def apply_verdict(verdict: Verdict) -> None:
    """Release or stop messages by what a webhook says of their template.

    In the transaction that kept it.
    """
    if verdict.frees:
        release_template(verdict.waba_id, verdict.name, verdict.language)
    elif verdict.stops:
        apply_template_stops()


def release_template(waba_id: str, name: str | None = None, language: str | None = None) -> int:
    """Make due what waited for a template that is approved, or for any of the WABA's.

    Returns how many messages.
    """
    wanted = {'waba': waba_id, 'name': name, 'language': language}
    return execute_long(RELEASE_MESSAGES_OF_TEMPLATE, wanted)


def leave_to_meta(waba_id: str, keys: list[TemplateKey]) -> int:
    """Make due what waits for templates that are not known any more; returns how many messages.

    Meta decides about them.
    """
    values = {
        'names': [key.name for key in keys],
        'languages': [key.language for key in keys],
        'waba_id': waba_id,
    }
    return execute_long(RELEASE_MESSAGES_OF_GONE_TEMPLATES, values)


def apply_template_stops() -> int:
    """Hold or fail what is queued though its template is stopped; returns how many messages."""
    stopped = fetch_bulk_dicts(APPLY_STOPS, list(STOPS.values()))
    for row in stopped:
        log.warning('messages stopped by their template', extra=row)
    return sum(row['messages'] for row in stopped)


def apply_template_list(sync: ClaimedSync, found: list[Any], delay: float) -> int:
    """Keep the list of a WABA that was read; returns how many messages are due because of it."""
    with db.atomic():
        gone = template_sync.record_list(sync, found, delay)
        if gone is None:
            return 0
        left = leave_to_meta(sync.id, gone) if gone else 0
        apply_template_stops()
        return release_template(sync.id) + left


def template_deleted(
    waba_id: str, name: str, language: str | None = None, template_id: str | None = None
) -> None:
    """Fail what waits for a template that Meta has deleted."""
    with db.atomic():
        template_sync.mark_deleted(waba_id, name, language, template_id)
        apply_template_stops()


# Also what is held already: else a new token would send it although the batch is paused. due_at
# stays: a message that Meta wants to wait for a day (131049) waits for it also over a pause, and
# when the account holds it afterwards.
HOLD_MESSAGES_OF_BATCH = """
UPDATE message m SET status = 'held', hold_reason = 'batch', updated_at = now()
FROM (
  SELECT id FROM message WHERE batch_id = %s AND waiting IN ('scheduled', 'queued', 'held')
  ORDER BY id FOR NO KEY UPDATE) d
WHERE m.id = d.id
"""
# They go from the number that the account has now: its release has left out what was paused.
RESUME_MESSAGES_OF_BATCH = fill(
    """
UPDATE message m SET status = d.status, phone_number_id = d.phone_number_id, updated_at = now(),
  hold_reason = CASE WHEN d.status = 'held' THEN 'account' END,
  due_at = CASE d.status WHEN 'held' THEN m.due_at ELSE greatest(m.due_at, m.send_at, now()) END
FROM (
  SELECT m.id, a.phone_number_id, CASE WHEN m.send_at > now() THEN 'scheduled'
    WHEN {may_send} THEN 'queued' ELSE 'held' END AS status
  FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE m.batch_id = %s AND m.waiting = 'held' AND m.hold_reason = 'batch'
  ORDER BY m.id FOR NO KEY UPDATE OF m) d
WHERE m.id = d.id
""",
    may_send=MAY_SEND,
)
CANCEL_MESSAGES_OF_BATCH = """
UPDATE message m SET status = 'cancelled', hold_reason = NULL, due_at = NULL, updated_at = now()
FROM (
  SELECT id FROM message WHERE batch_id = %s AND waiting IN ('scheduled', 'queued', 'held')
  ORDER BY id FOR NO KEY UPDATE) d
WHERE m.id = d.id
"""


def hold_batch(batch_id: str) -> None:
    """Hold the messages of a batch, in the transaction that paused it."""
    execute_long(HOLD_MESSAGES_OF_BATCH, (batch_id,))


def resume_batch(batch_id: str) -> None:
    """Let its messages go on where account and template allow; in the batch's transaction."""
    execute_long(RESUME_MESSAGES_OF_BATCH, (batch_id,))
    apply_template_stops()


def cancel_batch(batch_id: str) -> None:
    """Cancel what nobody has claimed yet, in the transaction that cancelled the batch."""
    execute_long(CANCEL_MESSAGES_OF_BATCH, (batch_id,))


CANCEL_UNWANTED_MESSAGES = fill(
    """
UPDATE message m SET status = 'cancelled', hold_reason = NULL, due_at = NULL, error = %s,
  updated_at = now()
FROM (
  SELECT m.id FROM conversation c JOIN message m ON m.conversation_id = c.id
  WHERE c.id = ANY(%s::uuid[]) AND {unwanted} AND m.type = 'template'
    AND m.waiting IN ('scheduled', 'queued', 'held')
  ORDER BY m.id FOR NO KEY UPDATE OF m) d
WHERE m.id = d.id
""",
    unwanted=UNWANTED,
)


def cancel_unwanted(conversations: Iterable[str]) -> None:
    """Cancel marketing that waits for people who want none; the caller holds their rows."""
    ids = list(conversations)
    if ids:
        execute(CANCEL_UNWANTED_MESSAGES, (to_json(opt_out.OPTED_OUT_ERROR), ids))


def resolve_conflict(conflict: IdentityConflict) -> None:
    """Merge conversations of one person; an opt-out of either cancels what waits for the other."""
    with db.atomic():
        cancel_unwanted(conflict.resolve())
