"""Texts on which a regular expression takes longest: its own parts, repeated, with an end that does
not fit.
"""

import re
from itertools import chain, product
from re import _constants as op
from re import _parser as parser

OTHERS = ('!', ' ', 'a', '0', '\n')  # what most patterns treat differently
REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


def worst_texts(pattern):
    """Functions of a number n that make a text of about n characters,
    bytes for a pattern of bytes.
    """
    tree = parser.parse(pattern.pattern, pattern.flags & ~re.LOCALE)
    letters = list(dict.fromkeys([*_letters(tree), *OTHERS]))
    heads = list(dict.fromkeys(['', *_heads(tree, '')]))
    pumps = list(
        dict.fromkeys([*letters, *_bodies(tree), *map(''.join, product(letters[:6], repeat=2))])
    )
    for head, pump, tail in product(heads, pumps, ['', '\0', *letters[:4]]):
        yield _maker(head, pump, tail, isinstance(pattern.pattern, bytes))


def _maker(head, pump, tail, is_bytes):
    def make(n):
        text = head + pump * (n // len(pump)) + tail
        return text.encode('latin-1', 'replace') if is_bytes else text

    make.__name__ = f'{head!r} + {pump!r} * n + {tail!r}'
    return make


def _inner(node):
    """The sequences within one node of a parsed pattern."""
    kind, value = node
    if kind in REPEATS:
        return [value[2]]
    if kind is op.SUBPATTERN:
        return [value[3]]
    if kind is op.BRANCH:
        return value[1]
    if kind is op.ATOMIC_GROUP:
        return [value]
    return [value[1]] if kind in (op.ASSERT, op.ASSERT_NOT) else []


def _letters(tree):
    """A character for each place of the pattern."""
    for node in tree:
        if letter := _letter(node):
            yield letter
        yield from chain.from_iterable(map(_letters, _inner(node)))


def _letter(node):
    kind, value = node
    if kind is op.LITERAL:
        return chr(value)
    if kind in (op.NOT_LITERAL, op.ANY):
        return 'b' if value == ord('a') else 'a'
    return _of_a_set(value) if kind is op.IN else ''


def _of_a_set(items):
    """The first that is in it of some characters."""
    ranges = [
        value if kind is op.RANGE else (value, value)
        for kind, value in items
        if kind in (op.RANGE, op.LITERAL)
    ]
    starts = [chr(first) for first, _ in ranges]
    source = re.compile(_set_source(items))
    return next((one for one in chain(starts, OTHERS, '-:/_"') if source.match(one)), '')


CATEGORIES = {
    op.CATEGORY_SPACE: r'\s',
    op.CATEGORY_NOT_SPACE: r'\S',
    op.CATEGORY_DIGIT: r'\d',
    op.CATEGORY_NOT_DIGIT: r'\D',
    op.CATEGORY_WORD: r'\w',
    op.CATEGORY_NOT_WORD: r'\W',
}


def _set_source(items):
    parts = []
    for kind, value in items:
        if kind is op.NEGATE:
            parts.append('^')
        elif kind is op.CATEGORY:
            parts.append(CATEGORIES[value])
        else:
            first, last = value if kind is op.RANGE else (value, value)
            parts.append(f'{re.escape(chr(first))}-{re.escape(chr(last))}')
    return f'[{"".join(parts)}]'


def _example(tree):
    """A short text that the pattern may match."""
    text = ''
    for node in tree:
        kind, value = node
        if kind in REPEATS:
            text += _example(value[2]) * max(value[0], 1)
        elif kind not in (op.ASSERT, op.ASSERT_NOT):
            inner = _inner(node)
            text += _example(inner[0]) if inner else _letter(node) or ''
    return text


def _heads(tree, before):
    """What stands before each of its repeats."""
    for node in tree:
        if node[0] in REPEATS:
            yield before
        for inner in _inner(node):
            yield from _heads(inner, before)
        before += _example([node])


def _bodies(tree):
    """What its repeats repeat."""
    for node in tree:
        if node[0] in REPEATS and (body := _example(node[1][2])):
            yield body
        for inner in _inner(node):
            yield from _bodies(inner)
