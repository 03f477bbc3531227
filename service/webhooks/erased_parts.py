"""What Meta tells of messages whose person was erased, which is neither stored nor kept.

Statuses come late, a redelivery may bring a message once more, and a send that was under way when
its person was erased has statuses to come.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from service.messages import erased
from service.runtime.db import execute
from service.webhooks.inbox import ParsedEvent
from service.webhooks.item import Item
from service.webhooks.payload import flatten, parse
from service.webhooks.redacted_body import Marks, redact

KEEP_REST = """
UPDATE webhook_event SET body = %(body)s, redacted_at = now() WHERE id = %(id)s
"""


def leave_out(events: Sequence[ParsedEvent]) -> list[ParsedEvent]:
    """The events without such parts, and their bodies, too; no query where nobody was erased."""
    if not any(one.event.is_anybody_erased for one in events):
        return list(events)
    gone = erased.find(id_ for one in events for item in one.items for id_ in _ids(item))
    return [_without(one, gone) if gone else one for one in events]


def _ids(item: Item) -> Iterator[str]:
    """The ids of messages that an item is about."""
    if item.wamid:
        yield item.wamid
    opaque = item.data.get('biz_opaque_callback_data')
    if isinstance(opaque, str):
        yield opaque


def _without(one: ParsedEvent, gone: set[str]) -> ParsedEvent:
    if not _concerns(one.items, gone):
        return one
    raw = bytes(one.event.body)
    left = redact(raw, Marks((), gone, lambda number, waba_id: True))
    if left is None:
        return one
    execute(KEEP_REST, {'id': one.event.id, 'body': left})
    body = parse(left) if left else {**one.body, 'entry': []}
    return replace(one, body=body, items=flatten(body, one.event.received_at, one.event.path))


def _concerns(items: Iterable[Item], gone: set[str]) -> bool:
    return any(id_ in gone for item in items for id_ in _ids(item))
