"""Webhook events: Meta's bodies as they came, committed before the 200, and what became of every item in them."""

import base64
import json
import threading

from peewee import BlobField, DateTimeField, IntegerField, Model, SmallIntegerField, TextField
from psycopg2 import Binary

from service.account import JSON
from service.db import CONNECTION_LOST, columns, connection, db, execute, fetch, new_id
from service.errors import NotFound

ATTEMPTS = 4  # for an event that cannot be worked off, at the gaps of the retry policy
CLAIM_EVENTS, CLAIM_BYTES = 200, 4_000_000  # one batch of one worker; a single body may have 3 MB (section 1.3)


class WebhookEvent(Model):
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
        database = db
        table_name = 'webhook_event'

    @classmethod
    def without_body(cls):
        return cls.select(*(field for field in cls._meta.sorted_fields if field is not cls.body))

    @classmethod
    def find(cls, event_id):
        event = cls.get_or_none(cls.id == event_id)
        if event is None:
            raise NotFound('There is no such webhook event.')
        return event

    def to_dict(self, body=False):
        names = ('id', 'received_at', 'status', 'size', 'attempts', 'error', 'processed_at')
        row = {name: getattr(self, name) for name in names}
        row |= {'chatbot_id': self.path or None, 'items': self.items or []}
        return row | ({'raw_body_base64': base64.b64encode(self.body).decode()} if body else {})


INSERT = """
INSERT INTO webhook_event AS e (id, path, digest, size, body)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bytea[], %s::int[], %s::bytea[])
ON CONFLICT (digest, path)
  DO UPDATE SET status = 'received', unserved = false, attempts = 0, due_at = now(), error = NULL
WHERE e.status = 'failed' OR e.unserved
"""


class Intake:
    """Group commit: the bodies that arrive while one INSERT is under way go into the next one together.

    Whoever comes first leads: it inserts what waits, its own body among it, and wakes the others. Alone, a request
    costs one INSERT and no handing over; a thousand at once cost a few.
    """

    def __init__(self):
        self._lock, self._waiting, self._leading = threading.Lock(), [], False

    def store(self, path, digest, body):
        """Commit one body. Raises what the database raised when it could not be stored."""
        ticket = _Ticket(path, digest, body)
        with self._lock:
            self._waiting.append(ticket)
            follows = self._leading
            self._leading = True
        if follows:
            ticket.turn.wait()
        if not ticket.stored and ticket.error is None:
            self._lead()
        if ticket.error:
            raise ticket.error

    def _lead(self):
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            _insert(batch)
        except BaseException as error:  # whatever it is: nobody may wait for ever
            for ticket in batch:
                ticket.error = error
        for ticket in batch:
            ticket.stored = ticket.error is None
        with self._lock:
            successor = self._waiting[0] if self._waiting else None
            self._leading = successor is not None
        for ticket in batch:
            ticket.turn.set()
        if successor:
            successor.turn.set()


class _Ticket:
    __slots__ = ('body', 'digest', 'error', 'path', 'stored', 'turn')

    def __init__(self, path, digest, body):
        self.path, self.digest, self.body = path, digest, body
        self.turn, self.stored, self.error = threading.Event(), False, None


def _insert(batch):
    unique = {(ticket.digest, ticket.path): ticket for ticket in batch}  # one statement cannot meet a row twice
    rows = columns(
        (new_id(), path, Binary(digest), len(ticket.body), Binary(ticket.body))
        for (digest, path), ticket in sorted(unique.items(), key=lambda item: item[0])
    )
    try:
        with connection():
            execute(INSERT, rows)
    except CONNECTION_LOST:  # one from before a restart of PostgreSQL: once more on a new one, the digest makes it safe
        with connection():
            execute(INSERT, rows)


intake = Intake()

CLAIM = """
WITH due AS MATERIALIZED (
  SELECT id, size FROM webhook_event WHERE status = 'received' AND due_at <= now()
  ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED),
picked AS (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM due)
SELECT e.id, e.path, e.body, e.attempts FROM webhook_event e JOIN picked USING (id) WHERE before < %s ORDER BY id
"""
PROCESSED = """
UPDATE webhook_event e SET status = 'processed', items = n.items, unserved = n.unserved, error = NULL,
  processed_at = now()
FROM unnest(%s::uuid[], %s::json[], %s::bool[]) AS n (id, items, unserved) WHERE e.id = n.id
"""
QUARANTINE = """
UPDATE webhook_event SET status = 'quarantined', error = %s, items = '[]', processed_at = now() WHERE id = %s
"""
FAILED = """
UPDATE webhook_event SET status = CASE WHEN %(delay)s::float8 IS NULL THEN 'failed' ELSE 'received' END,
  attempts = attempts + 1, error = %(reason)s, due_at = now() + coalesce(%(delay)s, 0) * interval '1 second'
WHERE id = %(id)s AND status = 'received'
"""
REPLAY = """
UPDATE webhook_event SET status = 'received', attempts = 0, due_at = now(), error = NULL WHERE id = %s
"""


def claim(limit=CLAIM_EVENTS):
    """Received events, locked until the caller's transaction ends: a worker that dies gives them back by dying."""
    return fetch(CLAIM, (limit, CLAIM_BYTES))


def processed(results):
    """`results`: (event id, items) of events that are done."""
    rows = [
        (id_, json.dumps([item.report() for item in items]), any(item.outcome == 'refused' for item in items))
        for id_, items in results
    ]
    if rows:
        execute(PROCESSED, columns(rows))


def quarantine(event_id, reason):
    execute(QUARANTINE, (reason, event_id))


def failed(event_id, delay, reason):
    """It could not be worked off: again after `delay` seconds or, with None, given up until a replay."""
    execute(FAILED, {'id': event_id, 'delay': delay, 'reason': reason})


def replay(event_id):
    """Work an event off once more; what is stored already comes out as duplicate."""
    execute(REPLAY, (event_id,))
