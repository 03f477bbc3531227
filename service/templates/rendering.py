"""Pure: what a template reads like with the parameters of a send, where its definition is known."""

import re

from service.content.plain_text import words
from service.runtime.untrusted import as_dict, joined, objects, text_at

PLACEHOLDER = re.compile(r'\{\{\s*(\w+)\s*\}\}')


def render(definition, content):
    """The text of a template message; '' when its `definition` (components as Meta gives them) has
    no body.

    What a parameter is missing for stays a placeholder. That of authentication is Meta's own, and
    not told.
    """
    given = objects(as_dict(content).get('components'))
    parts = {_kind(part): part for part in objects(definition)}
    if not text_at(parts.get('BODY'), 'text'):
        return ''
    return joined('\n', _message(parts, given), *_cards(parts, given))


def _kind(part, name='type'):
    return text_at(part, name).upper()


def _parameters(given, kind):
    """Those of the first component of a kind; Meta takes either case."""
    return objects(next((part.get('parameters') for part in given if _kind(part) == kind), None))


def _message(parts, given):
    """Header, body, footer and buttons, of the message or of one of its cards."""
    body = _filled(text_at(parts.get('BODY'), 'text'), _parameters(given, 'BODY'))
    buttons = objects(as_dict(parts.get('BUTTONS')).get('buttons'))
    taps = joined(' ', *(_button(button, index, given) for index, button in enumerate(buttons)))
    return joined(
        '\n', _header(parts.get('HEADER'), given), body, text_at(parts.get('FOOTER'), 'text'), taps
    )


def _header(header, given):
    kind = _kind(header, 'format').lower()
    if kind in ('', 'text'):
        return _filled(text_at(header, 'text'), _parameters(given, 'HEADER'))
    return f'[{kind}]'


def _button(button, index, given):
    parameters = next(
        (
            objects(part.get('parameters'))
            for part in given
            if _kind(part) == 'BUTTON' and text_at(part, 'index') == str(index)
        ),
        [],
    )
    label = f'[{text_at(button, "text") or _kind(button).lower().replace("_", " ")}]'
    return joined(' ', label, _filled(text_at(button, 'url'), parameters))


def _cards(parts, given):
    known = objects(as_dict(parts.get('CAROUSEL')).get('cards'))
    sent = objects(next((part.get('cards') for part in given if _kind(part) == 'CAROUSEL'), None))
    for n, (card, one) in enumerate(zip(known, sent, strict=False), start=1):
        pieces = {_kind(part): part for part in objects(card.get('components'))}
        yield f'{n}. {_message(pieces, objects(one.get("components")))}'


def _filled(text, parameters):
    values = {str(place): words(parameter) for place, parameter in enumerate(parameters, start=1)}
    values |= {text_at(parameter, 'parameter_name'): words(parameter) for parameter in parameters}
    return PLACEHOLDER.sub(lambda found: values.get(found[1]) or found[0], text)
