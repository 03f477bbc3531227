"""Pure: what may stand in a message of each simple type, by Meta's limits (section 6.2), and the words to say it in."""

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.webhook_events import UNSTORABLE

TEXT_LIMIT, CAPTION_LIMIT = 4096, 1024  # characters of text.body, of a caption
MAX_CONTACTS = 257  # Meta's older pages; a newer source says 5 (CONFLICT), so this is left to Meta
ASK = 'To send it all the same, add "validate": false.'


def storable(value):
    """A validator: text that a text column can hold."""
    if UNSTORABLE.search(value):
        raise ValidationError('Holds a character that is not allowed (NUL or a lone surrogate).')


class Count:
    """A validator: how many characters, or elements of a list, there may be."""

    def __init__(self, least, most, what='characters'):
        self.least, self.most, self.what = least, most, what

    def __call__(self, value):
        self.check(len(value))

    def check(self, count):
        if self.most is None and count < self.least:
            raise ValidationError(f'At least {self.least} {self.what} are needed, this has {count}.')
        if self.most is not None and not self.least <= count <= self.most:
            raise ValidationError(f'{self.least} to {self.most} {self.what} are allowed, this has {count}.')


def text(most=None, least=1, **arguments):
    """A field: a string of so many characters."""
    return fields.String(validate=Count(least, most), **arguments)


def link(**arguments):
    """A field: an http or https address."""
    form = validate.Regexp(r'(?i)\Ahttps?://[^\s/?#]\S*\Z', error='Must be a link: http:// or https:// and no space.')
    return fields.String(validate=form, **arguments)


def exactly(word, **arguments):
    """A field: this word and no other."""
    return fields.String(validate=validate.Equal(word, error=f'Must be "{word}".'), **arguments)


def parts(schema, least, most, what, **arguments):
    """A field: a list of so many objects."""
    inner = schema if isinstance(schema, fields.Field) else fields.Nested(schema)
    return fields.List(inner, validate=Count(least, most, what), **arguments)


def words(*names):
    """A schema of optional texts without a limit."""
    return Schema.from_dict({name: fields.String() for name in names})


def refuse_repeated(values, path, what):
    """Raise at the first that stood before. `values`: in order; `path`: where it stands, from its position."""
    seen = set()
    for position, value in enumerate(values):
        if value is not None and value in seen:
            messages = [f'Stands twice: {what} must be unique.']
            for name in reversed(path(position)):
                messages = {name: messages}
            raise ValidationError(messages)
        seen.add(value)


class Refused(fields.Field):
    """A field that may not be given, and why."""

    def __init__(self, sentence):
        super().__init__()
        self.sentence = sentence

    def _deserialize(self, value, attr, data, **kwargs):
        raise ValidationError(self.sentence)


class ByType(fields.Field):
    """An object that is checked by the schema that its `type` names. `any_case`: Meta takes IMAGE for image here."""

    def __init__(self, schemas, any_case=False, default=None, **arguments):
        super().__init__(**arguments)
        self.schemas, self.any_case, self.default = schemas, any_case, default

    def _deserialize(self, value, attr, data, **kwargs):
        if not isinstance(value, dict):
            raise ValidationError('Must be an object.')
        kind = value.get('type', self.default)
        if kind is None:
            raise ValidationError({'type': [f'Missing. Known: {", ".join(self.schemas)}.']})
        name = kind.lower() if self.any_case and isinstance(kind, str) else kind
        if not isinstance(name, str) or name not in self.schemas:
            raise ValidationError({'type': [f'Not a known one ({", ".join(self.schemas)}). {ASK}']})
        return self.schemas[name].load(value)


class AsGiven(fields.Nested):
    """An object that is checked, and handed on as it was given."""

    def _deserialize(self, value, attr, data, **kwargs):
        super()._deserialize(value, attr, data, **kwargs)
        return value


class TextSchema(Schema):
    body = text(TEXT_LIMIT, required=True)
    preview_url = fields.Boolean()


class FileSchema(Schema):
    """A file: Meta's id of it, or where Meta finds it."""

    id = text(255)
    link = link()

    @validates_schema
    def check_source(self, data, **_):
        if ('id' in data) == ('link' in data):
            raise ValidationError('Exactly one of "id" and "link" is required.')


class CaptionedSchema(FileSchema):
    caption = text(CAPTION_LIMIT, least=0)


class DocumentSchema(CaptionedSchema):
    filename = text(least=0)


class AudioSchema(FileSchema):
    voice = fields.Boolean()  # true: shown as a voice message; Meta wants ogg with opus then
    caption = Refused('An audio has no caption: send a text beside it.')


class StickerSchema(FileSchema):
    caption = Refused('A sticker has no caption: send a text beside it.')


class LocationSchema(Schema):
    latitude = fields.Float(required=True, validate=validate.Range(-90, 90, error='Must lie between -90 and 90.'))
    longitude = fields.Float(required=True, validate=validate.Range(-180, 180, error='Must lie between -180 and 180.'))
    name = fields.String()
    address = fields.String()


class NameSchema(words('first_name', 'last_name', 'middle_name', 'suffix', 'prefix')):
    formatted_name = text(required=True)


class ContactSchema(Schema):
    name = fields.Nested(NameSchema, required=True)
    phones = fields.List(fields.Nested(words('phone', 'wa_id', 'type', 'user_id')))
    emails = fields.List(fields.Nested(words('email', 'type')))
    addresses = fields.List(fields.Nested(words('street', 'city', 'state', 'zip', 'country', 'country_code', 'type')))
    org = fields.Nested(words('company', 'department', 'title'))
    urls = fields.List(fields.Nested(words('url', 'type')))
    birthday = fields.String(
        validate=validate.Regexp(r'\A(\d{4}-\d{2}-\d{2})?\Z', error='Must be a date like 1990-12-31.')
    )


class ReactionSchema(Schema):
    message_id = text(512, required=True)
    emoji = fields.String(
        required=True,
        validate=validate.Regexp(r'\A[^A-Za-z\s]{0,40}\Z', error='Must be one emoji, or "" to take it back.'),
    )


class PinSchema(Schema):
    """In a group (section 6.2: keep it open)."""

    class Meta:
        unknown = 'include'

    type = fields.String(required=True, validate=validate.OneOf(['pin', 'unpin']))
    message_id = text(512, required=True)
