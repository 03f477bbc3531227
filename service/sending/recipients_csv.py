"""Pure: the recipients of a bulk from a CSV file, line by line."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from service.runtime.errors import Invalid
from service.runtime.untrusted import UNSTORABLE
from service.sending.personalisation import Personalisation
from service.sending.recipient import ADDRESS_FIELDS, Recipient

SIZE_LIMIT = 8 * 1024 * 1024  # bytes
COLUMN_NAMES = {
    'to': 'to',
    'phone': 'to',
    'recipient': 'recipient',
    'client_reference': 'client_reference',
    'biz_opaque_callback_data': 'biz_opaque_callback_data',
}
QUOTED_CELL = re.compile('"[^"]*"')
MAX_EMPTY = 1000  # rows: each costs as much as any other, and a file of 8 MiB has room for millions
TOO_MANY_EMPTY = (
    f'The file has more than {MAX_EMPTY:,} empty rows; nothing was stored. Take them out.'
)
MAX_HEADER_PROBLEMS = 20  # sentences about one header
UNREADABLE = (
    'The record that begins on line {} cannot be read: a quote is not closed or not doubled, a '
    'line ends with CR alone, or a cell is longer than 131,072 characters.'
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the file, and the line on which it begins."""

    line: int
    cells: list[str]


def read_rows(stream: Iterable[bytes], personalisation: Personalisation) -> Iterator[Recipient]:
    """The recipients of a binary stream.

    Raises Invalid if the file as a whole cannot be used, or its header does not fit the message.
    """
    records = _read_records(_decode_lines(stream))
    header = next(records, Record(1, []))
    columns = _column_names(header.cells)
    _check_header(columns, personalisation)
    empty = 0
    for record in records:
        if any(record.cells):  # else it is an empty line, or one with nothing but separators
            yield _read_recipient(record, columns)
            continue
        empty += 1
        if empty > MAX_EMPTY:
            raise Invalid(TOO_MANY_EMPTY, {'file': [TOO_MANY_EMPTY]})


def _decode_lines(stream: Iterable[bytes]) -> Iterator[str]:
    """Decoded lines with their ends. In UTF-8 no other character has the byte of a line feed."""
    for number, line in enumerate(stream, start=1):
        try:
            yield line.decode('utf-8-sig' if number == 1 else 'utf-8')
        except UnicodeDecodeError:
            sentence = f'Line {number} is not UTF-8: save the file with this encoding.'
            raise Invalid(sentence, {'file': [sentence]}) from None


def _read_records(lines: Iterator[str]) -> Iterator[Record]:
    """All records of the file, the header first."""
    first = next(lines, '')
    reader = csv.reader(chain([first], lines), delimiter=_separator(first), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            yield Record(line, next(reader))
        except StopIteration:
            return
        except csv.Error:
            sentence = UNREADABLE.format(line)
            raise Invalid(sentence, {'file': [sentence]}) from None


def _separator(header: str) -> str:
    bare = QUOTED_CELL.sub('', header)
    return ';' if bare.count(';') > bare.count(',') else ','


def _column_names(header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    return [COLUMN_NAMES.get(name.lower(), name) for name in names]


def _check_header(columns: list[str], personalisation: Personalisation) -> None:
    problems = [*_form_problems(columns)] or [*_parameter_problems(columns, personalisation)]
    if problems:
        raise Invalid(
            'The header does not fit: the first line must name the columns.',
            {'header': problems[:MAX_HEADER_PROBLEMS]},
        )


def _form_problems(columns: list[str]) -> Iterator[str]:
    if not any(columns):
        yield 'The first line is empty: it must name the columns.'
        return
    if any(UNSTORABLE.search(name) for name in columns):
        yield 'The header holds a NUL: save the file as UTF-8.'
        return
    for place, name in enumerate(columns, start=1):
        if not name:
            yield f'Column {place} has no name.'
    for name, count in Counter(columns).items():
        if name and count > 1:
            yield f'Two columns mean "{name}".'
    if not {'to', 'recipient'} & set(columns):
        yield 'There is no column "to", "phone" or "recipient".'


def _parameter_problems(columns: list[str], personalisation: Personalisation) -> Iterator[str]:
    given = [name for name in columns if name not in ADDRESS_FIELDS]
    for name in given:
        if not personalisation.takes_all and name not in personalisation.names:
            yield f'The message does not use the column "{name}".'
    for name in sorted(personalisation.names.difference(given)):
        placeholder = f'{{{{{name}}}}}'
        yield (
            f'The message has the placeholder {placeholder}, and there is no column of this name '
            'for it.'
        )


def _read_recipient(record: Record, columns: list[str]) -> Recipient:
    cells = record.cells
    if len(cells) != len(columns):
        sentence = f'Has {len(cells)} cells, and the header has {len(columns)}.'
        return Recipient(record.line, errors={'line': [sentence]})
    parameters = dict(zip(columns, cells, strict=True))
    address = {}
    for name in ADDRESS_FIELDS:
        cell = parameters.pop(name, '').strip()
        if cell:
            address[name] = cell
    return Recipient(record.line, address, parameters)
