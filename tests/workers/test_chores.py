"""The clock's chores: looked for all at once, each done where it has work."""

from contextlib import closing

import pytest
from peewee import OperationalError

from service.runtime.db import connection, db, fetch
from service.runtime.session import LIMITS
from tests.people import sql
from workers import chores
from workers.chores import Chore


@pytest.fixture
def asked(database, monkeypatch):
    """What PostgreSQL is asked."""
    statements = []

    def execute_sql(statement, parameters=None):
        statements.append(statement)
        return type(db).execute_sql(db, statement, parameters)

    monkeypatch.setattr(db, 'execute_sql', execute_sql)
    return statements


def test_a_gateway_at_rest_is_asked_once_for_all_chores(asked):
    with connection():
        chores.do_often()
        chores.sweep()
    assert asked == [chores.LOOK_OFTEN, chores.LOOK_SWEEP]


def test_a_chore_that_fails_stops_no_other(database, caplog):
    done = []

    def fail():
        raise ValueError('a row that nothing can be done with')

    parts = [
        Chore(do, ('generate_series(1, 1)',)) for do in (fail, lambda: done.append('the other'))
    ]
    with connection():
        chores._do(parts, chores.look(parts))
    assert done == ['the other']
    (line,) = [one for one in caplog.records if one.message == 'a part of the clock failed']
    assert line.part == 'fail'


@pytest.mark.parametrize('rows', [0, 1])
def test_a_chore_is_done_where_its_rows_are(database, rows):
    done = []
    chore = Chore(lambda: done.append(1), ('generate_series(1, 0)', f'generate_series(1, {rows})'))
    with connection():
        chores._do([chore], chores.look([chore]))
    assert len(done) == rows


def test_only_what_waits_for_its_time_is_looked_for(backend):
    """A message that is queued for now, or sent, is no work for a timer."""
    backend.account()
    backend.send()
    with connection():
        (often,) = fetch(chores.LOOK_OFTEN)
        (sweep,) = fetch(chores.LOOK_SWEEP)
    assert often == (False,)
    found = dict(zip([chore.do.__name__ for chore in chores.SWEEP], sweep, strict=True))
    assert (found['settle_lost'], found['settle_strays']) == (False, True)
    sql("UPDATE message SET status = 'sending', due_at = now() - interval '1 second'")
    with connection():
        (sweep,) = fetch(chores.LOOK_SWEEP)
    assert sweep[0] is True


def test_where_the_look_itself_is_refused_each_chore_finds_out_by_itself(backend, postgres, caplog):
    """Somebody holds a table for long, as VACUUM FULL does: the others' work is done meanwhile."""
    backend.account()
    backend.send()
    sql("UPDATE message SET status = 'sending', due_at = now() - interval '1 second'")
    with closing(postgres.connect()) as other, other.cursor() as cursor, connection():
        db.execute_sql("SET lock_timeout = '100ms'")
        cursor.execute('LOCK TABLE usage_delta IN ACCESS EXCLUSIVE MODE')
        try:
            with pytest.raises(OperationalError, match='lock timeout'):  # the sums' own
                chores.sweep()
        finally:
            other.rollback()
            db.execute_sql(f'SET lock_timeout = {LIMITS["lock_timeout"]}')
    assert sql('SELECT status FROM message') == [('unknown',)]
    assert 'a look for chores failed' in caplog.text
