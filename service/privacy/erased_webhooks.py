"""Meta's webhooks without one person: bodies are made anew without their parts, or emptied.

There is no index of who stands in which body: all that are kept are read, in the order in which
they came, a few thousand at a time and without a lock.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.privacy import old_events
from service.privacy.person import Person
from service.runtime.db import db, execute, fetch, to_json
from service.runtime.ids import FIRST_ID
from service.runtime.prepared import fill
from service.runtime.rows import fetch_as
from service.webhooks.payload import flatten, parse
from service.webhooks.redacted_body import Marks, redact

LOOK = 1000  # webhooks that are read in one statement
FIND_END = """
SELECT max(id::text) FROM (
  SELECT id FROM webhook_event WHERE id > %(after)s ORDER BY id LIMIT %(limit)s) e
"""
FIND_BODIES = """
SELECT id FROM webhook_event
WHERE id > %s AND id <= %s AND octet_length(body) > 0 AND ({found})
ORDER BY id
"""
LOCK_EVENT = """
SELECT id, status, body, items FROM webhook_event WHERE id = %s FOR UPDATE
"""
WRITE_BODY = """
UPDATE webhook_event SET body = %(body)s, items = %(items)s, redacted_at = now()
WHERE id = %(id)s
"""
EMPTY_BODY = """
UPDATE webhook_event SET body = '', items = %(items)s, redacted_at = now(), unserved = false,
  status = CASE status WHEN 'received' THEN 'processed' ELSE status END,
  processed_at = coalesce(processed_at, now())
WHERE id = %(id)s
"""
# Further tries send what is left.
FORGET_RELAYED = """
UPDATE event_delivery SET body = NULL WHERE event_id IN (
  SELECT id FROM event WHERE type = 'relay' AND data ->> 'webhook_event_id' = %(id)s)
"""


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """A webhook in which one of the ids stands."""

    id: str
    status: str
    body: memoryview
    items: Any


def erase(person: Person, message_ids: Collection[str], after: str = FIRST_ID) -> int:
    """Take a person out of all webhooks from an id on; returns of how many.

    `message_ids`: ids of their messages, Meta's and ours. With FIRST_ID whatever names the person
    goes; from a later id on only what is about these messages: who writes since is somebody new.
    """
    is_all = after == FIRST_ID
    marks = Marks(person.ids if is_all else (), frozenset(message_ids), person.is_of_account)
    found = _find(sorted(person.ids), after)
    return sum(_redact(id_, marks) for id_ in found)


def _find(needles: Sequence[str], after: str) -> Iterator[str]:
    """Ids of webhooks in which one of the texts stands."""
    if not needles:
        return
    found = ' OR '.join(['position(%s::bytea IN body) > 0'] * len(needles))
    statement = fill(FIND_BODIES, found=found)
    texts = [needle.encode() for needle in needles]
    while True:
        ((last,),) = fetch(FIND_END, {'after': after, 'limit': LOOK})
        if last is None:
            return
        yield from [id_ for (id_,) in fetch(statement, [after, last, *texts])]
        after = last


def _redact(event_id: str, marks: Marks) -> int:
    """Take the person out of one webhook, once no worker has it in hand; 1 if it was changed."""
    with db.atomic():
        rows = fetch_as(FoundEvent, LOCK_EVENT, (event_id,))
        if not rows or not rows[0].body:
            return 0
        event = rows[0]
        left = redact(bytes(event.body), marks)
        if left is None:
            return 0
        values = {'id': event.id, 'items': to_json(_items_of(left, event.items))}
        if left:
            execute(WRITE_BODY, values | {'body': left})
            execute(FORGET_RELAYED, values)
        else:
            execute(EMPTY_BODY, values)
            execute(old_events.DELETE_RELAYS, {'ids': [event.id]})
        return 1


def _items_of(left: bytes, items: Any) -> Any:
    """What became of those items of a webhook that are left in it."""
    keys = {item.key for item in flatten(parse(left))} if left else set()
    return items and [item for item in items if item['key'] in keys]
