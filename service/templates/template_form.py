"""Pure: what a person fills in to send a template, and the components of the send it makes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.runtime.ids import is_id
from service.runtime.untrusted import as_dict, get_path, list_of_dicts
from service.templates.validation import VARIABLE, WantedParts

Component = dict[str, Any]  # of a template, or of a send
FILES = ('IMAGE', 'VIDEO', 'DOCUMENT')  # formats of a header that a file fills
PLACE = ('latitude', 'longitude', 'name', 'address')
ONE_TIME_CODE = 'Codes for a log-in are sent by the platform, not by a person.'
CARDS = 'A template with cards or products is sent by the API.'


@dataclass(frozen=True, slots=True)
class Blank:
    """Something to be filled in. `place`: which, unlike all others; `example`: as Meta has it."""

    place: str
    label: str
    example: str = ''
    is_needed: bool = True


def obstacle(components: object) -> str | None:
    """Why a person cannot fill this template in, as a sentence; None when they can."""
    wanted = WantedParts(components)
    kinds = {kind for kind, _ in wanted.buttons}
    if not wanted.is_body_known or 'OTP' in kinds:
        return ONE_TIME_CODE
    if wanted.cards or wanted.is_offer_ending or wanted.format == 'PRODUCT' or 'MPM' in kinds:
        return CARDS
    return None


def blanks(components: object) -> list[Blank]:
    """What there is to be filled in, in the order of the message."""
    wanted = WantedParts(components)
    examples = {_kind(one): as_dict(one.get('example')) for one in list_of_dicts(components)}
    return [
        *_header(wanted, examples.get('HEADER', {})),
        *_texts('body', 'Text', wanted.body, examples.get('BODY', {})),
        *_buttons(wanted),
    ]


def _header(wanted: WantedParts, example: Component) -> Iterator[Blank]:
    if wanted.format in FILES:
        kind = wanted.format.lower()
        yield Blank('header.file', f'Address of the {kind} (https://…), or id of an uploaded one')
    elif wanted.format == 'LOCATION':
        for part in PLACE:
            yield Blank(f'header.{part}', f'Place: {part}', is_needed=part in PLACE[:2])
    else:
        yield from _texts('header', 'Title', wanted.header, example)


def _texts(where: str, label: str, names: list[str], example: Component) -> Iterator[Blank]:
    given = _examples(where, example)
    for name in names:
        yield Blank(f'{where}.{name}', f'{label}: {name}', given.get(name, ''))


def _examples(where: str, example: Component) -> dict[str, str]:
    """Meta's example of each variable, by its number or name."""
    texts = example.get(f'{where}_text')
    row = texts[0] if isinstance(texts, list) and texts and isinstance(texts[0], list) else texts
    found = {str(n): str(one) for n, one in enumerate(row if isinstance(row, list) else (), 1)}
    for one in list_of_dicts(example.get(f'{where}_text_named_params')):
        found[str(one.get('param_name'))] = str(one.get('example') or '')
    return found


def _buttons(wanted: WantedParts) -> Iterator[Blank]:
    for index, (kind, button) in enumerate(wanted.buttons):
        text = str(button.get('text') or kind.lower())
        if kind == 'URL' and VARIABLE.search(str(button.get('url'))):
            yield Blank(f'button.{index}', f'Button "{text}": the end of {button["url"]}')
        elif kind == 'COPY_CODE':
            yield Blank(f'button.{index}', f'Button "{text}": the code')


def fill_in(components: object, given: Mapping[str, str]) -> list[Component]:
    """The components of a send. `given`: by the place of a blank; what is missing is left out."""
    wanted = WantedParts(components)
    filled: list[Component] = []
    if parameters := _header_parameters(wanted, given):
        filled.append({'type': 'header', 'parameters': parameters})
    if parameters := _parameters('body', wanted.body, given):
        filled.append({'type': 'body', 'parameters': parameters})
    for index, (kind, _) in enumerate(wanted.buttons):
        if value := given.get(f'button.{index}'):
            name = 'coupon_code' if kind == 'COPY_CODE' else 'text'
            parameter = {'type': name, name: value}
            button = {'type': 'button', 'sub_type': kind.lower(), 'index': index}
            filled.append(button | {'parameters': [parameter]})
    return filled


def _header_parameters(wanted: WantedParts, given: Mapping[str, str]) -> list[Component]:
    kind = wanted.format.lower()
    if wanted.format in FILES:
        file = given.get('header.file')
        return [{'type': kind, kind: {'id' if is_id(file) else 'link': file}}] if file else []
    if wanted.format == 'LOCATION':
        place = {part: given[f'header.{part}'] for part in PLACE if given.get(f'header.{part}')}
        return [{'type': kind, kind: place}] if place else []
    return _parameters('header', wanted.header, given)


def _parameters(where: str, names: list[str], given: Mapping[str, str]) -> list[Component]:
    """The parameters of a text, which are all numbers or all names."""
    found = []
    for name in names:
        value = given.get(f'{where}.{name}')
        if value:
            named = {} if name.isdigit() else {'parameter_name': name}
            found.append({'type': 'text', **named, 'text': value})
    return found


def preview(components: object) -> list[tuple[str, str]]:
    """(part, text) of each part of a template as a person reads it, placeholders and all."""
    return [line for part in list_of_dicts(components) for line in _lines(part)]


def _lines(part: Component) -> Iterator[tuple[str, str]]:
    kind = _kind(part)
    if kind == 'BUTTONS':
        for button in list_of_dicts(part.get('buttons')):
            what = str(button.get('url') or button.get('phone_number') or '')
            yield 'button', ' '.join(filter(None, (str(button.get('text') or _kind(button)), what)))
    elif kind == 'CAROUSEL':
        for number, card in enumerate(list_of_dicts(part.get('cards')), 1):
            for name, text in preview(card.get('components')):
                yield f'card {number}, {name}', text
    else:
        file = str(part.get('format') or '').lower()
        text = part.get('text') or (f'[{file}]' if file else '')
        offer = get_path(part, 'limited_time_offer', 'text')
        yield kind.lower().replace('_', ' '), str(text or offer or '')


def _kind(part: Component) -> str:
    return str(part.get('type') or '').upper()
