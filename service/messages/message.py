"""Messages of both directions as rows. service/sending moves the outbound ones."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from peewee import BooleanField, DateTimeField, SmallIntegerField, TextField

from service.messages.search_vector import TsVector
from service.runtime.model import JSON, Model
from service.runtime.prepared import Prepared
from service.runtime.rows import Json, JsonText, Uuid, fetch_bulk_as
from service.runtime.untrusted import MAX_ID, as_dict, clean

MessageKey = tuple[str, str]  # phone_number_id, wamid

# For so long Meta sends again what was not answered with 200: an older time of Meta's is no news
# of when somebody wrote.
REDELIVERY = timedelta(days=7)
# Customers' messages of these types are answered.
ANSWERED_TYPES = frozenset((
    'text', 'image', 'video', 'audio', 'voice', 'document', 'sticker', 'location', 'contacts',
    'interactive', 'button', 'order', 'request_welcome',
))  # fmt: skip

OF_OTHERS = frozenset(('search', 'country'))  # columns of message_search and of usage_log
# By type: the key of the content with the wamid of the message that this one is about.
REFERENCES = {
    'reaction': 'message_id',
    'edit': 'original_message_id',
    'revoke': 'original_message_id',
}


class Message(Model):
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
    biz_opaque_callback_data = TextField(null=True)  # the caller's own
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
    from_human = BooleanField(default=False)
    in_reply_to = TextField(null=True)
    ai_usage = JSON(null=True)
    fallback = JSON(null=True)
    replaced = JSON(null=True)
    timestamp = DateTimeField(null=True)
    accepted_at = DateTimeField(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    @property
    def origin(self) -> str | None:
        """How an outbound message was written: by the API, or in the business app on a phone."""
        if self.direction == 'inbound':
            return None
        return 'business_app' if self.echo else 'api'

    @property
    def has_left(self) -> bool:
        """Whether Meta may have sent statuses for it: a new message is not looked up."""
        return self.direction == 'outbound' and bool(self.wamid or self.attempts or self.tries)

    @property
    def said_at(self) -> datetime:
        """When it was written or accepted, as far as that is known."""
        at: datetime = self.timestamp or self.accepted_at or self.created_at
        return at


def related_wamid(kind: str, content: object) -> str | None:
    """The wamid of the message that a reaction, edit or revoke is about; None for other types."""
    key = REFERENCES.get(kind)
    wamid = clean(as_dict(content).get(key)) if key else None
    return wamid if wamid and len(wamid.encode()) <= MAX_ID else None


def message_columns(row_type: type) -> str:
    """The columns of a row to be stored that `message` has; the others are other tables'."""
    return ', '.join(field.name for field in fields(row_type) if field.name not in OF_OTHERS)


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
    country: str | None = None  # of a customer's number (content/calling_codes.py)
    search: TsVector = ''  # the words of its text

    @property
    def key(self) -> MessageKey:
        return self.phone_number_id, self.wamid


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message that a webhook brought and that is new.

    `is_referred`: an edit, a revoke or a reaction was stored before it.
    """

    phone_number_id: str
    wamid: str
    id: str
    is_referred: bool

    @property
    def key(self) -> MessageKey:
        return self.phone_number_id, self.wamid


# Of messages that were just stored, their words, and whether others had come before them.
STORE_WORDS = """
words AS (
  INSERT INTO message_search (message_id, search)
  SELECT n.id, n.search FROM n JOIN stored USING (id) WHERE n.search <> '')
SELECT phone_number_id, wamid, id, (
  SELECT true FROM message r
  WHERE r.phone_number_id = stored.phone_number_id AND r.refers_to = stored.wamid
  LIMIT 1) IS NOT NULL AS is_referred
FROM stored
"""
INSERT_INBOUND_MESSAGES = Prepared.for_rows(ReceivedMessage)(
    """
WITH n AS MATERIALIZED (SELECT * FROM {rows}),
stored AS (
  INSERT INTO message ({message_columns}, direction, status)
  SELECT {message_columns}, 'inbound', 'received' FROM n
  ON CONFLICT (phone_number_id, wamid) WHERE direction = 'inbound' DO NOTHING
  RETURNING phone_number_id, wamid, id),
logged AS (
  INSERT INTO usage_log (message_id, chatbot_id, direction, type, country)
  SELECT id, n.chatbot_id, 'inbound', n.type, n.country FROM n JOIN stored USING (id) ORDER BY id),
{store_words}
""",
    message_columns=message_columns(ReceivedMessage),
    store_words=STORE_WORDS,
)


def insert_inbound(messages: Sequence[ReceivedMessage]) -> list[StoredMessage]:
    """Store customers' messages, each key once, and count them; return those that are new."""
    # Everybody inserts in one order, so that two workers never wait for each other.
    rows = sorted(messages, key=lambda message: message.key)
    return fetch_bulk_as(StoredMessage, INSERT_INBOUND_MESSAGES, rows)
