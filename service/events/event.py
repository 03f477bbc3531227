"""Events as rows. Triggers of schema.sql write them, in the transaction of what they tell of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.runtime.rows import Json, Uuid, fetch_as

RELAY = 'relay'  # the type of what Meta posted; such events are internal
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Event:
    """A row of event. `data`: ids of other rows, and what cannot be read from rows later."""

    id: Uuid
    type: str
    chatbot_id: str
    conversation_id: Uuid | None
    message_id: Uuid | None
    data: Json

    @property
    def at(self) -> datetime:
        """When it happened, by the database's clock: the time in its id."""
        return time_of(self.id)


def time_of(event_id: str) -> datetime:
    """The time in an id of new_event_id(): milliseconds, and 12 bits of a fraction of one."""
    number = UUID(event_id).int
    milliseconds = number >> 80
    fraction = (number >> 64) & 0xFFF
    microseconds = -(-fraction * 1000 // 4096)  # the fraction was rounded down
    return EPOCH + timedelta(milliseconds=milliseconds, microseconds=microseconds)


FIND_EVENTS = """
SELECT id, type, chatbot_id, conversation_id, message_id, data FROM event WHERE id = ANY(%s::uuid[])
"""


def find(event_ids: Sequence[str]) -> list[Event]:
    """The events that there are of these ids, in the order of the ids."""
    if not event_ids:
        return []
    found = {one.id: one for one in fetch_as(Event, FIND_EVENTS, (list(event_ids),))}
    return [found[id_] for id_ in event_ids if id_ in found]
