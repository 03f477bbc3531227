"""Pure: whom an object of Meta's names, and which entry of `contacts` belongs to it.

A key here names a person; the surest comes first.
"""

from service.content.person_id import PersonId, read
from service.runtime.untrusted import identifier, list_of_dicts
from service.webhooks.item import JsonObject

CONTACT = ('user_id', 'wa_id')
SENDER = ('from_user_id', 'from')
ADDRESSEE = ('to_user_id', 'to')
RECIPIENT = ('recipient_user_id', 'recipient_id')
# In a group. Pages of Meta's print the last two both.
PARTICIPANT = (
    'recipient_participant_user_id',
    'recipient_participant_id',
    'participant_recipient_id',
)

Name = PersonId | str  # text: what is no id of a person is compared as it stands
Contacts = dict[Name, JsonObject]


def contacts_by_name(value: JsonObject) -> Contacts:
    """The entries of `contacts` by each of their ids; of two with one id the first."""
    found: Contacts = {}
    for contact in list_of_dicts(value.get('contacts')):
        for name in _names(contact, CONTACT):
            found.setdefault(name, contact)
    return found


def contact_of(data: JsonObject, contacts: Contacts, keys: tuple[str, ...]) -> JsonObject:
    """The entry of the person that `keys` of an object name, never found by position; else {}.

    A system message has no entry: one with its old phone is somebody else's. Nor has a person whose
    BSUID is another one than the entry's.
    """
    names = _names(data, keys)
    contact = next((contacts[name] for name in names if name in contacts), {})
    users = {name for name in (*names, *_names(contact, CONTACT)) if _is_user(name)}
    return {} if len(users) > 1 or data.get('type') == 'system' else contact


def participant(status: JsonObject) -> str:
    """The member of a group that a status speaks of, '' outside groups."""
    name = next(iter(_names(status, PARTICIPANT)), '')
    return name.value if isinstance(name, PersonId) else name


def _names(data: JsonObject, keys: tuple[str, ...]) -> list[Name]:
    values = map(data.get, keys)
    return [name for value in values if (name := read(value) or identifier(value))]


def _is_user(name: Name) -> bool:
    return isinstance(name, PersonId) and name.kind == 'user'
