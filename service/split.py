"""Pure: a long text to several that Meta takes, cut between lines or words where it can be."""

import unicodedata

from service.content import TEXT_LIMIT

BREAKS = frozenset('\n\r\t \u2028\u3000')  # not the spaces that hold words together
JOINER = '\u200d'  # of two emoji to one
FLAGS = range(0x1F1E6, 0x1F200)  # regional indicators: two of them are a flag
TONES = range(0x1F3FB, 0x1F400)  # of skin: with the emoji before it
MARKS = ('Mn', 'Mc', 'Me')  # accents, variation selectors: with the character before it
LONGEST = 64  # characters of one sign; more is no sign, but somebody's joke


def split(text, limit=TEXT_LIMIT):
    """The parts in their order, none empty. A line end in the second half of a part is preferred to a later space."""
    while len(text) > limit:
        line = text.rfind('\n', limit // 2, limit + 1)
        cut = line if line > 0 else _last_break(text, limit)
        if cut:
            head, text = text[:cut], text[cut + 1 :].lstrip('\r\n') if text[cut] == '\n' else text[cut:].lstrip()
        else:
            cut = _between_signs(text, limit)
            head, text = text[:cut], text[cut:]
        if head := head.rstrip():
            yield head
    if not text.isspace() and text:
        yield text


def _last_break(text, limit):
    """Where the last word that fits ends; 0 when there is but one."""
    return next((at for at in range(limit, 0, -1) if text[at] in BREAKS), 0)


def _between_signs(text, limit):
    """The last place, at most LONGEST before the limit, that does not tear what people see as one sign."""
    return next((at for at in range(limit, max(limit - LONGEST, 0), -1) if not _is_inside(text, at)), limit)


def _is_inside(text, at):
    before, after = text[at - 1], text[at]
    if JOINER in (before, after) or unicodedata.category(after) in MARKS or ord(after) in TONES:
        return True
    if '\ud800' <= before <= '\udbff' and '\udc00' <= after <= '\udfff':
        return True
    return ord(after) in FLAGS and _flags_before(text, at) % 2 == 1


def _flags_before(text, at):
    start = at
    while start and ord(text[start - 1]) in FLAGS:
        start -= 1
    return at - start
