"""Pure: what a value names somebody by.

The one rule for whatever comes in: webhooks, Meta's answers, the API, files.

Meta puts a BSUID where a phone stood (`from`, `wa_id`, `recipient_id`), and people paste numbers
with marks that nobody sees. A value is a BSUID or parent BSUID wherever it stands, or the digits of
a phone, or nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypedDict, cast
from unicodedata import category

BSUID = re.compile(
    r'[A-Z]{2}\.(ENT\.)?[A-Za-z0-9.]{0,139}[A-Za-z0-9]'
)  # of a country; ENT: a parent's
PHONE = re.compile(
    r'[1-9][0-9]{4,14}'
)  # the shortest numbers have 5 digits with their country code, the longest 15
LONGEST = 255  # characters of a value, with its marks
SIGNS = str.maketrans('', '', '().-')  # what people write between digits, beside blanks
# categories of Unicode: blanks of all kinds; directions, joiners, soft hyphens
FORMLESS = frozenset(('Zs', 'Zl', 'Zp', 'Cf'))
FORMLESS_TOO = frozenset(  # fillers and variation selectors, which Unicode files elsewhere
    '\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0'
    + ''.join(map(chr, range(0xFE00, 0xFE10)))
)
MINUS = '\u2212'  # a sign of mathematics, no dash to Unicode


@dataclass(frozen=True, slots=True)
class PersonId:
    """An id of a person.

    `kind`: phone (`value`: digits with country code), user (a BSUID) or parent (a parent BSUID).
    """

    kind: str
    value: str


def read(value: object) -> PersonId | None:
    """The id that a value is; None when it is none.

    The letter case of a BSUID counts, digits of other alphabets do not, and a number may be an int.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**15:
        value = str(value)
    return _read(value) if isinstance(value, str) and len(value) <= LONGEST else None


@lru_cache(maxsize=1024)  # one webhook names a person in several places
def _read(value: str) -> PersonId | None:
    seen = visible(value)
    if bsuid := BSUID.fullmatch(seen.removeprefix('+')):
        return PersonId('parent' if bsuid[1] else 'user', bsuid[0])
    number = seen.translate(SIGNS).removeprefix('+')
    return PersonId('phone', number) if PHONE.fullmatch(number) else None


class PersonIds(TypedDict, total=False):
    """The ids of one person, by their kind."""

    phone: str
    user: str
    parent: str


def named(*values: object) -> PersonIds:
    """The ids among values: the first of each kind."""
    found = [one for one in map(read, values) if one]
    return cast(PersonIds, {one.kind: one.value for one in reversed(found)})


def in_place(
    given: Mapping[str, object], phone: str = 'from', user: str = 'from_user_id'
) -> dict[str, object]:
    """Two keys of a sender as Meta gave them, each id under the right one.

    What cannot be read stays where it is.
    """
    ids = named(given.get(user), given.get(phone))
    left = {name: None if read(given.get(name)) else given.get(name) for name in (phone, user)}
    return {
        phone: ids.get('phone') or left[phone],
        user: ids.get('user') or ids.get('parent') or left[user],
    }


def visible(text: str) -> str:
    """A text without blanks and invisible characters, and with each dash as a hyphen."""
    if text.isascii():
        return text.replace(' ', '')
    return ''.join(map(_visible, text))


def _visible(character: str) -> str:
    kind = category(character)
    if kind in FORMLESS or character in FORMLESS_TOO:
        return ''
    return '-' if kind == 'Pd' or character == MINUS else character
