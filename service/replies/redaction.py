"""Pure: somebody else's sentence made fit to be shown: short, without secrets, and without what
people wrote.
"""

import re
from collections.abc import Iterable

from service.runtime.logs import NUMBER

LONGEST = 300  # characters
TOKEN = re.compile(
    r'(?=[A-Za-z_\-+=*]{0,400}[0-9])[A-Za-z0-9_\-+=*]{20,}'
)  # keys, also with their middle starred out
INVISIBLE = re.compile(
    r'[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+'
)
QUOTATION = 10  # characters in a row that make a quotation of what somebody wrote
PART_OF_KEY = 6  # characters in a row of a secret that say too much
HIDDEN = '…'


def quotable(
    sentence: str | None, secrets: Iterable[str | None], texts: Iterable[str]
) -> str | None:
    """`sentence` without what is in `secrets` and, in whole or in pieces, in `texts`; None when
    nothing is left.
    """
    shown = ' '.join(INVISIBLE.sub(' ', (sentence or '')[: 4 * LONGEST]).split())[:LONGEST]
    texts = [' '.join(text.split()) for text in texts]
    shown = _without_pieces(shown, filter(None, secrets), PART_OF_KEY)
    shown = _without_pieces(shown, texts, QUOTATION)
    for text in sorted(
        {text for text in texts if 3 <= len(text) < QUOTATION}, key=len, reverse=True
    ):
        shown = _without_words(shown, text)
    shown = NUMBER.sub(HIDDEN, TOKEN.sub(HIDDEN, shown))
    return shown if shown.strip(f'{HIDDEN} .') else None


def _without_pieces(sentence: str, written: Iterable[str], length: int) -> str:
    """Every piece of `length` characters that stands in what was written is hidden."""
    written, hidden = '\n'.join(written).lower(), set()
    for at in range(len(sentence) - length + 1):
        if sentence[at : at + length].lower() in written:
            hidden.update(range(at, at + length))
    return _hidden_at(sentence, hidden)


def _without_words(sentence: str, text: str) -> str:
    """A short text is hidden where it stands alone: in the middle of a word it is no quotation."""
    hidden, length = set(), len(text)
    for at in range(len(sentence) - length + 1):
        around = sentence[at - 1 : at] if at else '', sentence[at + length : at + length + 1]
        if sentence[at : at + length].lower() == text.lower() and not any(
            one.isalnum() for one in around
        ):
            hidden.update(range(at, at + length))
    return _hidden_at(sentence, hidden)


def _hidden_at(sentence: str, places: set[int]) -> str:
    shown = (HIDDEN if at in places else character for at, character in enumerate(sentence))
    return re.sub('…+', HIDDEN, ''.join(shown))
