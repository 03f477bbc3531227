"""GET /events: events in their order, for those who ask instead of being told.

Ids are in the order of the database's clock, but a transaction commits later than it makes them.
So nothing is listed from the beginning of the oldest transaction on that still writes, its
horizon: whoever goes on behind what they saw misses nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from service.events.event import Event
from service.runtime.db import execute, fetch
from service.runtime.ids import FIRST_ID
from service.runtime.prepared import fill
from service.runtime.rows import fetch_as

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a caller wants. `chatbot_ids`, `type`: None for all."""

    chatbot_ids: Collection[str] | None
    type: str | None


WALK = 100_000  # events of a chatbot that one look for a type goes through


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found. `after`: behind which id the next one goes on.

    `has_more`: whether there is more by now; what was found may be nothing yet.
    """

    events: list[Event]
    after: str
    has_more: bool


# While somebody listens events are written for them; a row tells the triggers so. Of those who are
# not known yet, or soon no more: a look does not write.
LISTEN = """
INSERT INTO endpoint (id, kind, chatbot_id, listens_until)
SELECT gen_random_uuid(), 'poll', c.chatbot_id, now() + interval '1 hour'
FROM unnest(%(chatbot_ids)s::text[]) AS c (chatbot_id)
WHERE (c.chatbot_id IS NULL
    OR EXISTS (SELECT FROM whatsapp_cloud_account a WHERE a.chatbot_id = c.chatbot_id))
  AND NOT EXISTS (SELECT FROM endpoint e
    WHERE e.kind = 'poll' AND coalesce(e.chatbot_id, '') = coalesce(c.chatbot_id, '')
      AND e.listens_until > now() + interval '55 minutes')
ORDER BY c.chatbot_id
ON CONFLICT (coalesce(chatbot_id, '')) WHERE kind = 'poll'
DO UPDATE SET listens_until = excluded.listens_until, updated_at = now()
"""


def listen(chatbot_ids: Collection[str] | None) -> None:
    """Have events written for the next hour, of these chatbots or of all."""
    execute(LISTEN, {'chatbot_ids': [None] if chatbot_ids is None else sorted(chatbot_ids)})


# Rows of those who listen no more cost every message a look.
FORGET_LISTENERS = "DELETE FROM endpoint WHERE kind = 'poll' AND listens_until < now()"


def forget_listeners() -> None:
    """Delete the rows of those who have not asked for an hour."""
    execute(FORGET_LISTENERS)


# Read before the events, in a statement of its own: what has been committed by then is seen.
FIND_HORIZON = """
SELECT least(now(), min(xact_start)) FROM pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
"""
COLUMNS = 'v.id, v.type, v.chatbot_id, v.conversation_id, v.message_id, v.data'
IN_STRETCH = 'v.id > %(after)s AND v.id <= %(last)s'
IS_WANTED = "v.type <> 'relay' AND v.type = coalesce(%(type)s, v.type)"
LIST_EVENTS = fill(
    """
SELECT {columns} FROM event v WHERE {in_stretch} AND {wanted} ORDER BY v.id LIMIT %(limit)s
""",
    columns=COLUMNS,
    in_stretch=IN_STRETCH,
    wanted=IS_WANTED,
)
FIND_END_OF_WALK = fill(
    'SELECT v.id FROM event v WHERE {in_stretch} ORDER BY v.id OFFSET %(walk)s - 1 LIMIT 1',
    in_stretch=IN_STRETCH,
)
OF_EACH_CHATBOT = """
SELECT found.* FROM unnest(%(chatbot_ids)s::text[]) AS c (chatbot_id) CROSS JOIN LATERAL (
  SELECT {columns} FROM event v WHERE v.chatbot_id = c.chatbot_id AND {in_stretch} AND {wanted}
  ORDER BY v.id {part}) AS found
ORDER BY found.id LIMIT %(limit)s
"""
LIST_EVENTS_OF_CHATBOTS = fill(
    OF_EACH_CHATBOT,
    columns=COLUMNS,
    in_stretch=IN_STRETCH,
    wanted=IS_WANTED,
    part='LIMIT %(limit)s',
)
FIND_END_OF_WALK_OF_CHATBOTS = fill(
    OF_EACH_CHATBOT,
    columns='v.id',
    in_stretch=IN_STRETCH,
    wanted='true',
    part='OFFSET %(walk)s - 1 LIMIT 1',
)


def horizon() -> str:
    """An id that no event has: those before it are all there, none before it comes any more."""
    return first_id(fetch(FIND_HORIZON)[0][0])


def first_id(at: datetime) -> str:
    """The least id that an event of this moment, or of a later one, can have."""
    microseconds = max((at - EPOCH) // timedelta(microseconds=1), 0)
    milliseconds, rest = divmod(microseconds, 1000)
    fraction = rest * 4096 // 1000  # as new_event_id() of schema.sql has it
    return str(UUID(int=min(milliseconds, 2**48 - 1) << 80 | 7 << 76 | fraction << 64))


def look(wanted: Wanted, after: str | None, limit: int) -> Look:
    """At most `limit` events behind an id, the oldest first."""
    values: dict[str, Any] = {'after': after or FIRST_ID, 'last': horizon(), 'type': wanted.type}
    is_of_all = wanted.chatbot_ids is None
    if not is_of_all:
        values['chatbot_ids'] = sorted(wanted.chatbot_ids or ())
    walked = _end_of_walk(values, is_of_all) if wanted.type else None
    values['last'] = walked or values['last']
    statement = LIST_EVENTS if is_of_all else LIST_EVENTS_OF_CHATBOTS
    events = fetch_as(Event, statement, values | {'limit': limit + 1})
    if len(events) > limit:
        return Look(events[:limit], events[limit - 1].id, has_more=True)
    return Look(events, max(values['after'], values['last']), has_more=walked is not None)


def _end_of_walk(values: dict[str, Any], is_of_all: bool) -> str | None:
    """The last event that this look goes to, None when it goes through all."""
    statement = FIND_END_OF_WALK if is_of_all else FIND_END_OF_WALK_OF_CHATBOTS
    found = fetch(statement, values | {'walk': WALK, 'limit': 1})
    return found[0][0] if found else None
