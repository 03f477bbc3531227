"""What Meta's statuses tell beside a message's own states, payments above all: kept and shown, it
moves nothing.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import datetime

from psycopg2 import Binary

from service.runtime.db import fetch, fetch_dicts, to_json
from service.runtime.ids import ID
from service.runtime.untrusted import MAX_NAME, as_dict, clean


@dataclass(frozen=True, slots=True)
class Fact:
    """One status that speaks of something else.

    `digest`: of all that Meta said, so a repeated one is one fact.
    """

    chatbot_id: str
    phone_number_id: str
    wamid: str
    type: str
    status: str
    timestamp: datetime
    opaque: str | None
    payment: str | None  # JSON, like the next one
    errors: str | None
    digest: bytes

    @property
    def key(self) -> tuple[str, str, bytes]:
        return self.phone_number_id, self.wamid, self.digest


def of_status(item, chatbot_id: str) -> Fact:
    """The Fact in an item of kind `status` whose type is not a message's."""
    data = item.data
    said = json.dumps(data, sort_keys=True)
    return Fact(
        chatbot_id=chatbot_id,
        phone_number_id=item.phone_number_id,
        wamid=item.wamid,
        type=status_type(data),
        status=clean(data['status'], MAX_NAME),
        timestamp=item.at,
        opaque=clean(data.get('biz_opaque_callback_data'), 512),
        payment=to_json(as_dict(data.get('payment')) or None),
        errors=to_json(data.get('errors') or None),
        digest=hashlib.sha256(said.encode()).digest(),
    )


COLUMNS = {
    'chatbot_id': 'text',
    'phone_number_id': 'text',
    'wamid': 'text',
    'type': 'text',
    'status': 'text',
    'timestamp': 'timestamptz',
    'opaque': 'text',
    'payment': 'json',
    'errors': 'json',
    'digest': 'bytea',
}  # of each fact, with their types
# Whose message is not known yet has none: it is found by its wamid when that is read (OF_MESSAGES).
INSERT_FACTS = f"""
INSERT INTO message_fact (message_id, {', '.join(COLUMNS)})
SELECT coalesce(
  (SELECT m.id FROM message m WHERE m.id = CASE WHEN n.opaque ~ '^{ID}$' THEN n.opaque::uuid END
     AND m.chatbot_id = n.chatbot_id AND m.direction = 'outbound'),
  (SELECT m.id FROM message m WHERE m.phone_number_id = n.phone_number_id AND m.wamid = n.wamid
     AND m.direction = 'outbound' AND m.wamid IS NOT NULL LIMIT 1)), n.*
FROM unnest({', '.join(f'%({name})s::{kind}[]' for name, kind in COLUMNS.items())}) AS n ({', '.join(COLUMNS)})
ON CONFLICT (phone_number_id, wamid, digest) DO NOTHING
RETURNING phone_number_id, wamid, digest, message_id IS NOT NULL
"""


def store(facts: list[Fact]) -> dict[tuple, str]:
    """Keep facts, in the caller's transaction.

    Returns {key: 'stored' | 'orphan'} of those that are new.
    """
    unique = {fact.key: fact for fact in facts}
    rows = [unique[key] for key in sorted(unique)]  # everybody inserts in one order
    if not rows:
        return {}
    values = {column.name: [getattr(row, column.name) for row in rows] for column in fields(Fact)}
    values['digest'] = list(map(Binary, values['digest']))
    stored = fetch(INSERT_FACTS, values)
    return {
        (number, wamid, bytes(digest)): 'stored' if known else 'orphan'
        for number, wamid, digest, known in stored
    }


OF_MESSAGES = """
SELECT f.message_id, f.id, f.type, f.status, f.timestamp, f.payment, f.errors
FROM message_fact f WHERE f.message_id = ANY(%(ids)s::uuid[])
UNION ALL
SELECT m.id, f.id, f.type, f.status, f.timestamp, f.payment, f.errors
FROM message m JOIN message_fact f USING (phone_number_id, wamid)
WHERE m.id = ANY(%(ids)s::uuid[]) AND m.direction = 'outbound' AND f.message_id IS NULL
ORDER BY timestamp, id
"""


def of_messages(message_ids: list[str]) -> list[tuple[str, dict]]:
    """(message id, entry of its `statuses`) of what was told beside these messages' states, the
    oldest first.
    """
    rows = fetch_dicts(OF_MESSAGES, {'ids': message_ids})
    return [(row['message_id'], _entry(row)) for row in rows]


def _entry(row: dict) -> dict:
    entry = {name: row[name] for name in ('status', 'timestamp', 'type')}
    return entry | {name: row[name] for name in ('payment', 'errors') if row[name]}


def status_type(status):
    """What a status speaks of, 'payment' say, when it is not the message's own state; None when it
    is (section 14).
    """
    kind = status.get('type')
    if kind is None or kind == '':
        return 'payment' if as_dict(status.get('payment')) else None
    kind = clean(kind, MAX_NAME) or 'unknown'
    return None if kind.casefold() == 'message' else kind
