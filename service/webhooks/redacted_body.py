"""Pure: a webhook's body without the parts that concern one person, who is erased.

Entries and changes keep their places, which relays name (relays.py); what is taken out are the
elements of their lists: messages, statuses, contacts and the like.
"""

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from service.content.person_id import PersonId, read
from service.runtime.untrusted import as_dict, list_of_dicts
from service.webhooks.contact_lookup import ADDRESSEE, CONTACT, RECIPIENT, SENDER
from service.webhooks.item import JsonObject
from service.webhooks.payload import NotAnEvent, changes, flatten, parse

# Fields whose elements are messages: what stands deeper in one is what somebody said.
FIELDS_OF_MESSAGES = ('messages', 'smb_message_echoes')
PEOPLE = (*SENDER, *ADDRESSEE, *RECIPIENT)  # keys that name one
CONTEXT = ('metadata', 'contacts')  # tell nothing where nothing else is left

IsOwn = Callable[[str | None, str | None], bool]


@dataclass(frozen=True, slots=True)
class Marks:
    """Whose parts go. `people`: phones and BSUIDs; `messages`: ids of messages, Meta's and ours.

    `is_own(phone_number_id, waba_id)`: whether a change is about the account whose customer it is.
    """

    people: Collection[str]
    messages: Collection[str]
    is_own: IsOwn

    def name(self, value: object) -> bool:
        """Whether a value is one of the ids, in any way of writing it."""
        if not isinstance(value, str | int):
            return False
        if value in self.messages or value in self.people:
            return True
        person = read(value)
        return person is not None and person.value in self.people


def redact(body: bytes, marks: Marks) -> bytes | None:
    """What is left of a body, b'' when nothing is; None when nothing of it goes."""
    try:
        event = parse(body)
    except NotAnEvent:
        return b''  # nobody can tell whose it is
    taken = [
        _redact_change(change, marks)
        for number, waba_id, change in changes(event)
        if marks.is_own(number, waba_id)
    ]
    if not any(taken):
        return None
    if not flatten(event):
        return b''
    return json.dumps(event, separators=(',', ':')).encode()


def _redact_change(change: JsonObject, marks: Marks) -> bool:
    """Take the person's parts out of a change; whether there were any."""
    value = change.get('value')
    if change.get('field') in FIELDS_OF_MESSAGES:
        return _redact_messages(as_dict(value), marks)
    if not _mentions(value, marks):
        return False
    if not isinstance(value, dict) or not _prune(value, marks) or _mentions(value, marks):
        change['value'] = {}
    return True


def _redact_messages(value: JsonObject, marks: Marks) -> bool:
    """The same of a change whose lists hold messages or statuses."""
    is_changed = False
    for name in [name for name, part in value.items() if isinstance(part, list)]:
        kept = [one for one in value[name] if not _is_theirs(one, marks)]
        if len(kept) < len(value[name]):
            is_changed = True
            value[name] = kept
        quoting = [one for one in list_of_dicts(kept) if _mentions(one.get('context'), marks)]
        for one in quoting:  # somebody else's, who answers them in a group
            is_changed = True
            del one['context']
    if is_changed:
        _drop_strangers(value)
        for name in [name for name, part in value.items() if part == []]:
            del value[name]
    return is_changed


def _is_theirs(element: object, marks: Marks) -> bool:
    return isinstance(element, dict) and any(map(marks.name, element.values()))


def _drop_strangers(value: JsonObject) -> None:
    """Keep of `contacts` those that a message or status which is left is about."""
    named: set[PersonId] = set()
    for name, part in value.items():
        if name not in CONTEXT:
            for element in list_of_dicts(part):
                named |= _people_in(element, PEOPLE)
    contacts = list_of_dicts(value.get('contacts'))
    value['contacts'] = [one for one in contacts if _people_in(one, CONTACT) & named]


def _people_in(element: JsonObject, keys: Iterable[str]) -> set[PersonId]:
    return {person for key in keys if (person := read(element.get(key)))}


def _mentions(value: Any, marks: Marks) -> bool:
    """Whether an id stands anywhere in a value."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
        elif marks.name(part):
            return True
    return False


def _prune(value: JsonObject, marks: Marks) -> bool:
    """Take out of lists what mentions the person; whether anything was."""
    is_changed = False
    for name in [name for name, part in value.items() if isinstance(part, list)]:
        kept = [one for one in value[name] if not _mentions(one, marks)]
        is_changed |= len(kept) < len(value[name])
        value[name] = kept
    return is_changed
