"""Pure: a message with placeholders, what a row of a bulk fills into it, and whether the two make a
good message.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from marshmallow import ValidationError

from service.content.characters import MAX_VARIABLE, variable_problem
from service.content.fields import MAX_CONTENT, MAX_WORD
from service.content.interactive import INTERACTIVE
from service.content.message_schema import MessageSchema, WindowSchema, check, flat
from service.content.template_parameters import MAX_PARAMETERS
from service.runtime.errors import Invalid
from service.runtime.untrusted import UNSTORABLE
from service.templates.template import Template
from service.templates.validation import DOES_NOT_FIT, Check

Problems = dict[str, list[str]]

PLACEHOLDER = re.compile(
    r'\{\{([^{}]*)\}\}'
)  # blanks around the name are taken off afterwards: \s* here is not linear
TOO_LONG = (
    'no link ' + 'x' * 10_000
)  # breaks every limit that a text may have, but those of a template's variables
BROKEN_LINE = '\n'  # breaks these
NO_VALUE = ['The message has a placeholder of this name, and there is no value for it.']
TOO_MANY = f'At most {MAX_PARAMETERS} different ones are allowed.'
TOO_MUCH = f'The values add more than {MAX_CONTENT:,} characters to the message.'


class FilledSchema(WindowSchema, MessageSchema):
    """The message that a row makes of it."""


message_schema = FilledSchema()
CHECKABLE = {field.data_key or name for name, field in message_schema.fields.items()}


class Personalisation:
    """A message with placeholders, and what may be filled in. The message itself has been checked.

    `definition`, `fallback`: its template and its fallback_template, if these are known. Raises
    Invalid if no row can make it fit.
    """

    def __init__(
        self, message: dict, definition: Template | None = None, fallback: Template | None = None
    ) -> None:
        self.message = message
        self.uses = Counter(placeholders(message))
        self.names = set(self.uses)
        if len(self.names) > MAX_PARAMETERS:
            raise Invalid('The message has too many placeholders.', {'message': [TOO_MANY]})
        template = message.get('template') if message.get('type') == 'template' else None
        self.takes_all = isinstance(template, dict) and not template.get('components')
        self.is_checked = message.get('validate') is not False
        self.row_checks = [
            *_content_checks(message, self.names),
            *self._template_checks(definition, fallback),
        ]

    def _template_checks(
        self, definition: Template | None, fallback: Template | None
    ) -> Iterator[Callable]:
        """What each row's templates are checked by, against their definitions; those that are
        always the same once.
        """
        for place, known in (('template', definition), ('fallback_template', fallback)):
            if not (self.is_checked and known and known.components and self.message.get(place)):
                continue
            fits, sent = Check(known, place).problems, self.message[place]
            if any(True for _ in placeholders(sent)) or (place == 'template' and self.takes_all):
                yield lambda filled, fits=fits, place=place: fits(filled[place])
            elif problems := fits(sent):
                raise Invalid(
                    DOES_NOT_FIT,
                    {f'message.{name}': sentences for name, sentences in problems.items()},
                )

    def problems(self, parameters: dict) -> Problems:
        """{field: [sentence]} of parameters that do not fit."""
        if self.takes_all and len(parameters) > MAX_PARAMETERS:
            return {'parameters': [TOO_MANY]}
        found = {name: NO_VALUE for name in self.names - parameters.keys()}
        for name, value in parameters.items():
            if problem := self._problem(name, value):
                found[name] = [problem]
        if (
            not found
            and sum(self.uses.get(name, 1) * len(value) for name, value in parameters.items())
            > MAX_CONTENT
        ):
            return {'parameters': [TOO_MUCH]}
        return {f'parameters.{name}': found[name] for name in sorted(found)}

    def _problem(self, name: str, value: object) -> str | None:
        if not (name in self.names or self.takes_all):
            return 'The message does not use this parameter.'
        if not isinstance(value, str):
            return 'Must be a text.'
        if not value:
            return 'Has no value.'
        if UNSTORABLE.search(value) or UNSTORABLE.search(name):
            return 'Holds a character that is not allowed (NUL or a lone surrogate).'
        if len(value) > MAX_VARIABLE or len(name) > MAX_WORD:
            return f'A value has at most {MAX_VARIABLE:,} characters, a name {MAX_WORD}.'
        return variable_problem(value) if self.is_checked and name not in self.names else None

    def check(self, parameters: dict) -> Problems:
        """{field: [sentence]} of everything that is wrong with the parameters and the message that
        they make.
        """
        problems = self.problems(parameters)
        if problems or not self.row_checks:
            return problems
        filled = self.fill(parameters)
        return next(filter(None, (check_row(filled) for check_row in self.row_checks)), {})

    def fill(self, parameters: dict) -> dict:
        """The message for one recipient."""
        filled = _fill(self.message, parameters) if self.names else self.message
        rest = {name: value for name, value in parameters.items() if name not in self.names}
        if self.takes_all and rest:
            filled = {**filled, 'template': {**filled['template'], 'components': [_body(rest)]}}
        return filled


def _content_checks(message: dict, names: set[str]) -> Iterator[Callable[[dict], Problems]]:
    """What a filled message is checked by once more: only what a value can have spoiled."""
    if not names:
        return
    if not _whole(_fill(message, dict.fromkeys(names, TOO_LONG))):
        if paths := [
            path.split('.') for path in _whole(_fill(message, dict.fromkeys(names, BROKEN_LINE)))
        ]:
            yield partial(_variables, paths)
        return
    kind = message.get('type') or 'text'
    if any(True for name, value in message.items() if name != kind for _ in placeholders(value)):
        yield _whole
    elif kind == 'interactive' and message[kind].get('type') in INTERACTIVE:
        yield partial(
            _parts, [name for name, value in message[kind].items() if [*placeholders(value)]]
        )
    else:
        yield lambda filled: dict(flat(message_schema.content_problems(kind, filled)))


def _whole(message: dict) -> Problems:
    """{field: [sentence]} of a message, without what the gateway is told beside it."""
    content = message.get('type') or 'text'
    try:
        check(
            message_schema,
            {name: message[name] for name in message if name in CHECKABLE or name == content},
        )
    except Invalid as error:
        return error.errors
    return {}


def _variables(paths: list[list[str]], message: dict) -> Problems:
    """The same of these texts alone: a schema for each of 10,000 rows would take seconds."""
    found = {}
    for path in paths:
        value = message
        for name in path:
            value = value[int(name)] if isinstance(value, list) else value[name]
        if problem := variable_problem(value):
            found['.'.join(path)] = [problem]
    return found


def _parts(names: list[str], message: dict) -> Problems:
    """The same of these parts of an interactive message; they do not depend on the others."""
    content = message['interactive']
    try:
        INTERACTIVE[content['type']].load({name: content[name] for name in names}, partial=True)
    except ValidationError as error:
        return dict(flat({'interactive': error.messages}))
    return {}


def without_placeholders(problems, value):
    """Problems of a content, without those of texts that are yet to be filled: they are looked at
    then.
    """
    if not isinstance(problems, dict):
        return None if isinstance(value, str) and PLACEHOLDER.search(value) else problems
    kept = {
        name: without_placeholders(inner, _inside(value, name)) for name, inner in problems.items()
    }
    return {name: inner for name, inner in kept.items() if inner}


def _inside(value, name):
    if isinstance(value, list) and isinstance(name, int):
        return value[name]
    return value.get(name) if isinstance(value, dict) else None


def placeholders(value: object) -> Iterator[str]:
    """The names of the placeholders in all texts of a value, each as often as it stands there."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield from map(str.strip, PLACEHOLDER.findall(part))
        elif isinstance(part, dict | list):
            waiting.extend(part.values() if isinstance(part, dict) else part)


def _fill(value, parameters):
    """A copy in which every placeholder is its value; a value is never looked through again."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: parameters[match[1].strip()], value)
    if isinstance(value, list):
        return [*map(partial(_fill, parameters=parameters), value)]
    if not isinstance(value, dict):
        return value
    filled = {}
    for (
        name,
        part,
    ) in value.items():  # no comprehension: as deep as a body may be nested, each would count twice
        filled[name] = _fill(part, parameters)
    return filled


def _body(parameters: dict) -> dict:
    """A template's body component: positional when the names are 1, 2, 3 …, else named (section
    6.4).
    """
    numbers = [str(number) for number in range(1, len(parameters) + 1)]
    if parameters.keys() == set(numbers):
        values = [{'type': 'text', 'text': parameters[number]} for number in numbers]
    else:
        values = [
            {'type': 'text', 'parameter_name': name, 'text': value}
            for name, value in parameters.items()
        ]
    return {'type': 'body', 'parameters': values}
