"""Webhook events: Meta's bodies as they came, and what became of every item in them.

They are committed before Meta gets its 200. The same bytes on the same path are one event.
"""

import base64
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from peewee import (
    BlobField,
    DateTimeField,
    IntegerField,
    ModelSelect,
    SmallIntegerField,
    TextField,
)

from service.runtime import tracing
from service.runtime.db import CONNECTION_LOST, connection, execute
from service.runtime.errors import Gone
from service.runtime.ids import new_id
from service.runtime.model import JSON, Model
from service.runtime.prepared import Prepared
from service.runtime.rows import Json, Uuid, execute_bulk, fetch_as, fetch_bulk
from service.runtime.session import deadline
from service.webhooks.item import Item, ItemOutcome, JsonObject

STORE_SECONDS = 10  # for a commit of webhooks; then 503, and Meta repeats them
# In one batch of one worker; a single body may have 3 MB (section 1.3).
MAX_EVENTS = 200
MAX_BYTES = 4_000_000


class WebhookEvent(Model):
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
    redacted_at = DateTimeField(null=True)

    class Meta:
        table_name = 'webhook_event'

    SHOWN = (
        'id',
        'received_at',
        'status',
        'size',
        'attempts',
        'error',
        'processed_at',
        'redacted_at',
    )

    @classmethod
    def without_body(cls) -> 'ModelSelect[Self]':
        return cls.select(*(field for field in cls._meta.sorted_fields if field is not cls.body))

    def to_dict(self, body: bool = False) -> dict[str, Any]:
        row = {name: getattr(self, name) for name in self.SHOWN}
        row['chatbot_id'] = self.path or None
        row['items'] = self.items or []
        if body:
            row['raw_body_base64'] = base64.b64encode(self.body).decode()
        return row


# Statuses, three for each message of ours, wait for the next full fifth of a second, so that they
# are worked off together. A drain that is woken for one looks for longer (workers.loop.LINGER).
BUS_SECONDS = 0.2
NEXT_BUS = f"date_bin('{BUS_SECONDS} s', now(), 'epoch') + interval '{BUS_SECONDS} s'"
# Whether a body holds statuses alone is guessed: no message waits, at worst something else does.
STATUSES = re.compile(rb'"statuses"\s*:')
MESSAGES = re.compile(rb'"(?:messages|message_echoes)"\s*:')


@dataclass(slots=True)
class SignedBody:
    """A webhook to be stored. `path`: the chatbot whose own path it came by, '' for the shared one.

    `digest`: the HMAC that its signature was verified with; `takes_bus`: whether it may wait.
    """

    path: str
    digest: bytes
    body: bytes
    id: Uuid = field(default_factory=new_id)
    takes_bus: bool = field(init=False)

    def __post_init__(self) -> None:
        self.takes_bus = bool(STATUSES.search(self.body)) and not MESSAGES.search(self.body)


@dataclass(slots=True)
class EventKey:
    digest: bytes
    path: str


INSERT_EVENTS = Prepared.for_rows(SignedBody)(
    """
INSERT INTO webhook_event (path, digest, body, id, size, due_at)
SELECT path, digest, body, id, octet_length(body),
  CASE WHEN takes_bus THEN {next_bus} ELSE now() END
FROM {rows}
ON CONFLICT (digest, path) DO NOTHING
""",
    next_bus=NEXT_BUS,
)
# An event that failed, or of which an item was refused, is processed again when it comes again.
# DO UPDATE above would wait for the worker that has the event in hand, and Meta with it.
REOPEN_KNOWN_EVENTS = """
UPDATE webhook_event
SET status = 'received', unserved = false, attempts = 0, due_at = now(), error = NULL
WHERE id IN (
  SELECT e.id FROM webhook_event e JOIN {rows} USING (digest, path)
  WHERE (e.status = 'failed' OR e.unserved) AND octet_length(e.body) > 0
  ORDER BY e.id FOR NO KEY UPDATE OF e SKIP LOCKED)
"""


def store_events(bodies: Iterable[SignedBody]) -> None:
    """Commit bodies in one INSERT. Raises when it could not."""
    # One statement cannot meet a row twice; in one order, so that nobody waits in a circle.
    unique = {(one.digest, one.path): one for one in bodies}
    rows = [unique[key] for key in sorted(unique)]
    with deadline(STORE_SECONDS):
        try:
            _insert(rows)
        except CONNECTION_LOST:
            # It was from before a restart of PostgreSQL. Once more on a new connection: what has
            # been stored after all is known by its digest.
            _insert(rows)


def _insert(rows: list[SignedBody]) -> None:
    with connection():
        tracing.begin('webhook', [row.id for row in rows])  # first: a worker may be quick
        if execute_bulk(INSERT_EVENTS, rows) < len(rows):
            execute_bulk(REOPEN_KNOWN_EVENTS, [EventKey(row.digest, row.path) for row in rows])


# Why `LIMIT (SELECT …)`: see service/jobs/job_table.py.
NEXT_DUE = """
WITH waiting AS (
  SELECT due_at FROM webhook_event WHERE status = 'received' ORDER BY id LIMIT (SELECT 1000000))
SELECT min(due_at) FROM waiting
"""
CLAIM = """
WITH due AS MATERIALIZED (
  SELECT id, size FROM webhook_event WHERE status = 'received' AND due_at <= now() {others}
  ORDER BY id LIMIT (SELECT %(limit)s::bigint) FOR UPDATE SKIP LOCKED),
picked AS (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM due)
SELECT e.id, e.path, e.body, e.attempts, e.received_at,
  (SELECT true FROM erased LIMIT 1) IS NOT NULL AS is_anybody_erased
FROM webhook_event e JOIN picked USING (id)
WHERE before < %(max_bytes)s ORDER BY id
"""
CLAIM_EVENTS = Prepared(CLAIM, others='')
# A subquery is looked up in a hash table, an array would be gone through for each row.
CLAIM_OTHER_EVENTS = Prepared(CLAIM, others='AND id NOT IN (SELECT unnest(%(held_back)s::uuid[]))')


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event that this worker has in hand. `path`: as in SignedBody.

    `is_anybody_erased`: whether it may be about somebody who was (webhooks/erased_parts.py).
    """

    id: str
    path: str
    body: memoryview
    attempts: int
    received_at: datetime
    is_anybody_erased: bool = False


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """An event whose body is a JSON object, and the items in it."""

    event: ClaimedEvent
    body: JsonObject
    items: list[Item]


def claim(limit: int = MAX_EVENTS, *, held_back: Collection[str] = ()) -> list[ClaimedEvent]:
    """Lock received events until the caller's transaction ends, be it by the worker's death.

    `held_back`: ids of events that are left alone for now.
    """
    wanted = {'limit': limit, 'max_bytes': MAX_BYTES}
    if not held_back:
        return fetch_as(ClaimedEvent, CLAIM_EVENTS, wanted)
    return fetch_as(ClaimedEvent, CLAIM_OTHER_EVENTS, wanted | {'held_back': [*held_back]})


@dataclass(slots=True)
class ProcessedEvent:
    """`unserved`: an item was refused, so that a redelivery is worth another look."""

    id: Uuid
    items: Json
    unserved: bool


# In one statement with the question whether there is anybody who relays: it is asked of each batch.
RECORD_PROCESSED = Prepared.for_rows(ProcessedEvent)("""
UPDATE webhook_event e SET status = 'processed', items = n.items, unserved = n.unserved,
  error = NULL, processed_at = now()
FROM {rows} WHERE e.id = n.id
RETURNING (SELECT 1 FROM endpoint WHERE kind = 'relay' LIMIT 1) IS NOT NULL
""")


def record_processed(events: Iterable[ParsedEvent]) -> bool:
    """Write what became of events that are done; return whether any endpoint relays."""
    recorded = fetch_bulk(RECORD_PROCESSED, [_processed(one) for one in events])
    return any(is_relayed for (is_relayed,) in recorded)


def _processed(done: ParsedEvent) -> ProcessedEvent:
    is_unserved = any(item.outcome == ItemOutcome.REFUSED for item in done.items)
    return ProcessedEvent(done.event.id, [item.report() for item in done.items], is_unserved)


QUARANTINE_EVENT = """
UPDATE webhook_event
SET status = 'quarantined', error = %(reason)s, items = '[]', processed_at = now()
WHERE id = %(id)s
"""


def quarantine(event_id: str, reason: str) -> None:
    """Set an event aside that is no JSON object."""
    execute(QUARANTINE_EVENT, {'id': event_id, 'reason': reason})


RECORD_FAILURE = """
UPDATE webhook_event SET
  status = CASE WHEN %(delay)s::float8 IS NULL THEN 'failed' ELSE 'received' END,
  attempts = least(attempts + 1, 32767), error = %(reason)s,
  due_at = now() + coalesce(%(delay)s, 0) * interval '1 second'
WHERE id = %(id)s AND status = 'received'
"""


def record_failure(event_id: str, delay: float | None, reason: str) -> None:
    """Try an event again in `delay` seconds; with None it is given up until a replay."""
    execute(RECORD_FAILURE, {'id': event_id, 'delay': delay, 'reason': reason})


REPLAY_EVENT = """
UPDATE webhook_event SET status = 'received', attempts = 0, due_at = now(), error = NULL
WHERE id = %s AND (redacted_at IS NULL OR octet_length(body) > 0)
"""


def replay(event_id: str) -> None:
    """Process an event once more; what is stored already comes out as duplicate.

    Raises Gone when its body is no longer kept.
    """
    if not execute(REPLAY_EVENT, (event_id,)):
        raise Gone('The body of this webhook is no longer kept.', code='body_gone')
