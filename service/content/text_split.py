"""Pure: a long text to several that Meta takes, cut between lines or words where it can be."""

import re
import unicodedata
from collections.abc import Iterator

from service.content.characters import is_visible
from service.content.message_types import TEXT_LIMIT

BREAKS = frozenset('\n\r\t \u2028\u3000')  # not the spaces that hold words together
JOINER = '\u200d'  # of two emoji to one
FLAGS = range(0x1F1E6, 0x1F200)  # regional indicators: two of them are a flag
TONES = range(0x1F3FB, 0x1F400)  # of skin: with the emoji before it
MARKS = ('Mn', 'Mc', 'Me')  # accents, variation selectors: with the character before it
PARAGRAPH_ENDS = ('\n\n', '\n\r\n')
FENCE = '```'  # before and behind code, in WhatsApp's formatting
LINE_ENDS, BLANKS = re.compile(r'[\r\n]*'), re.compile(r'\s*')
LONGEST = 64  # characters of one sign; more is no sign, but somebody's joke


def split(text: str, limit: int = TEXT_LIMIT) -> Iterator[str]:
    """The parts in their order, each with something to see.

    The end of a paragraph is preferred to a line end, and a line end in the second half of a part
    to a later space.
    """
    start = 0
    while (
        len(text) - start > limit
    ):  # by positions: to cut the rest off would cost its length each time
        end, following = _cut(text, start, limit)
        if is_visible(head := text[start:end].rstrip()):
            yield head
        start = following
    rest = text[start:]
    if is_visible(rest):
        yield rest


def split_formatted(text: str, limit: int = TEXT_LIMIT) -> Iterator[str]:
    """The same for a text in WhatsApp's formatting: code that is cut is code in each part."""
    if len(text) <= limit or FENCE not in text:
        yield from split(text, limit)
        return
    is_code = False
    for part in split(text, limit - 2 * len(FENCE + '\n')):
        shown = part
        if is_code:
            rest = part.removeprefix(FENCE)  # when the code ends at once, there is nothing of it
            shown = f'{FENCE}\n{part}' if rest == part else rest
        if part.count(FENCE) % 2:
            is_code = not is_code
        if is_code:
            rest = shown.removesuffix(FENCE)
            shown = f'{shown}\n{FENCE}' if rest == shown else rest
        if shown := shown.strip('\n'):
            yield shown


def _cut(text: str, start: int, limit: int) -> tuple[int, int]:
    """(where the part that begins at start ends, where the next one begins)."""
    end = start + limit
    cut = _last_paragraph(text, start, limit)
    if cut is None:
        line = text.rfind('\n', start + limit // 2, end + 1)
        cut = line if line >= 0 else _last_break(text, start, end)
    if cut is None:
        cut = _between_signs(text, start, end)
        return cut, cut
    blanks = LINE_ENDS.match(text, cut + 1) if text[cut] == '\n' else BLANKS.match(text, cut)
    return cut, blanks.end() if blanks else cut


def _last_paragraph(text: str, start: int, limit: int) -> int | None:
    """Where the last paragraph that fits ends, in the second half of a part.

    Before that only if the next one fits into the next part as a whole; else it is cut anyway.
    """
    end = start + limit
    cut = max(text.rfind(mark, start + 1, end + len(mark)) for mark in PARAGRAPH_ENDS)
    if cut < 0 or cut >= start + limit // 2:
        return cut if cut >= 0 else None
    line_ends = LINE_ENDS.match(text, cut)
    begin = line_ends.end() if line_ends else cut
    last = begin + limit
    ends = [text.find(mark, begin, last + len(mark)) for mark in PARAGRAPH_ENDS]
    return cut if len(text) <= last or max(ends) >= 0 else None


def _last_break(text: str, start: int, end: int) -> int | None:
    """Where the last word that fits ends; None when there is but one."""
    return next((at for at in range(end, start, -1) if text[at] in BREAKS), None)


def _between_signs(text: str, start: int, end: int) -> int:
    """The last place, at most LONGEST before the end, that does not cut a visible sign apart."""
    return next(
        (at for at in range(end, max(end - LONGEST, start), -1) if not _is_inside(text, start, at)),
        end,
    )


def _is_inside(text: str, start: int, at: int) -> bool:
    before, after = text[at - 1], text[at]
    if JOINER in (before, after) or unicodedata.category(after) in MARKS or ord(after) in TONES:
        return True
    if '\ud800' <= before <= '\udbff' and '\udc00' <= after <= '\udfff':
        return True
    return ord(after) in FLAGS and _flags_before(text, start, at) % 2 == 1


def _flags_before(text: str, start: int, at: int) -> int:
    first = at
    while first > start and ord(text[first - 1]) in FLAGS:
        first -= 1
    return at - first
