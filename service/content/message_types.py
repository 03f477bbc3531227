"""Pure: what may stand in a message of each simple type, by Meta's limits (section 6.2)."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.content.characters import is_emoji, is_visible
from service.content.fields import (
    MAX_WORD,
    Count,
    Flag,
    ForbiddenField,
    link,
    optional_strings,
    parts,
    text,
)

TEXT_LIMIT, CAPTION_LIMIT = 4096, 1024  # characters of text.body, of a caption
MAX_CONTACTS = 257  # Meta's older pages; a newer source says 5 (CONFLICT), so this is left to Meta
MAX_OF_A_CONTACT = 20  # phones, emails, addresses, links


class TextSchema(Schema):
    body = text(TEXT_LIMIT, required=True)
    preview_url = Flag()


class FileSchema(Schema):
    """A file: Meta's id of it, or where Meta finds it."""

    id = text(MAX_WORD)
    link = link()

    @validates_schema
    def check_source(self, data: dict[str, Any], **_: object) -> None:
        if ('id' in data) == ('link' in data):
            raise ValidationError('Exactly one of "id" and "link" is required.')


class CaptionedSchema(FileSchema):
    caption = text(CAPTION_LIMIT, least=0)


class DocumentSchema(CaptionedSchema):
    filename = text(MAX_WORD, least=0)


class AudioSchema(FileSchema):
    voice = Flag()  # true: shown as a voice message; Meta wants ogg with opus then
    caption = ForbiddenField('An audio has no caption: send a text beside it.')


class StickerSchema(FileSchema):
    caption = ForbiddenField('A sticker has no caption: send a text beside it.')


class LocationSchema(Schema):
    latitude = fields.Float(
        required=True, validate=validate.Range(-90, 90, error='Must lie between -90 and 90.')
    )
    longitude = fields.Float(
        required=True, validate=validate.Range(-180, 180, error='Must lie between -180 and 180.')
    )
    name = text(least=0)
    address = text(least=0)


class NameSchema(Schema):
    first_name = text(least=0)
    last_name = text(least=0)
    middle_name = text(least=0)
    suffix = text(least=0)
    prefix = text(least=0)
    formatted_name = text(required=True)

    @validates_schema
    def check_parts(self, data: dict[str, Any], **_: object) -> None:
        if not any(is_visible(part) for name, part in data.items() if name != 'formatted_name'):
            raise ValidationError(
                'Beside formatted_name one more is needed: first_name, last_name, middle_name, '
                'suffix or prefix.'
            )


def of_a_contact(*names: str) -> fields.List[Any]:
    """A field: some of the same kind, each with these texts."""
    return parts(optional_strings(*names), 0, MAX_OF_A_CONTACT, 'of them')


class ContactSchema(Schema):
    name = fields.Nested(NameSchema, required=True)
    phones = of_a_contact('phone', 'wa_id', 'type', 'user_id')
    emails = of_a_contact('email', 'type')
    addresses = of_a_contact('street', 'city', 'state', 'zip', 'country', 'country_code', 'type')
    org = fields.Nested(optional_strings('company', 'department', 'title'))
    urls = of_a_contact('url', 'type')
    birthday = fields.String(
        validate=validate.Regexp(
            r'\A(\d{4}-\d{2}-\d{2})?\Z', error='Must be a date like 1990-12-31.'
        )
    )


def emoji(value: str) -> None:
    """A validator."""
    if value and not is_emoji(value):
        raise ValidationError('Must be one emoji, or "" to take it back.')


class ReactionSchema(Schema):
    message_id = text(512, required=True)
    emoji = fields.String(required=True, validate=[Count(0, 100), emoji])


class PinSchema(Schema):
    """In a group (section 6.2: keep it open)."""

    class Meta:
        unknown = 'include'

    type = fields.String(required=True, validate=validate.OneOf(['pin', 'unpin']))
    message_id = text(512, required=True)
