"""Messages of field `messages`, and echoes, as rows; and what they tell of their conversations."""

import json
import logging
import time
from collections.abc import Iterable
from datetime import datetime

from service.content.calling_codes import country_of
from service.content.plain_text import read
from service.conversations import conversation, opt_out
from service.conversations.conversation import Activity
from service.conversations.pause import Occasion, PausedBy
from service.media import expected_file
from service.messages import echo, message, search_index
from service.messages.message import ANSWERED_TYPES, REDELIVERY, MessageKey, ReceivedMessage
from service.messages.search_vector import vector
from service.runtime.config import settings
from service.runtime.ids import new_id
from service.runtime.untrusted import MAX_NAME, clean
from service.sending import delivery_status, holds, takeover
from service.webhooks import echoes_field, identity_claims
from service.webhooks.item import Item, ItemKind, ItemOutcome, JsonObject

log = logging.getLogger(__name__)

WARNING_SECONDS = 600  # between two warnings about one account that answers nobody
_warned_at: dict[str, float] = {}  # chatbot_id: monotonic time of the last warning

SENDER_KEYS = ('from', 'from_user_id', 'from_parent_user_id', 'group_id')
# Of any message, and kept in columns of their own.
COMMON_KEYS = frozenset((*SENDER_KEYS, 'to', 'to_user_id', 'id', 'timestamp', 'type', 'context'))


def store(messages: list[Item], echoes: list[Item]) -> None:
    """Store messages and echoes; each item gets its outcome. In the caller's transaction.

    The people they name have conversations already (Item.conversation_id).
    """
    new_messages = _store_messages(_unique(messages))
    new_echoes = _store_echoes(_unique(echoes))
    conversation.record_inbound(_activities([*new_messages, *new_echoes]))
    takeover.by_themselves([_occasion(one) for one in echoes_field.written_by_people(new_echoes)])
    holds.cancel_unwanted(opt_out.record(opt_out.from_keywords(new_messages)))


def _unique(items: list[Item]) -> dict[MessageKey, Item]:
    """The first item of each key. Those with a key that came before are duplicates."""
    first: dict[MessageKey, Item] = {}
    for item in items:
        key = (item.phone_number_id, item.wamid)
        if not item.conversation_id:
            item.set_outcome(ItemOutcome.INVALID, 'no sender')
        elif key in first:
            item.set_outcome(ItemOutcome.DUPLICATE)
        else:
            first[key] = item
    return first


def _store_messages(unique: dict[MessageKey, Item]) -> list[Item]:
    """Store messages that are not stored yet, and return them."""
    rows = [_row(item) for item in unique.values()]
    new = message.insert_inbound(rows)
    stored = {one.key: one.id for one in new}
    search_index.follow_changes(rows, new)
    for key, item in unique.items():
        item.set_outcome(ItemOutcome.STORED if key in stored else ItemOutcome.DUPLICATE)
    return _new_items(unique, stored)


def _country(data: JsonObject) -> str | None:
    phone = data.get('from')
    return country_of(phone) if isinstance(phone, str) else None


def _store_echoes(unique: dict[MessageKey, Item]) -> list[Item]:
    """Store echoes that are not stored yet, and return them."""
    rows = [_echo_row(item) for item in unique.values()]
    new = echo.insert(rows)
    stored = {one.key: one.id for one in new}
    search_index.follow_changes(rows, new)
    if stored:
        delivery_status.join_orphans(stored.values())
    return _new_items(unique, stored)


def _new_items(unique: dict[MessageKey, Item], stored: dict[MessageKey, str]) -> list[Item]:
    """The items that were stored just now; the files that come with them are expected."""
    new = {key: item for key, item in unique.items() if key in stored}
    expected_file.expect({stored[key]: item for key, item in new.items()})
    return list(new.values())


def _row(item: Item) -> ReceivedMessage:
    data = item.data
    kind = _type(data)
    extra = {name: data[name] for name in data if name not in COMMON_KEYS and name != kind}
    content = data.get(kind, {})
    id_ = new_id()
    return ReceivedMessage(
        id=id_,
        chatbot_id=item.account.chatbot_id,
        conversation_id=item.conversation_id,
        phone_number_id=item.phone_number_id,
        type=kind,
        wamid=item.wamid,
        sender={name: data[name] for name in SENDER_KEYS if data.get(name)},
        content=json.dumps(content),
        context=data.get('context'),
        extra=extra or None,
        timestamp=item.timestamp,
        refers_to=message.related_wamid(kind, content),
        country=_country(data),
        search=vector(id_, item.account.chatbot_id, read(kind, content)),
    )


def _echo_row(echo: Item) -> ReceivedMessage:
    row = _row(echo)
    row.recipient_to, row.recipient = echoes_field.recipient(echo)
    return row


def _occasion(echo: Item) -> Occasion:
    """Who writes on the business's own phone has the conversation from then on."""
    at = min(echo.at, echo.received_at)
    return Occasion(echo.conversation_id, PausedBy.BUSINESS_APP, at)


def _type(data: JsonObject) -> str:
    return clean(data.get('type'), MAX_NAME) or 'unknown'


def _activities(stored: Iterable[Item]) -> list[Activity]:
    """What new messages tell about their conversations, one for each; the latest news count."""
    activities: dict[str, Activity] = {}
    for item in sorted(stored, key=lambda item: item.at):
        activity = activities.setdefault(item.conversation_id, Activity(item.conversation_id))
        activity.known_at = item.timestamp or activity.known_at
        activity.said_at = item.at
        if item.kind == ItemKind.ECHO:
            activity.outbound_at = min(item.at, item.received_at)
        if item.kind == ItemKind.MESSAGE and item.data.get('type') != 'system':
            activity.wrote_at = item.at
        if item.kind == ItemKind.MESSAGE and _wants_reply(item):
            _want_reply(activity, item)
        _add_person(activity, item)
    return list(activities.values())


def _want_reply(activity: Activity, item: Item) -> None:
    quiet = item.account.quiet_seconds
    activity.reply_after = settings.REPLY_QUIET_SECONDS if quiet is None else quiet
    written_at = _written_at(item)
    activity.wanted_at = max(activity.wanted_at or written_at, written_at)
    activity.max_turns = item.account.max_turns_a_day


def _written_at(item: Item) -> datetime:
    """When the customer wrote: by Meta's time, unless it is older than any redelivery."""
    is_recent = item.received_at - item.at < REDELIVERY
    return min(item.at, item.received_at) if is_recent else item.received_at


def _add_person(activity: Activity, item: Item) -> None:
    """Add what an item shows of the person; nothing of a group."""
    identity = item.identity
    if identity is None or identity.group:
        return
    names = identity_claims.profile(item)
    activity.wa_id = identity.phone or activity.wa_id
    activity.user_id = identity.user or activity.user_id
    activity.parent_user_id = identity.parent or activity.parent_user_id
    activity.username = names.get('username') or activity.username
    activity.name = names.get('name') or activity.name


def _wants_reply(item: Item) -> bool:
    account = item.account
    if item.data.get('group_id') or _type(item.data) not in ANSWERED_TYPES or not account.active:
        return False
    if opt_out.is_stop(item):  # they want to hear less, and each answer is billed
        return False
    if account.responder:
        return account.responder != 'none'
    if not settings.AI_BASE_URL:
        _warn_of_no_responder(account.chatbot_id)
    return bool(settings.AI_BASE_URL)


def _warn_of_no_responder(chatbot_id: str) -> None:
    """Warn that a customer's message is answered by nobody, but not for every message."""
    now = time.monotonic()
    if now - _warned_at.get(chatbot_id, -WARNING_SECONDS) >= WARNING_SECONDS:
        _warned_at[chatbot_id] = now
        log.warning(
            'no reply: the account has no responder and AI_BASE_URL is not set',
            extra={'chatbot_id': chatbot_id},
        )
