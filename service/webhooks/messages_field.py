"""What people write → rows: who wrote it, what it is, what it tells about the conversation."""

import json
import logging
import time
from collections.abc import Iterable

from service.conversations import conversation, opt_out
from service.conversations.conversation import Activity
from service.media import inbound_file
from service.messages import echo, message
from service.messages.message import MessageKey, ReceivedMessage
from service.runtime.config import settings
from service.runtime.ids import new_id
from service.runtime.untrusted import MAX_NAME, clean
from service.sending import delivery_status, holds
from service.webhooks import echoes_field, identity_claims
from service.webhooks.payload import Item

log = logging.getLogger(__name__)
TELL_EVERY = 600  # seconds between two lines about one account that answers nobody
_told_at: dict[str, float] = {}  # chatbot_id: monotonic time of the last

ANSWERED = frozenset(
    (
        'text',
        'image',
        'video',
        'audio',
        'voice',
        'document',
        'sticker',
        'location',
        'contacts',
        'interactive',
        'button',
        'order',
        'request_welcome',
    )
)
SENDER_KEYS = ('from', 'from_user_id', 'from_parent_user_id', 'group_id')
COMMON = frozenset(
    (
        'from',
        'from_user_id',
        'from_parent_user_id',
        'group_id',
        'to',
        'to_user_id',
        'id',
        'timestamp',
        'type',
        'context',
    )
)


def store(messages: list[Item], echoes: list[Item]) -> None:
    """Store messages, and the echoes of what the business wrote; each item gets its outcome.

    In the caller's transaction. Whoever they name has a conversation already
    (Item.conversation_id).
    """
    new_messages = _store_messages(_first(messages))
    new_echoes = _store_echoes(_first(echoes))
    conversation.record_inbound(_activities([*new_messages, *new_echoes]))
    holds.cancel_unwanted(opt_out.record(opt_out.from_keywords(new_messages)))


def _first(items: list[Item]) -> dict[MessageKey, Item]:
    """Of items with one key the first; what comes once more is a duplicate."""
    first: dict[MessageKey, Item] = {}
    for item in items:
        key = (item.phone_number_id, item.wamid)
        if not item.conversation_id:
            item.set_outcome('invalid', 'no sender')
        elif key in first:
            item.set_outcome('duplicate')
        else:
            first[key] = item
    return first


def _store_messages(first: dict[MessageKey, Item]) -> list[Item]:
    """Returns those that are new."""
    if not first:
        return []
    stored = message.insert_inbound([_row(item) for item in first.values()])
    _expect_media(stored, first)
    message.log_usage(list(stored.values()))
    for key, item in first.items():
        item.set_outcome('stored' if key in stored else 'duplicate')
    return [item for key, item in first.items() if key in stored]


def _store_echoes(first: dict[MessageKey, Item]) -> list[Item]:
    """Returns those that are new."""
    stored = echo.insert([_echo(item) for item in first.values()])
    if stored:
        delivery_status.join_orphans(stored.values())
    _expect_media(stored, first)
    return [item for key, item in first.items() if key in stored]


def _expect_media(stored: dict[MessageKey, str], first: dict[MessageKey, Item]) -> None:
    inbound_file.expect([(stored[key], item) for key, item in first.items() if key in stored])


def _row(item: Item) -> ReceivedMessage:
    data = item.data
    kind = _kind(data)
    extra = {name: value for name, value in data.items() if name not in COMMON and name != kind}
    return ReceivedMessage(
        id=new_id(),
        chatbot_id=item.account.chatbot_id,
        conversation_id=item.conversation_id,
        phone_number_id=item.phone_number_id,
        type=kind,
        wamid=item.wamid,
        sender={name: data[name] for name in SENDER_KEYS if data.get(name)},
        content=json.dumps(data.get(kind, {})),
        context=data.get('context'),
        extra=extra or None,
        timestamp=item.told_at,
        refers_to=message.related_wamid(kind, data.get(kind)),
    )


def _echo(item: Item) -> ReceivedMessage:
    row = _row(item)
    row.recipient_to, row.recipient = echoes_field.address(item)
    return row


def _kind(data: dict) -> str:
    return clean(data.get('type'), MAX_NAME) or 'unknown'


def _activities(stored: Iterable[Item]) -> list[Activity]:
    """What new messages tell about their conversations, one for each; the latest news count."""
    activities: dict[str, Activity] = {}
    for item in sorted(stored, key=lambda item: item.at):
        activity = activities.setdefault(item.conversation_id, Activity(item.conversation_id))
        activity.known_at = item.told_at or activity.known_at
        activity.said_at = item.at
        if item.kind == 'message' and item.data.get('type') != 'system':
            activity.wrote_at = item.at
        if item.kind == 'message' and _wants_reply(item):
            activity.reply_after = settings.REPLY_QUIET_SECONDS
        for name, value in _profile(item).items():
            setattr(activity, name, value)
    return list(activities.values())


def _wants_reply(item: Item) -> bool:
    account = item.account
    if item.data.get('group_id') or _kind(item.data) not in ANSWERED or not account.active:
        return False
    if opt_out.is_stop(item):  # they want to hear less, and each answer is billed
        return False
    if account.responder:
        return account.responder != 'none'
    if not settings.AI_BASE_URL:
        _tell_of_no_responder(account.chatbot_id)
    return bool(settings.AI_BASE_URL)


def _tell_of_no_responder(chatbot_id: str) -> None:
    """A customer waits for nobody: worth a line, but not one for every message."""
    now = time.monotonic()
    if now - _told_at.get(chatbot_id, -TELL_EVERY) >= TELL_EVERY:
        _told_at[chatbot_id] = now
        log.warning(
            'no reply: the account has no responder and AI_BASE_URL is not set',
            extra={'chatbot_id': chatbot_id},
        )


def _profile(item: Item) -> dict[str, str]:
    """What is shown of the person: {column of conversation: value}; of a group nothing."""
    identity = item.identity
    if identity.group:
        return {}
    ids = {'wa_id': identity.phone, 'user_id': identity.user, 'parent_user_id': identity.parent}
    return {name: value for name, value in ids.items() if value} | identity_claims.profile(item)
