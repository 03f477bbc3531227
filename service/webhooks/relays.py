"""What Meta posted, for services that were written against Meta: which parts concern which chatbot.

Each chatbot that a webhook concerns gets an event of type `relay`, if an endpoint wants it, in the
transaction that processes the webhook. It names the parts; service/events/relay.py makes a body of
them. Who relays for all chatbots gets one event of what concerns any of them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from service.accounts import health_event, receiving_account
from service.accounts.receiving_account import AccountOfWaba, ReceivingAccount, WabaOnPath
from service.runtime.prepared import Prepared
from service.runtime.rows import Json, Uuid, execute_bulk
from service.runtime.untrusted import as_dict, get_path, identifier, is_deep
from service.webhooks.inbox import ParsedEvent
from service.webhooks.item import JsonObject

ALL = ''  # instead of a chatbot: whoever relays for all of them
# Of a change: that of its entry, and its own; of an entry that tells something without: one.
Place = list[int]


@dataclass(slots=True)
class RelayEvent:
    """An event of type relay. `position`: in the order in which Meta posted."""

    position: int
    chatbot_id: str
    conversation_id: Uuid | None
    data: Json


INSERT_EVENTS = Prepared.for_rows(RelayEvent)("""
INSERT INTO event (type, chatbot_id, conversation_id, data)
SELECT 'relay', n.chatbot_id, n.conversation_id, n.data FROM {rows}
WHERE CASE n.chatbot_id
  WHEN '' THEN (SELECT 1 FROM endpoint WHERE kind = 'relay' AND chatbot_id IS NULL LIMIT 1)
  ELSE (SELECT 1 FROM endpoint e WHERE e.kind = 'relay' AND e.chatbot_id = n.chatbot_id LIMIT 1)
  END IS NOT NULL
ORDER BY n.position
ON CONFLICT ((data ->> 'webhook_event_id'), chatbot_id) WHERE type = 'relay' DO NOTHING
""")


@dataclass(slots=True)
class Part:
    """A change in a webhook, or an entry that tells something without.

    `number`: the phone_number_id that it came to, None when it is about a whole WABA.
    """

    place: Place
    path: str
    waba_id: str | None
    number: str | None = None
    field: object = None
    value: object = None


@dataclass(slots=True)
class Readers:
    """The accounts that the webhooks of a batch may concern."""

    by_number: dict[str, ReceivingAccount]
    by_waba: dict[tuple[str, str | None], list[AccountOfWaba]]

    def of(self, part: Part) -> list[str]:
        """The chatbots that a part concerns; none for one that may not come in by its path."""
        if part.number:
            account = self.by_number.get(part.number)
            return [account.chatbot_id] if account and account.is_served_on(part.path) else []
        accounts = self.by_waba.get((part.path, part.waba_id), [])
        if part.field in health_event.FIELDS:
            number = health_event.named_number(as_dict(part.value))
            accounts = [
                one
                for one in accounts
                if number.may_be(one.phone_number_id, one.display_phone_number)
            ]
        return [one.chatbot_id for one in accounts]


def publish(events: Sequence[ParsedEvent]) -> None:
    """Write the relay events of webhooks whose items are stored, where an endpoint wants them."""
    parts = [list(_parts(one)) for one in events]
    readers = _readers([part for of_one in parts for part in of_one])
    positions = count()
    rows = []
    for event, of_one in zip(events, parts, strict=True):
        for chatbot_id, places in _places(of_one, readers).items():
            is_whole = len(places) == _size(event.body)
            data = {'webhook_event_id': event.event.id, 'places': None if is_whole else places}
            lane = _conversation(event, chatbot_id)
            rows.append(RelayEvent(next(positions), chatbot_id, lane, data))
    execute_bulk(INSERT_EVENTS, rows)


def _parts(event: ParsedEvent) -> Iterator[Part]:
    """Every part that can be used. What is nested too deeply could not be written again; clients
    fail at an entry that tells nothing.
    """
    path = event.event.path
    for at, entry in _objects(event.body.get('entry')):
        waba_id = identifier(entry.get('id'))
        changes = entry.get('changes')
        if is_deep({**entry, 'changes': None}):
            continue
        if not changes and any(
            value and isinstance(value, list | dict) for value in entry.values()
        ):
            yield Part([at], path, waba_id)
        for position, change in _objects(changes):
            number = identifier(get_path(change, 'value', 'metadata', 'phone_number_id'))
            if not is_deep(change):
                told = change.get('field'), change.get('value')
                yield Part([at, position], path, waba_id, number, *told)


def _objects(elements: object) -> Iterator[tuple[int, JsonObject]]:
    """The objects in what should be a list of them, with their positions."""
    for position, element in enumerate(elements if isinstance(elements, list) else ()):
        if isinstance(element, dict):
            yield position, element


def _size(body: JsonObject) -> int:
    """How many parts there would be if all that stands in a body could be used."""
    size = 0
    for entry in body['entry']:
        changes = as_dict(entry).get('changes')
        size += len(changes) if isinstance(changes, list) and changes else 1
    return size


def _readers(parts: Sequence[Part]) -> Readers:
    numbers = {part.number for part in parts if part.number}
    wabas = [WabaOnPath(part.path, part.waba_id) for part in parts if not part.number]
    by_waba = defaultdict(list)
    for account in receiving_account.of_wabas(wabas):
        by_waba[account.path, account.waba_id].append(account)
    return Readers(receiving_account.of_numbers(numbers) if numbers else {}, by_waba)


def _places(parts: Sequence[Part], readers: Readers) -> dict[str, list[Place]]:
    """{chatbot: the places of what concerns it}, ALL among them."""
    places: defaultdict[str, list[Place]] = defaultdict(list)
    for part in parts:
        chatbots = readers.of(part)
        for chatbot_id in [*chatbots, ALL] if chatbots else ():
            places[chatbot_id].append(part.place)
    return places


def _conversation(event: ParsedEvent, chatbot_id: str) -> str | None:
    """The first conversation that a chatbot's parts are about: bodies of it go in order."""
    for item in event.items:
        account = item.receiver
        if item.conversation_id and account and chatbot_id in (ALL, account.chatbot_id):
            return item.conversation_id
    return None
