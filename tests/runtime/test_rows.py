"""Bulk statements bind dataclasses by the names of their fields,
and give rows back as dataclasses.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import pytest

from service.runtime import db, rows
from service.runtime.ids import new_id
from service.runtime.rows import Integer, Json, Jsonb, JsonText, Uuid

MOMENT = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Colour(StrEnum):
    RED = 'red'


@dataclass(slots=True)
class Everything:
    id: Uuid
    name: str
    colour: Colour = Colour.RED
    count: int | None = None
    small: Integer = 0
    share: float | None = None
    price: Decimal | None = None
    is_new: bool = False
    at: datetime | None = None
    body: bytes | None = None
    error: Json | None = None
    tries: Jsonb | None = None
    raw: JsonText | None = None


RETURN_ALL = 'SELECT {columns} FROM {rows} WHERE name LIKE %(like)s ORDER BY name'


@pytest.fixture(autouse=True)
def connection(database):
    with db.connection():
        yield


def test_every_type_goes_out_and_comes_back_by_its_name():
    one = Everything(
        id=new_id(),
        name='a',
        count=2**40,
        small=7,
        share=0.5,
        price=Decimal('0.00680001'),
        is_new=True,
        at=MOMENT,
        body=b'\x00\xff',
        error={'code': 1, 'title': 'é {} %s'},
        tries=[1],
        raw='{"a": 1}',
    )
    empty = Everything(id=new_id(), name='b', tries=[])
    other = Everything(id=new_id(), name='not asked for')
    found = rows.fetch_bulk_as(Everything, RETURN_ALL, [other, empty, one], like='_')
    for row in found:
        row.body = row.body and bytes(row.body)
        row.raw = row.raw and '{"a": 1}'
    assert found == [one, empty]


def test_a_null_is_a_null_and_an_empty_list_is_none():
    row = rows.fetch_bulk_dicts(
        'SELECT error IS NULL AS error, tries::text AS tries FROM {rows}',
        [Everything(id=new_id(), name='a', tries=[])],
    )
    assert row == [{'error': True, 'tries': '[]'}]


def test_without_rows_nothing_is_run():
    broken = 'this is no SQL'
    assert rows.execute_bulk(broken, []) == 0
    assert rows.fetch_bulk(broken, []) == []
    assert rows.fetch_bulk_dicts(broken, []) == []
    assert rows.fetch_bulk_as(Everything, broken, []) == []


def test_a_field_without_a_type_of_postgresql_is_refused():
    @dataclass
    class Odd:
        place: set

    with pytest.raises(TypeError, match='Odd.place has no type of PostgreSQL'):
        rows.execute_bulk('SELECT 1 FROM {rows}', [Odd(set())])
