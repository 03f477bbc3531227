"""Messages, both ways, as rows; what leaves is moved on by service/outbox.py."""

from peewee import DateTimeField, SmallIntegerField, TextField

from service.db import columns, execute, fetch
from service.error_table import explain
from service.rows import JSON, Row


class Message(Row):
    NOUN = 'message'

    id = TextField(primary_key=True)
    chatbot_id = TextField()
    conversation_id = TextField()
    direction = TextField()
    phone_number_id = TextField()
    type = TextField()
    status = TextField()
    wamid = TextField(null=True)
    recipient_to = TextField(null=True)
    recipient = TextField(null=True)
    sender = JSON(null=True)
    content = JSON()
    context = JSON(null=True)
    extra = JSON(null=True)
    client_reference = TextField(null=True)
    answer_wa_id = TextField(null=True)
    attempts = SmallIntegerField(default=0)
    error = JSON(null=True)
    tries = JSON(default=list)
    hold_reason = TextField(null=True)
    batch_id = TextField(null=True)
    send_at = DateTimeField(null=True)
    expires_at = DateTimeField(null=True)
    timestamp = DateTimeField(null=True)
    accepted_at = DateTimeField(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    SHOWN = ('id', 'chatbot_id', 'conversation_id', 'direction', 'type', 'status', 'wamid', 'content', 'context',
             'extra', 'client_reference', 'attempts', 'error', 'tries', 'hold_reason', 'batch_id', 'send_at',
             'expires_at', 'timestamp', 'created_at', 'updated_at')  # fmt: skip

    def to_dict(self):
        """Without its statuses: those come from another table."""
        row = {name: getattr(self, name) for name in self.SHOWN}
        sender = self.sender or {}
        error = self.error and dict(self.error)
        cause = error and error.pop('cause', None)
        row |= {'error': error, 'explanation': None, 'fix': None} | (explain(cause or error['code']) if error else {})
        row |= {'to': self.recipient_to, 'recipient': self.recipient, 'wa_id': self.answer_wa_id}
        return row | {name: sender.get(name) for name in ('from', 'from_user_id', 'group_id')}

    def history(self, told):
        """All its statuses: ours, what Meta `told`, and where it rests if Meta did not say that."""
        if self.direction == 'inbound':
            return [{'status': 'received', 'timestamp': self.created_at}]
        is_later = self.send_at and self.send_at > self.created_at
        own = [{'status': 'scheduled' if is_later else 'queued', 'timestamp': self.created_at}]
        if self.accepted_at:
            own.append({'status': 'accepted', 'timestamp': self.accepted_at})
        history = own + told
        if all(entry['status'] != self.status for entry in history):
            history.append({'status': self.status, 'timestamp': self.updated_at})
        return history


INSERT_INBOUND = """
INSERT INTO message (id, chatbot_id, conversation_id, phone_number_id, type, wamid, sender, content, context, extra,
  timestamp, direction, status)
SELECT n.*, 'inbound', 'received' FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[],
  %s::json[], %s::json[], %s::json[], %s::json[], %s::timestamptz[]) AS n
ON CONFLICT (phone_number_id, wamid) WHERE direction = 'inbound' DO NOTHING
RETURNING phone_number_id, wamid, id
"""


def insert_inbound(rows):
    """Store customers' messages, each (phone_number_id, wamid) once. `rows`: tuples in the order below.

    Returns {(phone_number_id, wamid): id} of those that are new.
    """
    if not rows:
        return {}
    rows = sorted(rows, key=lambda row: (row[3], row[5]))  # everybody inserts in one order: no circle of waiting
    stored = fetch(INSERT_INBOUND, columns(rows))
    return {row[:2]: row[2] for row in stored}


LOG_USAGE = """
INSERT INTO usage_log (message_id, chatbot_id, direction, type)
SELECT id, chatbot_id, direction, type FROM message WHERE id = ANY(%s::uuid[]) ORDER BY id
ON CONFLICT (message_id) DO NOTHING
"""


def log_usage(message_ids):
    """Note messages for billing: received, or accepted by Meta; each once."""
    execute(LOG_USAGE, (message_ids,))
