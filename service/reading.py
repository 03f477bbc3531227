"""Pure: what a person would read in a message, of every type and both directions. Odd content never raises.

Words of ours stand in brackets, everything else is what somebody wrote or chose.
"""

import json
from decimal import Decimal

from service.moments import plain
from service.webhook_events import as_dict, is_deep, moment

DELETED = '[deleted]'
UNTOLD = frozenset(('flow_token',))  # of a form's answers: for machines
LARGEST = 10**15  # of a quantity or a price that is worth a sum


def read(kind, content, template=None):
    """The text of a message. `template`: what a template reads like with its parameters, where that is known."""
    if kind == 'template' and template:
        return template
    return READERS.get(kind, _of_any_kind)(kind, content) or f'[{kind}]'


def _string(value):
    """Text, or a number as text; '' for everything else."""
    if isinstance(value, str):
        return value if value.strip() else ''
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ''


def _at(content, *path):
    """The text at a path of keys, '' where there is none."""
    return _string(_inside(content, *path))


def _inside(content, *path):
    for name in path:
        content = as_dict(content).get(name)
    return content


def _objects(value):
    """The objects in what should be a list of them."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _joined(separator, *parts):
    return separator.join(part for part in parts if part)


def _labelled(label, text):
    return _joined(' ', f'[{label}]', text)


def _text(kind, content):
    return _at(content, 'body')


def _media(kind, content):
    label = 'voice message' if kind == 'audio' and as_dict(content).get('voice') is True else kind
    return _labelled(label, _joined(': ', _at(content, 'filename'), _at(content, 'caption')))


def _location(kind, content):
    place = _joined(', ', _at(content, 'name'), _at(content, 'address'))
    latitude, longitude = _at(content, 'latitude'), _at(content, 'longitude')
    return _labelled(kind, _joined(' ', place, f'({latitude}, {longitude})' if latitude and longitude else ''))


def _contacts(kind, content):
    return _labelled(kind, _joined('; ', *map(_contact, _objects(content))))


def _contact(card):
    name = _at(card, 'name', 'formatted_name') or _joined(
        ' ', _at(card, 'name', 'first_name'), _at(card, 'name', 'last_name')
    )
    phones = [_at(one, 'phone') or _at(one, 'wa_id') for one in _objects(card.get('phones'))]
    emails = [_at(one, 'email') for one in _objects(card.get('emails'))]
    return _joined(': ', name or _at(card, 'org', 'company'), _joined(', ', *phones, *emails))


def _button(kind, content):
    return _at(content, 'text') or _at(content, 'payload')


def _reaction(kind, content):
    emoji = _at(content, 'emoji')
    return _labelled('reaction', emoji) if emoji else '[reaction taken back]'


def _order(kind, content):
    items = _objects(as_dict(content).get('product_items'))
    return _joined('\n', _labelled(kind, _at(content, 'text')), *map(_item, items), _total(items))


def _item(item):
    what = f'{_at(item, "quantity") or "?"} × {_at(item, "product_retailer_id") or "?"}'
    price = _joined(' ', _money(item.get('item_price')) or _at(item, 'item_price'), _at(item, 'currency'))
    return f'{what} at {price}' if price else what


def _total(items):
    """Of one currency, and if every part of it is a number."""
    parts = [(_number(item.get('quantity')), _number(item.get('item_price'))) for item in items]
    currencies = {_at(item, 'currency') for item in items}
    if len(currencies) != 1 or any(None in pair for pair in parts):
        return ''
    return _joined(' ', 'Total', _money(sum(quantity * price for quantity, price in parts)), *currencies)


def _number(value):
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool) and abs(value) < LARGEST
    return Decimal(str(value)) if is_number else None


def _money(value):
    amount = _number(value)
    if amount is None:
        return ''
    return f'{amount:.0f}' if amount == amount.to_integral_value() else f'{amount:.2f}'


def _system(kind, content):
    return _at(content, 'body') or _labelled(kind, _at(content, 'type'))


def _unsupported(kind, content):
    inner = _at(content, 'type')
    return f'[{kind}: {inner}]' if inner else ''


def _edit(kind, content):
    message = as_dict(_inside(content, 'message'))
    inner = message.get('type')
    text = read(inner, message.get(inner)) if isinstance(inner, str) and inner != kind else ''
    return _labelled(kind, text)


def _template(kind, content):
    """Its name and its parameters, where the text is not known."""
    components = _objects(as_dict(content).get('components'))
    values = [_parameter(one) for component in components for one in _objects(component.get('parameters'))]
    name = _joined(' ', kind, _at(content, 'name'))
    return _labelled(name, _joined(', ', *values))


def _parameter(parameter):
    kind = _at(parameter, 'type')
    value = next(filter(None, (
        _at(parameter, 'text'), _at(parameter, 'payload'), _at(parameter, 'coupon_code'),
        _at(parameter, kind, 'fallback_value'),
    )), '')  # fmt: skip
    if not value and kind in ('image', 'video', 'document', 'location'):
        value = read(kind, parameter.get(kind))
    return _joined(': ', _at(parameter, 'parameter_name'), value)


def _interactive(kind, content):
    reply = INTERACTIVE_REPLIES.get(_at(content, 'type'))
    if reply:
        return reply(as_dict(content))
    cards = [f'{n}. {_parts(card)}' for n, card in enumerate(_objects(_inside(content, 'action', 'cards')), 1)]
    return _joined('\n', _parts(content), *cards) or _labelled(_joined(': ', kind, _at(content, 'type')), '')


def _button_reply(content):
    return _at(content, 'button_reply', 'title') or _at(content, 'button_reply', 'id')


def _list_reply(content):
    chosen = content.get('list_reply')
    return _joined('\n', _at(chosen, 'title') or _at(chosen, 'id'), _at(chosen, 'description'))


def _form(content):
    """A Flow's answers, or an address: JSON within the JSON."""
    reply = content.get('nfm_reply')
    return _joined('\n', _at(reply, 'body') or _labelled(_at(reply, 'name') or 'form', ''), *_answers(reply))


def _answers(reply):
    given = _inside(reply, 'response_json')
    try:
        answers = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        return [given]
    if not isinstance(answers, dict) or is_deep(answers):
        return [given] if isinstance(given, str) else []
    return [f'{name}: {_answer(value)}' for name, value in answers.items() if name not in UNTOLD]


def _answer(value):
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, dict):
        return ', '.join(f'{name}: {_flat(inner)}' for name, inner in value.items())
    return ', '.join(map(_flat, value)) if isinstance(value, list) else _flat(value)


def _flat(value):
    return _string(value) if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def _call_permission(content):
    reply = content.get('call_permission_reply')
    if _at(reply, 'response') != 'accept':
        return '[calls refused]'
    if as_dict(reply).get('is_permanent') is True:
        return '[calls allowed for good]'
    until = moment(as_dict(reply).get('expiration_timestamp'))
    return f'[calls allowed until {plain(until)}]' if until else '[calls allowed]'


def _parts(content):
    """Header, body, footer and what can be tapped, of an interactive message of ours or of one of its cards."""
    header = as_dict(as_dict(content).get('header'))
    kind = _at(header, 'type')
    media = _media(kind, header.get(kind)) if kind in MEDIA else ''
    texts = [_at(header, 'text') or media, _at(content, 'body', 'text'), _at(content, 'footer', 'text')]
    return _joined('\n', *texts, *_choices(as_dict(as_dict(content).get('action'))))


def _choices(action):
    parameters, sections = action.get('parameters'), _objects(action.get('sections'))
    taps = [_at(one, 'reply', 'title') or _at(one, 'quick_reply', 'title') for one in _objects(action.get('buttons'))]
    taps += [_at(action, 'button'), _at(parameters, 'display_text'), _at(parameters, 'flow_cta')]
    shown = _joined(' ', *(f'[{tap}]' for tap in taps if tap), _at(parameters, 'url'))
    product = _at(action, 'product_retailer_id')
    lines = [shown, f'[product {product}]' if product else '', *(line for one in sections for line in _section(one))]
    if not any(lines) and _at(action, 'name'):
        lines = [f'[{_at(action, "name").replace("_", " ")}]']
    return lines


def _section(section):
    rows = [_joined(': ', _at(row, 'title'), _at(row, 'description')) for row in _objects(section.get('rows'))]
    rows += [_at(item, 'product_retailer_id') for item in _objects(section.get('product_items'))]
    return [_at(section, 'title'), *(f'- {row}' for row in rows if row)]


def _of_any_kind(kind, content):
    """A type that is younger than this page: whatever looks like words in it."""
    found = (_at(content, name) for name in ('caption', 'body', 'text', 'title', 'name'))
    return _labelled(kind, next(filter(None, found), ''))


MEDIA = ('image', 'video', 'audio', 'document', 'sticker')
INTERACTIVE_REPLIES = {
    'button_reply': _button_reply, 'list_reply': _list_reply, 'nfm_reply': _form,
    'call_permission_reply': _call_permission,
}  # fmt: skip
READERS = {
    'text': _text, **dict.fromkeys(MEDIA, _media), 'location': _location, 'contacts': _contacts, 'button': _button,
    'interactive': _interactive, 'reaction': _reaction, 'order': _order, 'template': _template, 'edit': _edit,
    'system': _system, 'unsupported': _unsupported, 'unknown': _unsupported,
    'request_welcome': lambda kind, content: '[chat opened]',
    'revoke': lambda kind, content: '[deleted a message]',
}  # fmt: skip
