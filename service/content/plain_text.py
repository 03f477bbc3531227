"""Pure: what a person would read in a message of any type and direction.

Odd content never raises. Words of ours stand in brackets; everything else was written or chosen by
somebody.
"""

import json
from collections.abc import Callable
from typing import Any

from service.content.order_text import item_text, total_text
from service.runtime.timestamps import from_epoch, to_rfc3339
from service.runtime.untrusted import (
    as_dict,
    as_text,
    get_path,
    get_text,
    is_deep,
    join_nonempty,
    list_of_dicts,
)

DELETED = '[deleted]'
UNTOLD = frozenset(('flow_token',))  # of a form's answers: for machines


def read(kind: str, content: object) -> str:
    """The text of a message, never empty."""
    return READERS.get(kind, _of_any_kind)(kind, content) or f'[{kind}]'


def _labelled(label: str, text: str) -> str:
    return join_nonempty(' ', f'[{label}]', text)


def _text(kind: str, content: object) -> str:
    return get_text(content, 'body')


def _media(kind: str, content: object) -> str:
    is_voice = kind == 'voice' or (kind == 'audio' and as_dict(content).get('voice') is True)
    label = 'voice message' if is_voice else kind
    return _labelled(
        label, join_nonempty(': ', get_text(content, 'filename'), get_text(content, 'caption'))
    )


def _location(kind: str, content: object) -> str:
    place = join_nonempty(', ', get_text(content, 'name'), get_text(content, 'address'))
    latitude = get_text(content, 'latitude')
    longitude = get_text(content, 'longitude')
    return _labelled(
        kind,
        join_nonempty(' ', place, f'({latitude}, {longitude})' if latitude and longitude else ''),
    )


def _contacts(kind: str, content: object) -> str:
    return _labelled(kind, join_nonempty('; ', *map(_contact, list_of_dicts(content))))


def _contact(card: dict[str, Any]) -> str:
    name = get_text(card, 'name', 'formatted_name') or join_nonempty(
        ' ', get_text(card, 'name', 'first_name'), get_text(card, 'name', 'last_name')
    )
    phones = [
        get_text(one, 'phone') or get_text(one, 'wa_id')
        for one in list_of_dicts(card.get('phones'))
    ]
    emails = [get_text(one, 'email') for one in list_of_dicts(card.get('emails'))]
    return join_nonempty(
        ': ', name or get_text(card, 'org', 'company'), join_nonempty(', ', *phones, *emails)
    )


def _button(kind: str, content: object) -> str:
    return get_text(content, 'text') or get_text(content, 'payload')


def _reaction(kind: str, content: object) -> str:
    emoji = get_text(content, 'emoji')
    return _labelled('reaction', emoji) if emoji else '[reaction taken back]'


def _order(kind: str, content: object) -> str:
    items = list_of_dicts(as_dict(content).get('product_items'))
    return join_nonempty(
        '\n', _labelled(kind, get_text(content, 'text')), *map(item_text, items), total_text(items)
    )


def _system(kind: str, content: object) -> str:
    return get_text(content, 'body') or _labelled(kind, get_text(content, 'type'))


def _unsupported(kind: str, content: object) -> str:
    inner = get_text(content, 'type')
    return f'[{kind}: {inner}]' if inner else ''


def _edit(kind: str, content: object) -> str:
    message = as_dict(get_path(content, 'message'))
    inner = message.get('type')
    text = read(inner, message.get(inner)) if isinstance(inner, str) and inner != kind else ''
    return _labelled(kind, text)


def _template(kind: str, content: object) -> str:
    """Its name and parameters; service.templates.rendering says more of a known template."""
    components = list_of_dicts(as_dict(content).get('components'))
    values = [
        _parameter(one)
        for component in components
        for one in list_of_dicts(component.get('parameters'))
    ]
    name = join_nonempty(' ', kind, get_text(content, 'name'))
    return _labelled(name, join_nonempty(', ', *values))


def _parameter(parameter: dict[str, Any]) -> str:
    kind = get_text(parameter, 'type')
    value = parameter_text(parameter)
    if not value and kind in ('image', 'video', 'document', 'location'):
        value = read(kind, parameter.get(kind))
    return join_nonempty(': ', get_text(parameter, 'parameter_name'), value)


def _interactive(kind: str, content: object) -> str:
    reply = INTERACTIVE_REPLIES.get(get_text(content, 'type'))
    if reply:
        return reply(as_dict(content))
    cards = [
        f'{n}. {_parts(card)}'
        for n, card in enumerate(list_of_dicts(get_path(content, 'action', 'cards')), 1)
    ]
    return join_nonempty('\n', _parts(content), *cards) or _labelled(
        join_nonempty(': ', kind, get_text(content, 'type')), ''
    )


def _button_reply(content: dict[str, Any]) -> str:
    return get_text(content, 'button_reply', 'title') or get_text(content, 'button_reply', 'id')


def _list_reply(content: dict[str, Any]) -> str:
    chosen = content.get('list_reply')
    return join_nonempty(
        '\n', get_text(chosen, 'title') or get_text(chosen, 'id'), get_text(chosen, 'description')
    )


def _form(content: dict[str, Any]) -> str:
    """A Flow's answers, or an address: JSON within the JSON."""
    reply = content.get('nfm_reply')
    return join_nonempty(
        '\n',
        get_text(reply, 'body') or _labelled(get_text(reply, 'name') or 'form', ''),
        *_answers(reply),
    )


def _answers(reply: object) -> list[str]:
    given = get_path(reply, 'response_json')
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
    if get_text(reply, 'response') != 'accept':
        return '[calls refused]'
    if as_dict(reply).get('is_permanent') is True:
        return '[calls allowed for good]'
    until = from_epoch(as_dict(reply).get('expiration_timestamp'))
    return f'[calls allowed until {to_rfc3339(until)}]' if until else '[calls allowed]'


def _parts(content: object) -> str:
    """Header, body, footer and buttons of an interactive message of ours, or of a card of it."""
    header = as_dict(as_dict(content).get('header'))
    kind = get_text(header, 'type')
    media = _media(kind, header.get(kind)) if kind in MEDIA else ''
    texts = [
        get_text(header, 'text') or media,
        get_text(content, 'body', 'text'),
        get_text(content, 'footer', 'text'),
    ]
    return join_nonempty('\n', *texts, *_choices(as_dict(as_dict(content).get('action'))))


def _choices(action: dict[str, Any]) -> list[str]:
    parameters = action.get('parameters')
    sections = list_of_dicts(action.get('sections'))
    taps = [
        get_text(one, 'reply', 'title') or get_text(one, 'quick_reply', 'title')
        for one in list_of_dicts(action.get('buttons'))
    ]
    taps += [
        get_text(action, 'button'),
        get_text(parameters, 'display_text'),
        get_text(parameters, 'flow_cta'),
    ]
    shown = join_nonempty(' ', *(f'[{tap}]' for tap in taps if tap), get_text(parameters, 'url'))
    product = get_text(action, 'product_retailer_id')
    lines = [
        shown,
        f'[product {product}]' if product else '',
        *(line for one in sections for line in _section(one)),
    ]
    if not any(lines) and get_text(action, 'name'):
        lines = [f'[{get_text(action, "name").replace("_", " ")}]']
    return lines


def _section(section: dict[str, Any]) -> list[str]:
    rows = [
        join_nonempty(': ', get_text(row, 'title'), get_text(row, 'description'))
        for row in list_of_dicts(section.get('rows'))
    ]
    rows += [
        get_text(item, 'product_retailer_id')
        for item in list_of_dicts(section.get('product_items'))
    ]
    return [get_text(section, 'title'), *(f'- {row}' for row in rows if row)]


def _of_any_kind(kind: str, content: object) -> str:
    """The text of a type that is not known here: whatever looks like text in it."""
    found = (get_text(content, name) for name in ('caption', 'body', 'text', 'title', 'name'))
    return _labelled(kind, next(filter(None, found), ''))


MEDIA = ('image', 'video', 'audio', 'voice', 'document', 'sticker')
INTERACTIVE_REPLIES = {
    'button_reply': _button_reply,
    'list_reply': _list_reply,
    'nfm_reply': _form,
    'call_permission_reply': _call_permission,
}
READERS: dict[str, Callable[[str, object], str]] = {
    'text': _text,
    **dict.fromkeys(MEDIA, _media),
    'location': _location,
    'contacts': _contacts,
    'button': _button,
    'interactive': _interactive,
    'reaction': _reaction,
    'order': _order,
    'template': _template,
    'edit': _edit,
    'system': _system,
    'unsupported': _unsupported,
    'unknown': _unsupported,
    'request_welcome': lambda kind, content: '[chat opened]',
    'revoke': lambda kind, content: '[deleted a message]',
}


def parameter_text(parameter: dict[str, Any]) -> str:
    """What stands in the text: of a currency or a date its fallback, of a file nothing."""
    named = get_text(parameter, get_text(parameter, 'type'), 'fallback_value')
    return (
        get_text(parameter, 'text')
        or named
        or get_text(parameter, 'payload')
        or get_text(parameter, 'coupon_code')
    )
