"""Events of one person, and what endpoints were or are to be told of them."""

from collections.abc import Iterator, Sequence

from service.events.event_retention import deleting
from service.runtime.db import db, execute, fetch
from service.runtime.ids import FIRST_ID

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
DELETE_EVENTS = deleting('SELECT id FROM event WHERE id = ANY(%(ids)s::uuid[])')
LEAVE_LANE = 'UPDATE event SET conversation_id = NULL WHERE id = ANY(%(ids)s::uuid[])'
LEAVE_LANE_OF_DELIVERIES = """
UPDATE event_delivery SET conversation_id = NULL WHERE event_id = ANY(%(ids)s::uuid[])
"""


def erase(chatbot_id: str, conversations: Sequence[str], messages: Sequence[str]) -> int:
    """Delete the events of these conversations and messages; returns how many.

    The events of a webhook that is relayed for all chatbots stand under ''.
    """
    erased = 0
    for of in (chatbot_id, ''):
        for ids, relays in _find(of, conversations, messages):
            erased += _delete(ids)
            _leave(relays)
    return erased


def find(chatbot_id: str, conversations: Sequence[str]) -> list[str]:
    """Ids of the events of these conversations, without relays, the oldest first."""
    return sorted(id_ for ids, _ in _find(chatbot_id, conversations, ()) for id_ in ids)


def _find(
    chatbot_id: str, conversations: Sequence[str], messages: Sequence[str]
) -> Iterator[tuple[list[str], list[str]]]:
    """Ids of events and, apart, of relays: those of LOOK events at a time."""
    wanted = {
        'chatbot_id': chatbot_id,
        'conversations': list(conversations),
        'messages': list(messages),
        'after': FIRST_ID,
        'limit': LOOK,
    }
    while True:
        ((last,),) = fetch(FIND_END, wanted)
        if last is None:
            return
        found = fetch(FIND_EVENTS, wanted | {'last': last})
        ids = [id_ for id_, is_relay in found if not is_relay]
        yield ids, [id_ for id_, is_relay in found if is_relay]
        wanted['after'] = last


def _delete(ids: list[str]) -> int:
    if not ids:
        return 0
    with db.atomic():
        execute(LOCK_DELIVERIES, {'ids': ids})
        return execute(DELETE_EVENTS, {'ids': ids})


def _leave(ids: list[str]) -> None:
    if ids:
        with db.atomic():
            execute(LOCK_DELIVERIES, {'ids': ids})
            execute(LEAVE_LANE, {'ids': ids})
            execute(LEAVE_LANE_OF_DELIVERIES, {'ids': ids})
