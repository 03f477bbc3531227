"""Outages of Meta's: a number, or all of them, is away when every call of it fails.

While it is away its messages wait as they are. Now and then one of them is sent as a probe, and the
first success lets all go on.

The rows of graph_outage are valid for all workers and survive them. There are rows only while there
is trouble, so as long as calls succeed the price is one look into an empty table.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.graph.outcome import ErrorDict, Outcome
from service.runtime.db import execute, fetch
from service.runtime.prepared import Prepared
from service.runtime.rows import Integer, Json, execute_bulk, fetch_as

log = logging.getLogger(__name__)

LIMIT = 10  # failures in a row
FIRST_PROBE, LAST_PROBE = 5, 60  # seconds until a probe; each one that fails doubles them
ALL = 'app'  # the scope of all numbers
THROTTLED = frozenset(('number', 'waba', 'app'))  # scopes of errors that slow sending down
KEPT_DAYS = 1  # of a row of failures that nobody ended or went on with
RETRY_PROBE_SECONDS = 1  # until a probe that found no message tries again
# seconds after its grace within which an unknown message is decided: the clock sweeps every two
DECIDED_WITHIN = 5
CLOCKS_DIFFER = 60  # seconds, PostgreSQL's and a worker's, at most
LONGEST_WAIT = 600  # seconds that a conversation waits behind an unknown message

CallResult = tuple[str, Outcome, datetime]  # a phone_number_id, what became of a call, when


def scope_of(phone_number_id: str) -> str:
    """The scope of one number."""
    return f'number:{phone_number_id}'


@dataclass(slots=True)
class Streak:
    """Failures in a row of one scope: a row of graph_outage."""

    scope: str
    phone_number_id: str
    since: datetime
    failed_at: datetime
    error: Json  # the contract's, of the latest failure
    several: bool = False  # more than one number has failed
    failures: Integer = 0
    away_since: datetime | None = None
    probe_at: datetime | None = None
    probes: Integer = 0
    is_away: bool = (
        False  # as add() finds it; all numbers are only when more than one of them fails
    )

    def add(self, phone_number_id: str, outcome: Outcome, at: datetime) -> None:
        """Count a failure; complaints that sending is too fast count once a second at most."""
        is_same_second = self.failures and (at - self.failed_at).total_seconds() < 1
        if outcome.scope in THROTTLED and is_same_second:
            return
        self.failures += 1
        self.failed_at = max(at, self.failed_at)
        self.error = outcome.error or {}
        self.several = self.several or phone_number_id != self.phone_number_id
        self.is_away = self.failures >= LIMIT and (self.scope != ALL or self.several)


@dataclass(slots=True)
class News:
    """What a batch of calls changed."""

    away: set[str] = field(default_factory=set)  # the scopes that are away now
    began: list[Streak] = field(default_factory=list)  # of them those that were not before
    ended: list[Streak] = field(default_factory=list)  # those that are back

    def is_away(self, phone_number_id: str) -> bool:
        return ALL in self.away or scope_of(phone_number_id) in self.away


LOCK_STREAKS = "SELECT pg_advisory_xact_lock(hashtextextended('outages', 1))"
FIND_STREAKS = Prepared("""
SELECT scope, phone_number_id, since, failed_at, error, several, failures, away_since, probe_at,
  probes
FROM graph_outage WHERE scope = ANY(%s) ORDER BY scope
""")
DELETE_STREAKS = 'DELETE FROM graph_outage WHERE scope = ANY(%s) OR %s'
SAVE_STREAKS = """
INSERT INTO graph_outage AS o
  (scope, phone_number_id, several, failures, error, since, failed_at, away_since, probe_at)
SELECT scope, phone_number_id, several, failures, error, since, failed_at,
  CASE WHEN is_away THEN now() END,
  CASE WHEN is_away THEN now() + %(first_probe)s * interval '1 second' END
FROM {rows}
ON CONFLICT (scope) DO UPDATE SET several = excluded.several, failures = excluded.failures,
  error = excluded.error, failed_at = excluded.failed_at,
  away_since = coalesce(o.away_since, excluded.away_since),
  probe_at = coalesce(o.probe_at, excluded.probe_at)
"""


def record_calls(results: Iterable[CallResult]) -> News:
    """Count the failures of a batch, in its transaction and before anything else in it."""
    telling = [result for result in results if result[1].tells_of_meta is not None]
    if not telling:
        return News()
    scopes = sorted({ALL, *(scope_of(number) for number, _, _ in telling)})
    have_all_succeeded = all(outcome.tells_of_meta for _, outcome, _ in telling)
    if have_all_succeeded and not fetch(FIND_STREAKS, (scopes,)):
        return News()
    execute(LOCK_STREAKS)
    before = {streak.scope: streak for streak in fetch_as(Streak, FIND_STREAKS, (scopes,))}
    return _save(before, _after(before, sorted(telling, key=lambda result: result[2])))


def _after(before: dict[str, Streak], results: list[CallResult]) -> dict[str, Streak]:
    """The streaks as the calls leave them, in the order in which they ended."""
    streaks = dict(before)
    for number, outcome, at in results:
        for scope in (ALL, scope_of(number)):
            if outcome.tells_of_meta:
                streaks.pop(scope, None)
            elif scope != ALL or outcome.scope not in THROTTLED:
                new = Streak(scope, number, at, at, outcome.error or {})
                streaks.setdefault(scope, new).add(number, outcome, at)
    return streaks


def _save(before: dict[str, Streak], after: dict[str, Streak]) -> News:
    ended = [streak for scope, streak in before.items() if after.get(scope) is not streak]
    are_all_back = any(streak.scope == ALL and streak.away_since for streak in ended)
    if are_all_back:  # each number begins anew, also those that failed along with the others
        after = {}
    if ended:
        execute(DELETE_STREAKS, ([streak.scope for streak in ended], are_all_back))
    streaks = [after[scope] for scope in sorted(after)]
    execute_bulk(SAVE_STREAKS, streaks, first_probe=FIRST_PROBE)
    away = [streak for streak in after.values() if streak.is_away or streak.away_since]
    return News(
        {streak.scope for streak in away},
        [streak for streak in away if not streak.away_since],
        [streak for streak in ended if streak.away_since],
    )


# In SQL, the scope that an account `a` is away with: ALL, else its number's (see scope_of).
SCOPE_AWAY = """
SELECT o.scope, o.probe_at FROM graph_outage o
WHERE o.away_since IS NOT NULL
  AND o.scope IN ('app', 'number:' || a.phone_number_id)
ORDER BY o.scope LIMIT 1
"""


# What failed before it was known that nothing could succeed: these attempts do not count, and
# nobody overtakes a message of which nobody knows whether it was sent. Both statements have
# transactions of their own and skip rows that others have locked.
UNCOUNT_ATTEMPTS = """
UPDATE message m SET attempts = greatest(0, m.attempts - d.failed), updated_at = now()
FROM (
  SELECT m.id, (SELECT count(*) FROM jsonb_array_elements(m.tries) one
    WHERE one ->> 'outcome' = 'retry'
      AND (one ->> 'at')::timestamptz >= %(since)s) AS failed
  FROM message m
  WHERE m.waiting = 'queued' AND m.attempts > 0
    AND m.updated_at >= %(since)s - %(clocks_differ)s * interval '1 second'
    AND (%(all)s OR m.phone_number_id = %(number)s)
  ORDER BY m.id FOR NO KEY UPDATE SKIP LOCKED) d
WHERE m.id = d.id
"""
DELAY_CONVERSATIONS = """
UPDATE conversation c
SET send_after = greatest(
  c.send_after, least(d.until, now() + %(longest_wait)s * interval '1 second'))
FROM (
  SELECT c.id, u.until FROM conversation c JOIN (
    SELECT conversation_id, max(due_at) + %(decided_within)s * interval '1 second' AS until
    FROM message
    WHERE waiting = 'unknown'
      AND updated_at >= %(since)s - %(clocks_differ)s * interval '1 second'
      AND (%(all)s OR phone_number_id = %(number)s)
    GROUP BY conversation_id) u ON u.conversation_id = c.id
  ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) d
WHERE c.id = d.id
"""


def wait_behind(grace: float) -> float:
    """Seconds that a conversation waits behind a message that became unknown while Meta is away."""
    return min(grace + DECIDED_WITHIN, LONGEST_WAIT)


def apply_news(news: News) -> None:
    """Log each outage that began or ended, and spare the messages that it met first.

    To be called after the transaction of record_calls().
    """
    for streak in news.began:
        reason = {name: streak.error[name] for name in ('code', 'title')}
        log.warning('Meta is away', extra=_log_fields(streak) | reason)
        which = {
            'since': streak.since,
            'all': streak.scope == ALL,
            'number': streak.phone_number_id,
            'clocks_differ': CLOCKS_DIFFER,
            'decided_within': DECIDED_WITHIN,
            'longest_wait': LONGEST_WAIT,
        }
        execute(DELAY_CONVERSATIONS, which)
        execute(UNCOUNT_ATTEMPTS, which)
    for streak in news.ended:
        how_long = {'away_since': streak.away_since, 'probes': streak.probes}
        log.info('Meta is back', extra=_log_fields(streak) | how_long)


def _log_fields(streak: Streak) -> dict[str, Any]:
    return {
        'scope': streak.scope.split(':')[0],
        'phone_number_id': None if streak.scope == ALL else streak.phone_number_id,
        'failures': streak.failures,
    }


LOCK_DUE_PROBE = """
SELECT error FROM graph_outage WHERE scope = %s AND probe_at <= now() FOR UPDATE SKIP LOCKED
"""
SCHEDULE_NEXT_PROBE = """
UPDATE graph_outage SET probes = probes + 1, probe_at = now()
  + least(%(last)s, %(first)s * 2 ^ least(probes + 1, 10)) * interval '1 second'
WHERE scope = %(scope)s
"""
POSTPONE_PROBE = """
UPDATE graph_outage SET probe_at = now() + %s * interval '1 second' WHERE scope = %s
"""


def lock_due_probe(scope: str) -> ErrorDict | None:
    """The latest error of a scope whose probe is due, else None.

    Nobody else gets this probe before the transaction ends; see schedule_next_probe().
    """
    rows = fetch(LOCK_DUE_PROBE, (scope,))
    return rows[0][0] if rows else None


def schedule_next_probe(scope: str, was_sent: bool) -> None:
    """After a probe was sent the next one is later; one that found no message tries again soon."""
    if was_sent:
        values = {'scope': scope, 'first': FIRST_PROBE, 'last': LAST_PROBE}
        execute(SCHEDULE_NEXT_PROBE, values)
    else:
        execute(POSTPONE_PROBE, (RETRY_PROBE_SECONDS, scope))


FIND_OUTAGES = """
SELECT scope, phone_number_id, error, away_since FROM graph_outage WHERE away_since IS NOT NULL
"""
PROBE_NOW = """
UPDATE graph_outage SET probe_at = now()
WHERE away_since IS NOT NULL AND scope = ANY(%s) AND probe_at > now()
"""
DELETE_OLD = "DELETE FROM graph_outage WHERE failed_at < now() - %s * interval '1 day'"


@dataclass(slots=True)
class Outage:
    """A scope that is away."""

    scope: str
    phone_number_id: str
    error: ErrorDict  # of the latest failure
    away_since: datetime


def current() -> dict[str, Outage]:
    """What is away now, by its scope."""
    return {outage.scope: outage for outage in fetch_as(Outage, FIND_OUTAGES)}


def of_number(phone_number_id: str, outages: dict[str, Outage]) -> Outage | None:
    """The outage that a number is part of, with all others or alone."""
    return outages.get(ALL) or outages.get(scope_of(phone_number_id))


def probe_now(phone_number_id: str) -> bool:
    """Let the next probe of a number, or of all, go at once; whether one had to wait."""
    return bool(execute(PROBE_NOW, ([ALL, scope_of(phone_number_id)],)))


def delete_old() -> None:
    """Delete failures that nobody ended or went on with."""
    execute(DELETE_OLD, (KEPT_DAYS,))
