"""Deliveries that are wanted once more: all that waits, a stretch of time, or one event.

Whoever records a result locks rows that wait. Here only others are locked, or those that nobody
else has locked, so that none waits for the other in a circle.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from service.events.event_list import first_id
from service.runtime.db import db, execute, execute_long, fetch
from service.runtime.prepared import fill

MAX_REPLAYED = 50_000  # events at a time
MAX_HASTENED = 20_000  # deliveries in one statement
ROUNDS = 20  # statements at a time
MOMENT = timedelta(microseconds=1)

# In their order, but all of them due.
HASTEN = """
WITH waiting AS MATERIALIZED (
  SELECT endpoint_id, event_id FROM event_delivery
  WHERE endpoint_id = %(id)s AND status = 'waiting' AND claim IS NULL AND due_at > now()
  ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
placed AS (SELECT *, row_number() OVER (ORDER BY event_id DESC) AS place FROM waiting)
UPDATE event_delivery d SET due_at = now() - p.place * interval '1 microsecond'
FROM placed p WHERE d.endpoint_id = p.endpoint_id AND d.event_id = p.event_id
"""


def hasten(endpoint_id: str) -> None:
    """Try what waits for its next attempt now; wake EVENTS after the commit."""
    for _ in range(ROUNDS):
        if execute(HASTEN, {'id': endpoint_id, 'limit': MAX_HASTENED}) < MAX_HASTENED:
            return


# In SQL: the conversation of a row `{row}`, also when that was merged into another one since.
LANE = """coalesce((SELECT g.conversation_id FROM conversation_merged g
  WHERE g.id = {row}.conversation_id), {row}.conversation_id)"""
ANEW = fill(
    """
  status = 'waiting', due_at = now(), claim = NULL, attempts = 0, error = NULL, updated_at = now(),
  conversation_id = {lane}
""",
    lane=fill(LANE, row='d'),
)
LANE_OF_EVENT = fill(LANE, row='v')
IN_TIME = 'v.id >= %(first)s AND v.id < %(end)s AND e.id = %(endpoint_id)s'
COUNT_WANTED = fill(
    """
SELECT count(*) FROM (
  SELECT FROM event v JOIN endpoint e ON wants_event(e, v.type, v.chatbot_id)
  WHERE {in_time} LIMIT %(limit)s) AS found
""",
    in_time=IN_TIME,
)
DELIVER_ANEW = fill(
    """
UPDATE event_delivery d SET {anew} FROM event v JOIN endpoint e
  ON wants_event(e, v.type, v.chatbot_id)
WHERE {in_time} AND d.endpoint_id = e.id AND d.event_id = v.id AND d.status <> 'waiting'
""",
    anew=ANEW,
    in_time=IN_TIME,
)
DELIVER_TOO = fill(
    """
INSERT INTO event_delivery (endpoint_id, event_id, conversation_id)
SELECT e.id, v.id, {lane}
FROM event v JOIN endpoint e ON wants_event(e, v.type, v.chatbot_id)
WHERE {in_time} ORDER BY v.id
ON CONFLICT (endpoint_id, event_id) DO NOTHING
""",
    lane=LANE_OF_EVENT,
    in_time=IN_TIME,
)


def count_wanted(endpoint_id: str, since: datetime, until: datetime) -> int:
    """How many events from one moment to another an endpoint wants; MAX_REPLAYED + 1 for more."""
    values = {**_stretch(endpoint_id, since, until), 'limit': MAX_REPLAYED + 1}
    count: int = fetch(COUNT_WANTED, values)[0][0]
    return count


def replay(endpoint_id: str, since: datetime, until: datetime) -> int:
    """Deliver what an endpoint wants of that time once more, and what it was not told then.

    Returns how many do not wait already. Wake EVENTS after the commit.
    """
    values = _stretch(endpoint_id, since, until)
    with db.atomic():
        return execute_long(DELIVER_ANEW, values) + execute_long(DELIVER_TOO, values)


def _stretch(endpoint_id: str, since: datetime, until: datetime) -> dict[str, Any]:
    end = first_id(until + MOMENT)
    return {'endpoint_id': endpoint_id, 'first': first_id(since), 'end': end}


RESEND = fill(
    """
UPDATE event_delivery d SET {anew} WHERE (endpoint_id, event_id) IN (
  SELECT endpoint_id, event_id FROM event_delivery
  WHERE event_id = %(event_id)s AND endpoint_id = ANY(%(endpoint_ids)s::uuid[]) AND claim IS NULL
  FOR UPDATE SKIP LOCKED)
""",
    anew=ANEW,
)
SEND_TOO = fill(
    """
INSERT INTO event_delivery (endpoint_id, event_id, conversation_id)
SELECT e.id, v.id, {lane}
FROM event v JOIN endpoint e ON wants_event(e, v.type, v.chatbot_id)
WHERE v.id = %(event_id)s AND e.id = ANY(%(endpoint_ids)s::uuid[])
ON CONFLICT (endpoint_id, event_id) DO NOTHING
""",
    lane=LANE_OF_EVENT,
)
# What stands behind it has waited for it, not for a time of its own.
HASTEN_BEHIND = """
UPDATE event_delivery d SET due_at = now() FROM (
  SELECT b.endpoint_id, b.event_id FROM event_delivery r JOIN event_delivery b
    ON b.endpoint_id = r.endpoint_id AND b.conversation_id = r.conversation_id
  WHERE r.event_id = %(event_id)s AND r.endpoint_id = ANY(%(endpoint_ids)s::uuid[])
    AND r.status = 'waiting' AND b.event_id > r.event_id AND b.status = 'waiting'
    AND b.claim IS NULL AND b.attempts = 0 AND b.due_at > now()
  ORDER BY b.event_id LIMIT %(limit)s FOR UPDATE OF b SKIP LOCKED) behind
WHERE d.endpoint_id = behind.endpoint_id AND d.event_id = behind.event_id
"""
FIND_WHO_WANTS = """
SELECT e.id FROM event v JOIN endpoint e ON wants_event(e, v.type, v.chatbot_id)
WHERE v.id = %(event_id)s AND e.kind <> 'poll'
  AND (%(chatbot_ids)s::text[] IS NULL OR e.chatbot_id = ANY(%(chatbot_ids)s::text[]))
ORDER BY e.id
"""


def who_wants(event_id: str, chatbot_ids: Collection[str] | None) -> list[str]:
    """The endpoints of some chatbots that want an event; None: of all, and for all."""
    values = {'event_id': event_id, 'chatbot_ids': chatbot_ids and sorted(chatbot_ids)}
    return [id_ for (id_,) in fetch(FIND_WHO_WANTS, values)]


def resend(event_id: str, endpoint_ids: Collection[str]) -> None:
    """Deliver one event to endpoints that want it, once more; wake EVENTS after the commit."""
    values = {'event_id': event_id, 'endpoint_ids': list(endpoint_ids)}
    with db.atomic():
        execute(RESEND, values)
        execute(SEND_TOO, values)
        execute(HASTEN_BEHIND, values | {'limit': MAX_HASTENED})
