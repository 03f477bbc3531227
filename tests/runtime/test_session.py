"""A connection to PostgreSQL, direct or by a pooler: its limits, its transactions, its errors."""

from contextlib import nullcontext
from functools import partial

import pytest
from peewee import DataError, IntegrityError, InternalError, OperationalError

from service.runtime import db, session
from tests.stack.postgres import administration

LIMITS = """
SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
  current_setting('idle_in_transaction_session_timeout')
"""


def left_behind():
    """The limits as the next client of a pooler would find them."""
    with db.db.connection().cursor() as cursor:
        cursor.execute(LIMITS)
        return cursor.fetchone()


def test_limits_hold_in_each_transaction_and_only_a_direct_connection_keeps_them(way):
    with db.connection():
        alone = db.fetch(LIMITS)
        with db.db.atomic():
            within = db.fetch(LIMITS) + db.fetch(LIMITS)
        kept = left_behind()
    assert within == [('20s', '10s', '20s')] * 2
    assert alone[0][:2] == ('20s', '10s')
    assert kept == (('20s', '10s', '20s') if way == 'direct' else ('0', '0', '0'))


def test_the_transactions_of_a_block_may_wait_less_for_locks_and_no_others(way):
    with db.connection():
        with session.lock_waits(200), db.db.atomic():
            within = db.fetch(LIMITS)
        with db.db.atomic():
            behind = db.fetch(LIMITS)
    assert within == [('20s', '200ms', '20s')]
    assert behind == [('20s', '10s', '20s')]


def test_on_a_direct_connection_a_statement_goes_alone(way):
    with db.connection():
        ((sent,),) = db.fetch('SELECT current_query()')
    assert sent.endswith('SELECT current_query()')
    assert sent.startswith('SELECT' if way == 'direct' else 'SET LOCAL statement_timeout')


@pytest.mark.parametrize('in_transaction', [True, False])
def test_a_statement_over_all_messages_has_a_minute_and_leaves_none_to_others(way, in_transaction):
    keep_limit = """
    SELECT set_config('test.limit', current_setting('statement_timeout') || ' ' ||
      current_setting('enable_seqscan') || ' ' || current_setting('cpu_tuple_cost'), false)
    """
    with db.connection():
        before = left_behind()
        with db.db.atomic() if in_transaction else nullcontext():
            db.execute_long(keep_limit)
        assert db.fetch("SELECT current_setting('test.limit')") == [('1min on 0.01',)]
        assert left_behind() == before


def packet():
    """All that this process sent to execute this statement."""
    ((sent,),) = db.fetch('SELECT current_query()')
    return sent


def test_begin_goes_with_the_first_statement(way):
    with db.connection(), db.db.atomic():
        first, second = packet(), packet()
    assert first.startswith('BEGIN; ')
    assert second == 'SELECT current_query()'


def test_a_transaction_without_a_statement_sends_nothing(way, monkeypatch):
    with db.connection():
        monkeypatch.setattr(session.Cursor, 'execute', None)  # whoever wants to send falls
        in_transaction()
        with pytest.raises(ZeroDivisionError):
            in_transaction(lambda: 1 / 0)
        monkeypatch.undo()
        assert db.fetch('SELECT 1') == [(1,)]


@pytest.fixture
def table(way):
    with db.connection():
        db.execute('CREATE TABLE tried (n integer PRIMARY KEY)')
        yield lambda: sorted(n for (n,) in db.fetch('SELECT n FROM tried'))
        db.execute('DROP TABLE tried')


def insert(n):
    db.execute('INSERT INTO tried VALUES (%s)', (n,))


BAD_STATEMENTS = [
    (IntegrityError, 'INSERT INTO tried VALUES (1), (1)', ()),
    (DataError, 'INSERT INTO tried VALUES (1 / %s)', (0,)),
    (Exception, 'this is no SQL', ()),
    (Exception, 'INSERT INTO tried VALUES (%s)', (object(),)),  # refused before it is sent
]


@pytest.mark.parametrize(('error', 'statement', 'parameters'), BAD_STATEMENTS)
def test_after_an_error_in_the_first_statement_all_goes_on(table, error, statement, parameters):
    with pytest.raises(error), db.db.atomic():
        db.execute(statement, parameters)
    insert(2)
    with db.db.atomic():
        insert(3)
    assert table() == [2, 3]


def in_transaction(*steps):
    with db.db.atomic():
        for step in steps:
            step()


def insert_twice(n):
    insert(n)
    insert(n)


def insert_in_vain():
    with pytest.raises(IntegrityError):
        insert_twice(2)


def test_what_an_error_interrupts_is_undone(table):
    with pytest.raises(IntegrityError):
        in_transaction(partial(insert_twice, 1))
    with pytest.raises(InternalError):  # the transaction is aborted
        in_transaction(insert_in_vain, partial(insert, 3))
    assert table() == []


@pytest.mark.parametrize('before', [[], [1]])
def test_a_savepoint_undoes_its_own_part(table, before):
    with db.db.atomic():
        for n in before:
            insert(n)
        with pytest.raises(IntegrityError):
            in_transaction(partial(insert_twice, 2))
        insert(3)
    assert table() == [*before, 3]


def end_session():
    db.fetch('SELECT pg_terminate_backend(pg_backend_pid())')


@pytest.fixture
def idle(table):
    """Four connections that nobody uses."""
    insert(1)
    db.db.close()
    db.db.close_idle()
    for session_ in [db.db._connect() for _ in range(4)]:
        db.db._close(session_)
    yield list(db.db._idle)
    db.db.connect(reuse_if_open=True)


FAILED_STATEMENTS = {
    'a lock': 'SELECT n FROM tried FOR UPDATE NOWAIT',
    'time': 'SET LOCAL statement_timeout = 1; SELECT pg_sleep(20)',
    'a deadlock': "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$",
    'memory': "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53200'; END $$",
}


@pytest.mark.parametrize('in_transaction', [True, False])
@pytest.mark.parametrize('missing', FAILED_STATEMENTS)
def test_a_statement_that_fails_costs_no_connection(idle, postgres, missing, in_transaction):
    atomic = db.db.atomic if in_transaction else nullcontext
    with administration(postgres.url) as other:
        other.execute('BEGIN; SELECT n FROM tried FOR UPDATE')
        with pytest.raises(OperationalError), db.connection(), atomic():
            db.execute(FAILED_STATEMENTS[missing])
        other.execute('ROLLBACK')
    assert list(db.db._idle) == idle
    with db.connection():  # the one that failed, rolled back
        assert db.db.connection() is idle[-1]
        insert(2)
        assert len(db.fetch('SELECT n FROM tried')) == 2


def lose_connection():
    db.db.connection().close()
    db.fetch('SELECT 1')


@pytest.mark.parametrize('lose', [end_session, lose_connection])
def test_a_lost_connection_costs_the_idle_ones_as_well(idle, lose):
    with pytest.raises(db.CONNECTION_LOST), db.connection():
        lose()
    assert list(db.db._idle) == []
    assert all(session_.closed for session_ in idle)


def test_a_transaction_that_loses_its_connection_is_undone_and_told_why(table):
    with pytest.raises(OperationalError, match='terminat'):
        in_transaction(partial(insert, 1), end_session)
    db.db.close()
    db.db.connect()
    assert table() == []


def test_a_commit_on_a_lost_connection_is_an_error(table):
    with pytest.raises(db.CONNECTION_LOST):
        in_transaction(partial(insert, 1), db.db.connection().close)
    db.db.close()
    db.db.connect()
    assert table() == []
