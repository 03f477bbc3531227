"""What became of deliveries, as callers see it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from service.runtime.ids import LAST_ID
from service.runtime.prepared import fill
from service.runtime.rows import Uuid, fetch_as

STATUSES = ('waiting', 'delivered', 'failed')


@dataclass(frozen=True, slots=True)
class ShownDelivery:
    """A delivery. `chatbot_id`: None for what concerns all of them.

    `next_attempt_at`: None when none comes, and while one is under way.
    """

    event_id: Uuid
    endpoint_id: Uuid
    type: str | None
    chatbot_id: str | None
    status: str
    attempts: int
    response_status: int | None
    milliseconds: int | None
    error: str | None
    next_attempt_at: datetime | None
    created_at: datetime
    updated_at: datetime


COLUMNS = """
  d.event_id, d.endpoint_id, v.type, nullif(v.chatbot_id, '') AS chatbot_id, d.status,
  d.attempts, d.response_status, d.milliseconds, d.error,
  CASE WHEN d.claim IS NULL THEN d.due_at END AS next_attempt_at,
  d.created_at, d.updated_at
"""
LIST_DELIVERIES = """
SELECT {columns} FROM event_delivery d LEFT JOIN event v ON v.id = d.event_id
WHERE d.endpoint_id = %(endpoint_id)s AND d.event_id < %(cursor)s {status}
ORDER BY d.event_id DESC LIMIT %(limit)s
"""
# The status in the statement's text: those that failed are few, and have an index of their own.
LISTS: dict[str | None, str] = {
    None: fill(LIST_DELIVERIES, columns=COLUMNS, status=''),
    **{
        status: fill(LIST_DELIVERIES, columns=COLUMNS, status=f"AND d.status = '{status}'")
        for status in STATUSES
    },
}
FIND_DELIVERIES_OF_EVENT = fill(
    """
SELECT {columns} FROM event_delivery d JOIN event v ON v.id = d.event_id
  JOIN endpoint e ON e.id = d.endpoint_id
WHERE d.event_id = %(event_id)s
  AND (%(chatbot_ids)s::text[] IS NULL OR e.chatbot_id = ANY(%(chatbot_ids)s::text[]))
ORDER BY d.endpoint_id
""",
    columns=COLUMNS,
)


def of_endpoint(
    endpoint_id: str, status: str | None, cursor: str | None, limit: int
) -> list[ShownDelivery]:
    """At most `limit` deliveries to an endpoint, those of the newest events first."""
    values = {'endpoint_id': endpoint_id, 'cursor': cursor or LAST_ID, 'limit': limit}
    return fetch_as(ShownDelivery, LISTS[status], values)


def of_event(event_id: str, chatbot_ids: Collection[str] | None) -> list[ShownDelivery]:
    """The deliveries of an event to the endpoints of some chatbots; None: to all endpoints."""
    values = {'event_id': event_id, 'chatbot_ids': chatbot_ids and sorted(chatbot_ids)}
    return fetch_as(ShownDelivery, FIND_DELIVERIES_OF_EVENT, values)
