"""Pure: whether a send gives a template what its definition wants; what is missing or too much, by
its path.
"""

import re

from service.runtime.untrusted import as_dict

VARIABLE = re.compile(r'\{\{\s*([^{}\s]+)\s*\}\}')
FILLED_BY = {
    'URL': 'text',
    'COPY_CODE': 'coupon_code',
    'MPM': 'action',
}  # buttons that want a parameter: its type
OPTIONAL = frozenset(('QUICK_REPLY', 'FLOW', 'CATALOG'))  # may have one
DOES_NOT_FIT = 'The parameters do not fit the template; see errors.'
FORMATS = frozenset(('IMAGE', 'VIDEO', 'DOCUMENT', 'LOCATION', 'PRODUCT'))  # of headers
UNNAMED = 'Each parameter of this template needs a parameter_name.'


def problems(definition, sent, path='template'):
    """{path: [sentence]} of a send's template; `definition`: a template.Template, None when not
    known.
    """
    return Check(definition, path).problems(sent) if definition and definition.components else {}


class Check:
    """What a template wants, made ready for many sends."""

    def __init__(self, definition, path='template'):
        self.whose, self.path = f'The template {definition.name}', f'{path}.components'
        self.wants = Parts(definition.components)

    def problems(self, sent):
        """{path: [sentence]} of the `template` object of a send; never raises, whatever stands in
        it.
        """
        return dict(self.wants.problems(self.whose, self.path, as_dict(sent).get('components')))


class Parts:
    """The components of a template, or of a card of its carousel."""

    def __init__(self, components):
        by_kind = {_upper(one, 'type'): one for one in _objects(components)}
        header = by_kind.get('HEADER', {})
        self.format = _upper(header, 'format') or ('TEXT' if header else None)
        self.header, self.body = (
            _variables(header.get('text')),
            _variables(by_kind.get('BODY', {}).get('text')),
        )
        self.is_body_known = 'text' in by_kind.get(
            'BODY', {'text': ''}
        )  # Meta writes that of one-time codes itself
        self.buttons = [
            (_upper(one, 'type'), one)
            for one in _objects(by_kind.get('BUTTONS', {}).get('buttons'))
        ]
        offer = as_dict(by_kind.get('LIMITED_TIME_OFFER', {}).get('limited_time_offer'))
        self.expires = offer.get('has_expiration') is True
        self.cards = [
            Parts(card.get('components'))
            for card in _objects(by_kind.get('CAROUSEL', {}).get('cards'))
        ]

    def problems(self, whose, path, sent):
        """(path, [sentence]) of everything that does not fit."""
        given = _objects(sent)
        by_kind = {_upper(one, 'type'): one for one in given}
        yield from self._header(
            whose, f'{path}.header.parameters', _parameters(by_kind.get('HEADER'))
        )
        if self.is_body_known:
            yield from _texts(
                whose,
                f'{path}.body.parameters',
                'body',
                self.body,
                _parameters(by_kind.get('BODY')),
            )
        yield from self._buttons(
            whose, f'{path}.buttons', [one for one in given if _upper(one, 'type') == 'BUTTON']
        )
        if self.expires and not _parameters(by_kind.get('LIMITED_TIME_OFFER')):
            yield (
                f'{path}.limited_time_offer.parameters',
                [f'{whose} has an offer that ends: say when.'],
            )
        if self.cards or 'CAROUSEL' in by_kind:
            yield from self._cards(
                whose, f'{path}.carousel.cards', by_kind.get('CAROUSEL', {}).get('cards')
            )

    def _header(self, whose, path, given):
        if self.format in (None, 'TEXT'):
            yield from _texts(whose, path, 'header', self.header, given)
            return
        kind = self.format.lower()
        if self.format in FORMATS and [_lower(one, 'type') for one in given] != [kind]:
            yield (
                path,
                [
                    f'{whose} has a header of format {kind}: it wants exactly one parameter of that type.'
                ],
            )

    def _buttons(self, whose, path, given):
        by_index = {str(one.get('index')): one for one in given}
        for index, (kind, button) in enumerate(self.buttons):
            problem = _of_a_button(kind, button, by_index.pop(str(index), None))
            if problem:
                yield (
                    f'{path}.{index}',
                    [f'{whose} has a button of type {kind.lower()} at index {index}: {problem}'],
                )
        for index in by_index:
            yield f'{path}.{index}', [f'{whose} has no button at index {index}.']

    def _cards(self, whose, path, given):
        given = _objects(given)
        if self.cards and all(card.format == 'PRODUCT' for card in self.cards):
            # of products there may be others, and more of them, than the template was made with
            return
        if len(given) != len(self.cards):
            yield (
                path,
                [f'{whose} has {_count(len(self.cards), "card")}, {_were(len(given))} given.'],
            )
            return
        by_index = {str(card.get('card_index')): card for card in given}
        for index, wanted in enumerate(self.cards):
            if str(index) in by_index:
                of_card = f'Card {index} of {whose[0].lower()}{whose[1:]}'
                yield from wanted.problems(
                    of_card, f'{path}.{index}', by_index[str(index)].get('components')
                )
            else:
                yield (
                    f'{path}.{index}',
                    [f'{whose} has a card of index {index}, and none was given.'],
                )


def _texts(whose, path, where, wanted, given):
    """Positional or named variables of a text."""
    if all(name.isdigit() for name in wanted):
        if len(given) != len(wanted):
            yield (
                path,
                [
                    f'{whose} has {_count(len(wanted), "variable")} in its {where}, {_were(len(given))} given.'
                ],
            )
        return
    names = [str(one.get('parameter_name') or '') for one in given]
    missing = [name for name in wanted if name not in names]
    surplus = [name for name in names if name not in wanted]
    sentences = [
        f'{whose} has the variable {name} in its {where}, and it was not given.' for name in missing
    ]
    sentences += [
        f'{whose} has no variable {name} in its {where}.' if name else UNNAMED for name in surplus
    ]
    if len(set(names) - {''}) < len([name for name in names if name]):
        sentences.append('A parameter_name was given twice.')
    if sentences:
        yield path, list(dict.fromkeys(sentences))


def _of_a_button(kind, button, given):
    """What is wrong with what was given for one button, None when nothing is.

    Types that we do not know are Meta's.
    """
    parameters = _parameters(given)
    if kind not in FILLED_BY and kind not in OPTIONAL:
        return None
    if given and _upper(given, 'sub_type') != kind:
        return f'the component for it has another sub_type, {_lower(given, "sub_type")}.'
    if kind in OPTIONAL:
        return None if len(parameters) < 2 else 'it takes one parameter at most.'
    if kind == 'URL' and not _variables(button.get('url')):
        return 'its address has no variable, and a parameter was given.' if parameters else None
    if [_lower(one, 'type') for one in parameters] != [FILLED_BY[kind]]:
        return f'it wants exactly one parameter of type {FILLED_BY[kind]}.'
    return None


def _variables(text):
    """The names in a text, each once, in order."""
    return list(dict.fromkeys(VARIABLE.findall(text))) if isinstance(text, str) else []


def _parameters(component):
    return _objects(as_dict(component).get('parameters'))


def _objects(value):
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _upper(value, name):
    return str(value.get(name) or '').upper()


def _lower(value, name):
    return str(value.get(name) or '').lower()


def _count(number, noun):
    return f'{number or "no"} {noun}{"" if number == 1 else "s"}'


def _were(number):
    return f'{number} was' if number == 1 else f'{number} were' if number else 'none was'
