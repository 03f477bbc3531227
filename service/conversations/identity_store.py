"""The rows of conversation_identity: whose every id is, read and written for
identity_resolution.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from service.content.person_id import named
from service.content.phone_numbers import candidates
from service.conversations.conversation import ShownIds, update_ids
from service.conversations.merge import WITH_BSUID
from service.runtime.db import columns, connection, execute, fetch

LOOK_UP = """
SELECT i.chatbot_id, i.kind, i.value, i.conversation_id, i.seen_at FROM conversation_identity i
JOIN unnest(%s::text[], %s::text[], %s::text[]) AS wanted (chatbot_id, kind, value) USING (chatbot_id, kind, value)
"""
LOOK_UP_AND_KEEP = (
    f'{LOOK_UP} JOIN conversation c ON c.id = i.conversation_id ORDER BY c.id FOR KEY SHARE OF c'
)
PHONES_OF = """
SELECT chatbot_id, kind, value FROM conversation_identity WHERE kind = 'phone' AND conversation_id = ANY(%s::uuid[])
"""
KNOWN_PHONES = """
SELECT value FROM conversation_identity
WHERE chatbot_id = %s AND kind IN ('phone', 'former') AND value = ANY(%s)
"""
SENT_TO = """
SELECT m.chatbot_id, m.id, m.conversation_id FROM message m JOIN conversation c ON c.id = m.conversation_id
WHERE m.id = ANY(%s::uuid[]) AND m.direction = 'outbound' AND c.group_id IS NULL
"""
CURRENT = 'SELECT id, wa_id, user_id, parent_user_id FROM conversation WHERE id = ANY(%s::uuid[])'
CREATE = """
INSERT INTO conversation (id, chatbot_id, wa_id, user_id, parent_user_id, group_id, known_at)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])
"""
LOSE_PHONE = """
UPDATE conversation c SET wa_id = NULL
FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[]) AS n (chatbot_id, kind, value, id)
JOIN conversation_identity i USING (chatbot_id, kind, value)
WHERE c.id = i.conversation_id AND i.kind = 'phone' AND c.wa_id = i.value AND n.id IS DISTINCT FROM c.id
"""
FREE = """
DELETE FROM conversation_identity i USING unnest(%s::text[], %s::text[], %s::text[]) AS n (chatbot_id, kind, value)
WHERE (i.chatbot_id, i.kind, i.value) = (n.chatbot_id, n.kind, n.value)
"""
ASSIGN = """
INSERT INTO conversation_identity (chatbot_id, kind, value, conversation_id, seen_at)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[], %s::timestamptz[])
ON CONFLICT (chatbot_id, kind, value) DO UPDATE
  SET conversation_id = excluded.conversation_id, seen_at = excluded.seen_at
"""


@dataclass(slots=True)
class Owner:
    """Whose an identity is, and Meta's time of the latest evidence; of a `former` one, until when
    it was theirs.
    """

    conversation: str
    seen_at: datetime | None


def look_up(keys, keep=False):
    """{(chatbot_id, kind, value): Owner} of those that are known; with `keep` their conversations
    stay.
    """
    rows = fetch(LOOK_UP_AND_KEEP if keep else LOOK_UP, columns(sorted(keys))) if keys else []
    return {row[:3]: Owner(*row[3:]) for row in rows}


def known_phones(chatbot_id: str, given: Iterable[object]) -> set[str]:
    """Which of these, however they are written, are phones that lead, or led, to somebody: as
    digits.
    """
    numbers = {phone for one in given if (phone := named(one).get('phone'))}
    if not numbers:
        return set()
    with connection():
        return {value for (value,) in fetch(KNOWN_PHONES, (chatbot_id, sorted(numbers)))}


def former(key):
    """The key under which stands until when a phone was somebody's, or a BSUID was not replaced."""
    return key[0], {'phone': 'former', 'user': 'replaced'}[key[1]], key[2]


def variants(key):
    """Other forms of a phone that may be the same one (content/phone_numbers.py): only to look a
    person up by.
    """
    return [(key[0], 'phone', form) for form in candidates(key[2])[1:]] if key[1] == 'phone' else []


def phones_of(conversations):
    """The phones that lead to them, and what these were before."""
    phones = fetch(PHONES_OF, (conversations,))
    return look_up([*phones, *map(former, phones)])


def sent_to(message_ids):
    """{(chatbot_id, message id): conversation} of messages to single persons."""
    return {row[:2]: row[2] for row in fetch(SENT_TO, (message_ids,))} if message_ids else {}


def with_bsuid(conversations):
    return {row[0] for row in fetch(WITH_BSUID, (conversations,))} if conversations else set()


def current(conversations):
    """{conversation: (wa_id, user_id, parent_user_id)}."""
    return {row[0]: row[1:] for row in fetch(CURRENT, (conversations,))} if conversations else {}


def write(created, moved, freed, shown: list[ShownIds]):
    """What a settlement decided.

    `created`: rows as CREATE wants them; `moved`: {key: Owner}.
    """
    if created:
        execute(CREATE, columns(created))
    moved = [(*key, owner.conversation, owner.seen_at) for key, owner in sorted(moved.items())]
    freed = sorted(freed)
    if moved or freed:
        execute(LOSE_PHONE, columns([(*key, None) for key in freed] + [row[:4] for row in moved]))
    if freed:
        execute(FREE, columns(freed))
    if moved:
        execute(ASSIGN, columns(moved))
    update_ids(shown)
