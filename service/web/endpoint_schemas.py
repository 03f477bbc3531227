"""What callers may send about endpoints and events."""

import base64
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from service.content.fields import Body, storable
from service.content.message_schema import check
from service.events.endpoint import KINDS
from service.events.event_types import TYPES
from service.web.schema_fields import (
    Pasted,
    PublicURL,
    Text,
    Timestamp,
    chatbot_id_form,
    message_id_form,
    wholly_visible,
)

SECRET_SIZES = range(24, 65)  # bytes, decoded, as Standard Webhooks says
MAX_DESCRIPTION = 500


def standard_secret(value: str) -> None:
    """A validator: a secret of Standard Webhooks, "whsec_" and base64."""
    try:
        key = base64.b64decode(value.removeprefix('whsec_'), validate=True)
    except ValueError:
        key = b''
    if not value.startswith('whsec_') or len(key) not in SECRET_SIZES:
        raise ValidationError('Must be whsec_ and base64 of 24 to 64 bytes.')


def types() -> 'fields.List[Any]':
    """A field: the types of events that an endpoint wants; null for all."""
    known = fields.String(validate=validate.OneOf(TYPES, error='Not a type of events.'))
    return fields.List(known, validate=validate.Length(1, len(TYPES)), allow_none=True)


class SecretSchema(Body):
    """A secret of an endpoint of kind events; one that is not given is made."""

    secret = Pasted(validate=standard_secret)


class RelaySecretSchema(Body):
    """A secret of an endpoint of kind relay: of any form, as an app secret of Meta's is."""

    secret = Pasted(validate=[validate.Length(16, 255), storable, wholly_visible])


SECRET_SCHEMAS: dict[str, Body] = {'events': SecretSchema(), 'relay': RelaySecretSchema()}


class EndpointSchema(Body):
    """A new endpoint."""

    url = PublicURL(secret='secret', required=True)
    kind = fields.String(load_default='events', validate=validate.OneOf(KINDS))
    chatbot_id = fields.String(validate=chatbot_id_form, allow_none=True, load_default=None)
    types = types()
    secret = Pasted()
    description = Text(maximum=MAX_DESCRIPTION, allow_none=True)

    @validates_schema
    def check_kind(self, data: dict[str, Any], **_: object) -> None:
        check_for_kind(data['kind'], data)


def check_for_kind(kind: str, data: dict[str, Any]) -> None:
    """Check what depends on the kind of an endpoint. Raises ValidationError."""
    problems: dict[str, Any] = {}
    if kind == 'relay' and data.get('types') is not None:
        problems['types'] = ['Not a field of kind relay: it gets all that Meta posts.']
    if 'secret' in data:
        problems |= SECRET_SCHEMAS[kind].validate({'secret': data['secret']})
    if problems:
        raise ValidationError(problems)


class ChangeSchema(Body):
    """A change of an endpoint: what is left out stays."""

    url = PublicURL(secret='secret')
    kind = fields.String(validate=validate.OneOf(KINDS))
    chatbot_id = fields.String(allow_none=True)
    types = types()
    secret = Pasted()
    description = Text(maximum=MAX_DESCRIPTION, allow_none=True)

    def __init__(self, endpoint: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.endpoint = endpoint

    @validates_schema
    def check_fixed(self, data: dict[str, Any], **_: object) -> None:
        """Whose it is and of which kind cannot change: what waits was meant for that one."""
        problems = {
            name: ['Cannot be changed: create another endpoint.']
            for name in ('kind', 'chatbot_id')
            if name in data and data[name] != getattr(self.endpoint, name)
        }
        if problems:
            raise ValidationError(problems)
        check_for_kind(self.endpoint.kind, data)


class ReplaySchema(Body):
    """A time of which all events are delivered once more; without an end until now."""

    since = Timestamp(required=True, format='iso')
    until = Timestamp(format='iso')

    @validates_schema
    def check_order(self, data: dict[str, Any], **_: object) -> None:
        if data['since'] > data.get('until', datetime.now(UTC)):
            raise ValidationError('Must lie in the past, and before until.', 'since')


class ResendSchema(Body):
    """To which endpoint an event is delivered once more; without one to all that want it."""

    endpoint_id = fields.String(validate=message_id_form)


endpoint_schema = EndpointSchema()
replay_schema = ReplaySchema()
resend_schema = ResendSchema()


def check_change(endpoint: Any, body: dict[str, Any]) -> dict[str, Any]:
    """What is given of a change. Raises Invalid."""
    return check(ChangeSchema(endpoint), body)
