"""Rows with names: one statement for many rows of a dataclass, and rows that come back as one.

    @dataclass(slots=True)
    class Price:
        message_id: Uuid
        category: str | None
        pricing: Json | None

    PRICE_MESSAGES = '''
    UPDATE usage_log u SET category = n.category, pricing = n.pricing
    FROM {rows} WHERE u.message_id = n.message_id
    '''
    execute_bulk(PRICE_MESSAGES, prices)

`{rows}` becomes `unnest(…) AS n (message_id, category, pricing)`, typed by the fields of the
class, and `{columns}` their names. Other parameters are given by name: `%(limit)s` and `limit=10`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, get_args, get_type_hints

from service.runtime.array_literal import Parameters
from service.runtime.db import db, execute, fetch, fetch_dicts, to_json
from service.runtime.prepared import Prepared, fill

T = TypeVar('T')


class DataclassInstance(Protocol):
    """An object of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True)
class Column:
    """A type of PostgreSQL, and what makes a value of Python one of its."""

    type: str
    write: Callable[[Any], Any] | None = None


Uuid = Annotated[str, Column('uuid')]
Json = Annotated[Any, Column('json', to_json)]  # any value of JSON; None is NULL
Jsonb = Annotated[Any, Column('jsonb', to_json)]
JsonText = Annotated[str, Column('json')]  # JSON that is text already
Integer = Annotated[int, Column('integer')]

PLAIN = {
    str: Column('text'),
    int: Column('bigint'),
    float: Column('float8'),
    Decimal: Column('numeric'),
    bool: Column('boolean'),
    datetime: Column('timestamptz'),
    bytes: Column('bytea'),
}


def execute_bulk(statement: str, rows: Sequence[DataclassInstance], **parameters: Any) -> int:
    """Run a statement once for all rows, return how many rows it touched. Without rows: 0."""
    if not rows:
        return 0
    return execute(*_bound(statement, rows, parameters))


def fetch_bulk(
    statement: str, rows: Sequence[DataclassInstance], **parameters: Any
) -> list[tuple[Any, ...]]:
    """The same, and what it returns as tuples."""
    return fetch(*_bound(statement, rows, parameters)) if rows else []


def fetch_bulk_dicts(
    statement: str, rows: Sequence[DataclassInstance], **parameters: Any
) -> list[dict[str, Any]]:
    """The same, and what it returns as dicts."""
    return fetch_dicts(*_bound(statement, rows, parameters)) if rows else []


def fetch_bulk_as(
    row_type: type[T], statement: str, rows: Sequence[DataclassInstance], **parameters: Any
) -> list[T]:
    """The same, and what it returns as objects of a dataclass."""
    return fetch_as(row_type, *_bound(statement, rows, parameters)) if rows else []


def fetch_as(row_type: type[T], statement: str, parameters: Parameters = ()) -> list[T]:
    """All rows of a statement as objects of a dataclass with a field for each column."""
    cursor = db.execute_sql(statement, parameters)
    names = tuple(column.name for column in cursor.description or ())
    rows = cursor.fetchall()
    if names == getattr(row_type, '__match_args__', None):  # the usual case, and twice as fast
        return [row_type(*row) for row in rows]
    return [row_type(**dict(zip(names, row, strict=True))) for row in rows]


def _bound(
    statement: str, rows: Sequence[DataclassInstance], parameters: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The statement's text, and its parameters: a list for each field."""
    row_type = type(rows[0])
    values = dict(parameters)
    for name, column in _columns(row_type).items():
        cells = [getattr(row, name) for row in rows]
        values[name] = cells if column.write is None else [column.write(cell) for cell in cells]
    return _text(statement, row_type), values


@cache
def _text(statement: str, row_type: type) -> str:
    columns = _columns(row_type)
    names = ', '.join(columns)
    arrays = ', '.join(f'%({name})s::{column.type}[]' for name, column in columns.items())
    text = fill(statement, rows=f'unnest({arrays}) AS n ({names})', columns=names)
    if not isinstance(statement, Prepared):
        return text
    if statement.row_type is not row_type:
        raise TypeError(f'it is prepared for rows of {statement.row_type}, not of {row_type}')
    return Prepared(text)


@cache
def _columns(row_type: type) -> dict[str, Column]:
    """Each field's column, in their order. TypeError for a field that has no type of PostgreSQL."""
    hints = get_type_hints(row_type, include_extras=True)
    return {
        field.name: _column(row_type, field.name, hints[field.name]) for field in fields(row_type)
    }


def _column(row_type: type, name: str, hint: Any) -> Column:
    for one in (hint, *(part for part in get_args(hint) if part is not NoneType)):
        for base in one.__mro__ if isinstance(one, type) else ():
            if base in PLAIN:
                return PLAIN[base]
        for extra in getattr(one, '__metadata__', ()):
            if isinstance(extra, Column):
                return extra
    raise TypeError(f'{row_type.__name__}.{name} has no type of PostgreSQL')
