"""Statements that a direct connection prepares, and what may become of them."""

from dataclasses import dataclass
from functools import partial

import pytest
from peewee import NotSupportedError, OperationalError

from service.runtime import db, rows
from service.runtime.prepared import Prepared
from service.runtime.rows import Uuid


def test_placeholders_become_numbers_and_back():
    by_name = Prepared("SELECT %(a)s::int, %(b)s::text, '100%%', %(a)s + 1")
    assert by_name.prepare == f"PREPARE {by_name.name} AS SELECT $1::int, $2::text, '100%', $1 + 1"
    assert by_name.execute == f'EXECUTE {by_name.name} (%(a)s, %(b)s)'
    by_place = Prepared('SELECT %s::int, %s::int')
    assert by_place.prepare == f'PREPARE {by_place.name} AS SELECT $1::int, $2::int'
    assert by_place.execute == f'EXECUTE {by_place.name} (%s, %s)'
    assert Prepared('SELECT 1').execute == f'EXECUTE {Prepared("SELECT 1").name}'


def test_the_same_text_has_the_same_name_and_another_one_has_not():
    assert Prepared('SELECT 1').name == Prepared('SELECT 1').name != Prepared('SELECT 2').name


PACKET = Prepared('SELECT current_query(), %(given)s::int, now() = statement_timestamp()')


def names():
    return [name for (name,) in db.fetch('SELECT name FROM pg_prepared_statements')]


def test_only_a_direct_connection_prepares(way):
    with db.connection():
        for given in (1, 2, None):
            ((sent, found, _),) = db.fetch(PACKET, {'given': given, 'other': 0})
            assert found == given
        with db.db.atomic():
            ((first, _, _),) = db.fetch(PACKET, {'given': 1})
        assert names() == ([PACKET.name] if way == 'direct' else [])
    by_name = f'EXECUTE {PACKET.name}'
    assert sent.startswith(by_name if way == 'direct' else 'SET LOCAL')
    assert first.startswith(f'BEGIN; {by_name}' if way == 'direct' else 'BEGIN; SET LOCAL')


@dataclass(slots=True)
class Pair:
    id: Uuid
    words: str | None


PAIRS = Prepared.for_rows(Pair)('SELECT {columns} FROM {rows} WHERE words LIKE %(like)s')


def test_rows_go_out_and_come_back(way):
    pairs = [Pair('01930000-0000-7000-8000-000000000000', words) for words in ('a{"', 'b', None)]
    with db.connection():
        for _ in range(2):
            assert rows.fetch_bulk_as(Pair, PAIRS, pairs, like='a%') == pairs[:1]
        assert rows.fetch_bulk_as(Pair, PAIRS, [], like='a%') == []


def test_it_is_prepared_for_one_class_of_rows():
    @dataclass
    class Other:
        id: Uuid

    with pytest.raises(TypeError, match=r"for rows of .*Pair'>, not of .*Other'>"):
        rows.fetch_bulk(PAIRS, [Other('1')], like='')


# ---- what happens to them


READ = Prepared('SELECT n FROM tried WHERE n > %s ORDER BY n')


@pytest.fixture
def table(way):
    with db.connection():
        db.execute('CREATE TABLE tried (n integer PRIMARY KEY)')
        db.execute('INSERT INTO tried VALUES (1), (2)')
        assert read() == [1, 2]
    yield
    with db.connection():
        db.execute('DROP TABLE tried')


def read():
    return [n for (n,) in db.fetch(READ, (0,))]


def change_type():
    """What it returns has another type: PostgreSQL refuses the plan it has."""
    db.execute('ALTER TABLE tried ALTER n TYPE bigint')


def forget():
    db.execute('DEALLOCATE ALL')


@pytest.mark.parametrize('happens', [change_type, forget])
def test_an_outdated_one_is_prepared_anew(table, way, happens):
    with db.connection():
        happens()
        assert read() == [1, 2]
        assert read() == [1, 2]
        assert (READ.name in names()) == (way == 'direct')


@pytest.mark.parametrize('happens', [change_type, forget])
def test_also_as_the_first_statement_of_a_transaction(table, happens):
    with db.connection():
        happens()
        with db.db.atomic():
            assert read() == [1, 2]
            db.execute('INSERT INTO tried VALUES (3)')
            assert read() == [1, 2, 3]
        assert read() == [1, 2, 3]


def insert_and_read():
    with db.connection(), db.db.atomic():
        db.execute('INSERT INTO tried VALUES (3)')
        return read()


@pytest.mark.parametrize('happens', [change_type, forget])
def test_later_in_a_transaction_all_of_it_has_to_come_again(table, way, happens):
    with db.connection():
        happens()
    if way == 'direct':
        with pytest.raises(OperationalError, match='outdated') as refused:
            insert_and_read()
        assert db.passes(refused.value)
    assert insert_and_read() == [1, 2, 3]


NOT_SUPPORTED = Prepared('SELECT date_part(%s, now()::timestamp)')


def test_what_postgresql_cannot_do_is_an_error(way):
    ask = partial(db.fetch, NOT_SUPPORTED, ('timezone',))
    with db.connection():
        with pytest.raises(NotSupportedError, match='not supported'):
            ask()
        for before in ([], [partial(db.fetch, 'SELECT 1')]):
            with pytest.raises(NotSupportedError, match='not supported'):
                in_transaction(*before, ask)
        assert db.fetch('SELECT 1') == [(1,)]


def in_transaction(*steps):
    with db.db.atomic():
        for step in steps:
            step()
