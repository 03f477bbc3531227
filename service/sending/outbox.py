"""The outbox: messages to be sent are stored here, and a person may cancel or retry them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from service.accounts.account import MAY_SEND, Account
from service.conversations.reply_queue import REPLY_WANTED_AT
from service.graph.outcome import ErrorDict
from service.media import meta_upload
from service.messages.message import Message, message_columns
from service.messages.search_vector import TsVector, vector
from service.messages.state_machine import HoldReason, Status
from service.runtime.config import settings
from service.runtime.db import db, execute, fetch
from service.runtime.errors import Conflict
from service.runtime.ids import new_id
from service.runtime.model import columns_of
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Integer, Json, JsonText, Uuid, execute_bulk, fetch_bulk_dicts
from service.sending import holds
from service.sending.outbound_message import OutboundMessage

# Fields of a message that are handed to Meta as they are (docs/meta.md, section 6.1).
EXTRA_FIELDS = ('recipient_type', 'recipient_identity_key_hash', 'messaging_account_id')
HANDED_ON = '_handed_on'  # of a body: more of them, that nobody here knows; no type is named so


class Priority(IntEnum):
    """Which messages of a number leave first when its rate is short."""

    REPLY = 0
    SINGLE = 1
    BULK = 2


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """What is the same for all messages that are queued by one call."""

    priority: Priority
    send_at: datetime | None = None
    expires_at: datetime | None = None
    batch_id: str | None = None
    wants_answer: bool = False  # somebody waits for what Meta says (awaited_answer.py)


@dataclass(frozen=True, slots=True)
class AccountMessages:
    """Messages of one account that are to be stored."""

    account: Account
    messages: Sequence[OutboundMessage]


@dataclass(frozen=True, slots=True)
class InitialState:
    """The state in which a message is stored."""

    status: str
    hold_reason: str | None = None
    error: ErrorDict | None = None


@dataclass(slots=True)
class QueuedMessage:
    """The columns of a message that are its own; the others are the same for all of one call."""

    id: Uuid
    chatbot_id: str
    phone_number_id: str
    conversation_id: Uuid
    type: str
    recipient_to: str | None
    recipient: str | None
    content: Json
    context: Json
    extra: Json
    client_reference: str | None
    biz_opaque_callback_data: str | None
    resends: Integer
    refers_to: str | None
    fallback: Json
    replaced: Json
    template_name: str | None
    template_language: str | None
    marketing: bool
    from_human: bool
    in_reply_to: Uuid | None
    ai_usage: Json
    status: str
    hold_reason: str | None
    error: Json
    meta_answer: JsonText | None
    expires_at: datetime | None
    search: TsVector  # the words of its text


INSERT_MESSAGES = Prepared.for_rows(QueuedMessage)(
    """
WITH n AS MATERIALIZED (SELECT * FROM {rows}), words AS (
  INSERT INTO message_search (message_id, search) SELECT id, search FROM n WHERE search <> '')
INSERT INTO message (priority, send_at, batch_id, direction, due_at, reply_wanted_at,
  {message_columns})
SELECT %(priority)s::smallint, %(send_at)s, %(batch_id)s, 'outbound',
  CASE WHEN status IN ('scheduled', 'queued') THEN coalesce(%(send_at)s, now()) END,
  CASE WHEN %(priority)s::smallint = 0 THEN {reply_wanted_at} END, {message_columns}
FROM n
""",
    message_columns=message_columns(QueuedMessage),
    reply_wanted_at=REPLY_WANTED_AT,
)
INSERT_AND_RETURN_MESSAGES = Prepared.for_rows(QueuedMessage)(
    f'{INSERT_MESSAGES} RETURNING {columns_of(Message, "message")}'
)


def queue(
    account: Account, messages: Sequence[OutboundMessage], options: QueueOptions
) -> list[Message]:
    """Store messages and return them; wake the send queue after the commit.

    They wait for `send_at`, or are held while the account or their template cannot send. Those of
    a template that Meta rejected or deleted fail at once.
    """
    rows = _rows(account, messages, options)
    values = _values(options)
    return [Message(**row) for row in fetch_bulk_dicts(INSERT_AND_RETURN_MESSAGES, rows, **values)]


def store(of_accounts: Sequence[AccountMessages], options: QueueOptions) -> list[QueuedMessage]:
    """The same for messages of any accounts, in one statement; returns what was given to it."""
    rows = [row for one in of_accounts for row in _rows(one.account, one.messages, options)]
    execute_bulk(INSERT_MESSAGES, rows, **_values(options))
    return rows


def _values(options: QueueOptions) -> dict[str, Any]:
    return {
        'priority': int(options.priority),
        'send_at': options.send_at,
        'batch_id': options.batch_id,
    }


def _rows(
    account: Account, messages: Sequence[OutboundMessage], options: QueueOptions
) -> list[QueuedMessage]:
    state = _initial_state(account, options.send_at)
    return [
        _row(account, message, _state_by_template(message, state), options) for message in messages
    ]


def _initial_state(account: Account, send_at: datetime | None) -> InitialState:
    """The state as far as the account and the time decide about it."""
    if send_at and send_at > datetime.now(UTC):
        return InitialState(Status.SCHEDULED)
    if account.may_send:
        return InitialState(Status.QUEUED)
    return InitialState(Status.HELD, HoldReason.ACCOUNT)


def _state_by_template(message: OutboundMessage, state: InitialState) -> InitialState:
    """The state if its template is stopped; a scheduled message is looked at when it is due."""
    template = message.template
    if state.status == Status.SCHEDULED or template is None or template.stop is None:
        return state
    stop = template.stop
    return InitialState(stop.status, stop.hold_reason, stop.error(template.reason))


def _row(
    account: Account, message: OutboundMessage, state: InitialState, options: QueueOptions
) -> QueuedMessage:
    body = message.body
    key = message.template_key
    extra = {name: body[name] for name in EXTRA_FIELDS if name in body} | body.get(HANDED_ON, {})
    id_ = new_id()
    return QueuedMessage(
        id=id_,
        chatbot_id=account.chatbot_id,
        phone_number_id=account.phone_number_id,
        conversation_id=message.conversation_id,
        type=message.type,
        recipient_to=body.get('to'),
        recipient=body.get('recipient'),
        content=message.content,
        context=body.get('context'),
        extra=extra or None,
        client_reference=body.get('client_reference'),
        biz_opaque_callback_data=body.get('biz_opaque_callback_data'),
        resends=int(message.is_one_time_code),
        refers_to=message.relates_to,
        fallback=body.get('fallback_template'),
        replaced=body.get('replaced'),
        template_name=key.name if key else None,
        template_language=key.language if key else None,
        marketing=message.is_marketing,
        from_human=body.get('from_human', False),
        in_reply_to=body.get('in_reply_to'),
        ai_usage=message.ai_usage,
        status=state.status,
        hold_reason=state.hold_reason,
        error=state.error,
        meta_answer='null' if options.wants_answer else None,
        expires_at=message.expires_at or options.expires_at,
        search=vector(id_, account.chatbot_id, *message.texts()),
    )


AMPLE_ROOM = 5000  # messages: more than the web processes store for one chatbot in a second
COUNT_SECONDS = 1  # as long a count is trusted, if there was ample room
COUNT_WAITING = """
SELECT count(*) FROM (
  SELECT 1 FROM message WHERE chatbot_id = %(chatbot_id)s AND waiting = 'queued' UNION ALL
  SELECT 1 FROM message WHERE chatbot_id = %(chatbot_id)s AND waiting = 'held'
  LIMIT %(limit)s) waiting
"""


@dataclass(frozen=True, slots=True)
class WaitingCount:
    """How many messages of a chatbot waited, and when (monotonic seconds) they were counted."""

    counted_at: float
    waiting: int


_counts: dict[str, WaitingCount] = {}


def is_full(chatbot_id: str, more: int = 1) -> bool:
    """Whether `more` messages would be too many for MAX_QUEUED.

    For one message the last count is enough, if it is fresh and left ample room.
    """
    count = _counts.get(chatbot_id)
    if more > 1 or count is None or not _is_good_enough(count):
        values = {'chatbot_id': chatbot_id, 'limit': settings.MAX_QUEUED}
        ((waiting,),) = fetch(COUNT_WAITING, values)
        count = _counts[chatbot_id] = WaitingCount(time.monotonic(), waiting)
    return count.waiting + more > settings.MAX_QUEUED


def _is_good_enough(count: WaitingCount) -> bool:
    is_fresh = time.monotonic() - count.counted_at <= COUNT_SECONDS
    return is_fresh and count.waiting + 1 + AMPLE_ROOM <= settings.MAX_QUEUED


CANCEL_MESSAGE = """
UPDATE message SET status = 'cancelled', hold_reason = NULL, due_at = NULL, updated_at = now()
WHERE id = %s AND status IN ('scheduled', 'queued', 'held')
"""
# The message gives up its wamid: Meta's answer brings another one. Statuses that name the first one
# still find it by our id. It is no reply any more, which a pause or reply_ttl_seconds would end.
RETRY_MESSAGE = fill(
    """
UPDATE message m SET status = CASE WHEN {may_send} THEN 'queued' ELSE 'held' END,
  hold_reason = CASE WHEN {may_send} THEN NULL ELSE 'account' END,
  due_at = CASE WHEN {may_send} THEN now() END,
  priority = greatest(m.priority, {single}),
  expires_at = CASE WHEN m.priority < {single} THEN NULL ELSE m.expires_at END,
  attempts = 0, error = NULL, wamid = NULL, updated_at = now() FROM whatsapp_cloud_account a
WHERE m.id = %s AND a.chatbot_id = m.chatbot_id AND m.status IN ('failed', 'unknown') AND NOT m.echo
  AND num_nonnulls(recipient_to, recipient) = 1
  AND (m.priority < {single} OR (m.expires_at > now()) IS NOT false)
  AND NOT EXISTS (SELECT 1 FROM batch b WHERE b.id = m.batch_id AND b.status <> 'running')
""",
    may_send=MAY_SEND,
    single=int(Priority.SINGLE),
)
NOT_RETRYABLE = (
    'The message is {}: only failed or unknown ones can be retried, none after its expires_at, '
    'none of a paused or cancelled batch, none of the business phone, none that was emptied.'
)


def cancel(message: Message) -> None:
    """Take a message back that no worker has claimed yet. Raises Conflict afterwards."""
    if not execute(CANCEL_MESSAGE, (message.id,)):
        status = Message.find(message.id).status
        raise Conflict(
            f'The message is {status} and can no longer be cancelled.', code='not_cancellable'
        )


def retry(message: Message) -> None:
    """Send a failed or unknown message once more, with all its attempts. Raises Conflict."""
    with db.atomic():
        retried = execute(RETRY_MESSAGE, (message.id,))
        if retried:
            meta_upload.forget_uploads_of(message)
        holds.apply_template_stops()
    if not retried:
        status = Message.find(message.id).status
        raise Conflict(NOT_RETRYABLE.format(status), code='not_retryable')
