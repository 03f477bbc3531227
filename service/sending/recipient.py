"""Pure: the recipients of a bulk as they come in, and what is wrong with how they are addressed."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from marshmallow import ValidationError, fields, validate

from service.content import phone_numbers
from service.content.fields import storable, visible, without_nulls
from service.content.message_schema import AddressSchema, flat

RECIPIENT = ('to', 'recipient', 'client_reference')
PLAIN = re.compile(r'\+[0-9]+')


@dataclass(slots=True)
class Recipient:
    """One recipient as it came in.

    `line`: what a person counts; `recipient`: to, recipient, client_reference.
    """

    line: int
    recipient: dict = field(default_factory=dict)
    parameters: dict = field(default_factory=dict)
    errors: dict = field(default_factory=dict)  # what is wrong with its form

    def wrong_address(self, recipient_type: str | None, is_known: bool) -> dict[str, list[str]]:
        """{field: [sentence]}; a good address is written as Meta has to get it.

        `is_known`: see AddressSchema.
        """
        to = self.recipient.get('to')
        if (
            self.recipient.keys() == {'to'} and not recipient_type and PLAIN.fullmatch(str(to))
        ):  # most rows
            wrong = phone_numbers.problem(to, is_known)
            return {'to': [wrong]} if wrong else {}
        kind = {'recipient_type': recipient_type} if recipient_type else {}
        try:
            checked = (known_row_schema if is_known else row_schema).load(self.recipient | kind)
        except ValidationError as error:
            return dict(flat(error.normalized_messages()))
        self.recipient = {name: checked[name] for name in RECIPIENT if name in checked}
        return {}


class RowSchema(AddressSchema):
    """Whom one row goes to."""

    client_reference = fields.String(validate=[validate.Length(1, 255), storable, visible])


class KnownRowSchema(RowSchema):
    is_known = True


row_schema, known_row_schema = RowSchema(), KnownRowSchema()


def read_list(recipients: Iterable[object]) -> Iterator[Recipient]:
    """The recipients of a JSON list: phone numbers, or objects with `to` or `recipient`."""
    for line, entry in enumerate(recipients, start=1):
        yield _listed(line, {'to': entry} if isinstance(entry, str) else entry)


def _listed(line: int, entry: object) -> Recipient:
    if not isinstance(entry, dict):
        return Recipient(line, errors={'recipients': ['Must be a phone number or an object.']})
    entry = without_nulls(entry)
    parameters = entry.get('parameters', {})
    errors = {name: ['Unknown field.'] for name in entry if name not in (*RECIPIENT, 'parameters')}
    if not isinstance(parameters, dict):
        errors['parameters'] = ['Must be an object.']
    return Recipient(
        line, {name: entry[name] for name in RECIPIENT if name in entry}, parameters, errors
    )
