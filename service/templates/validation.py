"""Pure: whether a send gives a template what it wants; what is missing or too much, by its path."""

import re
from collections.abc import Iterator
from typing import Any, Protocol

from service.runtime.untrusted import as_dict, list_of_dicts

VARIABLE = re.compile(r'\{\{\s*([^{}\s]+)\s*\}\}')
FILLED_BY = {  # buttons that want a parameter, and its type
    'URL': 'text',
    'COPY_CODE': 'coupon_code',
    'MPM': 'action',
}
OPTIONAL = frozenset(('QUICK_REPLY', 'FLOW', 'CATALOG'))  # buttons that may have one
DOES_NOT_FIT = 'The parameters do not fit the template; see errors.'
FORMATS = frozenset(('IMAGE', 'VIDEO', 'DOCUMENT', 'LOCATION', 'PRODUCT'))  # of headers
UNNAMED = 'Each parameter of this template needs a parameter_name.'

Component = dict[str, Any]  # of a template, or of a send: an object as Meta or a caller gives it
Problem = tuple[str, list[str]]  # a path, and sentences on it


class Definition(Protocol):
    """What is known of a template (template.Template). `components`: as Meta gives them."""

    name: str
    components: list[Any] | None


def problems(
    definition: Definition | None, sent: object, path: str = 'template'
) -> dict[str, list[str]]:
    """{path: [sentence]} of a send's template; none when the template is not known."""
    if definition is None or not definition.components:
        return {}
    return Check(definition, path).problems(sent)


class Check:
    """What a template wants, made ready for many sends."""

    def __init__(self, definition: Definition, path: str = 'template') -> None:
        self._whose = f'The template {definition.name}'
        self._path = f'{path}.components'
        self._wanted = WantedParts(definition.components)

    def problems(self, sent: object) -> dict[str, list[str]]:
        """{path: [sentence]} of the `template` object of a send; never raises."""
        return dict(self._wanted.problems(self._whose, self._path, as_dict(sent).get('components')))


class WantedParts:
    """What the components of a template, or of a card of its carousel, want from a send."""

    def __init__(self, components: object) -> None:
        by_type = _by_type(components)
        header = by_type.get('HEADER', {})
        body = by_type.get('BODY')
        offer = as_dict(by_type.get('LIMITED_TIME_OFFER', {}).get('limited_time_offer'))
        buttons = list_of_dicts(by_type.get('BUTTONS', {}).get('buttons'))
        cards = list_of_dicts(by_type.get('CAROUSEL', {}).get('cards'))
        self.format = _upper(header, 'format') or ('TEXT' if header else '')
        self.header = _variables(header.get('text'))
        self.body = _variables((body or {}).get('text'))
        self.is_body_known = body is None or 'text' in body  # Meta writes that of one-time codes
        self.buttons = [(_upper(button, 'type'), button) for button in buttons]
        self.is_offer_ending = offer.get('has_expiration') is True
        self.cards = [WantedParts(card.get('components')) for card in cards]

    def problems(self, whose: str, path: str, sent: object) -> Iterator[Problem]:
        """Everything that does not fit. `whose`: the template or the card, as sentences begin."""
        given = _by_type(sent)
        yield from self._header(whose, f'{path}.header.parameters', given)
        if self.is_body_known:
            parameters = _parameters(given.get('BODY'))
            yield from _texts(whose, f'{path}.body.parameters', 'body', self.body, parameters)
        yield from self._buttons(whose, f'{path}.buttons', sent)
        if self.is_offer_ending and not _parameters(given.get('LIMITED_TIME_OFFER')):
            sentence = f'{whose} has an offer that ends: say when.'
            yield f'{path}.limited_time_offer.parameters', [sentence]
        if self.cards or 'CAROUSEL' in given:
            cards = list_of_dicts(given.get('CAROUSEL', {}).get('cards'))
            yield from self._cards(whose, f'{path}.carousel.cards', cards)

    def _header(self, whose: str, path: str, given: dict[str, Component]) -> Iterator[Problem]:
        parameters = _parameters(given.get('HEADER'))
        if self.format in ('', 'TEXT'):
            yield from _texts(whose, path, 'header', self.header, parameters)
            return
        kind = self.format.lower()
        if self.format in FORMATS and [_lower(one, 'type') for one in parameters] != [kind]:
            what = f'{whose} has a header of format {kind}'
            yield path, [f'{what}: it wants exactly one parameter of that type.']

    def _buttons(self, whose: str, path: str, sent: object) -> Iterator[Problem]:
        by_index = {
            str(component.get('index')): component
            for component in list_of_dicts(sent)
            if _upper(component, 'type') == 'BUTTON'
        }
        for index, (kind, button) in enumerate(self.buttons):
            problem = _of_a_button(kind, button, by_index.pop(str(index), None))
            if problem:
                what = f'{whose} has a button of type {kind.lower()} at index {index}'
                yield f'{path}.{index}', [f'{what}: {problem}']
        for surplus in by_index:
            yield f'{path}.{surplus}', [f'{whose} has no button at index {surplus}.']

    def _cards(self, whose: str, path: str, given: list[Component]) -> Iterator[Problem]:
        if self.cards and all(card.format == 'PRODUCT' for card in self.cards):
            return  # there may be other products, and more, than the template was made with
        if len(given) != len(self.cards):
            count = _count(len(self.cards), 'card')
            yield path, [f'{whose} has {count}, {_were(len(given))} given.']
            return
        by_index = {str(card.get('card_index')): card for card in given}
        of_whom = f'{whose[0].lower()}{whose[1:]}'
        for index, wanted in enumerate(self.cards):
            where = f'{path}.{index}'
            card = by_index.get(str(index))
            if card is None:
                yield where, [f'{whose} has a card of index {index}, and none was given.']
            else:
                sent = card.get('components')
                yield from wanted.problems(f'Card {index} of {of_whom}', where, sent)


def _texts(
    whose: str, path: str, where: str, wanted: list[str], given: list[Component]
) -> Iterator[Problem]:
    """What does not fit the variables of a text, which are all numbers or all names."""
    if all(name.isdigit() for name in wanted):
        if len(given) != len(wanted):
            count = _count(len(wanted), 'variable')
            yield path, [f'{whose} has {count} in its {where}, {_were(len(given))} given.']
        return
    sentences = _named_texts(whose, where, wanted, given)
    if sentences:
        yield path, list(dict.fromkeys(sentences))


def _named_texts(whose: str, where: str, wanted: list[str], given: list[Component]) -> list[str]:
    names = [str(one.get('parameter_name') or '') for one in given]
    missing = [name for name in wanted if name not in names]
    surplus = [name for name in names if name not in wanted]
    named = [name for name in names if name]
    sentences = [
        f'{whose} has the variable {name} in its {where}, and it was not given.' for name in missing
    ]
    sentences += [
        f'{whose} has no variable {name} in its {where}.' if name else UNNAMED for name in surplus
    ]
    if len(set(named)) < len(named):
        sentences.append('A parameter_name was given twice.')
    return sentences


def _of_a_button(kind: str, button: Component, given: Component | None) -> str | None:
    """What is wrong with what was given for one button, None when nothing is.

    Types that we do not know are left to Meta.
    """
    if kind not in FILLED_BY and kind not in OPTIONAL:
        return None
    if given and _upper(given, 'sub_type') != kind:
        return f'the component for it has another sub_type, {_lower(given, "sub_type")}.'
    parameters = _parameters(given)
    if kind in OPTIONAL:
        return 'it takes one parameter at most.' if len(parameters) > 1 else None
    if kind == 'URL' and not _variables(button.get('url')):
        return 'its address has no variable, and a parameter was given.' if parameters else None
    if [_lower(one, 'type') for one in parameters] != [FILLED_BY[kind]]:
        return f'it wants exactly one parameter of type {FILLED_BY[kind]}.'
    return None


def _variables(text: object) -> list[str]:
    """The names in a text, each once, in order."""
    return list(dict.fromkeys(VARIABLE.findall(text))) if isinstance(text, str) else []


def _by_type(components: object) -> dict[str, Component]:
    return {_upper(component, 'type'): component for component in list_of_dicts(components)}


def _parameters(component: object) -> list[Component]:
    return list_of_dicts(as_dict(component).get('parameters'))


def _upper(value: Component, name: str) -> str:
    return str(value.get(name) or '').upper()


def _lower(value: Component, name: str) -> str:
    return str(value.get(name) or '').lower()


def _count(number: int, noun: str) -> str:
    ending = '' if number == 1 else 's'
    return f'{number or "no"} {noun}{ending}'


def _were(number: int) -> str:
    if number == 1:
        return '1 was'
    return f'{number} were' if number else 'none was'
