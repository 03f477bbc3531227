"""Ids of people who were erased: what Meta tells of them later is recognised, and not kept.

Kept are digests alone: of the ids of conversations and messages, and of Meta's ids of messages.
"""

import hashlib
from collections.abc import Collection, Iterable

from service.runtime.db import execute, fetch
from service.runtime.prepared import Prepared

# For so long Meta may tell of a message: it keeps 30 days what it could not deliver, and people
# read late.
KEPT_DAYS = 90
DELETED = 1000  # in one statement
INSERT = """
INSERT INTO erased (digest, chatbot_id)
SELECT digest, %(chatbot_id)s FROM unnest(%(digests)s::bytea[]) AS digest ORDER BY digest
ON CONFLICT DO NOTHING
"""
FIND = Prepared('SELECT digest FROM erased WHERE digest = ANY(%(digests)s::bytea[])')
FIND_OWNER = 'SELECT chatbot_id FROM erased WHERE digest = %s'
DELETE_OLD = """
DELETE FROM erased WHERE digest IN (
  SELECT digest FROM erased WHERE erased_at < now() - %(days)s * interval '1 day'
  ORDER BY erased_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""


def remember(chatbot_id: str, ids: Collection[str]) -> None:
    """Keep the digests of ids whose person is erased, in the caller's transaction."""
    execute(INSERT, {'chatbot_id': chatbot_id, 'digests': [digest(id_) for id_ in set(ids)]})


def find(ids: Iterable[str]) -> set[str]:
    """Those of the ids that were an erased person's."""
    by_digest = {digest(id_): id_ for id_ in ids}
    if not by_digest:
        return set()
    found = fetch(FIND, {'digests': sorted(by_digest)})
    return {by_digest[bytes(one)] for (one,) in found}


def owner(id_: str) -> str | None:
    """The chatbot whose conversation an erased one was; None when none was erased."""
    rows = fetch(FIND_OWNER, (digest(id_),))
    return rows[0][0] if rows else None


def delete_old() -> int:
    """Forget some that are older than KEPT_DAYS; returns how many."""
    return execute(DELETE_OLD, {'days': KEPT_DAYS, 'limit': DELETED})


def digest(id_: str) -> bytes:
    return hashlib.sha256(id_.encode('utf-8', 'surrogatepass')).digest()
