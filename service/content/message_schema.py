"""Pure: the bodies that we send to Meta, and their check before they are queued."""

from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import (
    INCLUDE,
    Schema,
    ValidationError,
    fields,
    post_load,
    validate,
    validates_schema,
)

from service.content import phone_numbers
from service.content.fields import (
    ASK,
    AsGiven,
    Body,
    ByType,
    Flag,
    fits_in,
    opaque_data,
    parts,
    storable,
    text,
    without_nulls,
)
from service.content.graph_body import address
from service.content.interactive import INTERACTIVE
from service.content.message_types import (
    MAX_CONTACTS,
    AudioSchema,
    CaptionedSchema,
    ContactSchema,
    DocumentSchema,
    LocationSchema,
    PinSchema,
    ReactionSchema,
    StickerSchema,
    TextSchema,
)
from service.content.person_id import read
from service.content.template_parameters import NamedSchema, TemplateSchema, storable_throughout
from service.runtime.errors import Invalid


class ContextSchema(Schema):
    message_id = text(512, required=True)


class Contents(Schema):
    """What stands under the key named like the type: the registry of all types that are known."""

    text = AsGiven(TextSchema)
    image = AsGiven(CaptionedSchema)
    video = AsGiven(CaptionedSchema)
    audio = AsGiven(AudioSchema)
    document = AsGiven(DocumentSchema)
    sticker = AsGiven(StickerSchema)
    location = AsGiven(LocationSchema)
    contacts = parts(ContactSchema, 1, MAX_CONTACTS, 'contacts')
    reaction = AsGiven(ReactionSchema)
    interactive = ByType(INTERACTIVE)
    template = AsGiven(TemplateSchema, validate=storable_throughout)
    pin = AsGiven(PinSchema)


class UncheckedContents(Schema):
    """What is asked even of a content that the caller does not want checked."""

    template = AsGiven(NamedSchema, validate=storable_throughout)


class MessageSchema(Body):
    """Meta's own send body: `type`, the object named like it, `context`, and whom it goes to."""

    class Meta:
        # the key named like the type, handed on as given; any other is refused below, by its name
        unknown = INCLUDE

    KNOWN = ALSO_KNOWN = Contents().fields
    UNCHECKED = UncheckedContents().fields

    messaging_product = fields.String(validate=validate.Equal('whatsapp'))
    recipient_type = fields.String(validate=validate.OneOf(['individual', 'group']))
    recipient_identity_key_hash = fields.String(validate=validate.Length(1, 255))
    messaging_account_id = fields.String(validate=validate.Length(1, 255))
    to = text(255, least=0)
    recipient = text(255, least=0)
    type = fields.String(validate=validate.Regexp(r'\A[a-z][a-z_]{0,63}\Z'))
    context = fields.Nested(ContextSchema)
    biz_opaque_callback_data = opaque_data()  # the caller's own; Meta gets our id in its place
    checked = Flag(data_key='validate', attribute='validate')

    def given(self, data: Any) -> Any:
        """With its type, when there is but one content that it may be of."""
        data = super().given(data)
        if not isinstance(data, dict):
            return data
        if 'type' not in data and len(kinds := self.kinds(data)) == 1:
            data['type'] = kinds[0]
        kind = data.get('type')
        is_known = isinstance(kind, str) and kind in self.KNOWN and kind in data
        if is_known and data.get('validate') is not False:
            data[kind] = without_nulls(data[kind])
        return data

    def kinds(self, data: dict[str, Any]) -> list[str]:
        """The contents that stand in a body: of types that are known, else whatever may be one."""
        ours = {field.data_key or name for name, field in self.fields.items()}
        others = [
            name
            for name, value in data.items()
            if name not in ours and isinstance(value, dict | list)
        ]
        return [name for name in data if name in self.KNOWN] or others

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check_content(self, data: dict[str, Any], original: Any, **_: object) -> None:
        """Exactly one content key, the one named like the type, and good."""
        if not isinstance(original, dict) or not isinstance(original.get('type') or '', str):
            return  # it has its error already
        if 'type' not in original and len(kinds := self.kinds(original)) > 1:
            raise ValidationError(
                f'Missing, and it may be any of these: {", ".join(kinds)}.', 'type'
            )
        kind = original.get('type') or 'text'
        known = {field.data_key or name for name, field in self.fields.items()}
        problems = {
            name: ['Unknown field.'] for name in original if name not in known and name != kind
        }
        for name in self.KNOWN.keys() & problems.keys():
            problems[name] = [f'Unknown field for a message of type {kind}.']
        if kind in known:
            problems['type'] = [f'"{kind}" is no type of message.']
        elif not isinstance(original.get(kind), dict | list):
            problems[kind] = [f'A message of type {kind} needs an object "{kind}".']
        else:
            problems |= self.content_problems(kind, original)
        if problems:
            raise ValidationError(problems)

    def content_problems(self, kind: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """{field: messages} of what breaks a limit of Meta's in a content that is there."""
        if problems := missed(SIZE, kind, message[kind]):
            return problems
        is_checked = message.get('validate') is not False
        field = (self.KNOWN if is_checked else self.UNCHECKED).get(kind)
        if field:
            return missed(field, kind, message[kind])
        if is_checked:
            return {'type': [f'"{kind}" is no type that this gateway knows. {ASK}']}
        return {} if message[kind] else {kind: ['Must not be empty.']}


SIZE = fields.Raw(validate=fits_in)


def missed(field: fields.Field[Any], name: str, value: Any) -> dict[str, Any]:
    """{name: messages} when a field does not take a value."""
    try:
        field.deserialize(value)
    except ValidationError as error:
        return {name: error.messages}
    return {}


def bsuid(value: str) -> None:
    """A validator: a BSUID, or a parent BSUID."""
    found = read(value)
    if found is None or found.kind == 'phone':
        also = ' A phone number goes into "to".' if found else ''
        raise ValidationError(
            f'Not a business-scoped user id (like "US.13491208655302741918").{also}'
        )


class AddressSchema(Body):
    """Exactly one recipient: `to`, a phone number (or a group), or `recipient`, a BSUID.

    A number comes out as Meta shall get it: "+" and digits.
    """

    class Meta:
        unknown = INCLUDE

    # whether Meta knows a customer under the number, so that its country's plan is not asked
    is_known = False

    recipient_type = MessageSchema._declared_fields['recipient_type']
    to = fields.String(validate=[validate.Length(1, 255), storable])
    recipient = fields.String(validate=bsuid)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check_recipient(self, data: dict[str, Any], original: Any, **_: object) -> None:
        if ('to' in original) == ('recipient' in original):
            raise ValidationError('Exactly one of "to" and "recipient" is required.', 'to')
        if 'recipient' in original and data.get('recipient_type') == 'group':
            raise ValidationError('A group is named in "to".', 'recipient')
        to = data.get('to')
        if to is None or data.get('recipient_type') == 'group':
            return
        if (found := read(to)) and found.kind != 'phone':
            raise ValidationError(
                'A business-scoped user id goes into "recipient": Meta would drop it here.', 'to'
            )
        if problem := phone_numbers.problem(to, self.is_known):
            raise ValidationError(problem, 'to')

    @post_load
    def write_out(self, data: dict[str, Any], **_: object) -> dict[str, Any]:
        return data | address(data.get('to'), data.get('recipient'), data.get('recipient_type'))


class RecipientSchema(AddressSchema, MessageSchema):  # type: ignore[misc]  # what both define is the same
    """A message with exactly one recipient."""


class WindowSchema(Body):
    """What shall happen when the 24-hour window has closed."""

    fallback_template = AsGiven(TemplateSchema, validate=[storable_throughout, fits_in])
    force = Flag()

    @validates_schema
    def check_fallback(self, data: dict[str, Any], **_: object) -> None:
        if data.get('type') == 'template' and 'fallback_template' in data:
            raise ValidationError('Only for a message that is no template.', 'fallback_template')
        if data.get('force') and 'fallback_template' in data:
            raise ValidationError(
                'Leaves it to Meta, so there is no use for a fallback_template.', 'force'
            )


def check(schema: Schema, body: Any) -> dict[str, Any]:
    """Validated message as a dict. Raises Invalid with the fields and limits that were missed."""
    try:
        loaded: dict[str, Any] = schema.load(body)
        return loaded
    except ValidationError as error:
        problems = dict(flat(error.normalized_messages()))
        raise Invalid('One or more fields are not valid; see errors.', problems) from None


def flat(messages: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, list[str]]]:
    """marshmallow's nested messages as {"text.body": [message]}."""
    for name, value in messages.items():
        path = f'{prefix}{name}'
        if isinstance(value, dict):
            yield from flat(value, f'{path}.')
        else:
            yield path.removesuffix('._schema'), value


def is_one_time_code(message: dict[str, Any]) -> bool:
    """Whether a template looks like one of the category authentication.

    Only these have a button with the same code as the body.
    """
    if message.get('type') != 'template':
        return False
    components = message['template'].get('components')
    texts: dict[str | None, set[str]] = {'body': set(), 'button': set()}
    for component in components if isinstance(components, list) else ():
        # Meta takes either case
        kind = str(component.get('type')).lower() if isinstance(component, dict) else None
        if kind in texts:
            texts[kind].update(_parameter_texts(component.get('parameters')))
    return bool(texts['body'] & texts['button'])


def _parameter_texts(parameters: object) -> Iterator[str]:
    for one in parameters if isinstance(parameters, list) else ():
        if isinstance(one, dict) and isinstance(one.get('text'), str):
            yield one['text']
