"""Lists of Python as PostgreSQL's arrays, each in one literal: '{…}'.

psycopg2 writes ARRAY['…', '…'], of which PostgreSQL parses every element as an expression, and
which has a type already: that of a literal follows from where it stands.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from types import NoneType
from typing import Any

Parameters = Sequence[Any] | Mapping[str, Any]


def write_array(values: Iterable[object]) -> str:
    """The text of an array, without the quotes of a literal."""
    return '{' + ','.join([_write(value) for value in values]) + '}'


def with_arrays(parameters: Parameters) -> Parameters:
    """The parameters of a statement, with texts of arrays instead of lists."""
    if isinstance(parameters, Mapping):
        return {name: _parameter(value) for name, value in parameters.items()}
    return [_parameter(value) for value in parameters]


def _parameter(value: Any) -> Any:
    return write_array(value) if isinstance(value, list) else value


def _text(value: str) -> str:
    escaped = value.replace('\\', '\\\\').replace('"', '\\"')
    return f'"{escaped}"'  # in quotes NULL is a word, and {} no array


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return f'"\\\\x{value.hex()}"'


WRITERS: dict[type, Callable[[Any], str]] = {
    NoneType: lambda value: 'NULL',
    bool: lambda value: 't' if value else 'f',
    int: int.__repr__,
    float: float.__repr__,
    Decimal: str,
    str: _text,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    datetime: lambda value: f'"{value.isoformat()}"',
    date: lambda value: f'"{value.isoformat()}"',
}


def _write(value: object) -> str:
    writer = WRITERS.get(type(value)) or _inherited(type(value))
    return writer(value)


def _inherited(kind: type) -> Callable[[Any], str]:
    """The writer of a derived type, as an enumeration is."""
    for base in kind.__mro__:
        if base in WRITERS:
            return WRITERS[base]
    raise TypeError(f'{kind.__name__} cannot be an element of an array')
