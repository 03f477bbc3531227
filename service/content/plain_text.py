"""Pure: what a person would read in a message, of every type and both directions.

Odd content never raises.

Words of ours stand in brackets, everything else is what somebody wrote or chose.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from service.runtime.timestamps import moment, plain
from service.runtime.untrusted import as_dict, as_text, inside, is_deep, joined, objects, text_at

DELETED = '[deleted]'
UNTOLD = frozenset(('flow_token',))  # of a form's answers: for machines
LARGEST = 10**15  # of a quantity or a price that is worth a sum


def read(kind: str, content: object) -> str:
    """The text of a message, never empty."""
    return READERS.get(kind, _of_any_kind)(kind, content) or f'[{kind}]'


def _labelled(label: str, text: str) -> str:
    return joined(' ', f'[{label}]', text)


def _text(kind: str, content: object) -> str:
    return text_at(content, 'body')


def _media(kind: str, content: object) -> str:
    is_voice = kind == 'voice' or (kind == 'audio' and as_dict(content).get('voice') is True)
    label = 'voice message' if is_voice else kind
    return _labelled(label, joined(': ', text_at(content, 'filename'), text_at(content, 'caption')))


def _location(kind: str, content: object) -> str:
    place = joined(', ', text_at(content, 'name'), text_at(content, 'address'))
    latitude, longitude = text_at(content, 'latitude'), text_at(content, 'longitude')
    return _labelled(
        kind, joined(' ', place, f'({latitude}, {longitude})' if latitude and longitude else '')
    )


def _contacts(kind: str, content: object) -> str:
    return _labelled(kind, joined('; ', *map(_contact, objects(content))))


def _contact(card: dict[str, Any]) -> str:
    name = text_at(card, 'name', 'formatted_name') or joined(
        ' ', text_at(card, 'name', 'first_name'), text_at(card, 'name', 'last_name')
    )
    phones = [text_at(one, 'phone') or text_at(one, 'wa_id') for one in objects(card.get('phones'))]
    emails = [text_at(one, 'email') for one in objects(card.get('emails'))]
    return joined(': ', name or text_at(card, 'org', 'company'), joined(', ', *phones, *emails))


def _button(kind: str, content: object) -> str:
    return text_at(content, 'text') or text_at(content, 'payload')


def _reaction(kind: str, content: object) -> str:
    emoji = text_at(content, 'emoji')
    return _labelled('reaction', emoji) if emoji else '[reaction taken back]'


def _order(kind: str, content: object) -> str:
    items = objects(as_dict(content).get('product_items'))
    return joined(
        '\n', _labelled(kind, text_at(content, 'text')), *map(_item, items), _total(items)
    )


def _item(item: dict[str, Any]) -> str:
    what = f'{text_at(item, "quantity") or "?"} × {text_at(item, "product_retailer_id") or "?"}'
    price = joined(
        ' ',
        _money(item.get('item_price')) or text_at(item, 'item_price'),
        text_at(item, 'currency'),
    )
    return f'{what} at {price}' if price else what


def _total(items: list[dict[str, Any]]) -> str:
    """Of one currency, and if every part of it is a number."""
    parts = [(_number(item.get('quantity')), _number(item.get('item_price'))) for item in items]
    currencies = {text_at(item, 'currency') for item in items}
    known = [
        (quantity, price) for quantity, price in parts if quantity is not None and price is not None
    ]
    if len(currencies) != 1 or len(known) < len(parts):
        return ''
    total = sum((quantity * price for quantity, price in known), Decimal())
    return joined(' ', 'Total', _money(total), *currencies)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Decimal(str(value)) if -LARGEST < value < LARGEST else None


def _money(value: object) -> str:
    amount = _number(value)
    if amount is None:
        return ''
    return f'{amount:.0f}' if amount == amount.to_integral_value() else f'{amount:.2f}'


def _system(kind: str, content: object) -> str:
    return text_at(content, 'body') or _labelled(kind, text_at(content, 'type'))


def _unsupported(kind: str, content: object) -> str:
    inner = text_at(content, 'type')
    return f'[{kind}: {inner}]' if inner else ''


def _edit(kind: str, content: object) -> str:
    message = as_dict(inside(content, 'message'))
    inner = message.get('type')
    text = read(inner, message.get(inner)) if isinstance(inner, str) and inner != kind else ''
    return _labelled(kind, text)


def _template(kind: str, content: object) -> str:
    """Its name and its parameters; where its definition is known, service.templates.rendering says
    more.
    """
    components = objects(as_dict(content).get('components'))
    values = [
        _parameter(one) for component in components for one in objects(component.get('parameters'))
    ]
    name = joined(' ', kind, text_at(content, 'name'))
    return _labelled(name, joined(', ', *values))


def _parameter(parameter: dict[str, Any]) -> str:
    kind = text_at(parameter, 'type')
    value = words(parameter)
    if not value and kind in ('image', 'video', 'document', 'location'):
        value = read(kind, parameter.get(kind))
    return joined(': ', text_at(parameter, 'parameter_name'), value)


def _interactive(kind: str, content: object) -> str:
    reply = INTERACTIVE_REPLIES.get(text_at(content, 'type'))
    if reply:
        return reply(as_dict(content))
    cards = [
        f'{n}. {_parts(card)}'
        for n, card in enumerate(objects(inside(content, 'action', 'cards')), 1)
    ]
    return joined('\n', _parts(content), *cards) or _labelled(
        joined(': ', kind, text_at(content, 'type')), ''
    )


def _button_reply(content: dict[str, Any]) -> str:
    return text_at(content, 'button_reply', 'title') or text_at(content, 'button_reply', 'id')


def _list_reply(content: dict[str, Any]) -> str:
    chosen = content.get('list_reply')
    return joined(
        '\n', text_at(chosen, 'title') or text_at(chosen, 'id'), text_at(chosen, 'description')
    )


def _form(content: dict[str, Any]) -> str:
    """A Flow's answers, or an address: JSON within the JSON."""
    reply = content.get('nfm_reply')
    return joined(
        '\n',
        text_at(reply, 'body') or _labelled(text_at(reply, 'name') or 'form', ''),
        *_answers(reply),
    )


def _answers(reply: object) -> list[str]:
    given = inside(reply, 'response_json')
    try:
        answers = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        return [given]
    if not isinstance(answers, dict) or is_deep(answers):
        return [given] if isinstance(given, str) else []
    return [f'{name}: {_answer(value)}' for name, value in answers.items() if name not in UNTOLD]


def _answer(value: object) -> str:
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, dict):
        return ', '.join(f'{name}: {_flat(inner)}' for name, inner in value.items())
    return ', '.join(map(_flat, value)) if isinstance(value, list) else _flat(value)


def _flat(value: object) -> str:
    return (
        as_text(value)
        if isinstance(value, str | int | float)
        else json.dumps(value, ensure_ascii=False)
    )


def _call_permission(content: dict[str, Any]) -> str:
    reply = content.get('call_permission_reply')
    if text_at(reply, 'response') != 'accept':
        return '[calls refused]'
    if as_dict(reply).get('is_permanent') is True:
        return '[calls allowed for good]'
    until = moment(as_dict(reply).get('expiration_timestamp'))
    return f'[calls allowed until {plain(until)}]' if until else '[calls allowed]'


def _parts(content: object) -> str:
    """Header, body, footer and what can be tapped, of an interactive message of ours or of one of
    its cards.
    """
    header = as_dict(as_dict(content).get('header'))
    kind = text_at(header, 'type')
    media = _media(kind, header.get(kind)) if kind in MEDIA else ''
    texts = [
        text_at(header, 'text') or media,
        text_at(content, 'body', 'text'),
        text_at(content, 'footer', 'text'),
    ]
    return joined('\n', *texts, *_choices(as_dict(as_dict(content).get('action'))))


def _choices(action: dict[str, Any]) -> list[str]:
    parameters, sections = action.get('parameters'), objects(action.get('sections'))
    taps = [
        text_at(one, 'reply', 'title') or text_at(one, 'quick_reply', 'title')
        for one in objects(action.get('buttons'))
    ]
    taps += [
        text_at(action, 'button'),
        text_at(parameters, 'display_text'),
        text_at(parameters, 'flow_cta'),
    ]
    shown = joined(' ', *(f'[{tap}]' for tap in taps if tap), text_at(parameters, 'url'))
    product = text_at(action, 'product_retailer_id')
    lines = [
        shown,
        f'[product {product}]' if product else '',
        *(line for one in sections for line in _section(one)),
    ]
    if not any(lines) and text_at(action, 'name'):
        lines = [f'[{text_at(action, "name").replace("_", " ")}]']
    return lines


def _section(section: dict[str, Any]) -> list[str]:
    rows = [
        joined(': ', text_at(row, 'title'), text_at(row, 'description'))
        for row in objects(section.get('rows'))
    ]
    rows += [text_at(item, 'product_retailer_id') for item in objects(section.get('product_items'))]
    return [text_at(section, 'title'), *(f'- {row}' for row in rows if row)]


def _of_any_kind(kind: str, content: object) -> str:
    """A type that is younger than this page: whatever looks like words in it."""
    found = (text_at(content, name) for name in ('caption', 'body', 'text', 'title', 'name'))
    return _labelled(kind, next(filter(None, found), ''))


MEDIA = ('image', 'video', 'audio', 'voice', 'document', 'sticker')
INTERACTIVE_REPLIES = {
    'button_reply': _button_reply, 'list_reply': _list_reply, 'nfm_reply': _form,
    'call_permission_reply': _call_permission,
}  # fmt: skip
READERS: dict[str, Callable[[str, object], str]] = {
    'text': _text, **dict.fromkeys(MEDIA, _media), 'location': _location, 'contacts': _contacts, 'button': _button,
    'interactive': _interactive, 'reaction': _reaction, 'order': _order, 'template': _template, 'edit': _edit,
    'system': _system, 'unsupported': _unsupported, 'unknown': _unsupported,
    'request_welcome': lambda kind, content: '[chat opened]',
    'revoke': lambda kind, content: '[deleted a message]',
}  # fmt: skip


def words(parameter: dict[str, Any]) -> str:
    """What stands in the text: of a currency or a date its fallback, of a file nothing."""
    named = text_at(parameter, text_at(parameter, 'type'), 'fallback_value')
    return (
        text_at(parameter, 'text')
        or named
        or text_at(parameter, 'payload')
        or text_at(parameter, 'coupon_code')
    )
