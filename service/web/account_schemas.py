"""What callers may send about an account, checked before anything is done."""

from functools import partial
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from service.content.fields import Body, Flag, fits_in, storable
from service.content.message_types import TEXT_LIMIT
from service.conversations.opt_out_keywords import MAX_LENGTH, MAX_WORDS
from service.conversations.pause import MAX_MINUTES
from service.web.schema_fields import (
    Pasted,
    PublicURL,
    Text,
    chatbot_id_form,
    number_id_form,
    token_form,
    webhook_secret,
    wholly_visible,
)

MAX_DAYS = 36_500  # a hundred years
MAX_EXTRA = 20_000  # characters as JSON


def of_ours(extra: dict[str, Any]) -> None:
    """A validator: the request's messages are the conversation, and nothing else."""
    if 'messages' in extra:
        raise ValidationError({'messages': ['The gateway makes them of the conversation.']})


class ResponderSchema(Body):
    """Who answers the customers; without one, the AI_* of the environment."""

    FIELDS = {
        'openai': {
            'base_url',
            'api_key',
            'model',
            'system_prompt',
            'timeout_seconds',
            'temperature',
            'max_tokens',
            'history',
            'images',
            'extra',
        },
        'http': {'url', 'secret', 'timeout_seconds'},
        'none': set(),
    }

    kind = fields.String(required=True, validate=validate.OneOf(list(FIELDS)))
    base_url = PublicURL(secret='api_key')
    api_key = Pasted(validate=[validate.Length(max=1000), token_form])
    model = Pasted(validate=[validate.Length(1, 255), storable, wholly_visible])
    system_prompt = Text(maximum=50000)
    temperature = fields.Float(validate=validate.Range(0, 2))
    max_tokens = fields.Integer(strict=True, validate=validate.Range(1, 1_000_000))
    history = fields.Integer(strict=True, validate=validate.Range(1, 100))
    images = Flag()
    extra = fields.Dict(keys=fields.String(), validate=[partial(fits_in, most=MAX_EXTRA), of_ours])
    timeout_seconds = fields.Integer(strict=True, validate=validate.Range(1, 300))
    url = PublicURL(secret='secret')
    secret = Pasted(validate=[validate.Length(1, 1000), webhook_secret])

    @validates_schema
    def check_kind(self, data: dict[str, Any], **_: object) -> None:
        kind = data['kind']
        allowed = self.FIELDS[kind] | {'kind'}
        problems = {name: [f'Not a field of kind {kind}.'] for name in data if name not in allowed}
        if kind == 'http' and 'url' not in data:
            problems['url'] = ['Missing data for required field.']
        if problems:
            raise ValidationError(problems)


def days() -> fields.Integer:
    """A field: whole days; what is left out is null."""
    limits = validate.Range(1, MAX_DAYS)
    return fields.Integer(strict=True, validate=limits, allow_none=True, load_default=None)


def whole(least: int, most: int) -> fields.Integer:
    """A field: a whole number within limits; null: the default."""
    return fields.Integer(strict=True, validate=validate.Range(least, most), allow_none=True)


def keyword_list() -> 'fields.List[Any]':
    """A field: the words that an account takes for STOP, or for START; null: the default words."""
    return fields.List(
        Text(maximum=MAX_LENGTH), validate=validate.Length(max=MAX_WORDS), allow_none=True
    )


class RetentionSchema(Body):
    """After how many days it goes; null: it is kept."""

    events_days = days()
    text_days = days()
    media_days = days()


class AccountSchema(Body):
    """A new account. What need not be given may be null: the default, and of a change, too."""

    chatbot_id = fields.String(required=True, validate=chatbot_id_form)
    phone_number_id = Pasted(required=True, validate=number_id_form)
    waba_id = Pasted(validate=number_id_form, allow_none=True)
    access_token = Pasted(required=True, validate=token_form)
    webhook_verify_token = Pasted(
        validate=[validate.Length(1, 255), storable, wholly_visible], allow_none=True
    )
    app_secret = Pasted(validate=[validate.Length(max=255), token_form], allow_none=True)
    name = Text(allow_none=True)
    max_mps = whole(1, 1000)
    on_unknown = fields.String(validate=validate.OneOf(['resend', 'fail']), allow_none=True)
    read_receipts = fields.String(
        validate=validate.OneOf(['none', 'read', 'typing']), allow_none=True
    )
    opt_out_words = keyword_list()
    opt_in_words = keyword_list()
    quiet_seconds = fields.Float(validate=validate.Range(0, 30), allow_none=True)
    reply_ttl_seconds = whole(1, 86_400)
    max_turns_a_day = whole(1, 10_000)
    pause_minutes = whole(0, MAX_MINUTES)
    fallback_text = Text(maximum=TEXT_LIMIT, allow_none=True)
    monthly_budget = fields.Float(validate=validate.Range(0.01, 1_000_000_000), allow_none=True)
    responder = fields.Nested(ResponderSchema, allow_none=True)
    retention = fields.Nested(RetentionSchema, allow_none=True)


class AccountUpdateSchema(AccountSchema):
    """A change of an account: what is left out stays.

    The chatbot_id of an account that is older than the rule for them is still taken.
    """

    chatbot_id = Text(required=True)


account_schema = AccountSchema()
account_update_schema = AccountUpdateSchema(partial=('phone_number_id', 'access_token'))
