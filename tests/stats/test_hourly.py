"""The roll-up is exact at every moment: whatever happens, in which order, folded or not."""

import threading
from datetime import timedelta

import pytest

from service.runtime import deltas
from service.runtime.db import connection
from service.runtime.prepared import fill
from service.stats import hourly
from tests.people import sql
from tests.stats.history import END, START, History, counted, differences, make_accounts

NONE_OLD = '00000000-0000-0000-0000-000000000000'
READ_ALL = """
UPDATE message SET status = 'read', due_at = NULL, hold_reason = NULL WHERE direction = 'outbound'
"""
ALL_OLD = 'ffffffff-ffff-ffff-ffff-ffffffffffff'


@pytest.fixture
def accounts(database):
    make_accounts()
    yield
    sql('UPDATE hourly_backfill SET first_id = %s', NONE_OLD)


@pytest.fixture
def history(accounts):
    return History(13)


def fold():
    with connection():
        return hourly.fold()


def backfill():
    with connection():
        return hourly.backfill()


def test_it_is_what_the_rows_say_whatever_happens(history, monkeypatch):
    monkeypatch.setattr(hourly, 'PORTION', 7)
    for step in range(40):
        history.add(history.random.choice((1, 2, 20)))
        history.move(history.random.choice((1, 3, 30)))
        if history.random.random() < 0.5:
            fold()
        if step % 8 == 7:
            assert differences() == {}
    while fold():
        pass
    assert sql('SELECT count(*) FROM hourly_delta') == [(0,)]
    assert differences() == {}
    assert len(counted(None, 'hour')) > 300


def test_two_clocks_that_fold_at_once_add_each_change_once(history, monkeypatch):
    monkeypatch.setattr(hourly, 'PORTION', 3)
    for _ in range(60):
        history.add(3)

    def work():
        while sql('SELECT 1 FROM hourly_delta LIMIT 1'):
            fold()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    history.move(40)
    for thread in threads:
        thread.join(30)
    fold()
    assert differences() == {}


def test_nobody_who_changes_messages_waits_for_the_fold(history, postgres):
    history.add(20)
    other = postgres.connect()
    with other, other.cursor() as cursor:
        cursor.execute(fill(deltas.TRY_LOCK, table='hourly_delta'))
        cursor.execute(hourly.ADD_UP, {'portion': 100})  # not committed yet
        history.add(5)
        history.move(10)
        assert fold() == 0  # somebody else is at it
        assert differences() == {}
    other.close()
    assert differences() == {}
    assert fold() > 0
    assert differences() == {}


def test_a_transaction_that_is_undone_counts_nothing(history, postgres):
    history.add(10)
    other = postgres.connect()
    with other.cursor() as cursor:
        cursor.execute(READ_ALL)
        cursor.execute('SELECT count(*) FROM hourly_delta')
        assert cursor.fetchone()[0] > 1
    other.rollback()
    other.close()
    assert differences() == {}


def test_what_counts_nothing_leaves_nothing_behind(history):
    history.add(20)
    while fold():
        pass
    sql('UPDATE message SET attempts = 3, updated_at = now()')
    sql("UPDATE message SET status = 'sending', due_at = now() WHERE status = 'queued'")
    assert sql('SELECT count(*) FROM hourly_delta') == [(0,)]


def old(history, count):
    """Messages from before the triggers."""
    sql('ALTER TABLE message DISABLE TRIGGER USER')
    history.add(count)
    history.move(count)
    sql('ALTER TABLE message ENABLE TRIGGER USER')
    sql('ALTER TABLE message ENABLE ALWAYS TRIGGER keep_message_marks')
    sql('UPDATE hourly_backfill SET first_id = %s', ALL_OLD)


def test_messages_from_before_count_as_they_stand_until_they_are_added(history, monkeypatch):
    monkeypatch.setattr(hourly, 'PORTION', 6)
    old(history, 40)
    assert differences() == {}
    portions = 0
    while backfill():
        portions += 1
        history.move(5)  # of those that are added, and of those that are not
        assert differences() == {}
        fold()
        assert differences() == {}
    assert portions == 6
    assert sql('SELECT first_id FROM hourly_backfill') == [(NONE_OLD,)]
    history.move(20)
    assert differences() == {}


def test_old_messages_are_not_added_while_somebody_changes_them(history, postgres):
    old(history, 10)
    other = postgres.connect()
    with other, other.cursor() as cursor:
        cursor.execute(READ_ALL)
        assert not backfill()
    other.close()
    assert backfill()
    assert differences() == {}


def test_who_changes_old_messages_waits_until_they_are_added(history, postgres):
    old(history, 10)
    other = postgres.connect()
    with other.cursor() as cursor:
        cursor.execute(hourly.TRY_BACKFILL)
        cursor.execute(hourly.BACKFILL, {'limit': 100})
    late = threading.Thread(target=history.move, args=(10,))
    late.start()
    late.join(0.3)
    assert late.is_alive()
    other.commit()
    other.close()
    late.join(10)
    assert differences() == {}


@pytest.mark.parametrize('added', [0, 1, 9])
def test_what_is_deleted_stays_counted_whether_it_was_added_or_not(history, monkeypatch, added):
    monkeypatch.setattr(hourly, 'PORTION', 6)
    old(history, 30)
    history.add(10)
    before = counted(None, 'hour')
    for _ in range(added):
        backfill()
    sql('DELETE FROM message WHERE chatbot_id = %s', 'acme')
    assert counted(None, 'hour') == before
    while backfill() or fold():
        pass
    assert counted(None, 'hour') == before


def test_what_meta_said_of_a_failure_may_hold_anything(history):
    history.add(1)
    odd = r'{"code": 131026, "details": "\u0000 \ud83d \\u0000 \ud83d\ude00"}'
    sql("UPDATE message SET status = 'failed', due_at = NULL, hold_reason = NULL, error = %s", odd)
    assert counted(None, 'hour')['failure', '131026', 0] == 1


def test_a_range_ends_where_it_is_told(history):
    history.add(60)
    whole = counted(None, 'hour')
    middle = START + timedelta(hours=31)
    parts = counted(None, 'hour', START, middle) + counted(None, 'hour', middle, END)
    assert parts == whole
    fold()
    assert counted(None, 'hour', START, middle) + counted(None, 'hour', middle, END) == whole
