"""Rules: for how many days an account keeps what, and how far the clock has come with each."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service.runtime.db import execute, fetch
from service.runtime.ids import FIRST_ID, id_at
from service.runtime.rows import fetch_as

PORTION = 500  # rows of one transaction


@dataclass(frozen=True, slots=True)
class Rule:
    """After how many days what an account has goes; None: it is kept."""

    chatbot_id: str
    events_days: int | None
    text_days: int | None
    media_days: int | None

    @property
    def told_days(self) -> int | None:
        """Of what repeats the texts: webhooks' bodies and events. The shorter rule holds."""
        return min(filter(None, (self.events_days, self.text_days)), default=None)

    def older(self, days: int) -> dict[str, object]:
        """The parameters of a statement about a portion of what is so many days old."""
        return {
            'chatbot_id': self.chatbot_id,
            'first_kept': first_kept(days),
            'until': datetime.now(UTC) - timedelta(days=days),
            'limit': PORTION,
        }


FIND_RULES = """
SELECT chatbot_id, (retention ->> 'events_days')::int AS events_days,
  (retention ->> 'text_days')::int AS text_days, (retention ->> 'media_days')::int AS media_days
FROM whatsapp_cloud_account WHERE retention IS NOT NULL ORDER BY chatbot_id
"""


def find_rules() -> list[Rule]:
    """The rules of all accounts that have any."""
    return fetch_as(Rule, FIND_RULES)


def first_kept(days: int) -> str:
    """What is older has an id before this one."""
    return id_at(datetime.now(UTC), -timedelta(days=days))


BEGIN_PROGRESS = """
INSERT INTO retention_progress (kind, owner, last_id) VALUES (%(kind)s, %(owner)s, %(first)s)
ON CONFLICT DO NOTHING
"""
LOCK_PROGRESS = """
SELECT last_id FROM retention_progress WHERE kind = %(kind)s AND owner = %(owner)s
FOR UPDATE SKIP LOCKED
"""
MOVE_PROGRESS = """
UPDATE retention_progress SET last_id = %(last_id)s WHERE kind = %(kind)s AND owner = %(owner)s
"""
FORGET_PROGRESS = """
DELETE FROM retention_progress WHERE kind = %(kind)s AND owner <> ALL(%(owners)s)
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rows of a kind have been looked at for one owner."""

    kind: str
    owner: str

    @property
    def _key(self) -> dict[str, str]:
        return {'kind': self.kind, 'owner': self.owner}

    def lock(self) -> str | None:
        """The last id that was looked at; None when another clock is at it.

        In a transaction, whose end lets it go.
        """
        found = fetch(LOCK_PROGRESS, self._key)
        if not found:
            if not execute(BEGIN_PROGRESS, self._key | {'first': FIRST_ID}):
                return None
            found = fetch(LOCK_PROGRESS, self._key)
        return found[0][0] if found else None

    def move(self, last_id: str) -> None:
        execute(MOVE_PROGRESS, self._key | {'last_id': last_id})


def forget_progress(kind: str, owners: Iterable[str]) -> None:
    """Forget how far others than these owners were."""
    execute(FORGET_PROGRESS, {'kind': kind, 'owners': sorted(owners)})
