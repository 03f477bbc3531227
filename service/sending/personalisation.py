"""Pure: a message with placeholders, and what a recipient's parameters make of it."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

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

Body = dict[str, Any]  # a checked message, as service.content.message_schema gives it
Parameters = Mapping[str, Any]  # of one recipient: texts, once problems() has found no fault
Problems = dict[str, list[str]]  # field: sentences
CheckFilled = Callable[[Body], Problems]

# Blanks around the name are taken off afterwards: with \s* in here the search is not linear.
PLACEHOLDER = re.compile(r'\{\{([^{}]*)\}\}')
# It breaks every limit that a text may have, but those of a template's variables.
TOO_LONG = 'no link ' + 'x' * 10_000
BROKEN_LINE = '\n'  # breaks the limits of a template's variables
NO_VALUE = ['The message has a placeholder of this name, and there is no value for it.']
TOO_MANY_PARAMETERS = f'At most {MAX_PARAMETERS} different ones are allowed.'
TOO_MUCH_TEXT = f'The values add more than {MAX_CONTENT:,} characters to the message.'


class FilledSchema(WindowSchema, MessageSchema):
    """A message whose placeholders are filled."""


message_schema = FilledSchema()
CHECKABLE = {field.data_key or name for name, field in message_schema.fields.items()}


class Personalisation:
    """A checked message with placeholders, and what may be filled in.

    `definition` and `fallback` are what is known of its template and of its fallback_template.
    Raises Invalid if no parameters can make it fit.
    """

    def __init__(
        self, message: Body, definition: Template | None = None, fallback: Template | None = None
    ) -> None:
        self.message = message
        self.uses = Counter(placeholders(message))
        self.names = set(self.uses)
        if len(self.names) > MAX_PARAMETERS:
            raise Invalid(
                'The message has too many placeholders.', {'message': [TOO_MANY_PARAMETERS]}
            )
        template = message.get('template') if message.get('type') == 'template' else None
        # a template without components: all parameters become the variables of its body
        self.takes_all = isinstance(template, dict) and not template.get('components')
        self.is_checked = message.get('validate') is not False
        self.checks: list[CheckFilled] = [
            *_content_checks(message, self.names),
            *self._template_checks('template', definition),
            *self._template_checks('fallback_template', fallback),
        ]

    def _template_checks(self, field: str, definition: Template | None) -> Iterator[CheckFilled]:
        """How a filled template is checked against its definition.

        A template that is the same for all recipients is checked here, once.
        """
        sent = self.message.get(field)
        if not (self.is_checked and definition and definition.components and sent):
            return
        find_problems = Check(definition, field).problems
        if has_placeholder(sent) or (field == 'template' and self.takes_all):
            yield lambda filled: find_problems(filled[field])
        elif problems := find_problems(sent):
            errors = {f'message.{path}': sentences for path, sentences in problems.items()}
            raise Invalid(DOES_NOT_FIT, errors)

    def problems(self, parameters: Parameters) -> Problems:
        """What is wrong with the parameters alone."""
        if self.takes_all and len(parameters) > MAX_PARAMETERS:
            return {'parameters': [TOO_MANY_PARAMETERS]}
        found = dict.fromkeys(self.names - parameters.keys(), NO_VALUE)
        for name, value in parameters.items():
            if problem := self._problem(name, value):
                found[name] = [problem]
        if found:
            return {f'parameters.{name}': found[name] for name in sorted(found)}
        added = sum(self.uses.get(name, 1) * len(value) for name, value in parameters.items())
        return {'parameters': [TOO_MUCH_TEXT]} if added > MAX_CONTENT else {}

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

    def check(self, parameters: Parameters) -> Problems:
        """What is wrong with the parameters, or with the message that they make."""
        problems = self.problems(parameters)
        if problems or not self.checks:
            return problems
        filled = self.fill(parameters)
        return next(filter(None, (check_filled(filled) for check_filled in self.checks)), {})

    def fill(self, parameters: Parameters) -> Body:
        """The message for one recipient."""
        filled = _fill_message(self.message, parameters) if self.names else self.message
        rest = {name: value for name, value in parameters.items() if name not in self.names}
        if self.takes_all and rest:
            filled = {**filled, 'template': {**filled['template'], 'components': [_body(rest)]}}
        return filled


def _content_checks(message: Body, names: set[str]) -> Iterator[CheckFilled]:
    """How a filled message is checked again: only for what a value can have spoiled."""
    if not names:
        return
    if not _check_whole(_fill_message(message, dict.fromkeys(names, TOO_LONG))):
        broken = _check_whole(_fill_message(message, dict.fromkeys(names, BROKEN_LINE)))
        if broken:
            yield partial(_check_variables, [path.split('.') for path in broken])
        return
    kind = message.get('type') or 'text'
    others = [value for name, value in message.items() if name != kind]
    if has_placeholder(others):
        yield _check_whole
    elif kind == 'interactive' and message[kind].get('type') in INTERACTIVE:
        filled = [name for name, value in message[kind].items() if has_placeholder(value)]
        yield partial(_check_parts, filled)
    else:
        yield lambda filled: dict(flat(message_schema.content_problems(kind, filled)))


def _check_whole(message: Body) -> Problems:
    """Check a message, without the fields that only the gateway needs."""
    content = message.get('type') or 'text'
    names = [name for name in message if name in CHECKABLE or name == content]
    try:
        check(message_schema, {name: message[name] for name in names})
    except Invalid as error:
        return error.errors or {}
    return {}


def _check_variables(paths: list[list[str]], message: Body) -> Problems:
    """Check only the texts at these paths: a schema for each of 10,000 rows would take seconds."""
    found = {}
    for path in paths:
        value: Any = message
        for name in path:
            value = value[int(name)] if isinstance(value, list) else value[name]
        if problem := variable_problem(value):
            found['.'.join(path)] = [problem]
    return found


def _check_parts(names: list[str], message: Body) -> Problems:
    """Check only these parts of an interactive message; they do not depend on the others."""
    content = message['interactive']
    try:
        INTERACTIVE[content['type']].load({name: content[name] for name in names}, partial=True)
    except ValidationError as error:
        return dict(flat({'interactive': error.messages}))
    return {}


def without_placeholders(problems: dict[str, Any], content: object) -> dict[str, Any]:
    """Problems of a content, without those of texts that are checked later, when they are filled.

    `problems` is nested like the content, with lists of sentences in the place of texts.
    """
    kept = {}
    for name, inner in problems.items():
        part = _part(content, name)
        if isinstance(inner, dict):
            inner = without_placeholders(inner, part)
        elif isinstance(part, str) and PLACEHOLDER.search(part):
            continue
        if inner:
            kept[name] = inner
    return kept


def _part(value: object, name: str | int) -> object:
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
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def has_placeholder(value: object) -> bool:
    return any(True for _ in placeholders(value))


def _fill_message(message: Body, parameters: Parameters) -> Body:
    return {name: _fill(part, parameters) for name, part in message.items()}


def _fill(value: object, parameters: Parameters) -> object:
    """A copy with a value for each placeholder; values are not searched for placeholders."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: parameters[match[1].strip()], value)
    if isinstance(value, list):
        return [*map(partial(_fill, parameters=parameters), value)]
    if not isinstance(value, dict):
        return value
    filled = {}
    # No comprehension: before Python 3.12 each one is a call of its own, and twice as many levels
    # of a deep body would count against the limit of recursion.
    for name, part in value.items():
        filled[name] = _fill(part, parameters)
    return filled


def _body(parameters: Parameters) -> dict[str, Any]:
    """A template's body component (docs/meta.md, section 6.4).

    Its variables are positional when their names are 1, 2, 3 and so on, else named.
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
