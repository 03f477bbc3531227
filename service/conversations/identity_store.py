"""The rows of conversation_identity: whose every id is, read and written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from service.content.person_id import named
from service.conversations.conversation import ShownIds, update_ids
from service.conversations.identity_claim import (
    PARENT,
    PHONE,
    USER,
    IdentityClaim,
    Key,
    in_order,
)
from service.conversations.merge import FIND_WITH_BSUID
from service.runtime.db import connection, fetch
from service.runtime.prepared import Prepared
from service.runtime.rows import Uuid, execute_bulk, fetch_as, fetch_bulk_as

OWNERS = """
SELECT i.chatbot_id, i.kind, i.value, i.conversation_id, i.seen_at FROM conversation_identity i
JOIN {rows} USING (chatbot_id, kind, value)
"""
FIND_OWNERS = Prepared.for_rows(Key)(OWNERS)
KEEP_OWNERS = 'JOIN conversation c ON c.id = i.conversation_id ORDER BY c.id FOR KEY SHARE OF c'
FIND_AND_KEEP_OWNERS = Prepared.for_rows(Key)(OWNERS + KEEP_OWNERS)
FIND_PHONES = """
SELECT chatbot_id, kind, value FROM conversation_identity
WHERE kind = 'phone' AND conversation_id = ANY(%s::uuid[])
"""
FIND_KNOWN_PHONES = """
SELECT value FROM conversation_identity
WHERE chatbot_id = %s AND kind IN ('phone', 'former') AND value = ANY(%s)
"""
FIND_ADDRESSEES = """
SELECT m.chatbot_id, m.id, m.conversation_id
FROM message m JOIN conversation c ON c.id = m.conversation_id
WHERE m.id = ANY(%s::uuid[]) AND m.direction = 'outbound' AND c.group_id IS NULL
"""
FIND_SHOWN_IDS = """
SELECT id, wa_id, user_id, parent_user_id, known_at FROM conversation WHERE id = ANY(%s::uuid[])
"""


@dataclass(slots=True)
class IdentityOwner:
    """Whose a key is, and Meta's time of the latest claim: a row of conversation_identity."""

    chatbot_id: str
    kind: str
    value: str
    conversation_id: Uuid
    seen_at: datetime | None

    @classmethod
    def of(cls, key: Key, conversation_id: str, seen_at: datetime | None) -> 'IdentityOwner':
        return cls(key.chatbot_id, key.kind, key.value, conversation_id, seen_at)

    @property
    def until(self) -> datetime:
        """Of a previous owner: until when the key was theirs. Such a row always has a time."""
        return cast(datetime, self.seen_at)


@dataclass(slots=True)
class Addressee:
    """To which conversation a message of ours went."""

    chatbot_id: str
    id: Uuid
    conversation_id: Uuid


@dataclass(slots=True)
class NewConversation:
    """A conversation that is not stored yet."""

    id: Uuid
    chatbot_id: str
    wa_id: str | None
    user_id: str | None
    parent_user_id: str | None
    group_id: str | None
    known_at: datetime | None


@dataclass(slots=True)
class PhoneMove:
    """A key that gets another owner, or none: where it was shown before, it no longer is."""

    chatbot_id: str
    kind: str
    value: str
    owner_id: Uuid | None


def find_owners(keys: Iterable[Key], keep: bool = False) -> dict[Key, IdentityOwner]:
    """The owners of those keys that are known; with `keep` their conversations stay."""
    statement = FIND_AND_KEEP_OWNERS if keep else FIND_OWNERS
    owners = fetch_bulk_as(IdentityOwner, statement, in_order(keys))
    return {Key(owner.chatbot_id, owner.kind, owner.value): owner for owner in owners}


def find_known(claims: Iterable[IdentityClaim]) -> dict[IdentityClaim, str]:
    """The conversation that each claim most likely leads to; others are new people.

    It only looks, for an estimate: who is who is decided when something is stored (identity.py).
    """
    forms = {claim: _forms(claim) for claim in claims}
    owners = find_owners({key for keys in forms.values() for key in keys})
    known = {}
    for claim, keys in forms.items():
        found = next((owners[key] for key in keys if key in owners), None)
        if found:
            known[claim] = found.conversation_id
    return known


def _forms(claim: IdentityClaim) -> list[Key]:
    """The keys of a claim, a phone in each way to write it."""
    return [form for key in claim.keys for form in (key, *key.variants())]


def known_phones(chatbot_id: str, given: Iterable[object]) -> set[str]:
    """Which of these, however written, are phones that lead, or led, to somebody: as digits."""
    numbers = {phone for one in given if (phone := named(one).get('phone'))}
    if not numbers:
        return set()
    with connection():
        return {value for (value,) in fetch(FIND_KNOWN_PHONES, (chatbot_id, sorted(numbers)))}


def find_phones(conversations: list[str]) -> dict[Key, IdentityOwner]:
    """The phones that lead to these conversations, and who had these phones before."""
    phones = fetch_as(Key, FIND_PHONES, (conversations,))
    return find_owners([*phones, *(phone.previous_owner for phone in phones)])


def find_addressees(message_ids: list[str]) -> dict[tuple[str, str], str]:
    """{(chatbot_id, message id): conversation} of messages to single persons."""
    rows = fetch_as(Addressee, FIND_ADDRESSEES, (message_ids,)) if message_ids else []
    return {(row.chatbot_id, row.id): row.conversation_id for row in rows}


def find_with_bsuid(conversations: list[str]) -> set[str]:
    """Which of these conversations have a BSUID."""
    return {id_ for (id_,) in fetch(FIND_WITH_BSUID, (conversations,))} if conversations else set()


def find_shown_ids(conversations: list[str]) -> dict[str, dict[str, str | None]]:
    """{conversation: {kind: value}} of what is shown of them."""
    rows = fetch_as(ShownIds, FIND_SHOWN_IDS, (conversations,)) if conversations else []
    return {
        row.id: {PHONE: row.wa_id, USER: row.user_id, PARENT: row.parent_user_id} for row in rows
    }


CREATE_CONVERSATIONS = Prepared.for_rows(NewConversation)(
    'INSERT INTO conversation ({columns}) SELECT * FROM {rows}'
)
CLEAR_PHONES = Prepared.for_rows(PhoneMove)("""
UPDATE conversation c SET wa_id = NULL
FROM {rows} JOIN conversation_identity i USING (chatbot_id, kind, value)
WHERE c.id = i.conversation_id AND i.kind = 'phone' AND c.wa_id = i.value
  AND n.owner_id IS DISTINCT FROM c.id
""")
DELETE_IDS = """
DELETE FROM conversation_identity i USING {rows}
WHERE (i.chatbot_id, i.kind, i.value) = (n.chatbot_id, n.kind, n.value)
"""
ASSIGN_IDS = Prepared.for_rows(IdentityOwner)("""
INSERT INTO conversation_identity ({columns}) SELECT * FROM {rows}
ON CONFLICT (chatbot_id, kind, value) DO UPDATE
  SET conversation_id = excluded.conversation_id, seen_at = excluded.seen_at
""")


def write(
    created: Sequence[NewConversation],
    moved: Sequence[IdentityOwner],
    freed: Sequence[Key],
    shown: Sequence[ShownIds],
) -> None:
    """Store what a resolution decided, in the caller's transaction, which holds the rows."""
    execute_bulk(CREATE_CONVERSATIONS, created)
    moves = [PhoneMove(key.chatbot_id, key.kind, key.value, None) for key in freed]
    moves += [PhoneMove(one.chatbot_id, one.kind, one.value, one.conversation_id) for one in moved]
    execute_bulk(CLEAR_PHONES, moves)
    execute_bulk(DELETE_IDS, freed)
    execute_bulk(ASSIGN_IDS, moved)
    update_ids(shown)


UPDATE_SEEN_AT = Prepared.for_rows(IdentityOwner)("""
UPDATE conversation_identity i SET seen_at = n.seen_at FROM {rows}
WHERE (i.chatbot_id, i.kind, i.value, i.conversation_id)
    = (n.chatbot_id, n.kind, n.value, n.conversation_id)
  AND (i.seen_at IS NULL OR i.seen_at < n.seen_at)
""")


def update_seen_at(seen: Sequence[IdentityOwner]) -> None:
    """Note when people were last seen with these ids, unless they have others by now."""
    execute_bulk(UPDATE_SEEN_AT, seen)
