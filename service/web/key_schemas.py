"""What callers may send about an API key."""

from datetime import UTC, datetime

from marshmallow import ValidationError, fields, validate

from service.accounts.api_key import SCOPES
from service.content.fields import Body
from service.web.schema_fields import Text, Timestamp, chatbot_id_form

MAX_CHATBOTS = 200  # of a key: a list asks the index of each


def in_future(at: datetime) -> None:
    """A validator."""
    if at <= datetime.now(UTC):
        raise ValidationError('Is over already.')


class KeySchema(Body):
    """A new key. Its chatbots need no account yet: with the scope `manage` it may save them."""

    name = Text(required=True)
    chatbot_ids = fields.List(
        fields.String(validate=chatbot_id_form),
        required=True,
        validate=validate.Length(1, MAX_CHATBOTS),
    )
    scopes = fields.List(
        fields.String(validate=validate.OneOf(SCOPES)), required=True, validate=validate.Length(1)
    )
    expires_at = Timestamp(validate=in_future, allow_none=True, load_default=None)


key_schema = KeySchema()
