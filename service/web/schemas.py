"""What callers may send, checked before anything is done.

Instances at the bottom; a breach names field and limit.
"""

import base64
import re
from datetime import UTC, datetime, timedelta
from itertools import islice

from marshmallow import INCLUDE, ValidationError, fields, validate, validates, validates_schema

from service.content.fields import (
    MAX_LINK,
    Body,
    Flag,
    fits_in,
    storable,
    text,
    visible,
    without_nulls,
)
from service.content.message_schema import MessageSchema, RecipientSchema, WindowSchema
from service.content.message_types import TEXT_LIMIT, TextSchema
from service.content.text_split import split
from service.conversations.opt_out_keywords import MAX_LENGTH, MAX_WORDS
from service.runtime.config import UNSEEN
from service.sending.personalisation import without_placeholders
from service.sending.recipients import MAX_RECIPIENTS

NUMBER_ID = re.compile(r'\A[A-Za-z0-9_-]{1,64}\Z')  # it becomes part of a URL
CHATBOT_ID = re.compile(
    r'\A(?!\.{1,2}\Z)[A-Za-z0-9._@:+-]{1,255}\Z'
)  # of a URL, too: clients resolve . and ..
TEMPLATE_NAME = re.compile(r'\A[a-z0-9_]{1,512}\Z')
TOKEN = re.compile(r'\A(?!["\'])[!-~]{1,4096}\Z')  # it becomes a header; quotes were pasted with it
SECRET_BYTES = 12  # of a webhook secret, decoded; Standard Webhooks advises 24 to 64


MAX_PARTS = 25  # messages that one long text may become
MAX_COMPONENTS = 25  # of a template
LATEST = timedelta(days=35)
YEARS = range(1970, 9999)  # what neither UTC nor another offset carries over an end of the calendar


class Text(fields.String):
    """A string that a text column can hold, of a given length, and that shows something."""

    def __init__(self, minimum=1, maximum=255, **arguments):
        super().__init__(
            validate=[validate.Length(minimum, maximum), storable, visible], **arguments
        )


class Pasted(fields.String):
    """A secret, an id or an address that somebody copied from a page: what surrounds it is dropped."""

    def _deserialize(
        self, value: object, attr: str | None, data: object, **options: object
    ) -> object:
        return super()._deserialize(
            value.strip() if isinstance(value, str) else value, attr, data, **options
        )


class PastedURL(Pasted, fields.URL):
    """The same of an http or https URL; a host on the local network needs no dot."""

    def __init__(self, **arguments: object) -> None:
        validators = [validate.Length(1, MAX_LINK), wholly_seen]
        super().__init__(
            schemes={'http', 'https'}, require_tld=False, validate=validators, **arguments
        )


def wholly_seen(value: str) -> None:
    """A validator: nothing in it that a person who compares two texts would miss."""
    if UNSEEN.search(value):
        raise ValidationError('Holds a character that cannot be seen.')


def whsec(value):
    """A validator: a secret of Standard Webhooks, whsec_ and base64."""
    try:
        key = base64.b64decode(value.removeprefix('whsec_'), validate=True)
    except ValueError:
        key = b''
    if not value.startswith('whsec_') or len(key) < SECRET_BYTES:
        raise ValidationError(f'Must be whsec_ and base64 of at least {SECRET_BYTES} bytes.')


number_id = validate.Regexp(NUMBER_ID, error="Not an id of Meta's.")
token = validate.Regexp(
    TOKEN, error='Not a token: 1 to 4096 ASCII characters, no space, no quotes around it.'
)


class Moment(fields.AwareDateTime):
    """A time with its offset, in UTC from then on: PostgreSQL takes no offset of 16 hours."""

    def _deserialize(
        self, value: object, attr: str | None, data: object, **options: object
    ) -> datetime:
        at = super()._deserialize(value, attr, data, **options)
        if at.year not in YEARS:
            raise ValidationError('Not a time of this age.')
        return at.astimezone(UTC)


class TimesSchema(Body):
    """When to send, and until when: RFC 3339 with an offset or Z."""

    send_at = Moment(format='iso')
    expires_at = Moment(format='iso')

    @validates_schema
    def check_times(self, data, **_):
        now = datetime.now(UTC)
        send_at, expires_at = data.get('send_at'), data.get('expires_at')
        if send_at and send_at > now + LATEST:
            raise ValidationError(f'Not more than {LATEST.days} days ahead.', 'send_at')
        if expires_at and expires_at <= max(now, send_at or now):
            raise ValidationError('Must lie in the future, and after send_at.', 'expires_at')


class LongTextSchema(TextSchema):
    """A text that is to be split."""

    body = text(
        MAX_PARTS * TEXT_LIMIT * 2, required=True
    )  # blanks between the parts are not counted among them

    @validates('body')
    def check_parts(self, body, **_):
        count = sum(1 for _ in islice(split(body), MAX_PARTS + 1))
        if not count:
            raise ValidationError('Holds nothing but white space.')
        if count > MAX_PARTS:
            raise ValidationError(
                f'At most {MAX_PARTS} parts of {TEXT_LIMIT} characters are allowed, this has more.'
            )


long_text = LongTextSchema()


class SendSchema(TimesSchema, WindowSchema, RecipientSchema):
    chatbot_id = Text(required=True)
    client_reference = Text()
    split = Flag()  # a text over the limit becomes several messages

    def content_problems(self, kind, message):
        if message.get('split') is not True:
            return super().content_problems(kind, message)
        if kind != 'text':
            return {'split': ['Only a text can be split.']}
        problems = long_text.validate(message['text'])
        return {'text': problems} if problems else {}


class KnownSendSchema(SendSchema):
    is_known = True


class ReadSchema(Body):
    typing = Flag(load_default=False)


class BulkMessageSchema(WindowSchema, MessageSchema):
    """A message to many: whom it goes to stands beside it."""

    class Meta:
        unknown = INCLUDE
        exclude = ('to', 'recipient')

    def content_problems(self, kind, message):
        """Without those of texts with a placeholder: they are checked when they are filled."""
        return without_placeholders(super().content_problems(kind, message), message)


class BulkSchema(TimesSchema):
    """The order; its recipients are checked one by one (service.sending.recipients)."""

    chatbot_id = Text(required=True)
    message = fields.Nested(BulkMessageSchema, required=True)
    recipients = fields.List(
        fields.Raw(allow_none=True), required=True, validate=validate.Length(1, MAX_RECIPIENTS)
    )


class NewTemplateSchema(Body):
    """Meta's body of a template that is to be made: what stands here is checked, the rest is handed
    on.
    """

    class Meta:
        unknown = INCLUDE

    chatbot_id = Text(required=True)
    name = fields.String(
        required=True,
        validate=validate.Regexp(
            TEMPLATE_NAME, error='Must be 1 to 512 characters of a-z, 0-9 and _.'
        ),
    )
    language = Text(maximum=64, required=True)
    category = fields.String(
        required=True, validate=validate.OneOf(['MARKETING', 'UTILITY', 'AUTHENTICATION'])
    )
    components = fields.List(
        fields.Dict(), required=True, validate=validate.Length(1, MAX_COMPONENTS)
    )
    parameter_format = fields.String(validate=validate.OneOf(['POSITIONAL', 'NAMED']))

    def given(self, data):
        return without_nulls(data)

    @validates_schema(pass_original=True)
    def check_size(self, data, original, **_):
        fits_in(original)


class SyncSchema(Body):
    chatbot_id = Text(required=True)


class ResponderSchema(Body):
    """Who answers the customers; without one, the AI_* of the environment."""

    FIELDS = {
        'openai': {'base_url', 'api_key', 'model', 'system_prompt', 'timeout_seconds'},
        'http': {'url', 'secret', 'timeout_seconds'},
        'none': set(),
    }

    kind = fields.String(required=True, validate=validate.OneOf(list(FIELDS)))
    base_url = PastedURL()
    api_key = Pasted(validate=[validate.Length(max=1000), token])
    model = Pasted(validate=[validate.Length(1, 255), storable, wholly_seen])
    system_prompt = Text(maximum=50000)
    timeout_seconds = fields.Integer(strict=True, validate=validate.Range(1, 300))
    url = PastedURL()
    secret = Pasted(validate=[validate.Length(1, 1000), whsec])

    @validates_schema
    def check_kind(self, data, **_):
        problems = {
            name: [f'Not a field of kind {data["kind"]}.']
            for name in data
            if name not in self.FIELDS[data['kind']] | {'kind'}
        }
        if data['kind'] == 'http' and 'url' not in data:
            problems['url'] = ['Missing data for required field.']
        if problems:
            raise ValidationError(problems)


def words():
    """A field: what an account takes for STOP, or START; null: the default words."""
    return fields.List(
        Text(maximum=MAX_LENGTH), validate=validate.Length(max=MAX_WORDS), allow_none=True
    )


class AccountSchema(Body):
    chatbot_id = fields.String(
        required=True,
        validate=validate.Regexp(
            CHATBOT_ID,
            error='Must be 1 to 255 characters, letters a to z, digits and . _ - @ : +, and neither "." nor ".."',
        ),
    )
    phone_number_id = Pasted(required=True, validate=number_id)
    waba_id = Pasted(validate=number_id, allow_none=True)
    access_token = Pasted(required=True, validate=token)
    webhook_verify_token = Pasted(
        validate=[validate.Length(1, 255), storable, wholly_seen], allow_none=True
    )
    app_secret = Pasted(validate=[validate.Length(max=255), token], allow_none=True)
    name = Text(allow_none=True)
    max_mps = fields.Integer(strict=True, validate=validate.Range(1, 1000), allow_none=True)
    on_unknown = fields.String(validate=validate.OneOf(['resend', 'fail']))
    read_receipts = fields.String(validate=validate.OneOf(['none', 'read', 'typing']))
    opt_out_words = words()
    opt_in_words = words()
    responder = fields.Nested(ResponderSchema, allow_none=True)


class AccountUpdateSchema(AccountSchema):
    """A change: what is left out stays.

    Ids of accounts from before the rule for them are still taken.
    """

    chatbot_id = Text(required=True)


(
    send_schema,
    known_send_schema,
    read_schema,
    bulk_schema,
    csv_schema,
    account_schema,
    account_update_schema,
) = (
    SendSchema(),
    KnownSendSchema(),
    ReadSchema(),
    BulkSchema(),
    BulkSchema(exclude=('recipients',)),
    AccountSchema(),
    AccountUpdateSchema(partial=('phone_number_id', 'access_token')),
)
new_template_schema, sync_schema = NewTemplateSchema(), SyncSchema()
