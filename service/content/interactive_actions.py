"""Pure: the `action` of a message of type interactive, by its type (section 6.2)."""

from collections.abc import Callable
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate, validates_schema

from service.content.fields import (
    MAX_WORD,
    exactly,
    link,
    parts,
    refuse_repeated,
    text,
)

# characters
TITLE, ROW_TITLE, ROW_DESCRIPTION = 20, 24, 72
MAX_TOKEN = 4096  # of a flow_token: some put a signed one in
# elements
MAX_BUTTONS, MAX_SECTIONS, MAX_ROWS, MAX_PRODUCTS = 3, 10, 10, 30
MAX_CARD_BUTTONS, MAX_ADDRESSES = 10, 100
MAX_IN_SECTION = 100  # rows or products; all sections together have a limit of their own


class ReplySchema(Schema):
    id = text(256, required=True)
    title = text(TITLE, required=True)


class ButtonSchema(Schema):
    type = exactly('reply', required=True)
    reply = fields.Nested(ReplySchema, required=True)


def _of_button(name: str) -> Callable[[int], tuple[str | int, ...]]:
    """Where the field of a button stands, from the button's position."""
    return lambda at: ('buttons', at, 'reply', name)


class ButtonsAction(Schema):
    buttons = parts(ButtonSchema, 1, MAX_BUTTONS, 'buttons', required=True)

    @validates_schema
    def check_unique(self, data: dict[str, Any], **_: object) -> None:
        for name in ('id', 'title'):
            values = [button['reply'][name] for button in data['buttons']]
            refuse_repeated(values, _of_button(name), f'{name}s of buttons')


def check_total(count: int, most: int, what: str) -> None:
    """Of all sections together."""
    if count > most:
        raise ValidationError(
            f'At most {most} {what} in all are allowed, this has {count}.', 'sections'
        )


def require_titles(sections: list[dict[str, Any]]) -> None:
    """Of more than one section each has to have a title."""
    for at, section in enumerate(sections):
        if len(sections) > 1 and not section.get('title'):
            raise ValidationError(
                {'sections': {at: {'title': ['Required when there is more than one section.']}}}
            )


class RowSchema(Schema):
    id = text(200, required=True)
    title = text(ROW_TITLE, required=True)
    description = text(ROW_DESCRIPTION, least=0)


class RowsSchema(Schema):
    title = text(ROW_TITLE, least=0)
    rows = parts(RowSchema, 1, MAX_IN_SECTION, 'rows', required=True)


class ListAction(Schema):
    button = text(TITLE, required=True)
    sections = parts(RowsSchema, 1, MAX_SECTIONS, 'sections', required=True)

    @validates_schema
    def check_rows(self, data: dict[str, Any], **_: object) -> None:
        """Of the whole list, whatever its sections: how many, and that no id stands twice."""
        places = [
            (at, row)
            for at, section in enumerate(data['sections'])
            for row in range(len(section['rows']))
        ]
        check_total(len(places), MAX_ROWS, 'rows')
        require_titles(data['sections'])
        ids = [data['sections'][at]['rows'][row]['id'] for at, row in places]
        refuse_repeated(
            ids, lambda at: ('sections', places[at][0], 'rows', places[at][1], 'id'), 'ids of rows'
        )


class UrlParameters(Schema):
    display_text = text(TITLE, required=True)
    url = link(required=True)


class UrlAction(Schema):
    name = exactly('cta_url', required=True)
    parameters = fields.Nested(UrlParameters, required=True)


class FlowPayload(Schema):
    class Meta:
        unknown = INCLUDE

    screen = text(MAX_WORD)
    data = fields.Dict()


class FlowParameters(Schema):
    flow_message_version = text(10, required=True)
    flow_id = text(MAX_WORD)
    flow_name = text(MAX_WORD)
    flow_cta = text(30, required=True)
    flow_token = text(MAX_TOKEN)
    mode = fields.String(validate=validate.OneOf(['draft', 'published']))
    flow_action = fields.String(validate=validate.OneOf(['navigate', 'data_exchange']))
    flow_action_payload = fields.Nested(FlowPayload)

    @validates_schema
    def check_flow(self, data: dict[str, Any], **_: object) -> None:
        if ('flow_id' in data) == ('flow_name' in data):
            raise ValidationError('Exactly one of "flow_id" and "flow_name" is required.')


class FlowAction(Schema):
    name = exactly('flow', required=True)
    parameters = fields.Nested(FlowParameters, required=True)


class ProductAction(Schema):
    catalog_id = text(MAX_WORD, required=True)
    product_retailer_id = text(MAX_WORD, required=True)


class ProductSchema(Schema):
    product_retailer_id = text(MAX_WORD, required=True)


class ProductsSchema(Schema):
    title = text(ROW_TITLE, least=0)
    product_items = parts(ProductSchema, 1, MAX_IN_SECTION, 'products', required=True)


class ProductsAction(Schema):
    catalog_id = text(MAX_WORD, required=True)
    sections = parts(ProductsSchema, 1, MAX_SECTIONS, 'sections', required=True)

    @validates_schema
    def check_products(self, data: dict[str, Any], **_: object) -> None:
        check_total(
            sum(len(section['product_items']) for section in data['sections']),
            MAX_PRODUCTS,
            'products',
        )
        require_titles(data['sections'])


class CatalogAction(Schema):
    name = exactly('catalog_message', required=True)
    parameters = fields.Nested(Schema.from_dict({'thumbnail_product_retailer_id': text(MAX_WORD)}))


class AddressParameters(Schema):
    country = fields.String(
        required=True,
        validate=validate.Regexp(
            r'\A[A-Z]{2}\Z', error='Must be a country of two letters, like IN.'
        ),
    )
    values = fields.Dict()
    saved_addresses = parts(fields.Dict(), 0, MAX_ADDRESSES, 'addresses')
    validation_errors = fields.Dict()


class AddressAction(Schema):
    name = exactly('address_message', required=True)
    parameters = fields.Nested(AddressParameters, required=True)


class CallParameters(Schema):
    display_text = text(TITLE)
    ttl_minutes = fields.Integer(
        validate=validate.Range(1, 43200, error='Must lie between 1 and 43200 (30 days).')
    )
    payload = text(512)


class CallAction(Schema):
    name = exactly('voice_call', required=True)
    parameters = fields.Nested(CallParameters)


class QuickReplySchema(Schema):
    type = exactly('quick_reply', required=True)
    quick_reply = fields.Nested(ReplySchema, required=True)


class CardAction(Schema):
    """A link, quick replies, or a product."""

    FORMS = ({'name', 'parameters'}, {'buttons'}, {'catalog_id', 'product_retailer_id'})

    name = exactly('cta_url')
    parameters = fields.Nested(UrlParameters)
    buttons = parts(QuickReplySchema, 1, MAX_CARD_BUTTONS, 'buttons')
    catalog_id = text(MAX_WORD)
    product_retailer_id = text(MAX_WORD)

    @validates_schema
    def check_form(self, data: dict[str, Any], **_: object) -> None:
        if data.keys() not in self.FORMS:
            raise ValidationError('Must hold a link (name, parameters), or buttons, or a product.')
