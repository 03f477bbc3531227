"""Pure: the form of a template and its parameters in a send (section 6.2).

Whether they fit the template is checked in service/templates/validation.py.
"""

from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate, validates_schema

from service.content.fields import (
    MAX_WORD,
    ByType,
    parts,
    refuse_repeated,
    storable,
    text,
    variable,
)
from service.content.message_types import DocumentSchema, LocationSchema

MAX_CARDS, MAX_COMPONENTS, MAX_PARAMETERS, MAX_TARGETS = 10, 25, 250, 10


def storable_throughout(value: object) -> None:
    """A validator: all its texts can be held and looked into by the database."""
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, dict | list):
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            storable_throughout(part)


class LanguageSchema(Schema):
    code = fields.String(required=True, validate=[validate.Length(1, 64), storable])
    policy = text(64)


class NamedSchema(Schema):
    """What has to be known of a template even when its content is not checked: which one it is."""

    class Meta:
        unknown = INCLUDE

    name = fields.String(required=True, validate=[validate.Length(1, 512), storable])
    language = fields.Nested(LanguageSchema(unknown=INCLUDE), required=True)


class CurrencySchema(Schema):
    fallback_value = variable(required=True)
    code = text(3, least=3, required=True)
    amount_1000 = fields.Integer(required=True)


class DateTimeSchema(Schema):
    class Meta:
        # day_of_week, month, calendar …: Meta's older pages; only the fallback is shown
        unknown = INCLUDE

    fallback_value = variable(required=True)


class ProductSchema(Schema):
    product_retailer_id = text(MAX_WORD, required=True)
    catalog_id = text(MAX_WORD)


class OfferSchema(Schema):
    expiration_time_ms = fields.Integer(required=True)


def parameter(**own: fields.Field[Any]) -> Schema:
    """The schema of a parameter."""
    return Schema.from_dict({'type': fields.String(), 'parameter_name': text(MAX_WORD), **own})()


PARAMETERS = {
    'text': parameter(text=variable(required=True)),
    'currency': parameter(currency=fields.Nested(CurrencySchema, required=True)),
    'date_time': parameter(date_time=fields.Nested(DateTimeSchema, required=True)),
    **{
        kind: parameter(**{kind: fields.Nested(DocumentSchema, required=True)})
        for kind in ('image', 'video', 'document', 'gif')
    },
    'location': parameter(location=fields.Nested(LocationSchema, required=True)),
    'product': parameter(product=fields.Nested(ProductSchema, required=True)),
    'payload': parameter(payload=text(required=True)),
    'coupon_code': parameter(coupon_code=variable(required=True)),
    'action': parameter(action=fields.Dict(required=True)),
    'ttl_minutes': parameter(ttl_minutes=fields.Integer(required=True)),
    'limited_time_offer': parameter(limited_time_offer=fields.Nested(OfferSchema, required=True)),
    'order_status': parameter(order_status=fields.Dict(required=True)),
    'tap_target_configuration': parameter(
        tap_target_configuration=parts(fields.Dict(), 0, MAX_TARGETS, 'targets', required=True)
    ),
}


class ComponentSchema(Schema):
    type = fields.String()
    parameters = parts(ByType(PARAMETERS, any_case=True), 0, MAX_PARAMETERS, 'parameters')


class ButtonSchema(ComponentSchema):
    sub_type = text(64, required=True)
    index = fields.Integer(
        required=True, validate=validate.Range(0, 9, error='Must lie between 0 and 9.')
    )


ON_CARD = {'header': ComponentSchema(), 'body': ComponentSchema(), 'button': ButtonSchema()}


class CardSchema(Schema):
    card_index = fields.Integer(
        required=True, validate=validate.Range(0, 9, error='Must lie between 0 and 9.')
    )
    components = parts(
        ByType(ON_CARD, any_case=True), 0, MAX_COMPONENTS, 'components', required=True
    )


class CarouselSchema(Schema):
    type = fields.String()
    cards = parts(CardSchema, 1, MAX_CARDS, 'cards', required=True)

    @validates_schema
    def check_unique(self, data: dict[str, Any], **_: object) -> None:
        indexes = [card['card_index'] for card in data['cards']]
        refuse_repeated(indexes, lambda at: ('cards', at, 'card_index'), 'indexes of cards')


COMPONENTS = {
    **ON_CARD,
    'carousel': CarouselSchema(),
    'limited_time_offer': ComponentSchema(),
    'order_status': ComponentSchema(),
    'tap_target_configuration': ComponentSchema(),
    'call_permission_request': ComponentSchema(),
    'footer': ComponentSchema(),
}


class TemplateSchema(NamedSchema):
    class Meta:
        unknown = 'raise'

    language = fields.Nested(LanguageSchema, required=True)
    components = parts(ByType(COMPONENTS, any_case=True), 0, MAX_COMPONENTS, 'components')
    namespace = text(least=0)
