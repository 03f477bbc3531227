"""Meta's statuses of a message, as they are kept and as callers see them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.graph.outcome import ErrorDict, first_error
from service.messages import fact
from service.messages.fact import Key
from service.messages.state_machine import RANK
from service.runtime.prepared import Prepared
from service.runtime.rows import Json, Uuid, fetch_as

Entry = dict[str, Any]  # of a message's `statuses`, as JSON for callers


@dataclass(slots=True)
class DeliveryStatus:
    """A status as Meta sent it, cleaned.

    `timestamp`: Meta's or, without one, that of receipt; `opaque`: biz_opaque_callback_data, our id
    of the message; `participant`: of a group, '' else; `message_id`: once the message is known.
    """

    chatbot_id: str
    phone_number_id: str
    wamid: str
    status: str
    participant: str
    timestamp: datetime
    opaque: str | None
    errors: Json | None
    pricing: Json | None
    recipient: Json
    message_id: Uuid | None = None

    @property
    def key(self) -> Key:
        return self.phone_number_id, self.wamid, self.status, self.participant

    @property
    def error(self) -> ErrorDict | None:
        """The first of its errors, as the contract's `error`."""
        return first_error(self.errors)


@dataclass(slots=True)
class ToldStatus:
    """A status as it is shown."""

    message_id: str
    status: str
    timestamp: datetime
    participant: str
    errors: Any
    pricing: Any


FIND_STATUSES = Prepared("""
SELECT message_id, status, coalesce(timestamp, received_at) AS timestamp, participant, errors,
  pricing
FROM message_status WHERE message_id = ANY(%(ids)s::uuid[]) ORDER BY timestamp, id
""")


def of_messages(message_ids: Sequence[str]) -> dict[str, list[Entry]]:
    """{message id: everything Meta told of it, the oldest first by Meta's time}."""
    if not message_ids:
        return {}
    statuses = fetch_as(ToldStatus, FIND_STATUSES, {'ids': message_ids})
    told = [(status.message_id, _serialize(status)) for status in statuses]
    told += fact.of_messages(message_ids)
    history = defaultdict(list)
    for message_id, entry in sorted(told, key=lambda one: _in_order(one[1])):
        history[message_id].append(entry)
    return history


def _in_order(entry: Entry) -> tuple[datetime, int]:
    """Many statuses share a second: within it, the order in which they can only have happened."""
    rank = len(RANK) if 'type' in entry else RANK.get(entry['status'], len(RANK))
    return entry['timestamp'], rank


def _serialize(status: ToldStatus) -> Entry:
    entry: Entry = {'status': status.status, 'timestamp': status.timestamp}
    if status.participant:
        entry['participant'] = status.participant
    if status.errors:
        entry['errors'] = status.errors
    if status.pricing:
        entry['pricing'] = status.pricing
    return entry
