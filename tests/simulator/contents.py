"""Pure: what Meta checks of a message's content, by type (docs/meta.md, section 6.2).

A problem is (code, details).
"""

import re
from collections.abc import Callable, Iterator

Problem = tuple[int, str]
LETTERS = re.compile('[A-Za-z]|^[ -~]+$')
CAPTION, BODY, LONG_BODY, FOOTER, HEADER, CARD_BODY, ID = 1024, 1024, 4096, 60, 60, 160, 255
BUTTONS, ROWS, SECTIONS, PRODUCTS, CARDS = 3, 10, 10, 30, 10
WITHOUT_CAPTION = ('audio', 'sticker')


def deep_problem(body: dict) -> Problem | None:
    """The first thing that Meta would not take, or None."""
    kind = body.get('type', 'text')
    check = CHECKS.get(kind)
    try:
        return next(check(kind, body[kind]), None) if check else None
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        return 131009, f'{kind} is not built as it should be ({type(error).__name__}).'


def text(where: str, value: object, longest: int, *, required: bool = True) -> Iterator[Problem]:
    if value in (None, ''):
        if required:
            yield 131008, f'{where} is required.'
    elif not isinstance(value, str):
        yield 131009, f'{where} must be a string.'
    elif len(value) > longest:
        yield 131009, f'{where} must be at most {longest} characters long.'


def number(where: str, count: int, fewest: int, most: int) -> Iterator[Problem]:
    if not fewest <= count <= most:
        yield 131009, f'{where}: {fewest} to {most} are allowed, {count} were given.'


def unique(where: str, values: list) -> Iterator[Problem]:
    if len(set(values)) < len(values):
        yield 131009, f'{where} must be unique.'


def media(kind: str, content: dict) -> Iterator[Problem]:
    if kind in WITHOUT_CAPTION and 'caption' in content:
        yield 100, f"Param {kind}['caption'] is not allowed."
    yield from text(f"{kind}['caption']", content.get('caption'), CAPTION, required=False)
    link = content.get('link')
    if link is not None and not str(link).lower().startswith(('http://', 'https://')):
        yield 100, f"Param {kind}['link'] is not a valid URI."


def location(_: str, content: dict) -> Iterator[Problem]:
    for name in ('latitude', 'longitude'):
        value = content.get(name)
        if value is None:
            yield 131008, f"location['{name}'] is required."
        else:
            float(value)


def contacts(_: str, cards: list) -> Iterator[Problem]:
    if not cards:
        yield 131008, 'contacts is required.'
    for card in cards:
        yield from text(
            "contacts['name']['formatted_name']", card['name'].get('formatted_name'), 1024
        )
        if not any(value for name, value in card['name'].items() if name != 'formatted_name'):
            yield 131009, "contacts['name'] needs one more part than formatted_name."


def reaction(_: str, content: dict) -> Iterator[Problem]:
    yield from text("reaction['message_id']", content.get('message_id'), 512)
    if not isinstance(content.get('emoji'), str):
        yield 131008, "reaction['emoji'] is required."
    elif LETTERS.search(content['emoji']):
        yield 131009, "reaction['emoji'] must be an emoji."


def interactive(_: str, content: dict) -> Iterator[Problem]:
    kind, action = content.get('type'), content.get('action')
    check = ACTIONS.get(kind)
    if not check:
        yield 131009, f"interactive['type'] must be one of {{{', '.join(ACTIONS)}}}."
    if not isinstance(action, dict):
        yield 131008, "interactive['action'] is required."
    longest = LONG_BODY if kind == 'list' else BODY
    yield from text(
        "interactive['body']['text']",
        (content.get('body') or {}).get('text'),
        longest,
        required=kind not in ('product', 'call_permission_request'),
    )
    yield from text(
        "interactive['footer']['text']",
        (content.get('footer') or {}).get('text'),
        FOOTER,
        required=False,
    )
    yield from header(kind, content.get('header'))
    yield from check(action)


def header(kind: str, given: dict | None) -> Iterator[Problem]:
    if given is None:
        if kind == 'product_list':
            yield 131008, "interactive['header'] is required for a product_list."
        return
    if kind in ('list', 'product_list') and given['type'] != 'text':
        yield 131009, f"interactive['header']['type'] must be text for a {kind}."
    if given['type'] == 'text':
        yield from text("interactive['header']['text']", given.get('text'), HEADER)
    elif not any(given[given['type']].get(name) for name in ('id', 'link')):
        yield 131008, f"interactive['header']['{given['type']}'] needs an id or a link."


def buttons(action: dict) -> Iterator[Problem]:
    replies = [one['reply'] for one in action['buttons']]
    yield from number('buttons', len(replies), 1, BUTTONS)
    for reply in replies:
        yield from text('Button title', reply.get('title'), 20)
        yield from text('Button id', reply.get('id'), 256)
    yield from unique('Button titles', [reply['title'] for reply in replies])
    yield from unique('Button ids', [reply['id'] for reply in replies])


def rows(action: dict) -> Iterator[Problem]:
    yield from text("action['button']", action.get('button'), 20)
    yield from number('sections', len(action['sections']), 1, SECTIONS)
    for section in action['sections']:
        yield from text(
            'Section title', section.get('title'), 24, required=len(action['sections']) > 1
        )
    every = [row for section in action['sections'] for row in section['rows']]
    yield from number('rows', len(every), 1, ROWS)
    for row in every:
        yield from text('Row title', row.get('title'), 24)
        yield from text('Row id', row.get('id'), 200)
        yield from text('Row description', row.get('description'), 72, required=False)
    yield from unique('Row ids', [row['id'] for row in every])


def link(action: dict) -> Iterator[Problem]:
    parameters = action['parameters']
    yield from text('display_text', parameters.get('display_text'), 20)
    yield from text('url', parameters.get('url'), 2000)


def flow(action: dict) -> Iterator[Problem]:
    parameters = action['parameters']
    yield from text('flow_message_version', parameters.get('flow_message_version'), 10)
    yield from text('flow_cta', parameters.get('flow_cta'), 30)
    if ('flow_id' in parameters) == ('flow_name' in parameters):
        yield 131009, 'Give either flow_id or flow_name.'


def product(action: dict) -> Iterator[Problem]:
    yield from text('catalog_id', action.get('catalog_id'), ID)
    yield from text('product_retailer_id', action.get('product_retailer_id'), ID)


def products(action: dict) -> Iterator[Problem]:
    yield from text('catalog_id', action.get('catalog_id'), ID)
    yield from number('sections', len(action['sections']), 1, SECTIONS)
    items = [
        item['product_retailer_id']
        for section in action['sections']
        for item in section['product_items']
    ]
    yield from number('products', len(items), 1, PRODUCTS)


def cards(action: dict) -> Iterator[Problem]:
    yield from number('cards', len(action['cards']), 2, CARDS)
    for card in action['cards']:
        yield from text(
            'Card body', (card.get('body') or {}).get('text'), CARD_BODY, required=False
        )


def payment(name: str) -> Callable[[dict], Iterator[Problem]]:
    def check(action: dict) -> Iterator[Problem]:
        if action.get('name') != name:
            yield 131009, f"action['name'] must be {name}."
        if not isinstance(action.get('parameters'), dict):
            yield 131008, "action['parameters'] is required."

    return check


def address(action: dict) -> Iterator[Problem]:
    yield from text("action['parameters']['country']", action['parameters'].get('country'), 2)


def named(name: str) -> Callable[[dict], Iterator[Problem]]:
    def check(action: dict) -> Iterator[Problem]:
        if action.get('name') != name:
            yield 131009, f"action['name'] must be {name}."

    return check


ACTIONS = {
    'button': buttons,
    'list': rows,
    'cta_url': link,
    'flow': flow,
    'product': product,
    'product_list': products,
    'catalog_message': named('catalog_message'),
    'carousel': cards,
    'location_request_message': named('send_location'),
    'address_message': address,
    'call_permission_request': named('call_permission_request'),
    'voice_call': named('voice_call'),
    'request_contact_info': named('request_contact_info'),
    'order_details': payment('review_and_pay'),
    'order_status': payment('review_order'),
}
CHECKS = {
    **dict.fromkeys(('audio', 'document', 'image', 'sticker', 'video'), media),
    'location': location,
    'contacts': contacts,
    'reaction': reaction,
    'interactive': interactive,
}
