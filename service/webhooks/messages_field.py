"""What people write → rows: who wrote it, what it is, what it tells about the conversation."""

import json
import logging
import time

from service.conversations import conversation, opt_out
from service.media import inbound_file
from service.messages import echo, message
from service.runtime.config import settings
from service.runtime.db import new_id, to_json
from service.runtime.untrusted import MAX_NAME, clean
from service.sending import delivery_status
from service.webhooks import echoes_field, identity_claims

log = logging.getLogger(__name__)
TELL_EVERY = 600  # seconds between two lines about one account that answers nobody
_told_at: dict[str, float] = {}  # chatbot_id: monotonic time of the last

ANSWERED = frozenset((
    'text', 'image', 'video', 'audio', 'voice', 'document', 'sticker', 'location', 'contacts', 'interactive', 'button',
    'order', 'request_welcome',
))  # fmt: skip
COMMON = frozenset((
    'from', 'from_user_id', 'from_parent_user_id', 'group_id', 'to', 'to_user_id', 'id', 'timestamp', 'type', 'context',
))  # fmt: skip


def store(found, echoes, people):
    """Store messages, and the echoes of what the business wrote, both [(item, account)]; each item gets its outcome.

    In the caller's transaction. `people`: {id(item): conversation} of all that name somebody (identity.resolve).
    """
    messages = _store_messages(_first(found, people))
    echoes = _store_echoes(_first(echoes, people))
    conversation.heard_from(_news([*messages, *echoes]))
    opt_out.record(opt_out.in_words(messages))


def _first(found, people):
    """{key: (item, account, conversation id)} of what was found; what comes once more is a duplicate."""
    first = {}
    for item, account in found:
        key = (item.phone_number_id, item.wamid)
        if id(item) not in people:
            item.settle('invalid', 'no sender')
        elif key in first:
            item.settle('duplicate')
        else:
            first[key] = (item, account, people[id(item)])
    return first


def _store_messages(first):
    """Returns those that are new."""
    if not first:
        return []
    stored = message.insert_inbound([_row(*one) for one in first.values()])
    _expect_media(stored, first)
    message.log_usage(list(stored.values()))
    for key, (item, _, _) in first.items():
        item.settle('stored' if key in stored else 'duplicate')
    return [one for key, one in first.items() if key in stored]


def _store_echoes(first):
    """Returns those that are new."""
    stored = echo.insert([(*_row(*one), *echoes_field.address(one[0])) for one in first.values()])
    if stored:
        delivery_status.join_orphans(stored.values())
    _expect_media(stored, first)
    return [one for key, one in first.items() if key in stored]


def _expect_media(stored, first):
    inbound_file.expect([(stored[key], item, account) for key, (item, account, _) in first.items() if key in stored])


def _row(item, account, conversation_id):
    """The columns of message.insert_inbound."""
    data = item.data
    kind = _kind(data)
    sender = {
        name: data[name] for name in ('from', 'from_user_id', 'from_parent_user_id', 'group_id') if data.get(name)
    }
    extra = {name: value for name, value in data.items() if name not in COMMON and name != kind}
    return (
        new_id(), account['chatbot_id'], conversation_id, item.phone_number_id, kind, item.wamid, json.dumps(sender),
        json.dumps(data.get(kind, {})), to_json(data.get('context')), to_json(extra or None),
        item.told_at, message.refers_to(kind, data.get(kind)),
    )  # fmt: skip


def _kind(data):
    return clean(data.get('type'), MAX_NAME) or 'unknown'


def _news(stored):
    """What new messages tell about their conversations, the latest last."""
    news = {}
    for item, account, conversation_id in sorted(stored, key=lambda one: one[0].at):
        row = news.setdefault(conversation_id, {})
        row['known_at'] = item.told_at or row.get('known_at')
        row['said_at'] = item.at
        if item.kind == 'message' and item.data.get('type') != 'system':
            row['wrote_at'] = item.at
        if item.kind == 'message' and _wants_reply(item, account):
            row['reply_after'] = settings.REPLY_QUIET_SECONDS
        row.update(_profile(item, account))
    return news


def _wants_reply(item, account):
    if item.data.get('group_id') or _kind(item.data) not in ANSWERED or not account['active']:
        return False
    if opt_out.is_stop(item, account):  # they want to hear less, and each answer is billed
        return False
    if account['responder']:
        return account['responder'] != 'none'
    if not settings.AI_BASE_URL:
        _tell_of_no_responder(account['chatbot_id'])
    return bool(settings.AI_BASE_URL)


def _tell_of_no_responder(chatbot_id: str) -> None:
    """A customer waits for nobody: worth a line, but not one for every message."""
    now = time.monotonic()
    if now - _told_at.get(chatbot_id, -TELL_EVERY) >= TELL_EVERY:
        _told_at[chatbot_id] = now
        log.warning(
            'no reply: the account has no responder and AI_BASE_URL is not set', extra={'chatbot_id': chatbot_id}
        )


def _profile(item, account):
    identity = identity_claims.of_item(item, account['chatbot_id'])
    if identity.group:
        return {}
    ids = {'wa_id': identity.phone, 'user_id': identity.user, 'parent_user_id': identity.parent}
    return {name: value for name, value in ids.items() if value} | identity_claims.profile(item)
