"""Outages of Meta's: a number, or all of them, that only fails is away.

Its messages wait as they are, a probe goes now and then, and the first success lets all go on.

The rows of graph_outage hold for all workers and outlive them. There is one while there is trouble
alone, so that who succeeds pays for one look into an empty table.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.graph.outcome import Outcome
from service.runtime.db import execute, fetch, fetch_dicts, to_json

log = logging.getLogger(__name__)

LIMIT = 10  # failures in a row
FIRST_PROBE, LAST_PROBE = 5, 60  # seconds until a probe; each one that fails doubles them
ALL = 'app'  # the scope of all numbers
THROTTLED = frozenset(('number', 'waba', 'app'))  # error_table.SCOPES that have a brake
KEPT_DAYS = 1  # of a row of failures that nobody ended or went on with
BRIEFLY = 1  # seconds until a probe that found no message tries again
DECIDED_WITHIN = (
    5  # seconds after its grace an unknown message is decided: the clock sweeps every two
)
CLOCKS_DIFFER = 60  # seconds, PostgreSQL's and a worker's, at most
LONGEST_WAIT = 600  # seconds that a conversation waits behind an unknown message

Told = tuple[str, Outcome, datetime]  # a phone_number_id, what became of a call, when


def scope_of(phone_number_id: str) -> str:
    return f'number:{phone_number_id}'


@dataclass(slots=True)
class Streak:
    """Failures in a row of one scope: a row of graph_outage.

    `error`: the contract's, of the latest.
    """

    scope: str
    phone_number_id: str
    since: datetime
    failed_at: datetime
    error: dict[str, Any]
    several: bool = False
    failures: int = 0
    away_since: datetime | None = None
    probe_at: datetime | None = None
    probes: int = 0

    def add(self, phone_number_id: str, outcome: Outcome, at: datetime) -> None:
        """Complaints of going too fast count once a second at most, like they brake."""
        again = self.failures and (at - self.failed_at).total_seconds() < 1
        if outcome.scope in THROTTLED and again:
            return
        self.failures += 1
        self.failed_at, self.error = max(at, self.failed_at), outcome.error or {}
        self.several = self.several or phone_number_id != self.phone_number_id

    @property
    def is_away(self) -> bool:
        """All numbers are not away for what only one of them suffers from: that one is, by its own
        row.
        """
        return self.failures >= LIMIT and (self.scope != ALL or self.several)


@dataclass(slots=True)
class News:
    """What a batch of calls told: the scopes that are away now, and of them those that were not
    before; who is back.
    """

    away: set[str] = field(default_factory=set)
    began: list[Streak] = field(default_factory=list)
    ended: list[Streak] = field(default_factory=list)

    def is_away(self, phone_number_id: str) -> bool:
        return ALL in self.away or scope_of(phone_number_id) in self.away


LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('outages', 1))"
LOOK = 'SELECT * FROM graph_outage WHERE scope = ANY(%s) ORDER BY scope'
FORGET = 'DELETE FROM graph_outage WHERE scope = ANY(%s) OR %s'
COUNT = f"""
INSERT INTO graph_outage AS o
  (scope, phone_number_id, several, failures, error, since, failed_at, away_since, probe_at)
SELECT scope, phone_number_id, several, failures, error, since, failed_at, CASE WHEN is_away THEN now() END,
  CASE WHEN is_away THEN now() + interval '{FIRST_PROBE} s' END
FROM unnest(%(scope)s::text[], %(phone_number_id)s::text[], %(several)s::bool[], %(failures)s::int[],
  %(error)s::json[], %(since)s::timestamptz[], %(failed_at)s::timestamptz[], %(is_away)s::bool[])
  AS n (scope, phone_number_id, several, failures, error, since, failed_at, is_away)
ON CONFLICT (scope) DO UPDATE SET several = excluded.several, failures = excluded.failures, error = excluded.error,
  failed_at = excluded.failed_at, away_since = coalesce(o.away_since, excluded.away_since),
  probe_at = coalesce(o.probe_at, excluded.probe_at)
"""
COUNTED = ('scope', 'phone_number_id', 'several', 'failures', 'since', 'failed_at', 'is_away')


def note(calls: Iterable[Told]) -> News:
    """Count the failures of a batch, in its transaction and before all else of it."""
    told = [call for call in calls if call[1].tells_of_meta is not None]
    scopes = sorted({ALL, *(scope_of(number) for number, _, _ in told)})
    if (
        not told
        or all(out.tells_of_meta for _, out, _ in told)
        and not fetch_dicts(LOOK, (scopes,))
    ):
        return News()
    execute(LOCK)
    before = {row['scope']: Streak(**row) for row in fetch_dicts(LOOK, (scopes,))}
    return _write(before, _after(before, sorted(told, key=lambda one: one[2])))


def _after(before: dict[str, Streak], told: list[Told]) -> dict[str, Streak]:
    """The streaks as the calls leave them, in the order in which they ended."""
    streaks = dict(before)
    for number, outcome, at in told:
        for scope in (ALL, scope_of(number)):
            if outcome.tells_of_meta:
                streaks.pop(scope, None)
            elif scope != ALL or outcome.scope not in THROTTLED:
                new = Streak(scope, number, at, at, outcome.error or {})
                streaks.setdefault(scope, new).add(number, outcome, at)
    return streaks


def _write(before: dict[str, Streak], after: dict[str, Streak]) -> News:
    ended = [streak for scope, streak in before.items() if after.get(scope) is not streak]
    are_all_back = any(streak.scope == ALL and streak.away_since for streak in ended)
    if are_all_back:  # each number begins anew, also those that failed along with the others
        after = {}
    if ended:
        execute(FORGET, ([streak.scope for streak in ended], are_all_back))
    if streaks := [after[scope] for scope in sorted(after)]:
        execute(
            COUNT,
            {name: [getattr(one, name) for one in streaks] for name in COUNTED}
            | {'error': [to_json(one.error) for one in streaks]},
        )
    away = [streak for streak in after.values() if streak.is_away or streak.away_since]
    return News(
        {streak.scope for streak in away},
        [streak for streak in away if not streak.away_since],
        [streak for streak in ended if streak.away_since],
    )


# In SQL, the scope that an account `a` is away with: that of all numbers, else its own.
AWAY = f"""
SELECT o.scope, o.probe_at FROM graph_outage o
WHERE o.away_since IS NOT NULL AND o.scope IN ('{ALL}', '{scope_of('')}' || a.phone_number_id)
ORDER BY o.scope LIMIT 1
"""


# What failed while it was not known yet that nothing could succeed: attempts are not counted, and
# nobody overtakes a message of which nobody knows whether it was sent. In transactions of their own
# that wait for no row of others'.
UNCOUNT = f"""
UPDATE message m SET attempts = greatest(0, m.attempts - d.failed), updated_at = now()
FROM (
  SELECT m.id, (SELECT count(*) FROM jsonb_array_elements(m.tries) one
    WHERE one ->> 'outcome' = 'retry' AND (one ->> 'at')::timestamptz >= %(since)s) AS failed
  FROM message m
  WHERE m.status = 'queued' AND m.attempts > 0 AND m.updated_at >= %(since)s - interval '{CLOCKS_DIFFER} s'
    AND (%(all)s OR m.phone_number_id = %(number)s)
  ORDER BY m.id FOR NO KEY UPDATE SKIP LOCKED) d
WHERE m.id = d.id
"""
WAIT_BEHIND_UNKNOWN = f"""
UPDATE conversation c SET send_after = greatest(c.send_after, least(d.until, now() + interval '{LONGEST_WAIT} s'))
FROM (
  SELECT c.id, u.until FROM conversation c JOIN (
    SELECT conversation_id, max(due_at) + interval '{DECIDED_WITHIN} s' AS until FROM message
    WHERE status = 'unknown' AND updated_at >= %(since)s - interval '{CLOCKS_DIFFER} s'
      AND (%(all)s OR phone_number_id = %(number)s)
    GROUP BY conversation_id) u ON u.conversation_id = c.id
  ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) d
WHERE c.id = d.id
"""


def wait_behind(grace: float) -> float:
    """Seconds that a conversation waits behind a message that became unknown while Meta is away."""
    return min(grace + DECIDED_WITHIN, LONGEST_WAIT)


def tell(news: News) -> None:
    """After its transaction: a log line for each scope, and what follows where an outage has begun."""
    for streak in news.began:
        reason = {name: streak.error[name] for name in ('code', 'title')}
        log.warning('Meta is away', extra=_shown(streak) | reason)
        which = {
            'since': streak.since,
            'all': streak.scope == ALL,
            'number': streak.phone_number_id,
        }
        execute(WAIT_BEHIND_UNKNOWN, which)
        execute(UNCOUNT, which)
    for streak in news.ended:
        log.info(
            'Meta is back',
            extra=_shown(streak) | {'away_since': streak.away_since, 'probes': streak.probes},
        )


def _shown(streak: Streak) -> dict[str, Any]:
    number = None if streak.scope == ALL else streak.phone_number_id
    return {
        'scope': streak.scope.split(':')[0],
        'phone_number_id': number,
        'failures': streak.failures,
    }


DUE_PROBE = (
    'SELECT error FROM graph_outage WHERE scope = %s AND probe_at <= now() FOR UPDATE SKIP LOCKED'
)
NEXT_PROBE = f"""
UPDATE graph_outage SET probes = probes + 1,
  probe_at = now() + least({LAST_PROBE}, {FIRST_PROBE} * 2 ^ least(probes + 1, 10)) * interval '1 second'
WHERE scope = %s
"""
NO_PROBE = f"UPDATE graph_outage SET probe_at = now() + interval '{BRIEFLY} s' WHERE scope = %s"


def due_probe(scope: str) -> dict[str, Any] | None:
    """The latest error of a scope whose probe is due; nobody else takes it before this transaction
    ends: probed().
    """
    rows = fetch(DUE_PROBE, (scope,))
    return rows[0][0] if rows else None


def probed(scope: str, has_gone: bool) -> None:
    execute(NEXT_PROBE if has_gone else NO_PROBE, (scope,))


NOW_AWAY = 'SELECT scope, phone_number_id, error, away_since FROM graph_outage WHERE away_since IS NOT NULL'
PROBE_NOW = """
UPDATE graph_outage SET probe_at = now() WHERE away_since IS NOT NULL AND scope = ANY(%s) AND probe_at > now()
"""


def now_away() -> dict[str, dict[str, Any]]:
    """What is away: {scope: its row}."""
    return {row['scope']: row for row in fetch_dicts(NOW_AWAY)}


def of_number(phone_number_id: str, away: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The row that says that a number is away, with all others or alone."""
    return away.get(ALL) or away.get(scope_of(phone_number_id))


def probe_now(phone_number_id: str) -> bool:
    """A person knows better: the next probe of a number, or of all, goes at once.

    Whether one had to wait.
    """
    return bool(execute(PROBE_NOW, ([ALL, scope_of(phone_number_id)],)))


def forget_old() -> None:
    execute(
        "DELETE FROM graph_outage WHERE failed_at < now() - %s * interval '1 day'", (KEPT_DAYS,)
    )
