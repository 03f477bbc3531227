"""Pure: Meta's webhook body to a flat list of items.

Never looks at [0] alone, never raises on content.
"""

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

from service.accounts.receiving_account import ReceivingAccount
from service.content.person_id import PersonId, read
from service.conversations.identity import IdentityClaim
from service.graph.error_shapes import code_in, errors_in, told_errors
from service.messages.fact import status_type
from service.runtime.timestamps import past
from service.runtime.untrusted import (
    MAX_DEPTH,
    MAX_ID,
    MAX_NAME,
    as_dict,
    clean,
    digits,
    identifier,
    is_deep,
)

# Webhook fields Meta documents beside `messages` (fact sheet, section 5): kept, and never answered.
KNOWN_FIELDS = frozenset(
    (
        'account_alerts',
        'account_review_update',
        'account_settings_update',
        'account_update',
        'automatic_events',
        'business_capability_update',
        'business_username_updates',
        'calls',
        'flows',
        'group_lifecycle_update',
        'group_participants_update',
        'group_participant_update',
        'group_settings_update',
        'group_status_update',
        'history',
        'message_template_components_update',
        'message_template_quality_update',
        'message_template_status_update',
        'messaging_handovers',
        'partner_solutions',
        'payment_configuration_update',
        'phone_number_name_update',
        'phone_number_quality_update',
        'security',
        'smb_app_state_sync',
        'smb_message_echoes',
        'standby',
        'template_category_update',
        'user_id_update',
        'user_preferences',
    )
)
MAX_DIGITS = 1000  # of a whole number; Python refuses to read or write more than 4300
DEEP = f'nested deeper than {MAX_DEPTH}'
# Lists of independent facts: what is too deep in one costs its neighbours nothing, and is looked at
# by its reader.
READ_ONE_BY_ONE = frozenset(('smb_message_echoes', 'calls', 'user_preferences'))
WALKED = (
    'contacts',
    'messages',
    'statuses',
    'errors',
)  # the lists of field `messages` that are read
# Where somebody is named, the surest first: in an entry of `contacts`, a message, an echo, a
# status.
CONTACT = ('user_id', 'wa_id')
SENDER = ('from_user_id', 'from')
ADDRESSEE = ('to_user_id', 'to')
RECIPIENT = ('recipient_user_id', 'recipient_id')


class NotAnEvent(ValueError):
    """The body is not a JSON object"""


@dataclass(slots=True)
class Item:
    """One message, echo, status, value error or change, with what surrounds it in the envelope.

    `account`, `identity` and `conversation_id` are found out while it is processed: whose number it
    came to, whom it speaks of, and in which conversation that person is. None when it names nobody,
    or nobody that is known.
    """

    kind: str
    key: str
    data: dict
    phone_number_id: str | None = None
    wamid: str | None = None
    contact: dict = field(default_factory=dict)
    display_phone_number: str | None = (
        None  # of the number, and its WABA: as messages and statuses name them
    )
    waba_id: str | None = None
    received_at: datetime | None = None  # when its webhook came
    path: str = ''  # by which its webhook came: a chatbot's own, '' for the common one
    account: ReceivingAccount | None = None
    identity: IdentityClaim | None = None
    conversation_id: str | None = None
    problem: str | None = None  # set: it cannot be used, and why
    outcome: str | None = None
    detail: str | None = None

    @property
    def told_at(self):
        """Meta's time of a message or status; None when it gives none that can be."""
        return past(self.data.get('timestamp'))

    @property
    def at(self):
        """The same; without it the time of receipt."""
        return self.told_at or self.received_at or datetime.now(UTC)

    def set_outcome(self, outcome: str, detail: str | None = None) -> None:
        self.outcome, self.detail = outcome, detail

    def report(self):
        return {'kind': self.kind, 'key': self.key, 'outcome': self.outcome, 'detail': self.detail}


def _finite(digits):
    value = float(digits)
    return value if math.isfinite(value) else digits


def _whole(digits):
    return int(digits) if len(digits) <= MAX_DIGITS else digits


def parse(body):
    """The raw bytes as a dict. Raises NotAnEvent."""
    try:
        event = json.loads(body, parse_constant=str, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise NotAnEvent('the body is nested too deeply to be read') from None
    except ValueError:
        raise NotAnEvent('the body is not JSON') from None
    if not isinstance(event, dict):
        raise NotAnEvent('the body is not a JSON object')
    return event


def _elements(container, name):
    """Every element of a list that should be there: (element, problem)."""
    value = container.get(name)
    if value is None:
        return
    if not isinstance(value, list):
        yield None, f'{name} is not a list'
        return
    for element in value:
        yield (
            (element, None)
            if isinstance(element, dict)
            else (None, f'{name} holds something that is no object')
        )


def flatten(event: dict, received_at: datetime | None = None, path: str = '') -> list[Item]:
    """Every item of a parsed body, in order.

    A bad part is an item with a `problem`; its neighbours are not touched.
    """
    items = _unread(event, ('entry',))
    for entry, problem in _elements(event, 'entry'):
        if problem:
            items.append(Item('change', 'entry', {}, problem=problem))
            continue
        for change, problem in _elements(entry, 'changes'):
            items.extend(
                [Item('change', 'changes', {}, problem=problem)]
                if problem
                else _change(change, entry)
            )
        items += _unread(entry, ('changes',), 'entry.')
    for item in items:
        item.received_at, item.path = received_at, path
    return items


def _change(change, entry):
    name = clean(change.get('field'), 255) or 'no field'
    value = change.get('value')
    number = identifier(as_dict(as_dict(value).get('metadata')).get('phone_number_id'))
    if (
        name != 'messages'
    ):  # `statuses` of calls or `messages` of history are not what their names say
        data = {'value': value, 'waba_id': identifier(entry.get('id')), 'time': entry.get('time')}
        too_deep = name not in READ_ONE_BY_ONE and is_deep(data)
        return [Item('change', name, data, number, problem=DEEP if too_deep else None)]
    if not isinstance(value, dict):
        return [Item('change', name, {}, problem='value is not an object')]
    items = [*_messages(value, number), *_statuses(value, number), *_errors(value, number)]
    items += _unread(value, WALKED, 'messages.', number)
    waba_id, display = (
        identifier(entry.get('id')),
        as_dict(value.get('metadata')).get('display_phone_number'),
    )
    for item in items:
        item.waba_id, item.display_phone_number = waba_id, digits(display)
    return items


def _unread(
    container: dict, read: tuple[str, ...], prefix: str = '', number: str | None = None
) -> list[Item]:
    """Lists that nothing reads: an item for each object in them, so that nothing is passed over
    unsaid.
    """
    items = []
    for name, value in container.items():
        if name in read or not isinstance(value, list) or not value:
            continue
        objects = [one for one in value if isinstance(one, dict)] or [
            value
        ]  # of mere values one for all
        key = prefix + (clean(name, MAX_NAME) or '')
        items += (
            Item('change', key, {'value': one, 'waba_id': None, 'time': None}, number)
            for one in objects
        )
    return items


def _messages(value, number, kind='message', name='messages', person=SENDER):
    contacts = _contacts(value)
    for message, problem in _elements(value, name):
        message = message or {}
        wamid = clean(message.get('id'))
        item = Item(kind, f'm|{number or ""}|{(wamid or "")[:MAX_ID]}', message, number, wamid)
        item.contact = _contact(message, contacts, person)
        item.problem = problem or _unusable(message, wamid, number)
        yield item


def echoes(change: Item) -> list[Item]:
    """The messages in an item of field smb_message_echoes (section 5), each as an item of kind
    `echo`.
    """
    value = as_dict(change.data['value'])
    written = list(_messages(value, change.phone_number_id, 'echo', 'message_echoes', ADDRESSEE))
    for item in written:
        item.received_at, item.path, item.account = change.received_at, change.path, change.account
    return written


def _statuses(value, number):
    contacts = _contacts(value)
    for status, problem in _elements(value, 'statuses'):
        status = status or {}
        wamid, name = clean(status.get('id')), clean(status.get('status'))
        key = f's|{number or ""}|{(wamid or "")[:MAX_ID]}|{(name or "")[:MAX_NAME]}|{participant(status)}'
        key += f'|{kind}' if (kind := status_type(status)) else ''
        item = Item('status', key, status, number, wamid)
        item.contact = _contact(status, contacts, RECIPIENT)
        item.problem = (
            problem
            or _unusable(status, wamid, number)
            or (None if name and len(name) <= 64 else 'no status')
        )
        yield item


def _errors(value, number):
    given = told_errors(value)
    for element in given if isinstance(given, list) else [] if given is None else [given]:
        error = next(iter(errors_in([element] if isinstance(given, list) else given)), None)
        key = f'e|{number or ""}|{code_in(error or {}) or ""}'
        problem = 'errors says nothing' if error is None else DEEP if is_deep(error) else None
        yield Item('value_error', key, error or {}, number, problem=problem)


def _unusable(data, wamid, number):
    if not wamid:
        return 'no id'
    if len(wamid.encode()) > MAX_ID:
        return f'the id is longer than {MAX_ID} bytes'
    if is_deep(data):
        return DEEP
    return None if number else 'no metadata.phone_number_id'


def _contacts(value):
    """{id: entry} of `contacts`; of two with one id the first."""
    found = {}
    for contact, problem in _elements(value, 'contacts'):
        for name in () if problem else _names(contact, CONTACT):
            found.setdefault(name, contact)
    return found


def _contact(data, contacts, where):
    """The person's entry in `contacts`: by BSUID, then by phone, never by position.

    A system message has no entry: one with its old phone is somebody else's, as is one with another
    BSUID.
    """
    names = _names(data, where)
    found = next((contacts[name] for name in names if name in contacts), {})
    users = {
        name
        for name in (*names, *_names(found, CONTACT))
        if isinstance(name, PersonId) and name.kind == 'user'
    }
    return {} if len(users) > 1 or data.get('type') == 'system' else found


def _names(data: dict, where: tuple[str, ...]) -> list[PersonId | str]:
    """What somebody is named by; what is no id of a person's is compared as it stands."""
    return [name for key in where if (name := read(data.get(key)) or identifier(data.get(key)))]


def participant(status: dict) -> str:
    """Whom of a group a status speaks of, '' outside groups.

    One page of Meta's prints the second name.
    """
    where = (
        'recipient_participant_user_id',
        'recipient_participant_id',
        'participant_recipient_id',
    )
    name = next(iter(_names(status, where)), '')
    return name.value if isinstance(name, PersonId) else name
