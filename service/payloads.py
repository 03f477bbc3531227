"""Pure: the bodies that we send to Meta, and their check before they are queued."""

import re

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate, validates_schema

from service import phones
from service.errors import Invalid
from service.webhook_events import UNSTORABLE

BSUID = re.compile(r'\A[A-Z]{2}\.[A-Za-z0-9.]{1,140}\Z')  # section 4.1
TEXT_LIMIT = 4096  # characters of text.body (section 6.2)


def storable(value):
    """A validator: text that a text column can hold."""
    if UNSTORABLE.search(value):
        raise ValidationError('Holds a character that is not allowed (NUL or a lone surrogate).')


class TextSchema(Schema):
    body = fields.String(required=True, validate=validate.Length(min=1, max=TEXT_LIMIT))
    preview_url = fields.Boolean()


class ContextSchema(Schema):
    message_id = fields.String(required=True, validate=validate.Length(min=1, max=512))


class LanguageSchema(Schema):
    class Meta:
        unknown = INCLUDE

    code = fields.String(required=True, validate=[validate.Length(1, 64), storable])


class TemplateSchema(Schema):
    """Name and language; the rest is Meta's."""

    class Meta:
        unknown = INCLUDE

    name = fields.String(required=True, validate=[validate.Length(1, 512), storable])
    language = fields.Nested(LanguageSchema, required=True)


class MessageSchema(Schema):
    """Meta's own send body: `type`, the object named like it, `context`, and whom it goes to."""

    class Meta:
        unknown = INCLUDE  # the key named like the type; any other is refused below, by its name

    messaging_product = fields.String(validate=validate.Equal('whatsapp'))
    recipient_type = fields.String(validate=validate.OneOf(['individual', 'group']))
    recipient_identity_key_hash = fields.String(validate=validate.Length(1, 255))
    messaging_account_id = fields.String(validate=validate.Length(1, 255))
    to = fields.String()
    recipient = fields.String()
    type = fields.String(validate=validate.Regexp(r'\A[a-z][a-z_]{0,63}\Z'))
    text = fields.Nested(TextSchema)
    template = fields.Nested(TemplateSchema)
    context = fields.Nested(ContextSchema)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check_content(self, data, original, **_):
        """Exactly one content key, the one named like the type (`text` when there is no type)."""
        if not isinstance(original, dict) or not isinstance(original.get('type') or '', str):
            return  # it has its error already
        kind = original.get('type') or 'text'
        problems = {name: ['Unknown field.'] for name in original if name not in self.fields and name != kind}
        for name in {'text', 'template'} & original.keys() - {kind}:
            problems[name] = [f'Unknown field for a message of type {kind}.']
        if kind in self.fields and kind not in ('text', 'template'):
            problems['type'] = [f'"{kind}" is no type of message.']
        elif not original.get(kind) or not isinstance(original[kind], dict | list):
            problems[kind] = [f'A message of type {kind} needs an object "{kind}".']
        if problems:
            raise ValidationError(problems)


class AddressSchema(Schema):
    """Exactly one recipient: `to`, a phone number (or a group), or `recipient`, a BSUID."""

    class Meta:
        unknown = INCLUDE

    recipient_type = MessageSchema._declared_fields['recipient_type']
    to = fields.String(validate=[validate.Length(1, 255), storable])
    recipient = fields.String(
        validate=validate.Regexp(BSUID, error='Not a business-scoped user id (like "US.13491208655302741918").')
    )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check_recipient(self, data, original, **_):
        if ('to' in original) == ('recipient' in original):
            raise ValidationError('Exactly one of "to" and "recipient" is required.', 'to')
        if 'recipient' in original and data.get('recipient_type') == 'group':
            raise ValidationError('A group is named in "to".', 'recipient')
        to = data.get('to')
        if to is None or data.get('recipient_type') == 'group':
            return
        if BSUID.match(to):
            raise ValidationError('A business-scoped user id goes into "recipient": Meta would drop it here.', 'to')
        if problem := phones.problem(to):
            raise ValidationError(problem, 'to')


class RecipientSchema(AddressSchema, MessageSchema):
    """A message with exactly one recipient."""


def check(schema, body):
    """Validated message as a dict. Raises Invalid with the fields and limits that were missed."""
    try:
        return schema.load(body)
    except ValidationError as error:
        problems = dict(_flat(error.normalized_messages()))
        raise Invalid('One or more fields are not valid; see errors.', problems) from None


def _flat(messages, prefix=''):
    """marshmallow's nested messages as {"text.body": [message]}."""
    for name, value in messages.items():
        path = f'{prefix}{name}'
        if isinstance(value, dict):
            yield from _flat(value, f'{path}.')
        else:
            yield path.removesuffix('._schema'), value


def is_one_time_code(message):
    """Whether a template looks like category authentication: only those have a button with the body's own code."""
    components = message['template'].get('components') if message.get('type') == 'template' else None
    texts = {'body': set(), 'button': set()}
    for component in components if isinstance(components, list) else ():
        kind = str(component.get('type')).lower() if isinstance(component, dict) else None  # Meta takes either case
        if kind in texts:
            texts[kind].update(_parameter_texts(component.get('parameters')))
    return bool(texts['body'] & texts['button'])


def _parameter_texts(parameters):
    for one in parameters if isinstance(parameters, list) else ():
        if isinstance(one, dict) and isinstance(one.get('text'), str):
            yield one['text']


def graph_body(message):
    """What is POSTed for a claimed message row (section 6.1)."""
    body = {'messaging_product': 'whatsapp', 'recipient_type': 'individual', **(message['extra'] or {})}
    body['to' if message['recipient_to'] else 'recipient'] = message['recipient_to'] or message['recipient']
    if message['context']:
        body['context'] = message['context']
    body['type'] = message['type']
    body[message['type']] = message['content']
    body['biz_opaque_callback_data'] = message['id']
    return body
