"""Messages, both ways, as rows; what leaves is moved on by service/sending/outbox.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from peewee import BooleanField, DateTimeField, SmallIntegerField, TextField

from service.content.person_id import in_place
from service.content.plain_text import read
from service.graph.client import first_error
from service.graph.error_codes import explain
from service.graph.error_shapes import told_errors
from service.runtime.db import execute
from service.runtime.model import JSON, Row
from service.runtime.rows import Json, JsonText, Uuid, fetch_bulk
from service.runtime.untrusted import MAX_ID, as_dict, clean

MessageKey = tuple[str, str]  # phone_number_id, wamid

# Where the wamid stands that a message is about.
REFERENCES = {
    'reaction': 'message_id',
    'edit': 'original_message_id',
    'revoke': 'original_message_id',
}


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
    refers_to = TextField(null=True)
    echo = BooleanField(default=False)
    fallback = JSON(null=True)
    replaced = JSON(null=True)
    timestamp = DateTimeField(null=True)
    accepted_at = DateTimeField(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    SHOWN = (
        'id',
        'chatbot_id',
        'conversation_id',
        'direction',
        'type',
        'status',
        'wamid',
        'content',
        'context',
        'extra',
        'client_reference',
        'attempts',
        'error',
        'tries',
        'hold_reason',
        'batch_id',
        'send_at',
        'expires_at',
        'timestamp',
        'created_at',
        'updated_at',
    )

    @property
    def origin(self):
        return None if self.direction == 'inbound' else 'business_app' if self.echo else 'api'

    @property
    def has_left(self):
        """Whether Meta may have told of it: a new message costs no look for that."""
        return self.direction == 'outbound' and bool(self.wamid or self.attempts or self.tries)

    @property
    def said_at(self):
        return self.timestamp or self.accepted_at or self.created_at

    def to_dict(self):
        """Without what stands elsewhere: statuses, and what later messages did to it
        (service.messages.relations).
        """
        row = {name: getattr(self, name) for name in self.SHOWN}
        sender, extra = as_dict(self.sender), as_dict(self.extra)
        row |= {
            'text': read(self.type, self.content),
            'origin': self.origin,
            'referral': extra.get('referral'),
        }
        row |= {'referred_product': as_dict(self.context).get('referred_product')}
        row |= {
            'reply_to': None,
            'reactions': [],
            'edited_at': None,
            'revoked_at': None,
            'revisions': [],
        }
        row |= self._shown_error(extra)
        row |= {'fallback_template': self.fallback, 'replaced': self.replaced}
        row |= {'to': self.recipient_to, 'recipient': self.recipient, 'wa_id': self.answer_wa_id}
        return row | in_place(sender) | {'group_id': sender.get('group_id')}

    def _shown_error(self, extra):
        """Why it failed; of an inbound one, why Meta could not hand on what was written (sections 2
        and 7).
        """
        error = dict(self.error) if self.error else first_error(told_errors(extra))
        cause = error and error.pop('cause', None)
        return {'error': error, 'explanation': None, 'fix': None} | (
            explain(cause or error['code']) if error else {}
        )

    def history(self, told):
        """All its statuses: ours, what Meta `told`, and where it rests if Meta did not say that."""
        if self.direction == 'inbound':
            return [{'status': 'received', 'timestamp': self.created_at}]
        history = self._begun(told) + told
        if all(entry['status'] != self.status or 'type' in entry for entry in history):
            history.append({'status': self.status, 'timestamp': self.updated_at})
        return history

    def _begun(self, told):
        """What became of an outbound one before Meta told of it.

        An echo had been sent when it came.
        """
        if self.echo:
            is_told = any(entry['status'] == 'sent' and 'type' not in entry for entry in told)
            return [] if is_told else [{'status': 'sent', 'timestamp': self.said_at}]
        is_later = self.send_at and self.send_at > self.created_at
        own = [{'status': 'scheduled' if is_later else 'queued', 'timestamp': self.created_at}]
        return own + (
            [{'status': 'accepted', 'timestamp': self.accepted_at}] if self.accepted_at else []
        )


def related_wamid(kind, content):
    """The wamid that a message is about; None for most."""
    wamid = clean(as_dict(content).get(REFERENCES.get(kind)))
    return wamid if wamid and len(wamid.encode()) <= MAX_ID else None


@dataclass(slots=True)
class ReceivedMessage:
    """A message that a webhook brings: a customer's, or an echo of the business's own phone.

    `content` is JSON as text, for it may be JSON's null. `recipient_to` (a phone) and `recipient`
    (a BSUID) say whom an echo went to.
    """

    id: Uuid
    chatbot_id: str
    conversation_id: Uuid
    phone_number_id: str
    type: str
    wamid: str
    sender: Json
    content: JsonText
    context: Json | None
    extra: Json | None
    timestamp: datetime | None
    refers_to: str | None
    recipient_to: str | None = None
    recipient: str | None = None

    @property
    def key(self) -> MessageKey:
        return self.phone_number_id, self.wamid


INSERT_INBOUND_MESSAGES = """
INSERT INTO message ({columns}, direction, status)
SELECT n.*, 'inbound', 'received' FROM {rows}
ON CONFLICT (phone_number_id, wamid) WHERE direction = 'inbound' DO NOTHING
RETURNING phone_number_id, wamid, id
"""


def insert_inbound(messages: Sequence[ReceivedMessage]) -> dict[MessageKey, str]:
    """Store customers' messages, each key once; return the ids of those that are new."""
    # Everybody inserts in one order, so that two workers never wait for each other.
    rows = sorted(messages, key=lambda message: message.key)
    stored = fetch_bulk(INSERT_INBOUND_MESSAGES, rows)
    return {(number, wamid): id_ for number, wamid, id_ in stored}


LOG_USAGE = """
INSERT INTO usage_log (message_id, chatbot_id, direction, type)
SELECT id, chatbot_id, direction, type FROM message WHERE id = ANY(%s::uuid[]) AND NOT echo ORDER BY id
ON CONFLICT (message_id) DO NOTHING
"""


def log_usage(message_ids):
    """Note messages for billing: received, or accepted by Meta from us; each once."""
    execute(LOG_USAGE, (message_ids,))
