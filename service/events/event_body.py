"""What the platform is told of events: {"id", "type", "timestamp", "chatbot_id", "data"}.

The objects in `data` are as their GET shows them now. All events are read together: a few queries
for each kind of object.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from service.accounts import health_event
from service.accounts.account import Account
from service.conversations import contact
from service.conversations.conversation import Conversation
from service.events.event import Event
from service.messages import relations, whole_message
from service.messages.message import Message
from service.messages.relations import RepliedTo
from service.runtime.db import fetch, fetch_dicts
from service.runtime.model import columns_of
from service.runtime.prepared import Prepared
from service.runtime.timestamps import to_rfc3339
from service.sending import batch
from service.sending.batch import Batch
from service.templates import template_sync

Shown = dict[str, Any]
FIND_MESSAGES = Prepared(
    'SELECT {columns} FROM message m WHERE m.id = ANY(%(ids)s::uuid[])',
    columns=columns_of(Message, 'm'),
)
FIND_CONVERSATIONS = Prepared(
    'SELECT {columns} FROM conversation c WHERE c.id = ANY(%(ids)s::uuid[])',
    columns=columns_of(Conversation, 'c'),
)
FIND_MERGED = 'SELECT id, conversation_id FROM conversation_merged WHERE id = ANY(%s::uuid[])'
FIND_REFERRED = """
SELECT id, chatbot_id, refers_to, phone_number_id FROM message WHERE id = ANY(%s::uuid[])
"""


def bodies(events: Sequence[Event]) -> list[Shown]:
    """The body of each event, in their order; an object that is gone is null."""
    found = Objects(events)
    return [
        {
            'id': event.id,
            'type': event.type,
            'timestamp': event.at,
            'chatbot_id': event.chatbot_id,
            'data': _data(event, found),
        }
        for event in events
    ]


def to_text(body: Shown) -> str:
    """A body as it is sent: ASCII JSON, times in RFC 3339."""
    return json.dumps(body, default=to_rfc3339, separators=(',', ':'))


class Objects:
    """The objects that events tell of, each kind read when it is asked for first."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events

    @cached_property
    def changed(self) -> dict[str, str]:
        """{id of a reaction, edit or revoke: the id of the message that it is about}.

        A number may have been another chatbot's before: what is that one's stays there.
        """
        ids = [one.message_id for one in self._events if one.type == 'message.changed']
        if not ids:
            return {}
        referred = fetch(FIND_REFERRED, (ids,))
        places = {RepliedTo(number, wamid) for _, _, wamid, number in referred if wamid}
        found = {
            (one.chatbot_id, one.phone_number_id, one.wamid): one.id
            for one in relations.find_at(places)
        }
        about = {id_: found.get((owner, number, wamid)) for id_, owner, wamid, number in referred}
        return {id_: other for id_, other in about.items() if other}

    @cached_property
    def messages(self) -> dict[str, Shown]:
        ids = _distinct(event.message_id for event in self._events)
        ids += [id_ for id_ in set(self.changed.values()) if id_ not in ids]
        if not ids:
            return {}
        messages = [Message.of_row(row) for row in fetch_dicts(FIND_MESSAGES, {'ids': ids})]
        shown = whole_message.serialize(messages)
        return {message.id: row for message, row in zip(messages, shown, strict=True)}

    @cached_property
    def conversations(self) -> dict[str, Conversation]:
        """{id of a conversation, also of one that was merged: the conversation}."""
        ids = _distinct(event.conversation_id for event in self._events)
        found = _conversations(ids)
        if missing := [id_ for id_ in ids if id_ not in found]:
            merged = dict(fetch(FIND_MERGED, (missing,)))
            into = _conversations(list(merged.values()))
            found |= {id_: into[target] for id_, target in merged.items() if target in into}
        return found

    @cached_property
    def accounts(self) -> dict[str, Shown]:
        chatbots = _distinct(one.chatbot_id for one in self._events if _family(one) == 'account')
        found = Account.find_all(chatbots)
        shown = health_event.serialize_accounts(list(found.values()))
        return dict(zip(found, shown, strict=True))

    @cached_property
    def batches(self) -> dict[str, Shown]:
        ids = _distinct(event.data.get('batch_id') for event in self._events)
        found = list(Batch.select().where(Batch.id.in_(ids)))
        return {one['id']: one for one in batch.serialize(found)}

    def conversation(self, event: Event) -> Shown | None:
        found = self.conversations.get(event.conversation_id or '')
        return found.to_dict() if found else None

    def message(self, message_id: str | None) -> Shown | None:
        return self.messages.get(message_id or '')

    def contact(self, event: Event) -> Shown | None:
        found = self.conversations.get(event.conversation_id or '')
        return contact.serialize_with_history(found) if found else None


def _conversations(ids: list[str]) -> dict[str, Conversation]:
    rows = fetch_dicts(FIND_CONVERSATIONS, {'ids': ids}) if ids else []
    return {row['id']: Conversation.of_row(row) for row in rows}


def _distinct(ids: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(id_ for id_ in ids if id_))


def _family(event: Event) -> str:
    """What an event is about: the first part of its type."""
    return event.type.partition('.')[0]


def _data(event: Event, found: Objects) -> Shown:
    return dict(PARTS[_family(event)](event, found))


Parts = Iterator[tuple[str, Any]]


def _of_message(event: Event, found: Objects) -> Parts:
    if event.type == 'message.changed':
        yield 'message', found.message(found.changed.get(event.message_id or ''))
        yield 'change', found.message(event.message_id)
        return
    yield 'message', found.message(event.message_id)
    if event.type == 'message.status':
        yield 'status', event.data['status']
        yield 'previous_status', event.data['previous_status']
    else:
        yield 'conversation', found.conversation(event)


def _of_media(event: Event, found: Objects) -> Parts:
    message = found.message(event.message_id)
    yield 'message', message
    yield 'media', message and message['media']


def _of_conversation(event: Event, found: Objects) -> Parts:
    yield 'conversation', found.conversation(event)
    if event.type == 'reply.failed':
        yield 'error', event.data.get('error')


def _of_contact(event: Event, found: Objects) -> Parts:
    yield 'contact', found.contact(event)


def _of_template(event: Event, found: Objects) -> Parts:
    wanted = {name: event.data[name] for name in ('name', 'language')}
    rows = template_sync.list_templates(event.data['waba_id'], wanted, None, 1)
    yield 'template', rows[0] if rows else None


def _of_account(event: Event, found: Objects) -> Parts:
    yield 'account', found.accounts.get(event.chatbot_id)
    if event.type == 'account.health':
        yield 'health', health_event.find_event(event.data['account_event_id'])


def _of_batch(event: Event, found: Objects) -> Parts:
    yield 'batch', found.batches.get(event.data['batch_id'])


def _of_budget(event: Event, found: Objects) -> Parts:
    for name in ('month', 'percent', 'cost', 'budget', 'currency'):
        yield name, event.data[name]


def _of_endpoint(event: Event, found: Objects) -> Parts:
    """Of endpoint.test: whoever asks for it puts the endpoint, as it is shown, into the event."""
    yield 'endpoint', event.data['endpoint']


PARTS: dict[str, Callable[[Event, Objects], Parts]] = {
    'message': _of_message,
    'media': _of_media,
    'conversation': _of_conversation,
    'reply': _of_conversation,
    'contact': _of_contact,
    'template': _of_template,
    'account': _of_account,
    'batch': _of_batch,
    'budget': _of_budget,
    'endpoint': _of_endpoint,
}
