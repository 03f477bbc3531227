"""Pure: Meta's webhook body as a flat list of items.

Every element of every list is read, and nothing in a body raises an error.
"""

import json
import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from service.graph.error_shapes import code_in, errors_in, told_errors
from service.messages.fact import status_type
from service.runtime.strict_json import not_json
from service.runtime.untrusted import (
    MAX_DEPTH,
    MAX_ID,
    MAX_NAME,
    as_dict,
    clean,
    get_path,
    identifier,
    is_deep,
    list_of_dicts,
    only_digits,
)
from service.webhooks.contact_lookup import (
    ADDRESSEE,
    RECIPIENT,
    SENDER,
    contact_of,
    contacts_by_name,
    participant,
)
from service.webhooks.item import Change, Item, ItemKind, JsonObject

MAX_DIGITS = 1000  # of a whole number; Python refuses to read or write more than 4300
TOO_DEEP = f'nested deeper than {MAX_DEPTH}'
# Fields whose value is a list of independent facts. Its reader looks at the depth of each one, so
# that one which is too deep does not cost its neighbours.
READ_ONE_BY_ONE = frozenset(('smb_message_echoes', 'calls', 'user_preferences'))
LISTS_OF_MESSAGES_FIELD = ('contacts', 'messages', 'statuses', 'errors')


class NotAnEvent(ValueError):
    """The body is not a JSON object."""


def parse(body: bytes) -> JsonObject:
    """The raw bytes of a body as a dict. Raises NotAnEvent."""
    try:
        event = DECODER.decode(body.decode(json.detect_encoding(body), 'surrogatepass'))
    except RecursionError:
        raise NotAnEvent('the body is nested too deeply to be read') from None
    except ValueError:
        raise NotAnEvent('the body is not JSON') from None
    if not isinstance(event, dict):
        raise NotAnEvent('the body is not a JSON object')
    return event


def _float(text: str) -> float | str:
    """A number; one that is infinite to Python stays text."""
    value = float(text)
    return value if math.isfinite(value) else text


def _int(text: str) -> int | str:
    return int(text) if len(text) <= MAX_DIGITS else text


# json.loads would make one for each body
DECODER = json.JSONDecoder(parse_constant=not_json, parse_float=_float, parse_int=_int)


def flatten(event: JsonObject, received_at: datetime | None = None, path: str = '') -> list[Item]:
    """Every item of a parsed body, in order.

    A part that cannot be used is an item with a `problem`, and its neighbours are not touched.
    `path`: the chatbot whose own path the webhook came by, '' for the shared path.
    """
    items = _unread_lists(event, ('entry',))
    for entry, problem in _elements(event, 'entry'):
        items += [_bad_part('entry', problem)] if problem else _items_of_entry(entry)
    for item in items:
        item.path = path
        if received_at:
            item.received_at = received_at
    return items


def changes(event: JsonObject) -> Iterator[tuple[str | None, str | None, JsonObject]]:
    """Every change of a parsed body, with the number and the WABA that it is about."""
    for entry in list_of_dicts(event.get('entry')):
        waba_id = identifier(entry.get('id'))
        for change in list_of_dicts(entry.get('changes')):
            number = identifier(get_path(change, 'value', 'metadata', 'phone_number_id'))
            yield number, waba_id, change


def _items_of_entry(entry: JsonObject) -> list[Item]:
    items = []
    for change, problem in _elements(entry, 'changes'):
        items += [_bad_part('changes', problem)] if problem else _items_of_change(change, entry)
    return items + _unread_lists(entry, ('changes',), 'entry.')


def _items_of_change(change: JsonObject, entry: JsonObject) -> list[Item]:
    field = clean(change.get('field'), 255) or 'no field'
    value = change.get('value')
    number = identifier(get_path(value, 'metadata', 'phone_number_id')) or ''
    # Only in field `messages` do lists of these names hold messages and statuses.
    if field != 'messages':
        return [_change(field, value, entry, number)]
    if not isinstance(value, dict):
        return [_bad_part(field, 'value is not an object')]
    items = [
        *_messages(value, number),
        *_statuses(value, number),
        *_value_errors(value, number),
        *_unread_lists(value, LISTS_OF_MESSAGES_FIELD, 'messages.', number),
    ]
    waba_id = identifier(entry.get('id'))
    display_phone_number = only_digits(get_path(value, 'metadata', 'display_phone_number'))
    for item in items:
        item.waba_id = waba_id
        item.display_phone_number = display_phone_number
    return items


def _change(field: str, value: object, entry: JsonObject, number: str) -> Item:
    change = Change(value, waba_id=identifier(entry.get('id')), time=entry.get('time'))
    is_too_deep = field not in READ_ONE_BY_ONE and is_deep({'value': value, 'time': change.time})
    problem = TOO_DEEP if is_too_deep else None
    return Item(ItemKind.CHANGE, field, change=change, phone_number_id=number, problem=problem)


def _bad_part(name: str, problem: str) -> Item:
    return Item(ItemKind.CHANGE, name, problem=problem)


def _elements(container: JsonObject, name: str) -> Iterator[tuple[JsonObject, str]]:
    """Every element of what should be a list of objects, with its problem ('' for none)."""
    value = container.get(name)
    if value is None:
        return
    if not isinstance(value, list):
        yield {}, f'{name} is not a list'
        return
    for element in value:
        if isinstance(element, dict):
            yield element, ''
        else:
            yield {}, f'{name} holds something that is no object'


def _unread_lists(
    container: JsonObject, read: tuple[str, ...], prefix: str = '', number: str = ''
) -> list[Item]:
    """An item for each object in the lists that nothing reads, so that the event tells of them.

    A list without any object is one item.
    """
    items = []
    for name, value in container.items():
        if name not in read and isinstance(value, list) and value:
            key = prefix + (clean(name, MAX_NAME) or '')
            parts: list[Any] = [*list_of_dicts(value)] or [value]
            for part in parts:
                change = Change(part)
                items.append(Item(ItemKind.CHANGE, key, change=change, phone_number_id=number))
    return items


def _messages(value: JsonObject, number: str) -> Iterator[Item]:
    return _written(ItemKind.MESSAGE, value, 'messages', number, SENDER)


def echoes(change: Item) -> list[Item]:
    """The messages in a change of field smb_message_echoes, each as an item of kind `echo`."""
    value = as_dict(change.change.value)
    number = change.phone_number_id
    found = list(_written(ItemKind.ECHO, value, 'message_echoes', number, ADDRESSEE))
    for item in found:
        item.received_at = change.received_at
        item.path = change.path
        item.receiver = change.receiver
    return found


def _written(
    kind: ItemKind, value: JsonObject, name: str, number: str, person: tuple[str, ...]
) -> Iterator[Item]:
    """The messages in list `name`; `person`: the keys that name who is not the business."""
    contacts = contacts_by_name(value)
    for message, problem in _elements(value, name):
        wamid = clean(message.get('id')) or ''
        yield Item(
            kind,
            f'm|{number}|{wamid[:MAX_ID]}',
            message,
            phone_number_id=number,
            wamid=wamid,
            contact=contact_of(message, contacts, person),
            problem=problem or _problem(message, wamid, number),
        )


def _statuses(value: JsonObject, number: str) -> Iterator[Item]:
    contacts = contacts_by_name(value)
    for status, problem in _elements(value, 'statuses'):
        wamid = clean(status.get('id')) or ''
        name = clean(status.get('status')) or ''
        has_name = 0 < len(name) <= MAX_NAME
        yield Item(
            ItemKind.STATUS,
            _status_key(status, number, wamid, name),
            status,
            phone_number_id=number,
            wamid=wamid,
            contact=contact_of(status, contacts, RECIPIENT),
            problem=problem
            or _problem(status, wamid, number)
            or (None if has_name else 'no status'),
        )


def _status_key(status: JsonObject, number: str, wamid: str, name: str) -> str:
    parts = ['s', number, wamid[:MAX_ID], name[:MAX_NAME], participant(status)]
    if kind := status_type(status):
        parts.append(kind)
    return '|'.join(parts)


def _value_errors(value: JsonObject, number: str) -> Iterator[Item]:
    given = told_errors(value)
    if given is None:
        return
    for part in given if isinstance(given, list) else [given]:
        error = next(iter(errors_in([part] if isinstance(given, list) else part)), {})
        problem = TOO_DEEP if is_deep(error) else None
        yield Item(
            ItemKind.VALUE_ERROR,
            f'e|{number}|{code_in(error) or ""}',
            error,
            phone_number_id=number,
            problem=problem if error else 'errors says nothing',
        )


def _problem(data: JsonObject, wamid: str, number: str) -> str | None:
    """Why a message or status cannot be used, None when it can."""
    if not wamid:
        return 'no id'
    if len(wamid.encode()) > MAX_ID:
        return f'the id is longer than {MAX_ID} bytes'
    if is_deep(data):
        return TOO_DEEP
    return None if number else 'no metadata.phone_number_id'
