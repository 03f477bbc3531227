"""Batches: one message to many, as rows of `message` with a state of their own."""

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

from peewee import DateTimeField, IntegerField, TextField

from service.accounts.account import Account
from service.graph.error_codes import explain
from service.messages.state_machine import WAITING
from service.runtime.config import settings
from service.runtime.db import db, execute, fetch
from service.runtime.errors import Conflict
from service.runtime.ids import new_id
from service.runtime.model import JSON, Row
from service.sending import holds
from service.sending.recipients import RecipientList


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

    SHOWN = (
        'id',
        'chatbot_id',
        'status',
        'reason',
        'recipients',
        'rejected',
        'duplicates',
        'dropped',
    )

    def to_dict(self, tally, account):
        """As callers see it. `tally`: of its messages; `account`: whose it is."""
        row = {name: getattr(self, name) for name in self.SHOWN}
        waiting = tally.waiting
        accepted = self.recipients - self.rejected - self.duplicates - self.dropped
        if self.status == 'running' and not waiting:
            row['status'] = 'done'
        if self.reason:
            row['reason'] = {**self.reason, **explain(self.reason.get('code'))}
        leaves = row['status'] == 'running' and account.may_send
        return row | {
            'accepted': accepted,
            'counts': dict(tally.counts),
            'progress': round(1 - waiting / accepted, 4) if accepted else 1,
            'estimated_end': tally.estimated_end(account.max_mps or settings.SEND_RATE)
            if leaves
            else None,
            'created_at': self.created_at,
            'updated_at': self.updated_at,
        }


class Tally:
    """How many messages of a batch are in which status, and how fast they leave."""

    PACE_SECONDS, PACE_LEAST = (
        60,
        10,
    )  # the pace is that of the last minute, once so many were accepted in it

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
        """When the last one leaves if it goes on like this; `rate` (a second) counts until there is
        a pace.
        """
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


def insert(recipients: RecipientList) -> str:
    """Store a batch whose recipients are sorted; returns its id."""
    batch_id = new_id()
    counts = recipients.total, recipients.rejected, recipients.duplicates, recipients.dropped
    execute(INSERT, (batch_id, recipients.chatbot_id, *counts))
    return batch_id


def serialize(batches):
    """Batches as callers see them, with their counts."""
    tallies, owners = defaultdict(Tally), {batch.chatbot_id for batch in batches}
    for batch_id, *entry in fetch(TALLY, ([batch.id for batch in batches],)):
        tallies[batch_id].add(*entry)
    accounts = {
        account.chatbot_id: account
        for account in Account.select().where(Account.chatbot_id.in_(owners))
    }
    return [batch.to_dict(tallies[batch.id], accounts[batch.chatbot_id]) for batch in batches]


MOVE = 'UPDATE batch SET status = %s, reason = %s, updated_at = now() WHERE id = %s AND status = ANY(%s)'


def pause(batch_id, reason=None):
    """Nothing more of it leaves until it is resumed.

    `reason`: Meta's error, None for a person's wish.
    """
    _move(batch_id, 'paused', ['running', 'paused'], holds.hold_batch, reason)


def resume(batch_id):
    _move(batch_id, 'running', ['paused', 'running'], holds.resume_batch)


def cancel(batch_id):
    """Take back what nobody has claimed yet; for good."""
    _move(batch_id, 'cancelled', ['running', 'paused', 'cancelled'], holds.cancel_batch)


def _move(batch_id, status, allowed, move_messages, reason=None):
    with db.atomic():
        if not execute(MOVE, (status, reason and json.dumps(reason), batch_id, allowed)):
            raise Conflict('The batch was cancelled.')
        move_messages(batch_id)
