"""Webhook events: Meta's bodies as they came, committed before the 200, and what became of every
item in them.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from peewee import BlobField, DateTimeField, IntegerField, SmallIntegerField, TextField
from psycopg2 import Binary

from service.runtime.db import CONNECTION_LOST, columns, connection, deadline, execute, fetch_dicts
from service.runtime.ids import new_id
from service.runtime.model import JSON, Row

STORE_SECONDS = 10  # for a commit of webhooks; then 503, and Meta repeats them
MAX_EVENTS, MAX_BYTES = (
    200,
    4_000_000,
)  # one batch of one worker; a single body may have 3 MB (section 1.3)


class WebhookEvent(Row):
    NOUN = 'webhook event'

    id = TextField(primary_key=True)
    path = TextField()
    status = TextField()
    size = IntegerField()
    body = BlobField()
    items = JSON(null=True)
    attempts = SmallIntegerField()
    error = TextField(null=True)
    received_at = DateTimeField()
    processed_at = DateTimeField(null=True)

    class Meta:
        table_name = 'webhook_event'

    @classmethod
    def without_body(cls):
        return cls.select(*(field for field in cls._meta.sorted_fields if field is not cls.body))

    def to_dict(self, body=False):
        names = ('id', 'received_at', 'status', 'size', 'attempts', 'error', 'processed_at')
        row = {name: getattr(self, name) for name in names}
        row |= {'chatbot_id': self.path or None, 'items': self.items or []}
        return row | ({'raw_body_base64': base64.b64encode(self.body).decode()} if body else {})


INSERT_EVENTS = """
INSERT INTO webhook_event (id, path, digest, size, body)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bytea[], %s::int[], %s::bytea[])
ON CONFLICT (digest, path) DO NOTHING
"""
# Of what was known already. DO UPDATE above would wait for the worker that has the event in hand,
# and Meta with it.
REOPEN_KNOWN_EVENTS = """
UPDATE webhook_event SET status = 'received', unserved = false, attempts = 0, due_at = now(), error = NULL
WHERE id IN (
  SELECT e.id FROM webhook_event e JOIN unnest(%s::bytea[], %s::text[]) AS n (digest, path) USING (digest, path)
  WHERE e.status = 'failed' OR e.unserved ORDER BY e.id FOR NO KEY UPDATE OF e SKIP LOCKED)
"""


def store_events(bodies):
    """Commit raw bodies in one INSERT: [(path, digest, body)]; equal ones are one event.

    Raises when it could not.
    """
    unique = {
        (digest, path): body for path, digest, body in bodies
    }  # one statement cannot meet a row twice
    rows = columns(
        (new_id(), path, Binary(digest), len(body), Binary(body))
        for (digest, path), body in sorted(unique.items())
    )
    with deadline(STORE_SECONDS):
        try:
            _insert(rows)
        except (
            CONNECTION_LOST
        ):  # from before a restart of PostgreSQL: once more on a new one, the digest makes it safe
            _insert(rows)


def _insert(rows):
    with connection():
        if execute(INSERT_EVENTS, rows) < len(rows[0]):
            execute(REOPEN_KNOWN_EVENTS, (rows[2], rows[1]))


NEXT_DUE = "SELECT min(due_at) FROM webhook_event WHERE status = 'received'"
CLAIM_EVENTS = """
WITH due AS MATERIALIZED (
  SELECT id, size FROM webhook_event WHERE status = 'received' AND due_at <= now()
  ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED),
picked AS (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM due)
SELECT e.id, e.path, e.body, e.attempts, e.received_at FROM webhook_event e JOIN picked USING (id)
WHERE before < %s ORDER BY id
"""
RECORD_PROCESSED = """
UPDATE webhook_event e SET status = 'processed', items = n.items, unserved = n.unserved, error = NULL,
  processed_at = now()
FROM unnest(%s::uuid[], %s::json[], %s::bool[]) AS n (id, items, unserved) WHERE e.id = n.id
"""
QUARANTINE_EVENT = """
UPDATE webhook_event SET status = 'quarantined', error = %s, items = '[]', processed_at = now() WHERE id = %s
"""
RECORD_FAILURE = """
UPDATE webhook_event SET status = CASE WHEN %(delay)s::float8 IS NULL THEN 'failed' ELSE 'received' END,
  attempts = least(attempts + 1, 32767), error = %(reason)s,
  due_at = now() + coalesce(%(delay)s, 0) * interval '1 second'
WHERE id = %(id)s AND status = 'received'
"""
POSTPONE_EVENT = """
UPDATE webhook_event SET due_at = now() + %s * interval '1 second' WHERE id = %s AND status = 'received'
"""
REPLAY_EVENT = """
UPDATE webhook_event SET status = 'received', attempts = 0, due_at = now(), error = NULL WHERE id = %s
"""


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event that this worker has in hand.

    `path`: the chatbot's whose own webhook it came by, else ''.
    """

    id: str
    path: str
    body: memoryview
    attempts: int
    received_at: datetime


def claim(limit: int = MAX_EVENTS) -> list[ClaimedEvent]:
    """Received events, locked until the caller's transaction ends: a worker that dies gives them
    back by dying.
    """
    return [ClaimedEvent(**row) for row in fetch_dicts(CLAIM_EVENTS, (limit, MAX_BYTES))]


def record_processed(results: Iterable[tuple[str, list]]) -> None:
    """`results`: (event id, items) of events that are done."""
    rows = [
        (
            id_,
            json.dumps([item.report() for item in items]),
            any(item.outcome == 'refused' for item in items),
        )
        for id_, items in results
    ]
    if rows:
        execute(RECORD_PROCESSED, columns(rows))


def quarantine(event_id, reason):
    execute(QUARANTINE_EVENT, (reason, event_id))


def record_failure(event_id, delay, reason):
    """It could not be worked off: again after `delay` seconds or, with None, given up until a
    replay.
    """
    execute(RECORD_FAILURE, {'id': event_id, 'delay': delay, 'reason': reason})


def postpone(event_id, delay):
    """It is looked at again in `delay` seconds, and has lost no attempt."""
    execute(POSTPONE_EVENT, (delay, event_id))


def replay(event_id):
    """Work an event off once more; what is stored already comes out as duplicate."""
    execute(REPLAY_EVENT, (event_id,))
