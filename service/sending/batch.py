"""Batches: one message to many, as rows of `message` with a state of their own."""

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

from peewee import DateTimeField, IntegerField, TextField

from service.accounts.account import Account
from service.graph.error_codes import explain
from service.messages.state_machine import WAITING
from service.runtime.config import settings
from service.runtime.db import db, execute, execute_long, fetch, new_id
from service.runtime.errors import Conflict
from service.runtime.model import JSON, Row
from service.sending.recipients import Bulk
from service.templates import template


class Batch(Row):
    NOUN = 'batch'

    id = TextField(primary_key=True)
    chatbot_id = TextField()
    status = TextField()
    reason = JSON(null=True)
    recipients = IntegerField()
    rejected = IntegerField()
    duplicates = IntegerField()
    dropped = IntegerField()
    created_at = DateTimeField()
    updated_at = DateTimeField()

    SHOWN = ('id', 'chatbot_id', 'status', 'reason', 'recipients', 'rejected', 'duplicates', 'dropped')

    def to_dict(self, tally, account):
        """As callers see it. `tally`: of its messages; `account`: whose it is."""
        row = {name: getattr(self, name) for name in self.SHOWN}
        waiting = tally.waiting
        accepted = self.recipients - self.rejected - self.duplicates - self.dropped
        if self.status == 'running' and not waiting:
            row['status'] = 'done'
        if self.reason:
            row['reason'] = {**self.reason, **explain(self.reason.get('code'))}
        leaves = row['status'] == 'running' and account.active and account.send_state == 'ok'
        return row | {
            'accepted': accepted,
            'counts': dict(tally.counts),
            'progress': round(1 - waiting / accepted, 4) if accepted else 1,
            'estimated_end': tally.estimated_end(account.max_mps or settings.SEND_RATE) if leaves else None,
            'created_at': self.created_at,
            'updated_at': self.updated_at,
        }


class Tally:
    """How many messages of a batch are in which status, and how fast they leave."""

    PACE_SECONDS, PACE_LEAST = 60, 10  # the pace is that of the last minute, once so many were accepted in it

    def __init__(self):
        self.counts, self.recent, self.recent_seconds, self.starts = Counter(), 0, 0, None

    def add(self, status, count, recent, recent_seconds, starts):
        self.counts[status] += count
        self.recent += recent
        self.recent_seconds = max(self.recent_seconds, recent_seconds or 0)
        self.starts = starts or self.starts

    @property
    def waiting(self):
        return sum(count for status, count in self.counts.items() if status in WAITING)

    def estimated_end(self, rate):
        """When the last one leaves if it goes on like this; `rate` (a second) counts until there is a pace."""
        now = datetime.now(UTC)
        if self.recent >= self.PACE_LEAST and not self.starts:
            rate = min(rate, self.recent / max(self.recent_seconds, 1))
        return max(now, self.starts or now) + timedelta(seconds=self.waiting / rate)


TALLY = f"""
SELECT batch_id, status, count(*), count(*) FILTER (WHERE accepted_at > now() - interval '{Tally.PACE_SECONDS} s'),
  extract(epoch FROM now() - min(accepted_at) FILTER (WHERE accepted_at > now() - interval '{Tally.PACE_SECONDS} s')
  )::float, min(due_at) FILTER (WHERE status = 'scheduled')
FROM message WHERE batch_id = ANY(%s::uuid[]) GROUP BY batch_id, status
"""
INSERT = """
INSERT INTO batch (id, chatbot_id, recipients, rejected, duplicates, dropped) VALUES (%s, %s, %s, %s, %s, %s)
"""


def insert(bulk: Bulk) -> str:
    """A row for a bulk whose recipients are sorted; its id."""
    batch_id = new_id()
    counts = bulk.recipients, bulk.rejected, bulk.duplicates, bulk.dropped
    execute(INSERT, (batch_id, bulk.chatbot_id, *counts))
    return batch_id


def shown(batches):
    """Batches as callers see them, with their counts."""
    tallies, owners = defaultdict(Tally), {batch.chatbot_id for batch in batches}
    for batch_id, *entry in fetch(TALLY, ([batch.id for batch in batches],)):
        tallies[batch_id].add(*entry)
    accounts = {account.chatbot_id: account for account in Account.select().where(Account.chatbot_id.in_(owners))}
    return [batch.to_dict(tallies[batch.id], accounts[batch.chatbot_id]) for batch in batches]


MOVE = 'UPDATE batch SET status = %s, reason = %s, updated_at = now() WHERE id = %s AND status = ANY(%s)'
# Also what is held already: else a new token would send it although the batch is paused. due_at stays: a message that
# Meta wants to wait for a day (131049) waits for it also over a pause.
HOLD = """
UPDATE message m SET status = 'held', hold_reason = 'batch', updated_at = now()
FROM (
  SELECT id FROM message WHERE batch_id = %s AND status IN ('scheduled', 'queued', 'held')
  ORDER BY id FOR NO KEY UPDATE) d
WHERE m.id = d.id
"""
RESUME = """
UPDATE message m SET status = d.status, hold_reason = CASE WHEN d.status = 'held' THEN 'account' END,
  updated_at = now(), due_at = CASE WHEN d.status <> 'held' THEN greatest(m.due_at, m.send_at, now()) END
FROM (
  SELECT m.id, CASE WHEN m.send_at > now() THEN 'scheduled' WHEN a.active AND a.send_state = 'ok' THEN 'queued'
    ELSE 'held' END AS status
  FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE m.batch_id = %s AND m.status = 'held' AND m.hold_reason = 'batch' ORDER BY m.id FOR NO KEY UPDATE OF m) d
WHERE m.id = d.id
"""
CANCEL = """
UPDATE message m SET status = 'cancelled', hold_reason = NULL, due_at = NULL, updated_at = now()
FROM (
  SELECT id FROM message WHERE batch_id = %s AND status IN ('scheduled', 'queued', 'held')
  ORDER BY id FOR NO KEY UPDATE) d
WHERE m.id = d.id
"""


# What crossed a pause or a cancel: read before, written after it.
STRAYS = """
UPDATE message m SET status = CASE b.status WHEN 'paused' THEN 'held' ELSE 'cancelled' END,
  due_at = CASE b.status WHEN 'paused' THEN m.due_at END,
  hold_reason = CASE b.status WHEN 'paused' THEN 'batch' END, updated_at = now()
FROM batch b WHERE m.batch_id = b.id AND b.status IN ('paused', 'cancelled') AND m.status IN ('scheduled', 'queued')
"""


def settle_strays():
    """Hold or cancel what missed its batch's turn; returns how many messages."""
    return execute_long(STRAYS)


def pause(batch_id, reason=None):
    """Nothing more of it leaves until it is resumed. `reason`: Meta's error, None for a person's wish."""
    _move(batch_id, 'paused', ['running', 'paused'], HOLD, reason)


def resume(batch_id):
    with db.atomic():
        _move(batch_id, 'running', ['paused', 'running'], RESUME)
        template.settle()


def cancel(batch_id):
    """Take back what nobody has claimed yet; for good."""
    _move(batch_id, 'cancelled', ['running', 'paused', 'cancelled'], CANCEL)


def _move(batch_id, status, allowed, messages, reason=None):
    with db.atomic():
        if not execute(MOVE, (status, reason and json.dumps(reason), batch_id, allowed)):
            raise Conflict('The batch was cancelled.')
        execute_long(messages, (batch_id,))
