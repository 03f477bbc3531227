"""Pure: what may stand in a message of type interactive, by its own type (section 6.2)."""

from collections.abc import Callable
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate, validates_schema

from service.content.fields import (
    MAX_WORD,
    ByType,
    ForbiddenField,
    exactly,
    link,
    parts,
    refuse_repeated,
    text,
)
from service.content.message_types import CaptionedSchema, DocumentSchema

BODY, LIST_BODY, CARD_BODY, HEADER, FOOTER = 1024, 4096, 160, 60, 60  # characters
TITLE, ROW_TITLE, ROW_DESCRIPTION = 20, 24, 72
MAX_BUTTONS, MAX_SECTIONS, MAX_ROWS, MAX_PRODUCTS, MAX_CARDS = 3, 10, 10, 30, 10
MAX_OF_A_SECTION, MAX_CARD_BUTTONS, MAX_ADDRESSES = (
    100,
    10,
    100,
)  # the first: their total has a limit of its own
MAX_TOKEN = 4096  # characters of a flow_token: some put a signed one in
NO_HEADER = 'This type has no header.'
NO_FOOTER = 'This type has no footer.'


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
    rows = parts(RowSchema, 1, MAX_OF_A_SECTION, 'rows', required=True)


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
    product_items = parts(ProductSchema, 1, MAX_OF_A_SECTION, 'products', required=True)


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


def only_text(most: int, required: bool = True) -> fields.Nested:
    """A field: {"text": …}."""
    return fields.Nested(Schema.from_dict({'text': text(most, required=True)}), required=required)


def _header(kind: str, inner: fields.Field[Any]) -> Schema:
    return Schema.from_dict({'type': fields.String(), 'sub_text': text(HEADER), kind: inner})()


HEADERS = {
    'text': _header('text', text(HEADER, required=True)),
    'image': _header('image', fields.Nested(CaptionedSchema, required=True)),
    'video': _header('video', fields.Nested(CaptionedSchema, required=True)),
    'document': _header('document', fields.Nested(DocumentSchema, required=True)),
}
TEXT_HEADER = {'text': HEADERS['text']}


class CardSchema(Schema):
    card_index = fields.Integer(
        required=True, validate=validate.Range(0, 9, error='Must lie between 0 and 9.')
    )
    type = fields.String(validate=validate.OneOf(['cta_url', 'quick_reply', 'button', 'product']))
    header = ByType({kind: HEADERS[kind] for kind in ('image', 'video')})
    body = only_text(CARD_BODY, required=False)
    action = fields.Nested(CardAction, required=True)

    @validates_schema
    def check_header(self, data: dict[str, Any], **_: object) -> None:
        if 'header' not in data and 'catalog_id' not in data['action']:
            raise ValidationError('A card needs a header, an image or a video.', 'header')


SAME_BUTTONS = 'All cards must have the same kind and number of buttons.'


class CardsAction(Schema):
    cards = parts(CardSchema, 2, MAX_CARDS, 'cards', required=True)

    @validates_schema
    def check_cards(self, data: dict[str, Any], **_: object) -> None:
        cards = data['cards']
        indexes = [card['card_index'] for card in cards]
        refuse_repeated(indexes, lambda at: ('cards', at, 'card_index'), 'indexes of cards')
        forms = [(card['action'].keys(), len(card['action'].get('buttons', ()))) for card in cards]
        for at, form in enumerate(forms):
            if form != forms[0]:
                raise ValidationError({'cards': {at: {'action': [SAME_BUTTONS]}}})


def named(name: str) -> type[Schema]:
    """An action that says no more than its name."""
    return Schema.from_dict({'name': exactly(name, required=True)})


def message(
    action: type[Schema],
    body: int = BODY,
    body_required: bool = True,
    headers: dict[str, Schema] | None = HEADERS,
    header_required: bool = False,
    footer: bool = True,
) -> Schema:
    """The schema of an interactive message with this action."""
    return Schema.from_dict(
        {
            'type': fields.String(),
            'header': ByType(headers, required=header_required)
            if headers
            else ForbiddenField(NO_HEADER),
            'body': only_text(body, body_required),
            'footer': only_text(FOOTER, required=False) if footer else ForbiddenField(NO_FOOTER),
            'action': fields.Nested(action, required=True),
        }
    )()


class PaymentSchema(Schema):
    """order_details and order_status: what stands in them differs by country, and Meta checks it."""

    class Meta:
        unknown = INCLUDE

    body = only_text(BODY)
    footer = only_text(FOOTER, required=False)
    action = fields.Dict(required=True)


INTERACTIVE = {
    'button': message(ButtonsAction),
    'list': message(ListAction, body=LIST_BODY, headers=TEXT_HEADER),
    'cta_url': message(UrlAction),
    'flow': message(FlowAction),
    'product': message(ProductAction, body_required=False, headers=None),
    'product_list': message(ProductsAction, headers=TEXT_HEADER, header_required=True),
    'catalog_message': message(CatalogAction),
    'carousel': message(CardsAction, headers=None, footer=False),
    'location_request_message': message(named('send_location')),
    'address_message': message(AddressAction),
    'request_contact_info': message(named('request_contact_info')),
    'call_permission_request': message(named('call_permission_request'), body_required=False),
    'voice_call': message(CallAction),
    'order_details': PaymentSchema(),
    'order_status': PaymentSchema(),
}
