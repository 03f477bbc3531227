"""Pure: turns Markdown, as language models write it, into what WhatsApp shows.

That is *bold*, _italic_, ~struck~, `code`, lists and quotes; WhatsApp has no headings, links or
tables. Each line is read once and its marks are matched by stacks, so the time grows with the
length, whatever the text is.
"""

import re

FENCES = ('```', '~~~')
BULLET = re.compile(r'([ \t]{0,40})[*+•-][ \t]+(?=\S)')
RULE = '———'
# The pieces of a line that mean something. Each alternative has a limit or a character that ends
# it.
TOKEN = re.compile(
    r"""(?P<escaped>\\[!-/:-@[-`{-~])
      | (?P<link>!?\[(?P<text>[^\[\]]{0,300}+)\]
          \([ ]{0,9}<?(?P<url>[^\s()<>]{1,2000}+(?:\([^\s()<>]{0,200}+\)[^\s()<>]{0,200}+)?)>?
          (?:[ ]{1,9}["'(][^"'()]{0,200}+["')])?[ ]{0,9}\))
      | <(?P<auto>(?:https?://|mailto:)[^\s<>]{1,2000})>
      | (?P<plain>https?://[^\s<>*`|]{1,2000})
      | (?P<break><br[ ]{0,3}/?>)
      | (?P<ticks>`+)
      | (?P<mark>\*{1,3}|_{2,3}|~~)""",
    re.VERBOSE | re.IGNORECASE,
)
MEANS = {'**': '*', '__': '*', '***': '*_', '___': '*_', '~~': '~', '*': '_'}
STRONG_MARK = re.compile(r'\*{2,3}')
LINKED = re.compile(r'(?:(.{1,300}?)(:? ))?(https?://\S{1,2000})')
QUOTE = re.compile(r'(?:[ ]{0,3}>[ ]?){1,9}')
# a text with one of these is Markdown, not WhatsApp's own formatting
STRONG = re.compile(r'\*\*|__|~~|^ {0,3}#{1,6} |\]\(|^ {0,3}```', re.MULTILINE)


def to_whatsapp(markdown: str) -> str:
    """The same text in WhatsApp's formatting; one that is WhatsApp's already stays as it is."""
    is_markdown = bool(STRONG.search(markdown))
    lines = markdown.replace('\r\n', '\n').split('\n')
    result: list[str] = []
    fence: str | None = None
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        stripped = line.strip()
        if fence or stripped.startswith(FENCES):
            fence = _in_fence(fence, stripped, line, result)
        elif '|' in stripped and at < len(lines) and _is_ruler(lines[at]):
            at = _table(lines, at - 1, result, is_markdown)
        else:
            at = _line(line, lines, at, result, is_markdown)
    if fence:
        result.append('```')
    return '\n'.join(result)


def _in_fence(fence: str | None, stripped: str, line: str, result: list[str]) -> str | None:
    """Code stays as it is; the name of its language goes.

    Returns the fence that is open behind the line.
    """
    if fence is None:
        whole = stripped[3:]
        if len(whole) > 3 and whole.endswith(stripped[:3]):  # all in one line
            result.append(f'```{whole[:-3]}```')
            return None
        result.append('```')
        return stripped[:3]
    if stripped.startswith(fence) and not stripped.strip(fence[0]):
        result.append('```')
        return None
    result.append(line)
    return fence


def _line(line: str, lines: list[str], at: int, result: list[str], is_markdown: bool) -> int:
    """Format a line that is no code and no table; returns the index of the next line."""
    stripped = line.strip()
    if stripped and at < len(lines) and _is_all(lines[at].strip(), '='):
        result.append(_heading(stripped))
        at += 1
    elif any(_is_all(stripped.replace(' ', ''), character) for character in '-*_'):
        result.append(RULE)
    elif bullet := BULLET.match(line):
        result.append(f'{bullet[1]}- {_content(line[bullet.end() :], is_markdown)}')
    elif quote := QUOTE.match(line):
        result.append(f'{quote[0]}{_content(line[quote.end() :], is_markdown)}')
    else:
        result.append(_content(line, is_markdown))
    return at


def _content(text: str, is_markdown: bool) -> str:
    """A heading, or any other text: of a line, or behind the sign of a list or a quotation."""
    stripped = text.strip()
    level = len(stripped) - len(stripped.lstrip('#'))
    if 1 <= level <= 6 and stripped[level : level + 1] in (' ', '\t'):
        return _heading(stripped[level:].rstrip('#'))
    return _inline(text, is_markdown)


def _is_all(text: str, character: str) -> bool:
    return len(text) >= 3 and not text.strip(character)


def _heading(text: str) -> str:
    """Bold as a whole: marks inside of it would end that."""
    plain = _inline(text.strip(), True).replace('*', '')
    return _signed('*', plain) if plain.strip() else ''


def _is_ruler(line: str) -> bool:
    """Whether it is the line below a table's head, like |---|:-:|."""
    return '-' in line and '|' in line and not line.strip().strip('|-: \t')


def _table(lines: list[str], at: int, result: list[str], is_markdown: bool) -> int:
    """The head in bold, then a line for each row; returns where the table has ended."""
    head = [_heading(cell) for cell in _cells(lines[at])]
    result.append(' | '.join(head))
    at += 2
    while at < len(lines) and '|' in lines[at]:
        result.append(
            ' | '.join(_inline(cell, is_markdown).replace('\n', ' ') for cell in _cells(lines[at]))
        )
        at += 1
    return at


def _cells(line: str) -> list[str]:
    row = line.strip()
    row = row[1:] if row.startswith('|') else row
    row = row[:-1] if row.endswith('|') and not row.endswith('\\|') else row
    cells = row.replace('\\|', '\0').split('|')
    return [cell.strip().replace('\0', '|') for cell in cells]


def _inline(line: str, is_markdown: bool) -> str:
    """A line's marks, links and code; what has no other half stays as it stands."""
    pieces: list[str] = []
    open_marks: dict[str, int] = {}
    at = 0
    ticks = _code_spans(line)
    for token in TOKEN.finditer(line):
        if token.start() < at:  # in a code span
            continue
        pieces.append(line[at : token.start()])
        at = token.end()
        if token['ticks']:
            at = ticks.get(token.start(), at)
            pieces.append(line[token.start() : at])
        elif token['mark']:
            _mark(token, line, pieces, open_marks, is_markdown)
        else:
            pieces.append(_token(token))
    return ''.join(pieces) + line[at:]


def _token(token: re.Match[str]) -> str:
    if token['link']:
        label = STRONG_MARK.sub('', token['text']).strip().strip('*_')
        url = token['url']
        return f'{label}: {url}' if label and label != url else url
    if token['escaped']:
        return token['escaped'][1]
    return '\n' if token['break'] else (token['auto'] or token['plain']).removeprefix('mailto:')


def _code_spans(line: str) -> dict[int, int]:
    """Spans of code: {where their first backtick stands: where they end}."""
    spans: dict[int, int] = {}
    waiting: dict[int, int] = {}
    for run in reversed([(found.start(), found.end()) for found in re.finditer('`+', line)]):
        length = run[1] - run[0]
        if length in waiting:
            spans[run[0]] = waiting[length]
        waiting[length] = run[1]
    return spans


def _mark(
    token: re.Match[str],
    line: str,
    pieces: list[str],
    open_marks: dict[str, int],
    is_markdown: bool,
) -> None:
    """Read a mark: it opens before a word, and closes the last one of its kind behind a word."""
    mark = token['mark']
    before = line[token.start() - 1 : token.start()]
    after = line[token.end() : token.end() + 1]
    if _is_code(mark, before, after) or mark == '*' and not is_markdown:
        pieces.append(mark)
    elif before and not before.isspace() and mark in open_marks:
        _close(mark, pieces, open_marks)
    else:
        if after and not after.isspace():
            open_marks[mark] = len(pieces)
        pieces.append(mark)


def _is_code(mark: str, before: str, after: str) -> bool:
    """2**3, snake__case, self.__class__ and __init__() mean what they say."""
    if mark[0] == '_' and (before == '.' or after == '('):
        return True
    return all(one.isalnum() and (one.isascii() or mark[0] == '_') for one in (before, after))


def _close(mark: str, pieces: list[str], open_marks: dict[str, int]) -> None:
    begin = open_marks.pop(mark)
    for other in [other for other, place in open_marks.items() if place > begin]:
        del open_marks[other]  # opened inside and not closed there
    sign = MEANS[mark]
    pieces[begin:] = [_signed(sign, ''.join(pieces[begin + 1 :]))]


def _signed(sign: str, text: str) -> str:
    """The text between signs, but for an address at its end: a sign would be part of that."""
    if link := LINKED.fullmatch(text):
        return f'{sign}{link[1]}{sign[::-1]}{link[2]}{link[3]}' if link[1] else link[3]
    return f'{sign}{text}{sign[::-1]}'
