"""Facts: what Meta's statuses tell beside a message's own states, payments above all.

They are kept and shown, and move nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from service.runtime.ids import ID
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Json, fetch_as, fetch_bulk
from service.runtime.untrusted import MAX_NAME, as_dict, clean

Key = tuple[str | bytes, ...]  # of a status or a fact: one that comes twice has the same key


class StatusItem(Protocol):
    """What is read of a webhook's item of kind `status`."""

    data: dict[str, Any]
    phone_number_id: Any
    wamid: Any

    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Fact:
    """A status that speaks of something else than the message's state.

    `opaque`: biz_opaque_callback_data; `digest`: of all that Meta said, so a status that comes
    twice is one fact.
    """

    chatbot_id: str
    phone_number_id: str
    wamid: str
    type: str
    status: str
    timestamp: datetime
    opaque: str | None
    payment: Json | None
    errors: Json | None
    digest: bytes

    @property
    def key(self) -> Key:
        return self.phone_number_id, self.wamid, self.digest


@dataclass(slots=True)
class StoredFact:
    """A fact as it is shown."""

    message_id: str
    id: int
    type: str
    status: str
    timestamp: datetime
    payment: Any
    errors: Any


def of_status(item: StatusItem, chatbot_id: str) -> Fact:
    """The Fact in an item of kind `status` whose type is not a message's."""
    data = item.data
    said = json.dumps(data, sort_keys=True)
    return Fact(
        chatbot_id=chatbot_id,
        phone_number_id=item.phone_number_id,
        wamid=item.wamid,
        type=status_type(data) or 'unknown',
        status=clean(data['status'], MAX_NAME) or '',
        timestamp=item.at,
        opaque=clean(data.get('biz_opaque_callback_data'), 512),
        payment=as_dict(data.get('payment')) or None,
        errors=data.get('errors') or None,
        digest=hashlib.sha256(said.encode()).digest(),
    )


# While nobody knows whose fact it is, it has no message: FIND_FACTS finds it by the wamid.
INSERT_FACTS = fill(
    """
INSERT INTO message_fact (message_id, {columns})
SELECT coalesce(
  (SELECT m.id FROM message m
   WHERE m.id = CASE WHEN n.opaque ~ '^{id}$' THEN n.opaque::uuid END
     AND m.chatbot_id = n.chatbot_id AND m.direction = 'outbound'),
  (SELECT m.id FROM message m WHERE m.phone_number_id = n.phone_number_id AND m.wamid = n.wamid
     AND m.direction = 'outbound' AND m.wamid IS NOT NULL LIMIT 1)), n.*
FROM {rows}
ON CONFLICT (phone_number_id, wamid, digest) DO NOTHING
RETURNING phone_number_id, wamid, digest, message_id IS NOT NULL
""",
    id=ID,
)


def store(facts: Sequence[Fact]) -> dict[Key, str]:
    """Keep facts, in the caller's transaction.

    Returns 'stored' or 'orphan' for the key of each new one.
    """
    unique = {fact.key: fact for fact in facts}
    # Everybody inserts in one order, so that two workers never wait for each other.
    stored = fetch_bulk(INSERT_FACTS, [unique[key] for key in sorted(unique)])
    return {
        (number, wamid, bytes(digest)): 'stored' if is_known else 'orphan'
        for number, wamid, digest, is_known in stored
    }


# num_nulls() keeps out the index of all orphans.
FIND_FACTS = Prepared("""
SELECT f.message_id, f.id, f.type, f.status, f.timestamp, f.payment, f.errors
FROM message_fact f WHERE f.message_id = ANY(%(ids)s::uuid[])
UNION ALL
SELECT m.id, f.id, f.type, f.status, f.timestamp, f.payment, f.errors
FROM message m CROSS JOIN LATERAL (
  SELECT * FROM message_fact f
  WHERE f.phone_number_id = m.phone_number_id AND f.wamid = m.wamid
    AND num_nulls(f.message_id) = 1
  OFFSET 0) f
WHERE m.id = ANY(%(ids)s::uuid[]) AND m.direction = 'outbound'
ORDER BY timestamp, id
""")


def of_messages(message_ids: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """(message id, entry of its `statuses`) for each fact of these messages, the oldest first."""
    found = fetch_as(StoredFact, FIND_FACTS, {'ids': message_ids})
    return [(fact.message_id, _serialize(fact)) for fact in found]


def _serialize(fact: StoredFact) -> dict[str, Any]:
    entry = {'status': fact.status, 'timestamp': fact.timestamp, 'type': fact.type}
    if fact.payment:
        entry['payment'] = fact.payment
    if fact.errors:
        entry['errors'] = fact.errors
    return entry


def status_type(status: dict[str, Any]) -> str | None:
    """What a status speaks of, say 'payment'; None for the message's own state (section 14)."""
    kind = status.get('type')
    if kind is None or kind == '':
        return 'payment' if as_dict(status.get('payment')) else None
    kind = clean(kind, MAX_NAME) or 'unknown'
    return None if kind.casefold() == 'message' else kind
