"""What came of deliveries: done, again later, or given up; and how their endpoints are."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from service.events.claimed_delivery import ClaimedDelivery, ClaimedLane
from service.events.delivery import KEY
from service.events.endpoint_client import GONE, Attempt
from service.runtime.db import db, execute, to_json
from service.runtime.durability import worked_out_again
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Integer, Json, Uuid, execute_bulk, fetch_bulk

MINUTE, HOUR = 60, 3600
# Seconds after each failed attempt; then it is given up.
DELAYS = (5, 30, 2 * MINUTE, 10 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR)
JITTER = 0.2  # so much of a delay is added at most
FAILING_DAYS = 3  # of nothing but failures, after which an endpoint is paused
MAX_HURRIED = 20_000  # deliveries that are made due at once when an endpoint is back
# Of an endpoint that was away: a delivery that fails alone keeps its own times after so many tries.
FAILS_ALONE = 3
LEAST_AWAY_SECONDS = 5
GONE_REASON = {'code': 'gone', 'detail': 'It answered 410: it wants to be told nothing more.'}
FAILING_REASON = {
    'code': 'failing',
    'detail': f'Nothing but failures for {FAILING_DAYS} days.',
}


@dataclass(slots=True)
class DeliveryResult:
    """What becomes of a claimed delivery.

    `delay`: seconds until it is due again, None when it is not; `is_attempt`: whether there was
    one; `body`: what it sent, to be sent again.
    """

    endpoint_id: Uuid
    event_id: Uuid
    claim: Uuid
    status: str
    delay: float | None
    is_attempt: bool
    response_status: Integer | None
    milliseconds: Integer | None
    error: str | None
    body: str | None


# Only under the claim that it was made with.
RECORD = Prepared.for_rows(DeliveryResult)(
    """
UPDATE event_delivery d SET status = n.status, claim = NULL, updated_at = now(),
  due_at = now() + n.delay * interval '1 second',
  attempts = least(d.attempts + n.is_attempt::int, 32767),
  response_status = CASE WHEN n.is_attempt THEN n.response_status ELSE d.response_status END,
  milliseconds = CASE WHEN n.is_attempt THEN n.milliseconds ELSE d.milliseconds END,
  error = CASE WHEN n.is_attempt THEN n.error ELSE d.error END,
  body = CASE WHEN n.is_attempt THEN n.body ELSE d.body END
FROM {rows} WHERE {key} AND d.claim = n.claim
""",
    key=KEY,
)


@dataclass(slots=True)
class Trouble:
    """An endpoint that failed. `reason`: why it is paused at once, None when it is not."""

    id: Uuid
    reason: Json | None


NOTE_FAILURE = fill(
    """
UPDATE endpoint e SET failing_since = coalesce(e.failing_since, now()), updated_at = now(),
  state = CASE WHEN {pauses} THEN 'paused' ELSE e.state END,
  state_since = CASE WHEN {pauses} THEN now() ELSE e.state_since END,
  state_reason = CASE WHEN {pauses} THEN coalesce(n.reason, %(failing)s::json)
    ELSE e.state_reason END
FROM {rows} WHERE e.id = n.id AND (e.failing_since IS NULL OR {pauses})
RETURNING e.id, e.state
""",
    pauses="""(e.state = 'active' AND (n.reason IS NOT NULL
    OR e.failing_since < now() - %(days)s * interval '1 day'))""",
)
# An endpoint is back. What waits for it is due, in its order; when that is too much at a time, the
# next success goes on.
HURRY = """
WITH back AS MATERIALIZED (
  SELECT e.id, e.failing_since, 1 < (
    SELECT count(*) FROM (
      SELECT FROM event_delivery d
      WHERE d.endpoint_id = e.id AND d.status = 'waiting' AND d.attempts > 0
        AND d.due_at > now() AND d.claim IS NULL LIMIT 2) AS tried) AS was_away
  FROM endpoint e WHERE e.id = %(id)s
    AND e.failing_since < now() - %(seconds)s * interval '1 second'),
waiting AS MATERIALIZED (
  SELECT d.endpoint_id, d.event_id FROM back b CROSS JOIN LATERAL (
    SELECT * FROM event_delivery d
    WHERE d.endpoint_id = b.id AND d.status = 'waiting' AND d.due_at > now() AND d.claim IS NULL
      AND (b.was_away OR d.attempts <= %(fails_alone)s)
    ORDER BY d.due_at LIMIT %(most)s FOR UPDATE SKIP LOCKED) d),
placed AS (SELECT *, row_number() OVER (ORDER BY event_id) AS place FROM waiting)
UPDATE event_delivery d SET due_at = now() + (p.place - %(most)s) * interval '1 microsecond'
FROM placed p WHERE d.endpoint_id = p.endpoint_id AND d.event_id = p.event_id
"""
NOTE_SUCCESS = """
UPDATE endpoint SET failing_since = CASE WHEN %(is_more)s THEN failing_since END, updated_at = now()
WHERE id = %(id)s AND failing_since IS NOT NULL
"""


@worked_out_again()
def record(results: Sequence[tuple[ClaimedLane, list[Attempt]]]) -> list[str]:
    """Write what came of lanes: an attempt for each delivery, as far as they were made.

    Endpoints first, in the order in which a claim locks them. Returns those that are paused now.
    """
    rows = [row for lane, attempts in results for row in results_of(lane, attempts)]
    rows.sort(key=attrgetter('endpoint_id', 'event_id'))
    with db.atomic():
        paused = _note_endpoints(results)
        execute_bulk(RECORD, rows)
    return paused


def results_of(lane: ClaimedLane, attempts: list[Attempt]) -> Iterable[DeliveryResult]:
    """A result for each delivery of a lane; what was not tried waits for what failed."""
    delay: float | None = 0
    for delivery, attempt in zip(lane.deliveries, attempts, strict=False):
        result = _result(delivery, attempt)
        delay = result.delay or 0
        yield result
    for delivery in lane.deliveries[len(attempts) :]:
        yield DeliveryResult(
            endpoint_id=delivery.endpoint_id,
            event_id=delivery.event_id,
            claim=delivery.claim,
            status='waiting',
            delay=delay,
            is_attempt=False,
            response_status=None,
            milliseconds=None,
            error=None,
            body=None,
        )


def _result(delivery: ClaimedDelivery, attempt: Attempt) -> DeliveryResult:
    delay = None if attempt.is_delivered else next_delay(delivery.attempts + 1)
    status = 'delivered' if attempt.is_delivered else 'failed'
    return DeliveryResult(
        endpoint_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        claim=delivery.claim,
        status=status if delay is None else 'waiting',
        delay=delay,
        is_attempt=True,
        response_status=attempt.status,
        milliseconds=attempt.milliseconds,
        error=attempt.error,
        body=None if attempt.is_delivered else delivery.body,
    )


def next_delay(attempts: int) -> float | None:
    """Seconds until the next attempt after so many failures, None when there is none."""
    if attempts > len(DELAYS):
        return None
    return DELAYS[attempts - 1] * (1 + JITTER * random.random())


def _note_endpoints(results: Sequence[tuple[ClaimedLane, list[Attempt]]]) -> list[str]:
    """Write which endpoints fail, and which are back; returns those that were paused."""
    failing = {lane.endpoint.id for lane, _ in results if lane.is_failing}
    made = [(lane.endpoint.id, attempt) for lane, attempts in results for attempt in attempts]
    succeeded = {id_ for id_, attempt in made if attempt.is_delivered}
    gone = {id_ for id_, attempt in made if attempt.status == GONE}
    failed = {id_ for id_, attempt in made if not (attempt.is_delivered or attempt.is_ours)}
    troubles = [
        Trouble(id_, GONE_REASON if id_ in gone else None)
        for id_ in sorted(failed - (succeeded - gone))
    ]
    values = {'days': FAILING_DAYS, 'failing': to_json(FAILING_REASON)}
    noted = fetch_bulk(NOTE_FAILURE, troubles, **values)
    for id_ in sorted((succeeded - gone) & failing):
        _end_failing(id_)
    return [id_ for id_, state in noted if state == 'paused']


def _end_failing(endpoint_id: str) -> None:
    values = {
        'id': endpoint_id,
        'most': MAX_HURRIED,
        'fails_alone': FAILS_ALONE,
        'seconds': LEAST_AWAY_SECONDS,
    }
    is_more = execute(HURRY, values) == MAX_HURRIED
    execute(NOTE_SUCCESS, {'id': endpoint_id, 'is_more': is_more})
