"""Pure: one recipient of a bulk, and what is wrong with the address."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import ValidationError, fields, validate

from service.content import phone_numbers
from service.content.fields import opaque_data, storable, visible, without_nulls
from service.content.message_schema import AddressSchema, flat
from service.sending.personalisation import Problems

ADDRESS_FIELDS = ('to', 'recipient', 'client_reference', 'biz_opaque_callback_data')
PLAIN_NUMBER = re.compile(r'\+[0-9]+')


@dataclass(slots=True)
class Recipient:
    """One recipient as it came in: an entry of a JSON list, or a line of a CSV file.

    `line`: its number as a person counts. `address`: the ADDRESS_FIELDS that it has. `errors`: what
    is wrong with its form.
    """

    line: int
    address: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    errors: Problems = field(default_factory=dict)

    def check_address(self, recipient_type: str | None, is_known: bool) -> Problems:
        """What is wrong with the address; a good one is rewritten in the form that Meta needs.

        `is_known`: see AddressSchema.
        """
        to = str(self.address.get('to'))
        is_plain = self.address.keys() == {'to'} and PLAIN_NUMBER.fullmatch(to)
        if is_plain and not recipient_type:  # most recipients: needs no schema
            problem = phone_numbers.problem(to, is_known)
            return {'to': [problem]} if problem else {}
        kind = {'recipient_type': recipient_type} if recipient_type else {}
        schema = known_recipient_schema if is_known else recipient_schema
        try:
            checked = schema.load(self.address | kind)
        except ValidationError as error:
            return dict(flat(error.normalized_messages()))
        self.address = _only_address(checked)
        return {}


class RecipientSchema(AddressSchema):
    """Whom one row of a bulk is sent to."""

    client_reference = fields.String(validate=[validate.Length(1, 255), storable, visible])
    biz_opaque_callback_data = opaque_data()


class KnownRecipientSchema(RecipientSchema):
    is_known = True


recipient_schema = RecipientSchema()
known_recipient_schema = KnownRecipientSchema()


def read_list(recipients: Iterable[object]) -> Iterator[Recipient]:
    """The recipients of a JSON list: phone numbers, or objects with `to` or `recipient`."""
    for line, entry in enumerate(recipients, start=1):
        yield _read_entry(line, {'to': entry} if isinstance(entry, str) else entry)


def _read_entry(line: int, entry: object) -> Recipient:
    if not isinstance(entry, dict):
        return Recipient(line, errors={'recipients': ['Must be a phone number or an object.']})
    given: dict[str, Any] = without_nulls(entry)
    parameters = given.get('parameters', {})
    known = (*ADDRESS_FIELDS, 'parameters')
    errors = {name: ['Unknown field.'] for name in given if name not in known}
    if not isinstance(parameters, dict):
        errors['parameters'] = ['Must be an object.']
    return Recipient(line, _only_address(given), parameters, errors)


def _only_address(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ADDRESS_FIELDS if name in entry}
