"""What people write → rows: who wrote it, what it is, what it tells about the conversation."""

import json

from service import conversation, echo, message
from service.config import settings
from service.db import new_id, to_json
from service.identity import Identity, resolve
from service.webhook_events import MAX_NAME, as_dict, clean, identifier, moment

ANSWERED = frozenset((
    'text', 'image', 'video', 'audio', 'document', 'sticker', 'location', 'contacts', 'interactive', 'button', 'order',
    'request_welcome',
))  # fmt: skip
COMMON = frozenset((
    'from', 'from_user_id', 'from_parent_user_id', 'group_id', 'to', 'to_user_id', 'id', 'timestamp', 'type', 'context',
))  # fmt: skip


def store(found, changes=()):
    """Store messages, and the echoes in changes, both [(item, account)]; each item gets its outcome.

    In the caller's transaction.
    """
    senders, echoes = _senders(found), echo.found_in(changes)
    if not senders and not echoes:
        return
    people = dict.fromkeys(identity for _, _, identity in (*senders, *echoes))  # in the order of arrival
    conversations = resolve(people, hold=True)
    news = _news(_store_messages(_first(senders, conversations)))
    for item, _, conversation_id in _store_echoes(_first(echoes, conversations)):
        row = news.setdefault(conversation_id, {})
        row |= echo.profile(item) | {'said_at': _latest(row.get('said_at'), moment(item.data.get('timestamp')))}
    conversation.heard_from(news)


def _senders(found):
    senders = []
    for item, account in found:
        identity = _identity(item, account['chatbot_id'])
        if identity.known_by():
            senders.append((item, account, identity))
        else:
            item.settle('invalid', 'no sender')
    return senders


def _first(found, conversations):
    """{key: (item, account, conversation id)} of what was found; what comes once more is a duplicate."""
    first = {}
    for item, account, identity in found:
        key = (item.phone_number_id, item.wamid)
        if key in first:
            item.settle('duplicate')
        else:
            first[key] = (item, account, conversations[identity])
    return first


def _store_messages(first):
    """Returns those that are new."""
    stored = message.insert_inbound([_row(*one) for one in first.values()])
    message.log_usage(list(stored.values()))
    for key, (item, _, _) in first.items():
        item.settle('stored' if key in stored else 'duplicate')
    return [one for key, one in first.items() if key in stored]


def _store_echoes(first):
    """Returns those that are new."""
    stored = echo.insert([(*_row(*one), *echo.address(one[0])) for one in first.values()])
    return [one for key, one in first.items() if key in stored]


def _identity(item, chatbot_id):
    """Whom a message is from (section 4.3). A system message speaks of who somebody was before."""
    data, contact = item.data, item.contact
    if group := identifier(data.get('group_id')):
        return Identity(chatbot_id, group=group)
    user = identifier(data.get('from_user_id')) or identifier(contact.get('user_id'))
    phone = identifier(data.get('from')) or identifier(contact.get('wa_id'))
    if data.get('type') == 'system':
        system = as_dict(data.get('system'))
        user = identifier(system.get('previous_user_id')) or user or identifier(system.get('user_id'))
    return Identity(chatbot_id, phone=phone, user=user)


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
        moment(data.get('timestamp')), message.refers_to(kind, data.get(kind)),
    )  # fmt: skip


def _kind(data):
    return clean(data.get('type'), MAX_NAME) or 'unknown'


def _news(stored):
    """What new messages tell about their conversations, the latest last."""
    news = {}
    for item, account, conversation_id in stored:
        row = news.setdefault(conversation_id, {})
        at = moment(item.data.get('timestamp'))
        row['at'] = _latest(row.get('at'), at)
        if _wants_reply(item, account):
            row['reply_after'] = settings.REPLY_QUIET_SECONDS
        if not item.data.get('group_id') and item.data.get('type') != 'system':
            row.update(_profile(item))
    return news


def _latest(*times):
    return max(filter(None, times), default=None)


def _wants_reply(item, account):
    if item.data.get('group_id') or _kind(item.data) not in ANSWERED or not account['active']:
        return False
    return account['responder'] != 'none' if account['responder'] else bool(settings.AI_BASE_URL)


def _profile(item):
    data, contact = item.data, item.contact
    profile = as_dict(contact.get('profile'))
    known = {
        'wa_id': identifier(data.get('from')) or identifier(contact.get('wa_id')),
        'user_id': identifier(data.get('from_user_id')) or identifier(contact.get('user_id')),
        'parent_user_id': identifier(data.get('from_parent_user_id')) or identifier(contact.get('parent_user_id')),
        'username': clean(profile.get('username'), 255),
        'name': clean(profile.get('name'), 255),
    }
    return {name: value for name, value in known.items() if value}
