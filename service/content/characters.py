"""Pure: what a text shows to a person.

A stranger's text may be long: each of these costs its length, no more.
"""

import re
import unicodedata

# Fonts draw nothing for these letters and marks; everything of the categories below is invisible,
# too.
UNSEEN = frozenset('\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u2800\u3164\uffa0')
MARKS = (
    (0xFE00, 0xFE0F),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
)  # for variants, and tags: nothing of their own
UNSEEN_KINDS = frozenset(('Cc', 'Cf', 'Zs', 'Zl', 'Zp'))

# Apostrophes that Unicode calls letters: of Ukrainian, of Hawaiian and Uzbek, of languages of
# Mexico. People write the plain ones in their place.
LETTER_APOSTROPHES = 'ʼʻꞌ'


def is_visible(text: str) -> bool:
    """Whether a person sees anything of a text.

    Blanks, zero-width marks, fillers and the like are not visible.
    """
    return any(map(_is_seen, text))


def _is_seen(character: str) -> bool:
    if '!' <= character <= '~':
        return True
    if character in UNSEEN or unicodedata.category(character) in UNSEEN_KINDS:
        return False
    return not any(first <= ord(character) <= last for first, last in MARKS)


# Unicode's emoji, one character each; in the planes of pictures also what is reserved for those of
# coming years.
PICTURES = (
    '\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa'
    '\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u2604\u260e\u2611\u2614\u2615\u2618\u261d\u2620\u2622\u2623'
    '\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u2648-\u2653\u265f\u2660\u2663\u2665\u2666\u2668\u267b\u267e'
    '\u267f\u2692-\u2697\u2699\u269b\u269c\u26a0\u26a1\u26a7\u26aa\u26ab\u26b0\u26b1\u26bd\u26be\u26c4\u26c5\u26c8'
    '\u26ce\u26cf\u26d1\u26d3\u26d4\u26e9\u26ea\u26f0-\u26f5\u26f7-\u26fa\u26fd\u2702\u2705\u2708-\u270d\u270f\u2712'
    '\u2714\u2716\u271d\u2721\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757\u2763\u2764\u2795-\u2797'
    '\u27a1\u27b0\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299'
    '\U0001f004\U0001f0cf\U0001f170\U0001f171\U0001f17e\U0001f17f\U0001f18e\U0001f191-\U0001f19a\U0001f201\U0001f202'
    '\U0001f21a\U0001f22f\U0001f232-\U0001f23a\U0001f250\U0001f251\U0001f300-\U0001f64f\U0001f680-\U0001f6ff'
    '\U0001f7d5-\U0001f7ff\U0001f90c-\U0001f9ff\U0001fa70-\U0001faff'
)
FLAG = '[\U0001f1e6-\U0001f1ff]{2}'
REGION = '\U0001f3f4[\U000e0020-\U000e007e]{1,10}\U000e007f'  # England, Scotland, Wales
KEYCAP = '[0-9#*]\ufe0f?\u20e3'
PICTURE = f'[{PICTURES}]\ufe0f?[\U0001f3fb-\U0001f3ff]?\ufe0f?'  # with a skin tone, in colour
EMOJI = re.compile(f'{FLAG}|{REGION}|{KEYCAP}|{PICTURE}(?:\u200d{PICTURE}){{0,9}}')


def is_emoji(text: str) -> bool:
    """Whether a text is one emoji: a picture, a flag, a keycap or joined pictures."""
    return EMOJI.fullmatch(text) is not None


# characters: of a template that is a body alone; what really fits depends on the template's own
MAX_VARIABLE = 32_768
BREAKS = re.compile('[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]')
MANY_BLANKS = re.compile(r'\s{5}')
REFUSED = '(Meta refuses it with 132018)'


def variable_problem(text: str) -> str | None:
    """Why Meta refuses a text as a variable of a template, as a sentence; else None."""
    if not is_visible(text):
        return 'A variable of a template must show something: this is empty or nothing but blanks.'
    if len(text) > MAX_VARIABLE:
        return f'1 to {MAX_VARIABLE} characters are allowed, this has {len(text)}.'
    if BREAKS.search(text):
        return f'A variable of a template must have no line end and no tab {REFUSED}.'
    if MANY_BLANKS.search(text):
        return f'A variable of a template must have no more than four blanks in a row {REFUSED}.'
    return None
