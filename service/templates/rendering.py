"""Pure: the text of a template message, from the template's definition and the parameters."""

import re
from collections.abc import Iterator
from typing import Any

from service.content.plain_text import parameter_text
from service.runtime.untrusted import as_dict, get_text, join_nonempty, list_of_dicts

TEMPLATE_VARIABLE = re.compile(r'\{\{\s*(\w+)\s*\}\}')

Component = dict[str, Any]  # of a template, or of a send: an object as Meta or a caller gives it
Components = dict[str, Component]  # by type


def render(definition: object, content: object) -> str:
    """The text of a template message; '' when its `definition` has no body.

    `definition`: the template's components as Meta gives them. A variable without a
    parameter stays a placeholder. Meta does not tell the text of authentication templates.
    """
    given = list_of_dicts(as_dict(content).get('components'))
    parts = _by_type(definition)
    if not get_text(parts.get('BODY'), 'text'):
        return ''
    return join_nonempty('\n', _message(parts, given), *_cards(parts, given))


def _by_type(components: object) -> Components:
    return {_kind(part): part for part in list_of_dicts(components)}


def _kind(part: object, name: str = 'type') -> str:
    return get_text(part, name).upper()


def _first(given: list[Component], kind: str) -> Component:
    """The first component of a type, in either case as Meta takes it; {} when there is none."""
    return next((part for part in given if _kind(part) == kind), {})


def _parameters(given: list[Component], kind: str) -> list[Component]:
    return list_of_dicts(_first(given, kind).get('parameters'))


def _message(parts: Components, given: list[Component]) -> str:
    """Header, body, footer and buttons, of the message or of one of its cards."""
    body = _filled(get_text(parts.get('BODY'), 'text'), _parameters(given, 'BODY'))
    footer = get_text(parts.get('FOOTER'), 'text')
    buttons = list_of_dicts(as_dict(parts.get('BUTTONS')).get('buttons'))
    labels = join_nonempty(
        ' ', *(_button(button, index, given) for index, button in enumerate(buttons))
    )
    return join_nonempty('\n', _header(parts.get('HEADER'), given), body, footer, labels)


def _header(header: object, given: list[Component]) -> str:
    kind = _kind(header, 'format').lower()
    if kind in ('', 'text'):
        return _filled(get_text(header, 'text'), _parameters(given, 'HEADER'))
    return f'[{kind}]'


def _button(button: Component, index: int, given: list[Component]) -> str:
    of_button = [
        part for part in given if _kind(part) == 'BUTTON' and get_text(part, 'index') == str(index)
    ]
    parameters = list_of_dicts(of_button[0].get('parameters')) if of_button else []
    label = get_text(button, 'text') or _kind(button).lower().replace('_', ' ')
    return join_nonempty(' ', f'[{label}]', _filled(get_text(button, 'url'), parameters))


def _cards(parts: Components, given: list[Component]) -> Iterator[str]:
    known = list_of_dicts(as_dict(parts.get('CAROUSEL')).get('cards'))
    sent = list_of_dicts(_first(given, 'CAROUSEL').get('cards'))
    for number, (card, values) in enumerate(zip(known, sent, strict=False), start=1):
        message = _message(
            _by_type(card.get('components')), list_of_dicts(values.get('components'))
        )
        yield f'{number}. {message}'


def _filled(text: str, parameters: list[Component]) -> str:
    """The text with its placeholders filled, by position or by name."""
    values = {
        str(place): parameter_text(parameter) for place, parameter in enumerate(parameters, start=1)
    }
    values |= {
        get_text(parameter, 'parameter_name'): parameter_text(parameter) for parameter in parameters
    }
    return TEMPLATE_VARIABLE.sub(lambda found: values.get(found[1]) or found[0], text)
