"""Events of one person, and what endpoints were or are to be told of them."""

from collections.abc import Sequence

from service.runtime.db import db, execute, fetch
from service.runtime.ids import FIRST_ID
from service.runtime.prepared import fill

LOOK = 20_000  # events that are read in one statement
FIND_END = """
SELECT max(id::text) FROM (
  SELECT id FROM event WHERE chatbot_id = %(chatbot_id)s AND id > %(after)s
  ORDER BY id LIMIT %(limit)s) e
"""
# A relay tells of a webhook, which may be about others as well: it leaves their lane.
FIND_EVENTS = """
SELECT id, type = 'relay' FROM event
WHERE chatbot_id = %(chatbot_id)s AND id > %(after)s AND id <= %(last)s
  AND (conversation_id = ANY(%(conversations)s::uuid[]) OR message_id = ANY(%(messages)s::uuid[]))
"""
LOCK_DELIVERIES = """
SELECT 1 FROM event_delivery WHERE event_id = ANY(%(ids)s::uuid[])
ORDER BY endpoint_id, event_id FOR UPDATE
"""
DELETE_DELIVERIES = 'DELETE FROM event_delivery WHERE event_id = ANY(%(ids)s::uuid[])'
DELETE_EVENTS = 'DELETE FROM event WHERE id = ANY(%(ids)s::uuid[])'
LEAVE_LANE = fill(
    'UPDATE {table} SET conversation_id = NULL WHERE {key} = ANY(%(ids)s::uuid[])',
    table='event',
    key='id',
)
LEAVE_LANE_OF_DELIVERIES = fill(
    'UPDATE {table} SET conversation_id = NULL WHERE {key} = ANY(%(ids)s::uuid[])',
    table='event_delivery',
    key='event_id',
)


def erase(chatbot_id: str, conversations: Sequence[str], messages: Sequence[str]) -> int:
    """Delete the events of these conversations and messages; returns how many.

    The events of a webhook that is relayed for all chatbots stand under ''.
    """
    wanted = {'conversations': list(conversations), 'messages': list(messages), 'limit': LOOK}
    return sum(_erase(wanted | {'chatbot_id': of}) for of in (chatbot_id, ''))


def find(chatbot_id: str, conversations: Sequence[str]) -> list[str]:
    """Ids of the events of these conversations, without relays, the oldest first."""
    wanted = {'chatbot_id': chatbot_id, 'conversations': list(conversations), 'messages': []}
    found: list[str] = []
    after = FIRST_ID
    while True:
        ((last,),) = fetch(FIND_END, wanted | {'after': after, 'limit': LOOK})
        if last is None:
            return sorted(found)
        rows = fetch(FIND_EVENTS, wanted | {'after': after, 'last': last})
        found += [id_ for id_, is_relay in rows if not is_relay]
        after = last


def _erase(wanted: dict[str, object]) -> int:
    after = FIRST_ID
    erased = 0
    while True:
        ((last,),) = fetch(FIND_END, wanted | {'after': after})
        if last is None:
            return erased
        found = fetch(FIND_EVENTS, wanted | {'after': after, 'last': last})
        erased += _delete([id_ for id_, is_relay in found if not is_relay])
        _leave([id_ for id_, is_relay in found if is_relay])
        after = last


def _delete(ids: list[str]) -> int:
    if not ids:
        return 0
    with db.atomic():
        execute(LOCK_DELIVERIES, {'ids': ids})
        execute(DELETE_DELIVERIES, {'ids': ids})
        return execute(DELETE_EVENTS, {'ids': ids})


def _leave(ids: list[str]) -> None:
    if ids:
        with db.atomic():
            execute(LOCK_DELIVERIES, {'ids': ids})
            execute(LEAVE_LANE, {'ids': ids})
            execute(LEAVE_LANE_OF_DELIVERIES, {'ids': ids})
