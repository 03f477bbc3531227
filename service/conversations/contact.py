"""Contacts: the person behind a conversation, every id that leads there, and what changed.

A contact has the id of its conversation; there is no table of its own.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from service.content.person_id import read
from service.content.phone_numbers import candidates
from service.conversations.conversation import Conversation
from service.runtime.db import fetch
from service.runtime.errors import NotFound
from service.runtime.ids import new_id
from service.runtime.rows import Json, Uuid, execute_bulk, fetch_as

LIST_IDS = """
SELECT conversation_id, kind, value, seen_at FROM conversation_identity
WHERE conversation_id = ANY(%s::uuid[]) ORDER BY seen_at DESC NULLS LAST, value
"""
LIST_CHANGES = """
SELECT kind, detail, at, created_at FROM contact_event
WHERE conversation_id = %s ORDER BY id DESC LIMIT 200
"""
FIND_BY_ID = """
SELECT conversation_id FROM conversation_identity
WHERE chatbot_id IN (
    SELECT chatbot_id FROM whatsapp_cloud_account
    WHERE chatbot_id = coalesce(%(chatbot_id)s, chatbot_id))
  AND kind = %(kind)s AND value = ANY(%(values)s)
"""
INSERT_EVENTS = 'INSERT INTO contact_event ({columns}) SELECT * FROM {rows}'
NO_SUCH_CONTACT = 'There is no such contact.'
COLUMNS = ('id', 'chatbot_id', 'name', 'username', 'wa_id', 'user_id', 'parent_user_id')


@dataclass(slots=True)
class ContactEvent:
    """A change to a contact, kept to be shown: a row of contact_event."""

    conversation_id: Uuid
    kind: str
    detail: Json
    at: datetime | None  # Meta's time, None when it gives none
    id: Uuid = field(default_factory=new_id)


@dataclass(slots=True)
class ContactChange:
    """A ContactEvent as it is shown."""

    kind: str
    detail: Any
    at: datetime | None
    created_at: datetime


@dataclass(slots=True)
class KnownId:
    """An id that leads, or has led, to a conversation: a row of conversation_identity."""

    conversation_id: str
    kind: str
    value: str
    seen_at: datetime | None

    @property
    def is_previous_phone(self) -> bool:
        return self.kind == 'former'


def add_events(events: Sequence[ContactEvent]) -> None:
    """Keep what changed, to be shown."""
    execute_bulk(INSERT_EVENTS, events)


def find(contact_id: str) -> Conversation:
    """The conversation of a person. Raises NotFound, for a group too."""
    conversation = Conversation.find_or_none(contact_id)
    if conversation is None or conversation.group_id:
        raise NotFound(NO_SUCH_CONTACT)
    return conversation


def find_ids(chatbot_id: str | None, value: str) -> list[str]:
    """Ids of the contacts that a phone, in any of its forms, or a BSUID leads to, or once led to.

    Of all chatbots when none is named.
    """
    person = read(value)
    if person is None:
        return []
    values = candidates(person.value) if person.kind == 'phone' else [person.value]
    wanted = {'chatbot_id': chatbot_id, 'kind': person.kind, 'values': values}
    return [row[0] for row in fetch(FIND_BY_ID, wanted)]


def history(contact_id: str) -> list[ContactChange]:
    """The latest changes to a contact, the newest first."""
    return fetch_as(ContactChange, LIST_CHANGES, (contact_id,))


def serialize(conversations: Collection[Conversation]) -> list[dict[str, Any]]:
    """Contacts as callers see them, without their history."""
    if not conversations:
        return []
    known: dict[str, list[KnownId]] = defaultdict(list)
    for one in fetch_as(KnownId, LIST_IDS, ([one.id for one in conversations],)):
        known[one.conversation_id].append(one)
    return [_serialize(one, known[one.id]) for one in conversations]


def serialize_with_history(conversation: Conversation) -> dict[str, Any]:
    """A contact with what changed."""
    changes = [asdict(change) for change in history(conversation.id)]
    return {**serialize([conversation])[0], 'history': changes}


def _serialize(conversation: Conversation, known: Iterable[KnownId]) -> dict[str, Any]:
    known = list(known)
    phones = {one.value for one in known if one.kind == 'phone'}
    # A previous phone may have come back to them: then it is theirs, and no previous one.
    known = [one for one in known if not (one.is_previous_phone and one.value in phones)]
    current = {conversation.wa_id, conversation.user_id}
    return {name: getattr(conversation, name) for name in COLUMNS} | {
        'conversation_id': conversation.id,
        'phones': [_serialize_id(one, current) for one in known if one.kind in ('phone', 'former')],
        'user_ids': [_serialize_id(one, current) for one in known if one.kind == 'user'],
        'marketing': {
            'opted_out': conversation.opted_out_at is not None,
            'since': conversation.opted_out_at,
            'by': conversation.opted_out_by,
        },
        'created_at': conversation.created_at,
    }


def _serialize_id(known: KnownId, current: Collection[str | None]) -> dict[str, Any]:
    is_current = known.value in current and not known.is_previous_phone
    return {'value': known.value, 'current': is_current, 'seen_at': known.seen_at}
