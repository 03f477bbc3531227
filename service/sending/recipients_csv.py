"""Pure: the recipients of a bulk from a CSV file, line by line."""

import csv
import re
from collections import Counter
from itertools import chain

from service.runtime.errors import Invalid
from service.runtime.untrusted import UNSTORABLE
from service.sending.recipient import RECIPIENT, Recipient

SIZE_LIMIT = 8 * 1024 * 1024  # bytes
NAMES = {
    'to': 'to',
    'phone': 'to',
    'recipient': 'recipient',
    'client_reference': 'client_reference',
}
QUOTED = re.compile('"[^"]*"')
MAX_EMPTY = 1000  # rows: each costs as much as any other, and a file of 8 MiB has room for millions
TOO_EMPTY = f'The file has more than {MAX_EMPTY:,} empty rows; nothing was stored. Take them out.'
FEW = 20  # sentences about one header
UNREADABLE = (
    'The record that begins on line {} cannot be read: a quote is not closed or not doubled, a line ends '
    'with CR alone, or a cell is longer than 131,072 characters.'
)


def read_rows(stream, personalisation):
    """The recipients in a binary stream, for a message with these placeholders.

    Raises Invalid for what makes the file as a whole unusable.
    """
    records = _records(_lines(stream))
    columns = _columns(next(records, (1, []))[1])
    _check(columns, personalisation)
    empty = 0
    for line, cells in records:
        if any(cells):  # an empty line says nothing, nor does one of separators alone
            yield _row(line, columns, cells)
            continue
        empty += 1
        if empty > MAX_EMPTY:
            raise Invalid(TOO_EMPTY, {'file': [TOO_EMPTY]})


def _lines(stream):
    """Decoded lines, with their ends. In UTF-8 no other character holds the byte of a line feed."""
    for number, line in enumerate(stream, start=1):
        try:
            yield line.decode('utf-8-sig' if number == 1 else 'utf-8')
        except UnicodeDecodeError:
            sentence = f'Line {number} is not UTF-8: save the file with this encoding.'
            raise Invalid(sentence, {'file': [sentence]}) from None


def _records(lines):
    """(line on which it begins, cells) of each record, the header first."""
    first = next(lines, '')
    reader = csv.reader(chain([first], lines), delimiter=_separator(first), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error:
            sentence = UNREADABLE.format(line)
            raise Invalid(sentence, {'file': [sentence]}) from None


def _separator(header):
    bare = QUOTED.sub('', header)
    return ';' if bare.count(';') > bare.count(',') else ','


def _columns(header):
    names = [name.strip() for name in header]
    return [NAMES.get(name.lower(), name) for name in names]


def _check(columns, personalisation):
    problems = [*_wrong_form(columns)] or [*_wrong_parameters(columns, personalisation)]
    if problems:
        raise Invalid(
            'The header does not fit: the first line must name the columns.',
            {'header': problems[:FEW]},
        )


def _wrong_form(columns):
    if not any(columns):
        yield 'The first line is empty: it must name the columns.'
        return
    if any(UNSTORABLE.search(name) for name in columns):
        yield 'The header holds a NUL: save the file as UTF-8.'
        return
    yield from (
        f'Column {place} has no name.' for place, name in enumerate(columns, start=1) if not name
    )
    yield from (
        f'Two columns mean "{name}".'
        for name, count in Counter(columns).items()
        if name and count > 1
    )
    if not {'to', 'recipient'} & set(columns):
        yield 'There is no column "to", "phone" or "recipient".'


def _wrong_parameters(columns, personalisation):
    given = [name for name in columns if name not in RECIPIENT]
    if not personalisation.takes_all:
        yield from (
            f'The message does not use the column "{name}".'
            for name in given
            if name not in personalisation.names
        )
    for name in sorted(personalisation.names.difference(given)):
        yield f'The message has the placeholder {{{{{name}}}}}, and there is no column of this name for it.'


def _row(line, columns, cells):
    if len(cells) != len(columns):
        return Recipient(
            line, errors={'line': [f'Has {len(cells)} cells, and the header has {len(columns)}.']}
        )
    named = dict(zip(columns, cells, strict=True))
    recipient = {name: named.pop(name).strip() for name in RECIPIENT if name in named}
    return Recipient(line, {name: cell for name, cell in recipient.items() if cell}, named)
