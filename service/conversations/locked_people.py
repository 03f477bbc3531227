"""Of whom nothing can be stored now, because somebody holds a lock for longer than one may wait."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from peewee import OperationalError

from service.conversations.identity_claim import IdentityClaim, Key, in_order
from service.runtime.db import LOCK_NOT_AVAILABLE, fetch, sqlstate
from service.runtime.rows import fetch_bulk_as

# How many milliseconds to wait for a lock where others would wait along. Other workers hold one for
# some tens of them.
PATIENCE = 200

FIND_LOCKED = """
WITH free AS MATERIALIZED (
  SELECT id FROM conversation WHERE id = ANY(%(ids)s::uuid[])
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
SELECT id FROM conversation WHERE id = ANY(%(ids)s::uuid[]) AND id NOT IN (SELECT id FROM free)
"""
FIND_ALL_KEYS = """
SELECT DISTINCT other.chatbot_id, other.kind, other.value
FROM {rows} JOIN conversation_identity i USING (chatbot_id, kind, value)
JOIN conversation_identity other ON other.conversation_id = i.conversation_id
"""

Claims = Iterable[IdentityClaim]


class PeopleLocked(OperationalError):
    """PostgreSQL did not get a lock in time, and it is known whose. Undo the transaction first."""

    def __init__(self, refusal: OperationalError, claims: Callable[[], Claims]) -> None:
        super().__init__(*refusal.args)
        self.orig = getattr(refusal, 'orig', refusal)
        self._claims = claims

    def claims(self) -> list[IdentityClaim]:
        """What was said of the people who have to wait; nothing when the lock is free by now."""
        return list(self._claims())


@contextmanager
def blame(claims: Callable[[], Claims]) -> Iterator[None]:
    """Say whose lock it is that a block does not get. Raises PeopleLocked.

    `claims`: finds out of whom; called after the transaction.
    """
    try:
        yield
    except OperationalError as error:
        if sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        raise PeopleLocked(error, claims) from error


def in_conversations(
    found: Mapping[IdentityClaim, str | None], conversations: Iterable[str], resolved: Claims
) -> list[IdentityClaim]:
    """The claims that lead to those of the conversations that somebody holds.

    `resolved`: of whom something may have been taken, where a row is held that no claim leads to.
    """
    locked = {id_ for (id_,) in fetch(FIND_LOCKED, {'ids': sorted(conversations)})}
    claims = {claim for claim, id_ in found.items() if id_ in locked}
    if locked - {found[claim] for claim in claims}:
        claims |= {*resolved}
    return list(claims)


def all_keys(claims: Claims) -> set[Key]:
    """All keys by which these people may be named elsewhere, as far as is known."""
    keys = {key for claim in claims for key in claim.keys}
    keys |= {form for key in keys for form in key.variants()}
    return keys | {*fetch_bulk_as(Key, FIND_ALL_KEYS, in_order(keys))}
