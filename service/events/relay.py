"""Relayed webhooks: Meta's own bodies for services that were written against Meta itself.

A body that concerns one chatbot alone goes out byte for byte. Else, and where a status has our id
in biz_opaque_callback_data instead of the caller's own, it is made again: ASCII with Meta's
escapes, which every client verifies.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.events.event import Event
from service.runtime.db import fetch
from service.runtime.ids import is_id
from service.runtime.prepared import Prepared
from service.runtime.untrusted import get_path, list_of_dicts
from service.webhooks.item import JsonObject
from service.webhooks.payload import parse
from service.webhooks.relays import ALL, Place

ANY_SIZE = 2**31 - 1
OPAQUE = 'biz_opaque_callback_data'
FIND_BODIES = Prepared("""
SELECT id, body FROM webhook_event WHERE id = ANY(%(ids)s::uuid[]) AND size <= %(largest)s
""")
FIND_OPAQUE = Prepared("""
SELECT id, chatbot_id, biz_opaque_callback_data FROM message WHERE id = ANY(%(ids)s::uuid[])
""")


@dataclass(slots=True)
class Relayed:
    """What one event relays. `kept`: what concerns its chatbot; `raw`: Meta's bytes, if that is all
    of them.
    """

    event: Event
    kept: JsonObject
    raw: bytes | None

    def ours(self) -> list[JsonObject]:
        """The statuses with what may be an id of ours."""
        return [status for status in _statuses(self.kept) if is_id(status.get(OPAQUE))]


Opaque = Mapping[str, tuple[str, str | None]]  # id of a message: chatbot, and what its caller gave


def bodies(events: Sequence[Event], largest: int = ANY_SIZE) -> dict[str, bytes]:
    """{id of an event of type relay: what is posted of it}, the same at every try.

    Missing are those of webhooks that have more than `largest` bytes, or are no longer kept.
    """
    ids = list({event.data['webhook_event_id'] for event in events})
    if not ids:
        return {}
    found = dict(fetch(FIND_BODIES, {'ids': ids, 'largest': largest}))
    relayed = [
        _read(event, bytes(found[event.data['webhook_event_id']]))
        for event in events
        if event.data['webhook_event_id'] in found
    ]
    opaque = _find_opaque(relayed)
    return {one.event.id: _body(one, opaque) for one in relayed}


def _read(event: Event, raw: bytes) -> Relayed:
    given = parse(raw)
    places = event.data['places']
    if places is None:
        return Relayed(event, given, raw)
    return Relayed(event, _only(given, places), None)


def _only(given: JsonObject, places: Sequence[Place]) -> JsonObject:
    """A body with these parts alone, and no entry without one."""
    entries: dict[int, JsonObject] = {}
    for at, *position in places:
        entry = given['entry'][at]
        kept = entries.setdefault(at, {**entry, 'changes': []} if position else entry)
        if position:
            kept['changes'].append(entry['changes'][position[0]])
    return {**given, 'entry': list(entries.values())}


def _find_opaque(relayed: Sequence[Relayed]) -> Opaque:
    ids = {status[OPAQUE].lower() for one in relayed for status in one.ours()}
    rows = fetch(FIND_OPAQUE, {'ids': list(ids)}) if ids else []
    return {id_: (chatbot_id, given) for id_, chatbot_id, given in rows}


def _body(relayed: Relayed, opaque: Opaque) -> bytes:
    is_changed = False
    for status in relayed.ours():
        message = opaque.get(status[OPAQUE].lower())
        if message:
            _give_back(status, *message, relayed.event.chatbot_id)
            is_changed = True
    if relayed.raw is None or is_changed:
        return _write(relayed.kept)
    return relayed.raw


def _give_back(status: JsonObject, owner: str, given: str | None, reader: str) -> None:
    """Put what the caller gave in the place of our id; without any the key is left out."""
    if given is None or reader not in (owner, ALL):
        del status[OPAQUE]
    else:
        status[OPAQUE] = given


def _statuses(body: JsonObject) -> Iterator[JsonObject]:
    for entry in list_of_dicts(body.get('entry')):
        for change in list_of_dicts(entry.get('changes')):
            yield from list_of_dicts(get_path(change, 'value', 'statuses'))


def _write(body: JsonObject) -> bytes:
    """JSON as Meta writes it: compact, ASCII, with an escaped slash.

    Of lists and objects beside `entry` nobody knows whom they concern.
    """
    kept = {
        name: value
        for name, value in body.items()
        if name == 'entry' or not isinstance(value, list | dict)
    }
    return json.dumps(kept, separators=(',', ':')).replace('/', r'\/').encode()
