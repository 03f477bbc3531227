"""Pure: makes a sentence of another server fit to be shown.

It becomes short, and loses secrets and what people wrote.
"""

import re
from collections.abc import Iterable

from service.runtime.logs import NUMBER

MAX_LENGTH = 300  # characters
# Keys, also with stars in the place of their middle.
TOKEN = re.compile(r'(?=[A-Za-z_\-+=*]{0,400}[0-9])[A-Za-z0-9_\-+=*]{20,}')
DATA_URL = re.compile(r'data:[\w./+-]{1,100};base64,[A-Za-z0-9+/=]*')  # of a customer's picture
INVISIBLE = re.compile(
    r'[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+'
)
QUOTATION = 10  # characters in a row that quote what somebody wrote
PART_OF_KEY = 6  # characters in a row that give away too much of a secret
HIDDEN = '…'


def redact(sentence: str | None, secrets: Iterable[str | None], texts: Iterable[str]) -> str | None:
    """The sentence without any part of `secrets` or `texts`; None when nothing is left of it."""
    seen = INVISIBLE.sub(' ', (sentence or '')[: 4 * MAX_LENGTH])
    shown = DATA_URL.sub(HIDDEN, _one_line(seen))[:MAX_LENGTH]
    texts = [_one_line(text) for text in texts]
    shown = _without_pieces(shown, filter(None, secrets), PART_OF_KEY)
    shown = _without_pieces(shown, texts, QUOTATION)
    short = {text for text in texts if 3 <= len(text) < QUOTATION}
    for text in sorted(short, key=len, reverse=True):
        shown = _without_words(shown, text)
    shown = NUMBER.sub(HIDDEN, TOKEN.sub(HIDDEN, shown))
    return shown if shown.strip(f'{HIDDEN} .') else None


def _one_line(text: str) -> str:
    return ' '.join(text.split())


def _without_pieces(sentence: str, written: Iterable[str], length: int) -> str:
    """The sentence without pieces of `length` characters that stand in what was written."""
    all_written = '\n'.join(written).lower()
    hidden: set[int] = set()
    for at in range(len(sentence) - length + 1):
        if sentence[at : at + length].lower() in all_written:
            hidden.update(range(at, at + length))
    return _hide(sentence, hidden)


def _without_words(sentence: str, text: str) -> str:
    """The sentence without a short text, which stays where it is only a part of a word."""
    length = len(text)
    hidden: set[int] = set()
    for at in range(len(sentence) - length + 1):
        before = sentence[at - 1] if at else ''
        after = sentence[at + length : at + length + 1]
        is_word = not (before.isalnum() or after.isalnum())
        if is_word and sentence[at : at + length].lower() == text.lower():
            hidden.update(range(at, at + length))
    return _hide(sentence, hidden)


def _hide(sentence: str, places: set[int]) -> str:
    """The sentence with one HIDDEN in the place of each row of hidden characters."""
    shown = (HIDDEN if at in places else character for at, character in enumerate(sentence))
    return re.sub(f'{HIDDEN}+', HIDDEN, ''.join(shown))
