"""Batches: one message to many, stored as rows of `message` under one row that says its state."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import DateTimeField, IntegerField, TextField

from service.accounts.account import Account
from service.graph.error_codes import explain
from service.graph.outcome import ErrorDict
from service.messages.state_machine import WAITING
from service.runtime.config import settings
from service.runtime.db import db, execute, fetch_dicts
from service.runtime.errors import Conflict
from service.runtime.ids import new_id
from service.runtime.model import JSON, Model
from service.runtime.prepared import fill
from service.runtime.rows import fetch_as
from service.sending import holds
from service.sending.recipients import RecipientList

# The pace of a batch is that of the last minute, once so many messages were accepted in it.
PACE_SECONDS = 60
PACE_MESSAGES = 10


class Batch(Model):
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

    def to_dict(self, tally: 'Tally', account: Account) -> dict[str, Any]:
        """The batch as callers see it. `tally`: of its messages; `account`: its owner."""
        waiting = tally.waiting
        accepted = self.recipients - self.rejected - self.duplicates - self.dropped
        is_done = self.status == 'running' and not waiting
        is_leaving = self.status == 'running' and not is_done and account.may_send
        rate = account.max_mps or settings.SEND_RATE
        return {
            'id': self.id,
            'chatbot_id': self.chatbot_id,
            'status': 'done' if is_done else self.status,
            'reason': self._explained_reason(),
            'recipients': self.recipients,
            'rejected': self.rejected,
            'duplicates': self.duplicates,
            'dropped': self.dropped,
            'accepted': accepted,
            'counts': dict(tally.counts),
            'progress': round(1 - waiting / accepted, 4) if accepted else 1,
            'estimated_end': tally.estimate_end(rate) if is_leaving else None,
            'created_at': self.created_at,
            'updated_at': self.updated_at,
        }

    def _explained_reason(self) -> dict[str, Any] | None:
        if not self.reason:
            return None
        return {**self.reason, **explain(self.reason.get('code'))}


@dataclass(slots=True)
class StatusCount:
    """The messages of a batch in one status.

    `recent`: how many Meta accepted within PACE_SECONDS; the first of them `recent_seconds` ago.
    `starts_at`: when the first scheduled one is due.
    """

    batch_id: str
    status: str
    count: int
    recent: int
    recent_seconds: float | None
    starts_at: datetime | None


@dataclass(slots=True)
class Tally:
    """How many messages of a batch are in which status, and how fast they leave."""

    counts: Counter[str] = field(default_factory=Counter)
    recent: int = 0
    recent_seconds: float = 0
    starts_at: datetime | None = None

    def add(self, one: StatusCount) -> None:
        self.counts[one.status] += one.count
        self.recent += one.recent
        self.recent_seconds = max(self.recent_seconds, one.recent_seconds or 0)
        self.starts_at = one.starts_at or self.starts_at

    @property
    def waiting(self) -> int:
        return sum(self.counts[status] for status in WAITING)

    def estimate_end(self, rate: float) -> datetime:
        """When the last message leaves. `rate`: messages a second, until there is a pace."""
        now = datetime.now(UTC)
        if self.recent >= PACE_MESSAGES and not self.starts_at:
            rate = min(rate, self.recent / max(self.recent_seconds, 1))
        return max(now, self.starts_at or now) + timedelta(seconds=self.waiting / rate)


COUNT_BY_STATUS = fill(
    """
SELECT batch_id, status, count(*) AS count, count(*) FILTER (WHERE {is_recent}) AS recent,
  extract(epoch FROM now() - min(accepted_at) FILTER (WHERE {is_recent}))::float AS recent_seconds,
  min(due_at) FILTER (WHERE status = 'scheduled') AS starts_at
FROM message WHERE batch_id = ANY(%(ids)s::uuid[]) GROUP BY batch_id, status
""",
    is_recent="accepted_at > now() - %(seconds)s * interval '1 second'",
)
INSERT_BATCH = """
INSERT INTO batch (id, chatbot_id, recipients, rejected, duplicates, dropped)
VALUES (%(id)s, %(chatbot_id)s, %(recipients)s, %(rejected)s, %(duplicates)s, %(dropped)s)
"""


def insert(recipients: RecipientList) -> str:
    """Store a batch whose recipients are sorted; returns its id."""
    batch_id = new_id()
    values = {
        'id': batch_id,
        'chatbot_id': recipients.chatbot_id,
        'recipients': recipients.total,
        'rejected': recipients.rejected,
        'duplicates': recipients.duplicates,
        'dropped': recipients.dropped,
    }
    execute(INSERT_BATCH, values)
    return batch_id


def serialize(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """Batches as callers see them, with their counts."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    values = {'ids': [batch.id for batch in batches], 'seconds': PACE_SECONDS}
    for one in fetch_as(StatusCount, COUNT_BY_STATUS, values):
        tallies[one.batch_id].add(one)
    owners = {batch.chatbot_id for batch in batches}
    found = Account.select().where(Account.chatbot_id.in_(owners))
    accounts = {account.chatbot_id: account for account in found}
    return [batch.to_dict(tallies[batch.id], accounts[batch.chatbot_id]) for batch in batches]


COUNT_FAILURES = """
SELECT coalesce(error ->> 'cause', error ->> 'code') AS code, min(error ->> 'title') AS title,
  count(*) AS count
FROM message WHERE batch_id = %s AND status = 'failed' GROUP BY 1 ORDER BY 3 DESC, 1
"""


def failures(batch_id: str) -> list[dict[str, Any]]:
    """Why messages of a batch have failed, the most frequent first, with sentences on it."""
    found = fetch_dicts(COUNT_FAILURES, (batch_id,))
    return [one | explain(_known_code(one['code'])) for one in found]


def _known_code(code: str | None) -> str | int | None:
    """A code as the table of errors has it: Meta's are numbers."""
    return int(code) if code and code.lstrip('-').isdigit() else code


SET_BATCH_STATUS = """
UPDATE batch SET status = %(status)s, reason = %(reason)s, updated_at = now()
WHERE id = %(id)s AND status = ANY(%(allowed)s)
"""


def pause(batch_id: str, reason: ErrorDict | None = None) -> None:
    """Hold what has not left until the batch is resumed.

    `reason`: Meta's error, None when a person wants it. Raises Conflict when it was cancelled.
    """
    _set_status(batch_id, 'paused', ['running', 'paused'], holds.hold_batch, reason)


def resume(batch_id: str) -> None:
    """Let it go on. Raises Conflict when it was cancelled."""
    _set_status(batch_id, 'running', ['paused', 'running'], holds.resume_batch)


def cancel(batch_id: str) -> None:
    """Take back, for good, what no worker has claimed yet."""
    _set_status(batch_id, 'cancelled', ['running', 'paused', 'cancelled'], holds.cancel_batch)


def _set_status(
    batch_id: str,
    status: str,
    allowed: list[str],
    move_messages: Callable[[str], None],
    reason: ErrorDict | None = None,
) -> None:
    values = {
        'id': batch_id,
        'status': status,
        'allowed': allowed,
        'reason': json.dumps(reason) if reason else None,
    }
    with db.atomic():
        if not execute(SET_BATCH_STATUS, values):
            raise Conflict('The batch was cancelled.')
        move_messages(batch_id)


# A batch is done when nothing of it may leave any more.
END_BATCHES = """
UPDATE batch SET done_at = now() WHERE id IN (
  SELECT b.id FROM batch b WHERE b.done_at IS NULL AND b.status = 'running' AND (
    SELECT true FROM message m WHERE m.batch_id = b.id AND m.waiting IS NOT NULL LIMIT 1) IS NULL
  ORDER BY b.id FOR NO KEY UPDATE SKIP LOCKED)
"""


def end() -> int:
    """Write down which batches are done, which their owners are told of; returns how many."""
    return execute(END_BATCHES)
