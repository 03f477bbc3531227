"""The outbox: what is to be sent is stored here, and a person's moves on it: cancel, retry."""

import json
import time
from datetime import UTC, datetime

from service.config import settings
from service.db import columns, execute, fetch, fetch_dicts, new_id, to_json
from service.errors import Conflict
from service.message import Message
from service.payloads import is_one_time_code
from service.webhook_events import MAX_ID, as_dict, clean

REPLY, SINGLE, BULK = 0, 1, 2  # priorities: who goes first when the rate is short
AMPLE = 5000  # messages; more than the web processes take in for one chatbot in a second
EXTRA = ('recipient_type', 'recipient_identity_key_hash', 'messaging_account_id')  # handed on as they are (section 6.1)

INSERT = """
INSERT INTO message (id, chatbot_id, phone_number_id, priority, status, hold_reason, send_at, expires_at, batch_id,
  conversation_id, type, recipient_to, recipient, content, context, extra, client_reference, resends, refers_to,
  direction, due_at)
SELECT n.id, %(chatbot_id)s, %(number)s, %(priority)s, %(status)s, %(hold_reason)s, %(send_at)s, %(expires_at)s,
  %(batch_id)s, n.conversation_id, n.type, n.recipient_to, n.recipient, n.content, n.context, n.extra,
  n.client_reference, n.resends, n.refers_to, 'outbound',
  CASE WHEN %(status)s <> 'held' THEN coalesce(%(send_at)s, now()) END
FROM unnest(%(id)s::uuid[], %(conversation)s::uuid[], %(type)s::text[], %(to)s::text[], %(recipient)s::text[],
  %(content)s::json[], %(context)s::json[], %(extra)s::json[], %(reference)s::text[], %(resends)s::int[],
  %(refers_to)s::text[])
  AS n (id, conversation_id, type, recipient_to, recipient, content, context, extra, client_reference, resends,
  refers_to)
"""
MANY = ('id', 'conversation', 'type', 'to', 'recipient', 'content', 'context', 'extra', 'reference', 'resends',
        'refers_to')  # fmt: skip


def queue(account, messages, priority, **when):
    """Store validated messages (service.payloads), [(conversation id, message)]; returns them as Messages.

    They wait for `send_at`, or are held while the account cannot send. Wake the send queue after the commit.
    """
    return [
        Message(**row) for row in fetch_dicts(f'{INSERT} RETURNING *', _values(account, messages, priority, **when))
    ]


def store(account, messages, priority, **when):
    """The same for so many that nobody wants them back."""
    execute(INSERT, _values(account, messages, priority, **when))


def _values(account, messages, priority, send_at=None, expires_at=None, batch_id=None):
    free = account.active and account.send_state == 'ok'
    is_later = send_at and send_at > datetime.now(UTC)
    status = 'scheduled' if is_later else 'queued' if free else 'held'
    shared = {
        'chatbot_id': account.chatbot_id, 'number': account.phone_number_id, 'priority': priority, 'status': status,
        'hold_reason': 'account' if status == 'held' else None, 'send_at': send_at, 'expires_at': expires_at,
        'batch_id': batch_id,
    }  # fmt: skip
    rows = columns([_row(conversation, message) for conversation, message in messages])
    return shared | dict(zip(MANY, rows, strict=True))


def _row(conversation, message):
    kind = message.get('type') or 'text'
    extra = {name: message[name] for name in EXTRA if name in message}
    return (
        new_id(), conversation, kind, message.get('to'), message.get('recipient'), json.dumps(message[kind]),
        to_json(message.get('context')), to_json(extra or None), message.get('client_reference'),
        int(is_one_time_code(message)), _refers_to(kind, message[kind]),
    )  # fmt: skip


def _refers_to(kind, content):
    return clean(as_dict(content).get('message_id'), MAX_ID) if kind == 'reaction' else None


COUNT_WAITING = """
SELECT count(*) FROM (
  SELECT 1 FROM message WHERE chatbot_id = %s AND status = 'queued' UNION ALL
  SELECT 1 FROM message WHERE chatbot_id = %s AND status = 'held' LIMIT %s) waiting
"""
_waiting = {}  # chatbot_id: (monotonic time, how many waited)


def is_full(chatbot_id, more=1):
    """Whether `more` would be too many for MAX_QUEUED; for one not counted anew within a second of ample room."""
    at, waiting = _waiting.get(chatbot_id, (0, 0))
    if more > 1 or time.monotonic() - at > 1 or waiting + more + AMPLE > settings.MAX_QUEUED:
        waiting = fetch(COUNT_WAITING, (chatbot_id, chatbot_id, settings.MAX_QUEUED))[0][0]
        _waiting[chatbot_id] = (time.monotonic(), waiting)
    return waiting + more > settings.MAX_QUEUED


CANCEL = """
UPDATE message SET status = 'cancelled', hold_reason = NULL, due_at = NULL, updated_at = now()
WHERE id = %s AND status IN ('scheduled', 'queued', 'held')
"""
# Its earlier wamid is given up: Meta's answer brings another. Statuses of the first one still find it by our id.
RETRY = """
UPDATE message m SET status = CASE WHEN a.active AND a.send_state = 'ok' THEN 'queued' ELSE 'held' END,
  hold_reason = CASE WHEN a.active AND a.send_state = 'ok' THEN NULL ELSE 'account' END,
  due_at = CASE WHEN a.active AND a.send_state = 'ok' THEN now() END,
  attempts = 0, error = NULL, wamid = NULL, updated_at = now()
FROM whatsapp_cloud_account a
WHERE m.id = %s AND a.chatbot_id = m.chatbot_id AND m.status IN ('failed', 'unknown') AND NOT m.echo
  AND (m.expires_at IS NULL OR m.expires_at > now())
  AND NOT EXISTS (SELECT 1 FROM batch b WHERE b.id = m.batch_id AND b.status <> 'running')
"""


def cancel(message):
    """Take a message back that nobody has claimed yet. Raises Conflict afterwards."""
    if not execute(CANCEL, (message.id,)):
        raise Conflict(f'The message is {Message.find(message.id).status} and can no longer be cancelled.')


def retry(message):
    """A person decides that a failed or unknown message goes once more, with all its attempts. Raises Conflict."""
    if not execute(RETRY, (message.id,)):
        raise Conflict(f'The message is {Message.find(message.id).status}: only failed or unknown ones can be retried,'
                       ' none after its expires_at, none of a batch that is paused or cancelled, and none that was'
                       ' written on the business phone.')  # fmt: skip
