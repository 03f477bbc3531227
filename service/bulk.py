"""Pure: one message to many. Its placeholders, its recipients, and which of their rows are good."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter

from marshmallow import ValidationError

from service import admission
from service.errors import Conflict, Invalid
from service.identity import addressee
from service.interactive import INTERACTIVE
from service.media_types import LIMITS
from service.payloads import MessageSchema, check, flat
from service.person_id import read
from service.template_check import DOES_NOT_FIT, Check
from service.webhook_events import UNSTORABLE

MAX_RECIPIENTS, MAX_REPORTED = 10_000, 1_000
PLACEHOLDER = re.compile(r'\{\{([^{}]*)\}\}')  # blanks are taken off afterwards: \s* here is not linear
MISFIT = 'no link ' + 'x' * 10_000  # breaks every limit that a text may have
NO_VALUE = ['The message has a placeholder of this name, and there is no value for it.']


message_schema = MessageSchema()
CHECKABLE = {field.data_key or name for name, field in message_schema.fields.items()}


class Mould:
    """A message with placeholders, and what may be filled in. The message itself has been checked.

    `definition`: its service.template.Template, if that is known. Raises Invalid if no row can make it fit.
    """

    def __init__(self, message, definition=None):
        self.message = message
        self.names = set(_placeholders(message))
        self.checked_again = _checked_again(message, self.names)
        template = message.get('template') if message.get('type') == 'template' else None
        self.takes_all = isinstance(template, dict) and not template.get('components')
        is_asked = definition and definition.components and message.get('validate') is not False
        self.fits = Check(definition).problems if is_asked else None
        if self.fits and not self.names and not self.takes_all:
            self._fit_once(template)

    def _fit_once(self, template):
        """All rows get the same."""
        if problems := self.fits(template):
            raise Invalid(DOES_NOT_FIT, {f'message.{name}': sentences for name, sentences in problems.items()})
        self.fits = None

    def problems(self, parameters):
        """{field: [sentence]} of parameters that do not fit."""
        found = {name: NO_VALUE for name in self.names - parameters.keys()}
        for name, value in parameters.items():
            if not (name in self.names or self.takes_all):
                found[name] = ['The message does not use this parameter.']
            elif problem := _problem(name, value):
                found[name] = [problem]
        return {f'parameters.{name}': found[name] for name in sorted(found)}

    def check(self, parameters):
        """{field: [sentence]} of everything that is wrong with the parameters and the message that they make."""
        problems = self.problems(parameters)
        if problems or not (self.checked_again or self.fits):
            return problems
        filled = self.fill(parameters)
        problems = self.checked_again(filled) if self.checked_again else {}
        return problems or (self.fits(filled['template']) if self.fits else {})

    def fill(self, parameters):
        """The message for one recipient."""
        filled = _fill(self.message, parameters) if self.names else self.message
        rest = {name: value for name, value in parameters.items() if name not in self.names}
        if self.takes_all and rest:
            filled = {**filled, 'template': {**filled['template'], 'components': [_body(rest)]}}
        return filled


def _checked_again(message, names):
    """What a filled message is checked by once more: only what a value can have spoiled. None: nothing can be."""
    if not names or not _whole(_fill(message, dict.fromkeys(names, MISFIT))):
        return None
    kind = message.get('type') or 'text'
    if any(True for name, value in message.items() if name != kind for _ in _placeholders(value)):
        return _whole
    if kind == 'interactive' and message[kind].get('type') in INTERACTIVE:
        return partial(_parts, [name for name, value in message[kind].items() if [*_placeholders(value)]])
    return lambda filled: dict(flat(message_schema.content_problems(kind, filled)))


def _whole(message):
    """{field: [sentence]} of a message, without what the gateway is told beside it."""
    content = message.get('type') or 'text'
    return _missed(message_schema, {name: message[name] for name in message if name in CHECKABLE or name == content})


def _parts(names, message):
    """The same of these parts of an interactive message; they do not depend on the others."""
    content = message['interactive']
    try:
        INTERACTIVE[content['type']].load({name: content[name] for name in names}, partial=True)
    except ValidationError as error:
        return dict(flat({'interactive': error.messages}))
    return {}


def without_placeholders(problems, value):
    """Problems of a content, without those of texts that are yet to be filled: they are looked at then."""
    if not isinstance(problems, dict):
        return None if isinstance(value, str) and PLACEHOLDER.search(value) else problems
    kept = {name: without_placeholders(inner, _inside(value, name)) for name, inner in problems.items()}
    return {name: inner for name, inner in kept.items() if inner}


def _inside(value, name):
    if isinstance(value, list) and isinstance(name, int):
        return value[name]
    return value.get(name) if isinstance(value, dict) else None


def _missed(schema, body):
    try:
        check(schema, body)
    except Invalid as error:
        return error.errors
    return {}


def _placeholders(value):
    if isinstance(value, str):
        yield from map(str.strip, PLACEHOLDER.findall(value))
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _placeholders(part)


def _problem(name, value):
    if not isinstance(value, str):
        return 'Must be a text.'
    if not value:
        return 'Has no value.'
    if UNSTORABLE.search(value) or UNSTORABLE.search(name):
        return 'Holds a character that is not allowed (NUL or a lone surrogate).'
    return None


def _fill(value, parameters):
    """A copy in which every placeholder is its value; a value is never looked through again."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: parameters[match[1].strip()], value)
    if isinstance(value, dict):
        return {name: _fill(part, parameters) for name, part in value.items()}
    return [_fill(part, parameters) for part in value] if isinstance(value, list) else value


def _body(parameters):
    """A template's body component: positional when the names are 1, 2, 3 …, else named (section 6.4)."""
    numbers = [str(number) for number in range(1, len(parameters) + 1)]
    if parameters.keys() == set(numbers):
        values = [{'type': 'text', 'text': parameters[number]} for number in numbers]
    else:
        values = [{'type': 'text', 'parameter_name': name, 'text': value} for name, value in parameters.items()]
    return {'type': 'body', 'parameters': values}


@dataclass
class Bulk:
    """What became of the rows: good ones by recipient, the others counted and, up to MAX_REPORTED, reported."""

    chatbot_id: str
    mould: Mould
    known: Callable = lambda chatbot_id, numbers: set()  # known_ids.known_phones, or nobody is known
    good: dict = field(default_factory=dict)  # {Identity: (line, recipient, parameters)}
    recipients: int = 0
    rejected: int = 0
    duplicates: int = 0
    dropped: int = 0
    rejected_rows: list = field(default_factory=list)
    dropped_rows: list = field(default_factory=list)
    is_marketing: bool = False
    standings: dict = field(default_factory=dict)  # {conversation id: admission.Standing}, of those who have one

    def take(self, rows):
        """Sort Rows. Raises Invalid at the first that is too many, or when none was good."""
        doubtful = []
        for row in rows:
            self.recipients += 1
            if self.recipients > MAX_RECIPIENTS:
                raise Invalid(TOO_MANY, {'recipients': [TOO_MANY]})
            errors = self._errors(row)
            if 'to' in errors:
                doubtful.append((row, errors))
            else:
                self._sort(row, errors)
        self._look_again(doubtful)
        if not self.good:
            problems = [(row['line'], *error) for row in self.rejected_rows for error in row['errors'].items()]
            errors = {f'line {line}, {name}': sentences for line, name, sentences in problems}
            raise Invalid('There is no valid recipient; nothing was stored.', errors or {'recipients': ['None given.']})

    def _look_again(self, doubtful):
        """Numbers that their country's plan refuses are good when Meta knows a customer under them."""
        known = self.known(self.chatbot_id, [row.recipient.get('to') for row, _ in doubtful]) if doubtful else set()
        for row, errors in doubtful:
            named = read(row.recipient.get('to'))
            self._sort(row, self._errors(row, is_known=True) if named and named.value in known else errors)
        self.rejected_rows = sorted(self.rejected_rows, key=itemgetter('line'))[:MAX_REPORTED]

    def _sort(self, row, errors):
        if errors:
            self.rejected += 1
            self.rejected_rows.append({'line': row.line, 'errors': errors})
            return
        identity = addressee(self.chatbot_id, {**self.mould.message, **row.recipient})
        if identity in self.good:
            self.duplicates += 1
        else:
            self.good[identity] = row.line, row.recipient, row.parameters

    def _errors(self, row, is_known=False):
        """{field: [sentence]} of everything that is wrong with a row."""
        if row.errors:
            return row.errors
        wrong = row.wrong_address(self.mould.message.get('recipient_type'), is_known)
        return wrong | self.mould.check(row.parameters)

    def drop(self, conversations, standings):
        """Take out whom the message may not go to now. Raises Conflict when nobody is left."""
        self.standings = standings
        for identity in [one for one in self.good if conversations[one] in standings]:
            _, objection = self._judged(self.mould.message, conversations[identity])
            if objection:
                self._drop(identity, objection)
        if not self.good:
            raise Conflict(NOBODY_LEFT, code='nobody_left', dropped=self.dropped, dropped_rows=self.dropped_rows)

    def _judged(self, message, conversation):
        return admission.judge(message, self.standings.get(conversation), self.is_marketing)

    def _drop(self, identity, objection):
        line, recipient, _ = self.good.pop(identity)
        self.dropped += 1
        if self.dropped <= MAX_REPORTED:
            self.dropped_rows.append({'line': line, 'errors': {next(iter(recipient)): [objection.sentence]}})

    def messages(self, conversations):
        """(conversation id, message) of each good row, made one by one: a long text to many is never held at once."""
        for identity, (_, recipient, parameters) in self.good.items():
            conversation = conversations[identity]
            yield conversation, {**self._judged(self.mould.fill(parameters), conversation)[0], **recipient}

    def with_other_files(self):
        """The message, or what it is for each row when a placeholder decides which file it has."""
        if not _file_ids_vary(self.mould.message):
            return [self.mould.message]
        return (self.mould.fill(parameters) for _, _, parameters in self.good.values())


def _file_ids_vary(value):
    """Whether the id of a file has a placeholder in it."""
    if isinstance(value, dict):
        given = [value[kind].get('id') for kind in LIMITS if isinstance(value.get(kind), dict)]
        return any(map(PLACEHOLDER.search, filter(_is_text, given))) or any(map(_file_ids_vary, value.values()))
    return isinstance(value, list) and any(map(_file_ids_vary, value))


def _is_text(value):
    return isinstance(value, str)


NOBODY_LEFT = 'None of the recipients may get this message now; nothing was stored.'
TOO_MANY = f'More than {MAX_RECIPIENTS:,} recipients; nothing was stored. Send them in several bulks.'
