"""The outbox: what is to be sent is stored here, and a person's moves on it: cancel, retry."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.accounts.account import MAY_SEND, Account
from service.content.message_schema import is_one_time_code
from service.media import outbound_file
from service.messages.message import Message, related_wamid
from service.messages.state_machine import HoldReason, Status
from service.runtime.config import settings
from service.runtime.db import columns, db, execute, fetch, fetch_dicts, to_json
from service.runtime.errors import Conflict
from service.runtime.ids import new_id
from service.sending import holds
from service.templates import template

REPLY, SINGLE, BULK = 0, 1, 2  # priorities: who goes first when the rate is short
AMPLE = 5000  # messages; more than the web processes take in for one chatbot in a second
EXTRA = (
    'recipient_type',
    'recipient_identity_key_hash',
    'messaging_account_id',
)  # handed on as they are (section 6.1)

COLUMNS = {
    'id': 'uuid',
    'conversation_id': 'uuid',
    'type': 'text',
    'recipient_to': 'text',
    'recipient': 'text',
    'content': 'json',
    'context': 'json',
    'extra': 'json',
    'client_reference': 'text',
    'resends': 'int',
    'refers_to': 'text',
    'fallback': 'json',
    'replaced': 'json',
    'template_name': 'text',
    'template_language': 'text',
    'marketing': 'boolean',
    'status': 'text',
    'hold_reason': 'text',
    'error': 'json',
}  # of each message, with their types; the others are the same for all
INSERT = f"""
INSERT INTO message (chatbot_id, phone_number_id, priority, send_at, expires_at, batch_id, direction, due_at,
  {', '.join(COLUMNS)})
SELECT %(chatbot_id)s, %(number)s, %(priority)s, %(send_at)s, %(expires_at)s, %(batch_id)s, 'outbound',
  CASE WHEN n.status IN ('scheduled', 'queued') THEN coalesce(%(send_at)s, now()) END,
  {', '.join(f'n.{name}' for name in COLUMNS)}
FROM unnest({', '.join(f'%({name})s::{kind}[]' for name, kind in COLUMNS.items())}) AS n ({', '.join(COLUMNS)})
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A validated message (content.message_schema) and the conversation that it belongs to."""

    conversation_id: str
    message: dict


def queue(account: Account, messages: Sequence[Outgoing], priority: int, **when) -> list[Message]:
    """Store messages; returns them as Messages.

    They wait for `send_at`, or are held while the account or their template cannot send; what is
    made from a rejected template has failed. Wake the send queue after the commit. `templates`:
    template.find_templates, if they were asked for already.
    """
    return [
        Message(**row)
        for row in fetch_dicts(
            f'{INSERT} RETURNING *', _values(account, messages, priority, **when)
        )
    ]


def store(account: Account, messages: Sequence[Outgoing], priority: int, **when) -> None:
    """The same for so many that nobody wants them back."""
    execute(INSERT, _values(account, messages, priority, **when))


def _values(
    account, messages, priority, send_at=None, expires_at=None, batch_id=None, templates=None
):
    if templates is None:
        templates = template.find_templates(account.waba_id, [one.message for one in messages])
    shared = {
        'chatbot_id': account.chatbot_id,
        'number': account.phone_number_id,
        'priority': priority,
        'send_at': send_at,
        'expires_at': expires_at,
        'batch_id': batch_id,
    }
    state = _state(account, send_at)
    rows = columns(
        [_row(one) + _of_its_template(one.message, templates, state) for one in messages]
    )
    return shared | dict(zip(COLUMNS, rows, strict=True))


def _state(account, send_at):
    """(status, hold_reason, error) in which a message begins, as far as its account is concerned."""
    if send_at and send_at > datetime.now(UTC):
        return Status.SCHEDULED, None, None
    return (
        (Status.QUEUED, None, None) if account.may_send else (Status.HELD, HoldReason.ACCOUNT, None)
    )


def _of_its_template(message, templates, state):
    """A scheduled message looks at its template when its time has come."""
    key = template.template_key(message)
    found = templates.get(key)
    status, hold_reason, error = state
    if status != Status.SCHEDULED and found and found.stop:
        stop = found.stop
        status, hold_reason, error = stop.status, stop.hold_reason, stop.error(found.reason)
    name, language = (key.name, key.language) if key else (None, None)
    is_marketing = template.is_marketing(message, templates)
    return name, language, is_marketing, status, hold_reason, to_json(error)


def _row(outgoing: Outgoing) -> tuple:
    message = outgoing.message
    kind = message.get('type') or 'text'
    extra = {name: message[name] for name in EXTRA if name in message}
    return (
        new_id(),
        outgoing.conversation_id,
        kind,
        message.get('to'),
        message.get('recipient'),
        json.dumps(message[kind]),
        to_json(message.get('context')),
        to_json(extra or None),
        message.get('client_reference'),
        int(is_one_time_code(message)),
        related_wamid(kind, message[kind]),
        to_json(message.get('fallback_template')),
        to_json(message.get('replaced')),
    )


COUNT_WAITING = """
SELECT count(*) FROM (
  SELECT 1 FROM message WHERE chatbot_id = %s AND status = 'queued' UNION ALL
  SELECT 1 FROM message WHERE chatbot_id = %s AND status = 'held' LIMIT %s) waiting
"""
_waiting = {}  # chatbot_id: (monotonic time, how many waited)


def is_full(chatbot_id, more=1):
    """Whether `more` would be too many for MAX_QUEUED; for one not counted anew within a second of
    ample room.
    """
    at, waiting = _waiting.get(chatbot_id, (0, 0))
    if more > 1 or time.monotonic() - at > 1 or waiting + more + AMPLE > settings.MAX_QUEUED:
        waiting = fetch(COUNT_WAITING, (chatbot_id, chatbot_id, settings.MAX_QUEUED))[0][0]
        _waiting[chatbot_id] = (time.monotonic(), waiting)
    return waiting + more > settings.MAX_QUEUED


CANCEL = """
UPDATE message SET status = 'cancelled', hold_reason = NULL, due_at = NULL, updated_at = now()
WHERE id = %s AND status IN ('scheduled', 'queued', 'held')
"""
# Its earlier wamid is given up: Meta's answer brings another. Statuses of the first one still find
# it by our id.
RETRY = f"""
UPDATE message m SET status = CASE WHEN {MAY_SEND} THEN 'queued' ELSE 'held' END,
  hold_reason = CASE WHEN {MAY_SEND} THEN NULL ELSE 'account' END,
  due_at = CASE WHEN {MAY_SEND} THEN now() END,
  attempts = 0, error = NULL, wamid = NULL, updated_at = now()
FROM whatsapp_cloud_account a
WHERE m.id = %s AND a.chatbot_id = m.chatbot_id AND m.status IN ('failed', 'unknown') AND NOT m.echo
  AND (m.expires_at IS NULL OR m.expires_at > now())
  AND NOT EXISTS (SELECT 1 FROM batch b WHERE b.id = m.batch_id AND b.status <> 'running')
"""


def cancel(message):
    """Take a message back that nobody has claimed yet. Raises Conflict afterwards."""
    if not execute(CANCEL, (message.id,)):
        sentence = (
            f'The message is {Message.find(message.id).status} and can no longer be cancelled.'
        )
        raise Conflict(sentence, code='not_cancellable')


def retry(message):
    """A person decides that a failed or unknown message goes once more, with all its attempts.

    Raises Conflict.
    """
    with db.atomic():
        retried = execute(RETRY, (message.id,))
        if retried:
            outbound_file.forget_those_of(message)
        holds.apply_template_stops()
    if not retried:
        raise Conflict(
            f'The message is {Message.find(message.id).status}: only failed or unknown ones can be retried,'
            ' none after its expires_at, none of a batch that is paused or cancelled, and none that was'
            ' written on the business phone.',
            code='not_retryable',
        )
