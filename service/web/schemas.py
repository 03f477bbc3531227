"""What callers may send, checked before anything is done. Instances at the bottom; a breach names field and limit."""

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from service.payloads import RecipientSchema, storable


class Text(fields.String):
    """A string that a text column can hold, of a given length."""

    def __init__(self, minimum=1, maximum=255, **arguments):
        super().__init__(validate=[validate.Length(minimum, maximum), storable], **arguments)


class SendSchema(RecipientSchema):
    chatbot_id = Text(required=True)
    client_reference = Text()


class ResponderSchema(Schema):
    """Who answers the customers; without one, the AI_* of the environment."""

    FIELDS = {'openai': {'base_url', 'api_key', 'model', 'system_prompt'}, 'http': {'url', 'secret'}, 'none': set()}

    kind = fields.String(required=True, validate=validate.OneOf(list(FIELDS)))
    base_url = fields.URL(schemes={'http', 'https'}, require_tld=False)
    api_key = Text(maximum=1000)
    model = Text()
    system_prompt = Text(maximum=50000)
    url = fields.URL(schemes={'http', 'https'}, require_tld=False)
    secret = fields.String(
        validate=validate.Regexp(r'\Awhsec_[A-Za-z0-9+/=]{16,}\Z', error='Must be whsec_ and base64.')
    )

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


class AccountSchema(Schema):
    chatbot_id = Text(required=True)
    phone_number_id = Text(required=True, maximum=64)
    waba_id = Text(maximum=64, allow_none=True)
    access_token = Text(required=True, maximum=4096)
    webhook_verify_token = Text(allow_none=True)
    app_secret = Text(allow_none=True)
    name = Text(allow_none=True)
    max_mps = fields.Integer(strict=True, validate=validate.Range(1, 1000), allow_none=True)
    on_unknown = fields.String(validate=validate.OneOf(['resend', 'fail']))
    responder = fields.Nested(ResponderSchema, allow_none=True)


send_schema, account_schema, account_update_schema = (
    SendSchema(),
    AccountSchema(),
    AccountSchema(partial=('phone_number_id', 'access_token')),
)
