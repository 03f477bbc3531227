"""Contacts: the person behind a conversation, every id that leads there, and what changed of them.

A contact has the id of its conversation; there is no table of its own.
"""

from service.content.person_id import read
from service.content.phone_numbers import candidates
from service.conversations.conversation import Conversation
from service.runtime.db import columns, execute, fetch, fetch_dicts, to_json
from service.runtime.errors import NotFound
from service.runtime.ids import new_id

KNOWN_BY = """
SELECT conversation_id, kind, value, seen_at FROM conversation_identity
WHERE conversation_id = ANY(%s::uuid[]) ORDER BY seen_at DESC NULLS LAST, value
"""
HISTORY = 'SELECT kind, detail, at, created_at FROM contact_event WHERE conversation_id = %s ORDER BY id DESC LIMIT 200'
FIND = """
SELECT conversation_id FROM conversation_identity
WHERE chatbot_id IN (SELECT chatbot_id FROM whatsapp_cloud_account WHERE chatbot_id = coalesce(%s, chatbot_id))
  AND kind = %s AND value = ANY(%s)
"""
NOTE = """
INSERT INTO contact_event (id, conversation_id, kind, detail, at)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::json[], %s::timestamptz[])
"""


def note(events):
    """Write down for people what changed: [(conversation id, kind, detail, Meta's time or None)]."""
    if events:
        execute(
            NOTE,
            columns(
                [(new_id(), id_, kind, to_json(detail), at) for id_, kind, detail, at in events]
            ),
        )


def find(contact_id):
    """The conversation of a person. Raises NotFound, for a group too."""
    conversation = Conversation.find(contact_id)
    if conversation.group_id:
        raise NotFound('There is no such contact.')
    return conversation


def known_by(chatbot_id: str | None, value: str) -> list[str]:
    """Ids of the contacts that a phone leads to, in whichever of its forms, or a BSUID, also one of
    before.

    Of all chatbots when none is named.
    """
    named = read(value)
    if named is None:
        return []
    values = candidates(named.value) if named.kind == 'phone' else [named.value]
    return [row[0] for row in fetch(FIND, (chatbot_id, named.kind, values))]


def serialize(conversations):
    """Contacts as callers see them, without their history."""
    known = {}
    for row in fetch_dicts(KNOWN_BY, ([one.id for one in conversations],)) if conversations else []:
        known.setdefault(row['conversation_id'], []).append(row)
    return [_shown(one, known.get(one.id, [])) for one in conversations]


def _shown(conversation, known):
    theirs = {row['value'] for row in known if row['kind'] == 'phone'}
    known = [
        row for row in known if row['kind'] != 'former' or row['value'] not in theirs
    ]  # it came back to them
    names = ('id', 'chatbot_id', 'name', 'username', 'wa_id', 'user_id', 'parent_user_id')
    current = (conversation.wa_id, conversation.user_id)
    ids = {'phones': ('phone', 'former'), 'user_ids': ('user',)}
    return {name: getattr(conversation, name) for name in names} | {
        'conversation_id': conversation.id,
        **{
            name: [_id(row, current) for row in known if row['kind'] in kinds]
            for name, kinds in ids.items()
        },
        'marketing': {
            'opted_out': conversation.opted_out_at is not None,
            'since': conversation.opted_out_at,
            'by': conversation.opted_out_by,
        },
        'created_at': conversation.created_at,
    }


def _id(row, current):
    is_current = row['value'] in current and row['kind'] != 'former'
    return {'value': row['value'], 'current': is_current, 'seen_at': row['seen_at']}


def history(contact_id):
    """What changed, the latest first."""
    return fetch_dicts(HISTORY, (contact_id,))
