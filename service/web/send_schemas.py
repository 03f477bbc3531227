"""What callers may send to customers, to one or to many, checked before anything is done.

An error names the field and its limit. The instances stand at the end.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from marshmallow import INCLUDE, ValidationError, fields, validate, validates, validates_schema

from service.content.fields import Body, Flag, text
from service.content.message_schema import MessageSchema, RecipientSchema, WindowSchema
from service.content.message_types import TEXT_LIMIT, TextSchema
from service.content.text_split import split
from service.sending.personalisation import without_placeholders
from service.sending.recipients import MAX_RECIPIENTS
from service.web.schema_fields import Text, Timestamp, message_id_form

MAX_PARTS = 25  # messages that one long text may become
MAX_DELAY = timedelta(days=35)  # from now to send_at


class TimesSchema(Body):
    """When to send, and until when: RFC 3339 with an offset or Z."""

    send_at = Timestamp(format='iso')
    expires_at = Timestamp(format='iso')

    @validates_schema
    def check_times(self, data: dict[str, Any], **_: object) -> None:
        now = datetime.now(UTC)
        send_at = data.get('send_at')
        expires_at = data.get('expires_at')
        if send_at and send_at > now + MAX_DELAY:
            raise ValidationError(f'Not more than {MAX_DELAY.days} days ahead.', 'send_at')
        if expires_at and expires_at <= max(now, send_at or now):
            raise ValidationError('Must lie in the future, and after send_at.', 'expires_at')


class LongTextSchema(TextSchema):
    """A text that is to be split."""

    # Twice as long as all parts together: blanks between two parts count for neither.
    body = text(MAX_PARTS * TEXT_LIMIT * 2, required=True)

    @validates('body')
    def check_parts(self, body: str, **_: object) -> None:
        count = sum(1 for _ in islice(split(body), MAX_PARTS + 1))
        if not count:
            raise ValidationError('Holds nothing but white space.')
        if count > MAX_PARTS:
            raise ValidationError(
                f'At most {MAX_PARTS} parts of {TEXT_LIMIT} characters are allowed, this has more.'
            )


class SendSchema(TimesSchema, WindowSchema, RecipientSchema):  # type: ignore[misc]  # as RecipientSchema
    """A message to one customer."""

    chatbot_id = Text(required=True)
    client_reference = Text()
    split = Flag()  # a text over the limit becomes several messages
    in_reply_to = fields.String(validate=message_id_form)  # what a responder answers only now
    from_human = Flag()  # a person wrote it, and has the conversation from now on

    @validates_schema
    def check_answer(self, data: dict[str, Any], **_: object) -> None:
        if 'in_reply_to' in data and 'send_at' in data:
            raise ValidationError('An answer is sent at once.', 'send_at')
        if 'in_reply_to' in data and data.get('from_human'):
            raise ValidationError("Not for a responder's answer.", 'from_human')

    def content_problems(self, kind: str, message: Mapping[str, Any]) -> dict[str, Any]:
        if message.get('split') is not True:
            return super().content_problems(kind, message)
        if kind != 'text':
            return {'split': ['Only a text can be split.']}
        problems = long_text_schema.validate(message['text'])
        return {'text': problems} if problems else {}


class KnownSendSchema(SendSchema):
    """The same to a phone number under which Meta knows a customer."""

    is_known = True


class ReadSchema(Body):
    """That a customer's message was read."""

    typing = Flag(load_default=False)


class BulkMessageSchema(WindowSchema, MessageSchema):
    """A message to many; whom it goes to stands beside it."""

    class Meta:
        unknown = INCLUDE
        exclude = ('to', 'recipient')

    def content_problems(self, kind: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """Problems but those of texts with a placeholder, which are checked when filled in."""
        problems = super().content_problems(kind, message)
        unfilled: dict[str, Any] = without_placeholders(problems, message)
        return unfilled


class BulkSchema(TimesSchema):
    """A bulk; its recipients are checked one by one (service.sending.recipients)."""

    chatbot_id = Text(required=True)
    message = fields.Nested(BulkMessageSchema, required=True)
    recipients = fields.List(
        fields.Raw(allow_none=True), required=True, validate=validate.Length(1, MAX_RECIPIENTS)
    )


long_text_schema = LongTextSchema()
send_schema = SendSchema()
known_send_schema = KnownSendSchema()
read_schema = ReadSchema()
bulk_schema = BulkSchema()
csv_schema = BulkSchema(exclude=('recipients',))
