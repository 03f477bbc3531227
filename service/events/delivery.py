"""Deliveries of events to endpoints: which are due, whose turn it is, what came of them.

The events of a conversation are a lane of an endpoint: they are delivered in their order, by one
process at a time. While one of them is under way, or waits for its next attempt, those behind it
wait, too. An event without a conversation is a lane of its own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from service.events.claimed_delivery import ClaimedDelivery, ClaimedEndpoint, ClaimedLane
from service.runtime.ids import new_id
from service.runtime.prepared import Prepared
from service.runtime.rows import Uuid, execute_bulk, fetch_as, fetch_bulk_as

LOOK = 500  # due deliveries of one endpoint that are looked at
LANE = 20  # events of one conversation that are delivered one after the other under one lease
LEASE = 20  # seconds; an attempt takes at most 15
FAILING_LANES = 2  # that are under way to an endpoint that fails, in one process
# Seconds until a delivery behind one that is under way is looked at again: as long as it has
# waited, but not less or more than these.
LEAST_WAIT, LONGEST_WAIT = 0.02, 1.0

# Why `LIMIT (SELECT …)`: see service/jobs/job_table.py.
NEXT_DUE = """
SELECT min(d.due_at) FROM endpoint e CROSS JOIN LATERAL (
  SELECT due_at FROM event_delivery WHERE endpoint_id = e.id AND status = 'waiting'
  ORDER BY due_at LIMIT (SELECT 1)) d
WHERE e.state = 'active' AND e.kind <> 'poll'
"""
# The endpoints are locked, so that nobody else claims of the same lanes meanwhile. Of each lane
# that may go its first rows, of all others those that are due too early.
FIND_LANES = Prepared(
    """
WITH asked AS MATERIALIZED (
  SELECT e.id, e.failing_since IS NOT NULL AS is_failing FROM endpoint e CROSS JOIN LATERAL (
    SELECT FROM event_delivery d
    WHERE d.endpoint_id = e.id AND d.status = 'waiting' AND d.due_at <= now()
    ORDER BY d.due_at LIMIT (SELECT 1)) d
  WHERE e.state = 'active' AND e.kind <> 'poll' AND e.id <> ALL(%(full)s::uuid[])
  ORDER BY e.id FOR NO KEY UPDATE OF e SKIP LOCKED),
looked AS MATERIALIZED (
  SELECT e.id AS endpoint_id, e.is_failing, d.event_id, d.conversation_id, d.due_at, d.created_at
  FROM asked e CROSS JOIN LATERAL (
    SELECT * FROM event_delivery d
    WHERE d.endpoint_id = e.id AND d.status = 'waiting' AND d.due_at <= now()
    ORDER BY d.due_at LIMIT (SELECT {look})) d),
lane AS MATERIALIZED (
  SELECT l.*, h.due_at > now() AS is_blocked, h.due_at AS until, h.is_claimed FROM (
    SELECT endpoint_id, is_failing, conversation_id, min(due_at) AS due_at FROM looked
    WHERE conversation_id IS NOT NULL GROUP BY endpoint_id, is_failing, conversation_id) l
  CROSS JOIN LATERAL (
    SELECT d.due_at, d.claim IS NOT NULL AS is_claimed FROM event_delivery d
    WHERE d.endpoint_id = l.endpoint_id AND d.conversation_id = l.conversation_id
      AND d.status = 'waiting' ORDER BY d.event_id LIMIT (SELECT 1)) h)
SELECT l.endpoint_id, l.is_failing, l.conversation_id, l.due_at AS lane_due_at, d.event_id,
  d.due_at <= now() AS is_due, NULL::float8 AS seconds
FROM lane l CROSS JOIN LATERAL (
  SELECT d.event_id, d.due_at FROM event_delivery d
  WHERE d.endpoint_id = l.endpoint_id AND d.conversation_id = l.conversation_id
    AND d.status = 'waiting' ORDER BY d.event_id LIMIT (SELECT {lane})) d
WHERE NOT l.is_blocked
UNION ALL
SELECT endpoint_id, is_failing, NULL, due_at, event_id, true, NULL FROM looked
WHERE conversation_id IS NULL
UNION ALL
SELECT d.endpoint_id, d.is_failing, d.conversation_id, d.due_at, d.event_id, false,
  CASE WHEN l.is_claimed
    THEN least(greatest(extract(epoch FROM now() - d.created_at), {least_wait}), {longest_wait})
    ELSE extract(epoch FROM l.until - now()) END::float8
FROM lane l JOIN looked d USING (endpoint_id, conversation_id) WHERE l.is_blocked
ORDER BY lane_due_at, endpoint_id, conversation_id, event_id
""",
    look=LOOK,
    lane=LANE,
    least_wait=LEAST_WAIT,
    longest_wait=LONGEST_WAIT,
)


@dataclass(slots=True)
class Found:
    """A delivery that waits. `seconds`: until it is to be looked at again, None: its lane may go.

    `is_due`: what stands behind one that is not due may not go.
    """

    endpoint_id: str
    is_failing: bool
    conversation_id: str | None
    lane_due_at: datetime
    event_id: str
    is_due: bool
    seconds: float | None


@dataclass(slots=True)
class Postponed:
    """A delivery behind one that is under way, or waits."""

    endpoint_id: Uuid
    event_id: Uuid
    seconds: float


# In SQL: the delivery `d` of a row, in a way that is looked up, however young the table is.
KEY = """d.endpoint_id = n.endpoint_id AND d.event_id = n.event_id
  AND d.endpoint_id = ANY(%(endpoint_id)s::uuid[]) AND d.event_id = ANY(%(event_id)s::uuid[])"""
POSTPONE = Prepared.for_rows(Postponed)(
    """
UPDATE event_delivery d SET due_at = now() + n.seconds * interval '1 second'
FROM {rows} WHERE {key} AND d.due_at <= now()
""",
    key=KEY,
)


@dataclass(slots=True)
class Chosen:
    """A delivery that is to be claimed."""

    endpoint_id: Uuid
    event_id: Uuid


CLAIM = Prepared.for_rows(Chosen)(
    """
UPDATE event_delivery d SET claim = %(claim)s, due_at = now() + %(lease)s * interval '1 second'
FROM {rows} JOIN event v ON v.id = n.event_id AND v.id = ANY(%(event_id)s::uuid[])
WHERE {key} AND d.due_at <= now()
RETURNING d.endpoint_id, d.event_id, d.conversation_id AS lane, d.claim, d.attempts, d.body, v.type,
  v.chatbot_id, v.conversation_id, v.message_id, v.data
""",
    key=KEY,
)
GIVE_BACK = """
UPDATE event_delivery d SET claim = NULL, due_at = now()
FROM {rows} WHERE d.endpoint_id = n.endpoint_id AND d.event_id = n.event_id
"""
FIND_ENDPOINTS = Prepared("""
SELECT id, kind, url, secret, former_secret, former_secret_until, failing_since
FROM endpoint WHERE id = ANY(%(ids)s::uuid[])
""")


def claim(
    limit: int, room_of: Callable[[str, bool], int], full: Sequence[str]
) -> list[ClaimedLane]:
    """At most `limit` lanes that may go, leased for LEASE seconds, in the caller's transaction.

    `room_of(endpoint, whether it fails)`: how many of one endpoint; `full`: endpoints that are not
    even looked at.
    """
    lanes, postponed = _sort(fetch_as(Found, FIND_LANES, {'full': list(full)}))
    if postponed:
        execute_bulk(POSTPONE, sorted(postponed, key=attrgetter('endpoint_id', 'event_id')))
    chosen = _choose(lanes, limit, room_of)
    if not chosen:
        return []
    wanted = [Chosen(one.endpoint_id, one.event_id) for lane in chosen for one in lane]
    wanted.sort(key=attrgetter('endpoint_id', 'event_id'))
    rows = fetch_bulk_as(ClaimedDelivery, CLAIM, wanted, claim=new_id(), lease=LEASE)
    ids = {row.endpoint_id for row in rows}
    endpoints = fetch_as(ClaimedEndpoint, FIND_ENDPOINTS, {'ids': list(ids)})
    return _in_lanes(chosen, rows, {one.id: one for one in endpoints})


def _sort(found: Iterable[Found]) -> tuple[list[list[Found]], list[Postponed]]:
    """The lanes that may go, the longest due first, each up to what is not due; and the others."""
    lanes: dict[tuple[str, str], list[Found]] = defaultdict(list)
    ended = set()
    postponed = []
    for one in found:
        key = one.endpoint_id, one.conversation_id or one.event_id
        if one.seconds is not None:
            postponed.append(Postponed(one.endpoint_id, one.event_id, one.seconds))
        elif not one.is_due:
            ended.add(key)
        elif key not in ended:
            lanes[key].append(one)
    return list(lanes.values()), postponed


def _choose(
    lanes: Iterable[list[Found]], limit: int, room_of: Callable[[str, bool], int]
) -> list[list[Found]]:
    """As many lanes as there is room for, of each endpoint and of all."""
    room: dict[str, int] = {}
    chosen: list[list[Found]] = []
    for lane in lanes:
        first = lane[0]
        if first.endpoint_id not in room:
            room[first.endpoint_id] = room_of(first.endpoint_id, first.is_failing)
        if room[first.endpoint_id] > 0 and len(chosen) < limit:
            room[first.endpoint_id] -= 1
            chosen.append(lane)
    return chosen


def _in_lanes(
    chosen: Iterable[list[Found]],
    rows: Iterable[ClaimedDelivery],
    endpoints: Mapping[str, ClaimedEndpoint],
) -> list[ClaimedLane]:
    """What was claimed, in lanes.

    Who claimed just before may have taken the first of a lane, after the look at it had begun: what
    stands behind those is given back.
    """
    left = {(row.endpoint_id, row.event_id): row for row in rows}
    lanes = []
    for lane in chosen:
        deliveries = []
        for one in lane:
            row = left.pop((one.endpoint_id, one.event_id), None)
            if row is None:
                break
            deliveries.append(row)
        if deliveries:
            lanes.append(ClaimedLane(endpoints[lane[0].endpoint_id], deliveries))
    if left:
        execute_bulk(GIVE_BACK, [Chosen(*key) for key in sorted(left)])
    return lanes
