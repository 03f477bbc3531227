"""Pure: what may stand in a message of type interactive, by its own type (section 6.2)."""

from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate, validates_schema

from service.content.fields import (
    ByType,
    ForbiddenField,
    exactly,
    parts,
    refuse_repeated,
    text,
)
from service.content.interactive_actions import (
    AddressAction,
    ButtonsAction,
    CallAction,
    CardAction,
    CatalogAction,
    FlowAction,
    ListAction,
    ProductAction,
    ProductsAction,
    UrlAction,
)
from service.content.message_types import CaptionedSchema, DocumentSchema

# characters
BODY, LIST_BODY, CARD_BODY, HEADER, FOOTER = 1024, 4096, 160, 60, 60
MAX_CARDS = 10
NO_HEADER = 'This type has no header.'
NO_FOOTER = 'This type has no footer.'


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
    """order_details and order_status: their contents differ by country, and Meta checks them."""

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
