"""Pure: the words of a text by which it is found, and those of a search.

Case, accents and widths of letters do not matter: "Ação", "ACAO" and "ａｃａｏ" are one word. An
apostrophe stands between two words, whichever of its many signs is written: "п'ять", "пʼять". Of
scripts that put no blanks between words each two neighbours are a word. An emoji is one, too.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from service.content.characters import LETTER_APOSTROPHES

MAX_TEXT = 32_768  # characters that are looked at: as many as a template can have
MAX_WORD = 40  # characters of a word that count
MAX_WORDS = 2000  # different ones of a text

# Marks above and below of Latin, Greek, Cyrillic and Arabic letters, and the points of Hebrew: by
# their combining classes. Others are letters of their own to those who read them: the vowels of
# Indic scripts, the voicing of kana.
ACCENTS = frozenset((1, *range(10, 37), *range(200, 241)))
# Letters that Unicode does not take apart.
LOOKALIKES: dict[int, int | str | None] = {
    **str.maketrans('øłđðħıŧŋىیکة', 'olddhitnييكه', 'ـ'),
    **{ord('æ'): 'ae', ord('œ'): 'oe', ord('þ'): 'th'},
}
# As earlier versions did, whose words are stored: they took such an apostrophe for a letter.
LETTERS_BEFORE = dict(LOOKALIKES)
LOOKALIKES |= dict.fromkeys(map(ord, LETTER_APOSTROPHES), ' ')
# Thai and Lao, Burmese, Khmer, kana, Han.
UNSPACED = (
    '\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf'
    '\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff'
)
WORD = re.compile(rf'([{UNSPACED}]+)|[^\s{UNSPACED}]+')
NO_LETTER = re.compile(r'[^\w\s]|_|[^\D0-9]')  # also a digit of another script
# How the sign before it is drawn: variants, skin tones, keycaps.
IS_STYLE = re.compile('[\ufe00-\ufe0f\U000e0100-\U000e01ef\U0001f3fb-\U0001f3ff\u20e3]')
ZERO_WIDTH_SPACE = '\u200b'
# For bytes.translate: letters and digits are small, all else is a blank.
PLAIN_ASCII = bytes(ord(chr(byte).lower()) if chr(byte).isalnum() else 32 for byte in range(128))
PLAIN_ASCII += b' ' * 128


def words(text: str) -> list[str]:
    """The different words of a text, in no order: by any of them, or its beginning, it is found."""
    text = text[:MAX_TEXT]
    if text.isascii():  # several times as fast, and most texts
        split = text.encode().translate(PLAIN_ASCII).decode().split()
        return list(dict.fromkeys(word[:MAX_WORD] for word in split))[:MAX_WORDS]
    found: set[str] = set()
    for match in WORD.finditer(_letters(text)):
        found |= set(_pairs(match[1], '') if match[1] else (match[0][:MAX_WORD],))
        if len(found) >= MAX_WORDS:
            break
    return sorted(found)[:MAX_WORDS]


def wanted_words(text: str) -> list[str]:
    """The words of a search in their order; of the last one the beginning is enough."""
    return _wanted(_letters(text))


def formerly_wanted_words(text: str) -> list[str]:
    """The same as of earlier versions, which stored the words of their messages so."""
    return _wanted(_letters(text, LETTERS_BEFORE))


def _wanted(letters: str) -> list[str]:
    found: dict[str, None] = {}
    for match in WORD.finditer(letters):
        pairs = _pairs(match[1]) if match[1] else [match[0][:MAX_WORD]]
        for word in pairs:
            found.pop(word, None)
            found[word] = None
    return list(found)


def _pairs(run: str, *ends: str) -> list[str]:
    """Each two neighbours of a run of signs; with an end also the last one alone."""
    signs = [*run, *ends]
    return list(map(''.join, zip(signs, signs[1:], strict=False))) or signs


def _letters(text: str, alike: Mapping[int, int | str | None] = LOOKALIKES) -> str:
    """A text with each letter in its plain form, and a blank for whatever is none."""
    text = text[:MAX_TEXT]
    if text.isascii():
        return NO_LETTER.sub(' ', text.lower())
    plain = unicodedata.normalize('NFKD', unicodedata.normalize('NFKD', text).casefold())
    plain = NO_LETTER.sub(lambda found: _counts_as(found[0]), plain.translate(alike))
    return unicodedata.normalize('NFC', plain)


@lru_cache(4096)
def _counts_as(one: str) -> str:
    """What a sign that is no plain letter counts as; an emoji is a word of its own."""
    if one.isdecimal():
        return str(unicodedata.decimal(one))
    if unicodedata.combining(one) in ACCENTS or IS_STYLE.match(one):
        return ''
    kind = unicodedata.category(one)
    if kind[0] == 'M':
        return one
    if kind == 'So':
        return f' {one} '
    return '' if kind == 'Cf' and one != ZERO_WIDTH_SPACE else ' '
