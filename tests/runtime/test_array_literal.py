"""Arrays as one literal: what PostgreSQL reads of it is what was written."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.runtime import db
from service.runtime.array_literal import write_array

TEXTS = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
FIRST, LAST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)
TIMES = st.builds(
    lambda since, zone: (FIRST + since).astimezone(zone),
    st.timedeltas(timedelta(0), LAST - FIRST),
    ZONES,
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=5,
)
ELEMENTS = {
    'text': TEXTS,
    'bigint': st.integers(-(2**63), 2**63 - 1),
    'float8': st.floats(allow_nan=False),
    'numeric': st.decimals(-(10**9), 10**9, places=8) | st.just(Decimal('1E+12')),
    'boolean': st.booleans(),
    'timestamptz': TIMES,
    'bytea': st.binary(),
    'uuid': st.uuids().map(str),
    'json': JSON.map(json.dumps),
}


@pytest.fixture(scope='module', autouse=True)
def connection(schema):
    with db.connection():
        yield


def read_back(values, kind):
    """The elements as PostgreSQL has them, from a parameter."""
    rows = db.fetch(f'SELECT unnest(%s::{kind}[])', (values,))
    return [value for (value,) in rows]


@pytest.mark.parametrize('kind', ELEMENTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_goes_out_comes_back(kind, data):
    values = data.draw(st.lists(st.none() | ELEMENTS[kind]))
    found = read_back(values, kind)
    if kind == 'bytea':
        found = [value if value is None else bytes(value) for value in found]
    if kind == 'json':
        values = [value if value is None else json.loads(value) for value in values]
    assert found == values


ODD_TEXTS = [
    '', ' ', 'NULL', 'null', '{}', '{a,b}', '"', '\\', '\\"', "'", "\\'", 'a,b', '%s', '%(a)s',
    '$1', '\n\t\r', '{"a": "\\u0000"}', '\\x00', '漢字 é 🛶', '\u202e', 'x' * 100_000,
]  # fmt: skip


def test_odd_texts_come_back():
    assert read_back(ODD_TEXTS, 'text') == ODD_TEXTS


def test_odd_numbers_and_times_come_back():
    numbers = [1e308, -1e308, 5e-324, -0.0, float('inf'), float('-inf'), 0.1, None]
    assert read_back(numbers, 'float8') == numbers
    (nan,) = read_back([float('nan')], 'float8')
    assert nan != nan
    assert read_back([True, False, None], 'boolean') == [True, False, None]
    time = datetime(2026, 2, 28, 23, 59, 59, 999_999, UTC)
    assert read_back([time, None], 'timestamptz') == [time, None]
    assert read_back([time.date()], 'date') == [time.date()]
    blob = bytes(range(256))
    blobs = read_back([blob, bytearray(blob), memoryview(blob)], 'bytea')
    assert [bytes(value) for value in blobs] == [blob] * 3


def test_an_empty_list_is_an_empty_array():
    assert db.fetch("SELECT cardinality(%s::uuid[]), 'a' = ANY(%s)", ([], [])) == [(0, False)]


def test_enumerations_are_their_values():
    class Colour(StrEnum):
        RED = 'red "1"'

    class Level(IntEnum):
        HIGH = 3

    assert read_back([Colour.RED], 'text') == ['red "1"']
    assert read_back([Level.HIGH], 'int') == [3]


def test_what_is_no_element_is_refused():
    with pytest.raises(TypeError, match='set cannot be an element'):
        write_array([{1}])
    with pytest.raises(ValueError, match='NUL'):
        read_back(['a\0b'], 'text')
