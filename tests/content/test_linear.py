"""Text of strangers costs what its length costs, and not the square of it: every regular
expression, every loop.
"""

import ast
import gc
import importlib
import io
import re
import time
from collections import deque
from contextlib import suppress

import pytest

from service.content import file_check, phone_numbers
from service.content.characters import is_emoji, is_visible, variable_problem
from service.content.fields import without_nulls
from service.content.text_split import split
from service.content.whatsapp_format import to_whatsapp
from service.conversations import opt_out_keywords
from service.media.expected_file import file_name
from service.replies.redaction import redact
from service.runtime import logs
from service.runtime.errors import Invalid
from service.sending import recipients_csv
from service.sending.personalisation import Personalisation
from service.templates.rendering import render
from service.web.account_schemas import account_schema
from service.web.send_schemas import send_schema
from tests.stack import ROOT
from tests.worst_texts import worst_texts

FILES = [
    path
    for place in ('service', 'workers', 'tests/simulator')
    for path in sorted((ROOT / place).rglob('*.py'))
]
LADDER = (
    16,
    24,
    36,
    54,
    80,
    120,
    180,
    400,
    1000,
    2000,
)  # characters; what is exponential ends on a low step
# seconds of CPU on one step: no text of 2,000 characters takes a linear pattern a tenth of that
STEEP = 0.02
QUIET = 0.0007  # seconds for 2,000 characters: a square of them takes several times as long
SMALL = 0.003  # seconds for four times the text: the square of it takes more, and below is noise
TRIES = 10


def seconds(work, text):
    """CPU of this thread, without Python's look for garbage: it takes long here, whatever the text
    is.
    """
    gc.disable()
    began = time.thread_time()
    try:
        work(text)
        return time.thread_time() - began
    finally:
        gc.enable()


def is_steep(work, make):
    """Whether four times the text takes more than twice four times as long.

    CPU time, the best of several tries.
    """
    slowest = 0
    for n in LADDER:
        slowest = seconds(work, make(n))
        if slowest > QUIET:  # a busy machine has its moments: once more, and once more
            slowest = min(slowest, *(seconds(work, make(n)) for _ in range(3)))
        if slowest > STEEP:
            return True
    if slowest < QUIET:
        return False
    return grows(work, make, LADDER[-1])


def grows(work, make, n):
    """The same for a text of n characters, each measured again until it is within the limit."""
    short = long = float('inf')
    for _ in range(TRIES):
        short, long = min(short, seconds(work, make(n))), min(long, seconds(work, make(4 * n)))
        if long < 8 * short or long < SMALL:
            return False
    return True


def is_of_re(call):
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, 'id', '')
    owner = getattr(getattr(function, 'value', None), 'id', '')
    return bool(call.args) and (
        owner == 're' and name in dir(re) and name.islower() or name == 'Regexp'
    )


def module_of(path):
    dotted = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    return 'tests.simulator' if dotted.endswith('__main__') else dotted.removesuffix('.__init__')


def found_in(path):
    """(name, pattern, method) of every regular expression that a file writes down, wherever it
    stands.
    """
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and is_of_re(node)
    ]
    for call in calls:
        name, method = (
            f'{path.relative_to(ROOT)}:{call.lineno}',
            getattr(call.func, 'attr', 'Regexp'),
        )
        if method not in ('escape', 'error'):
            for at, pattern in enumerate(
                patterns_of(call, vars(importlib.import_module(module_of(path))))
            ):
                yield (
                    f'{name}.{at}',
                    pattern,
                    {'compile': None, 'Regexp': 'match'}.get(method, method),
                )


def patterns_of(call, names):
    """What a call compiles: what stands in it; of a loop what the module keeps of it; else with a
    word in it.
    """
    options = [*call.args[1:], *(one.value for one in call.keywords)]
    try:
        pattern = evaluated(call.args[0], names)
    except NameError:
        found = [
            one
            for value in names.values()
            if isinstance(value, list | tuple | dict)
            for one in kept(value)
        ]
        return found or [re.compile(evaluated(call.args[0], names, Words()))]
    if isinstance(pattern, re.Pattern):
        return [pattern]
    flags = [
        evaluated(node, names) for node in options if isinstance(node, ast.Attribute | ast.BinOp)
    ]
    return [re.compile(pattern, *flags[:1])]


def kept(value):
    """Every pattern within lists, tuples and dicts."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from kept(part)


class Words(dict):
    """A word for each name of a function that makes a pattern when it runs."""

    def __missing__(self, name):
        return 'word' if name not in ('re', 'str') else globals()[name]


def evaluated(node, names, local=None):
    return eval(compile(ast.Expression(node), 'a source', 'eval'), names, local)  # noqa: S307  our own


def methods_of(pattern):
    """How the sources use a pattern that they keep under a name; searching is the dearest."""
    used = {
        found
        for path in FILES
        for name, value in vars(importlib.import_module(module_of(path))).items()
        if isinstance(value, re.Pattern) and value == pattern
        for found in re.findall(
            rf'\b{name}\.(match|fullmatch|search|sub|findall|finditer|split)\b', path.read_text()
        )
    }
    return used or {'findall'}


PATTERNS = [one for path in FILES for one in found_in(path)]


def worker(pattern, method):
    if method == 'sub':
        return lambda text: pattern.sub(text[:0], text)
    if method == 'finditer':
        return lambda text: deque(pattern.finditer(text), 0)
    return getattr(pattern, method)


def test_the_patterns_are_found():
    names = {name.partition(':')[0] for name, *_ in PATTERNS}
    assert len(PATTERNS) > 40
    assert {
        'service/content/phone_numbers.py',
        'service/content/message_types.py',
        'service/web/fast_webhook.py',
        'tests/simulator/magic.py',
    } <= names


@pytest.mark.parametrize(('name', 'pattern', 'method'), PATTERNS, ids=[one[0] for one in PATTERNS])
def test_no_text_takes_a_pattern_longer_than_its_length(name, pattern, method):
    for way in [method] if method else methods_of(pattern):
        for make in worst_texts(pattern):
            assert not is_steep(worker(pattern, way), make), (
                f'{name} {pattern.pattern!r}.{way}: {make.__name__}'
            )


@pytest.mark.parametrize(
    ('pattern', 'method'),
    [
        (r'\{\{\s*([^{}]*?)\s*\}\}', 'findall'),
        (r'(a+)+b', 'match'),
        (r'\s+$', 'search'),
        (r'a.*b.*c', 'match'),
        (rb'<\s*p\s*\s*>', 'search'),
    ],
)
def test_a_pattern_that_is_not_linear_would_be_found(pattern, method):
    pattern = re.compile(pattern)
    assert any(is_steep(worker(pattern, method), make) for make in worst_texts(pattern))


# ---- loops over text


def filled(message):
    personalisation = Personalisation(message)
    return personalisation.check(dict.fromkeys(personalisation.names, 'x'))


def rows_of(data):
    personalisation = Personalisation({'type': 'text', 'text': {'body': 'Hello'}})
    return [row.line for row in recipients_csv.read_rows(io.BytesIO(data), personalisation)]


def tolerant(work, *expected):
    """Refusals are answers, too."""

    def try_it(text):
        with suppress(*expected):
            work(text)

    return try_it


def template_text(text):
    return render(
        [{'type': 'BODY', 'text': text}], {'components': [{'type': 'body', 'parameters': []}]}
    )


def sniffed(data):
    return file_check.sniff(io.BytesIO(data))


TEXTS = [
    '**',
    '_',
    '`',
    '[',
    '[](',
    '|',
    '#',
    '- ',
    '```',
    'a',
    ' ',
    '\n',
    'a ',
    '\r\n',
    '{{',
    '{{a}}',
    '{{ ',
    '}',
    '"',
    '""',
    ',',
    '+1',
    '\u200b',
    '\u0301',
    '🇧',
    '👍\u200d',
    '<',
    '%',
]
READERS = {
    'split': lambda text: list(split(text)),
    'fill': tolerant(
        lambda text: filled({'type': 'x', 'x': {'a': text}, 'validate': False}), Invalid
    ),
    'fill many': lambda text: filled({'type': 'x', 'x': {'a': [*text]}, 'validate': False}),
    'CSV': tolerant(lambda text: rows_of(f'to,b\n{text}'.encode()), Invalid),
    'CSV header': tolerant(lambda text: rows_of(text.encode()), Invalid),
    'CSV rows': tolerant(
        lambda text: rows_of(('to,b\n' + f'{text[:8]}\n' * (len(text) // 8)).encode()), Invalid
    ),
    'normalize': opt_out_keywords.normalize,
    'visible': is_visible,
    'variable': lambda text: variable_problem(f'x{text}'),
    'emoji': is_emoji,
    'phone': phone_numbers.problem,
    'file name': file_name,
    'template': template_text,
    'log': logs.NUMBER.findall,
    'Markdown': to_whatsapp,
    'quoted': lambda text: redact(text, ['secret-key'], [text[:99]]),
    'sniff': lambda text: sniffed(text.encode()),
    'nulls': lambda text: without_nulls({'a': [{'b': None, 'c': one} for one in text]}),
    'schema': lambda text: send_schema.validate(
        {'chatbot_id': text, 'to': text, 'type': text, 'text': {'body': text}}
    ),
    'account': lambda text: account_schema.validate(
        {
            'chatbot_id': text,
            'phone_number_id': text,
            'access_token': text,
            'responder': {'kind': 'openai', 'base_url': f'https://{text}', 'api_key': text},
        }
    ),
    'link': lambda text: send_schema.validate({'image': {'link': f'https://{text}'}}),
}


@pytest.mark.usefixtures('schema')  # an address gives the connection back before it is looked up
@pytest.mark.parametrize('reader', READERS)
def test_no_text_takes_a_loop_longer_than_its_length(reader):
    for pump in TEXTS:

        def make(n, pump=pump):
            return pump * (n // len(pump))

        assert not grows(READERS[reader], make, 10_000), f'{reader}: {pump!r}'
