"""Waits for PostgreSQL that have an end: of a statement, of a block, of a process that is to stop;
and the pool.
"""

import threading
import time
from contextlib import contextmanager

import psycopg2
import pytest
from peewee import OperationalError
from playhouse.pool import MaxConnectionsExceeded

from service.runtime import db, session, watchdog
from service.runtime.config import settings
from service.runtime.session import deadline
from tests.proxy import Proxy
from tests.stack import wait_until

SLEEP = 'SELECT pg_sleep(8)'


@contextmanager
def ends_within(seconds, message):
    began = time.monotonic()
    with pytest.raises(OperationalError, match=message):
        yield
    assert time.monotonic() - began < seconds


def test_a_statement_without_an_answer_ends_with_its_connection(database, monkeypatch):
    monkeypatch.setattr(session.Cursor, 'answer_seconds', 0.3)
    with ends_within(6, 'no answer for'), db.connection():
        db.fetch(SLEEP)
    with db.connection():
        assert db.fetch('SELECT 1') == [(1,)]


def test_it_rests_while_nobody_waits_and_is_there_when_somebody_does(
    database, postgres, monkeypatch
):
    monkeypatch.setattr(watchdog, 'LOOK_EVERY', 0.05)
    dog, conn = watchdog.Watchdog(), postgres.connect()
    for _ in range(2):
        dog.end(dog.begin(conn, 10))
        wait_until(lambda: not dog._is_needed.is_set(), 5)
    late = dog.begin(conn, 0.1)
    with pytest.raises(psycopg2.OperationalError), conn.cursor() as cursor:
        cursor.execute(SLEEP)
    assert late.cut
    dog.end(late)
    conn.close()


def test_a_block_has_so_many_seconds_in_all(database):
    with ends_within(6, 'no answer for'), deadline(0.5), db.connection():
        db.fetch('SELECT pg_sleep(0.1)')
        db.fetch(SLEEP)
    with ends_within(4, 'no time is left'), deadline(5), deadline(0), db.connection():
        pass
    with db.connection():
        db.fetch('SELECT pg_sleep(0.6)')  # outside the block there is time again


def test_a_process_that_is_to_stop_waits_shortly(database, monkeypatch):
    monkeypatch.setattr(watchdog, 'HURRY_SECONDS', 0.3)
    try:
        threading.Timer(0.5, watchdog.watchdog.hurry).start()
        with ends_within(6, 'no answer for'), db.connection():
            db.fetch(SLEEP)
        with db.connection():
            assert db.fetch('SELECT 1') == [(1,)]  # it was that statement alone
    finally:
        watchdog.watchdog.relax()


@pytest.mark.parametrize('gives_up', [True, False])
def test_who_gives_up_connects_to_a_silent_server_no_more(proxy, monkeypatch, gives_up):
    monkeypatch.setitem(db.db.connect_params, 'connect_timeout', 2)
    monkeypatch.setattr(db, 'CONNECT_SECONDS', 1)
    watchdog.watchdog.hurry(gives_up)
    try:
        with db.connection():
            assert db.fetch('SELECT 1') == [(1,)]  # it answers: all goes on
        db.db.close_idle()
        proxy.silence()
        for message in ('timeout expired', 'is to stop' if gives_up else 'timeout expired'):
            with pytest.raises(OperationalError, match=message), db.connection():
                pass
    finally:
        watchdog.watchdog.relax()


@pytest.mark.parametrize('prepare', ['auto', 'no'])
def test_a_statement_over_all_messages_has_longer(setting, monkeypatch, prepare):
    setting('DATABASE_PREPARE', prepare)
    monkeypatch.setattr(session.Cursor, 'answer_seconds', 0.3)
    monkeypatch.setattr(session, 'ONCE', 'SET statement_timeout = 200; ')
    monkeypatch.setattr(session.Session, 'limits', 'SET LOCAL statement_timeout = 200; ')
    db.db.close_idle()
    with db.connection():
        assert db.execute_long('SELECT pg_sleep(1.5)') == 1
    with ends_within(6, 'statement timeout'), db.connection():
        db.fetch('SELECT pg_sleep(1.5)')
    db.db.close_idle()


@pytest.fixture
def proxy(postgres, database):
    """Between this process and PostgreSQL."""
    port = int(postgres.url.rsplit(':', 1)[1].split('/')[0])
    with Proxy(port) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv('DATABASE_URL', proxy.before(postgres.url))
        settings.forget()
        db.configure(3)
        yield proxy
    settings.forget()
    db.configure()


def test_nobody_waits_while_another_one_connects(proxy):
    with db.connection():
        db.fetch('SELECT 1')
        proxy.silence()
        other = threading.Thread(target=connect_in_vain)
        other.start()
        wait_until(lambda: db.db._free_places._value == 1)
    with db.connection():  # the one that was just given back
        assert other.is_alive()
    other.join()


def connect_in_vain():
    with pytest.raises(OperationalError), db.connection():
        pass


def test_a_place_that_nobody_gives_back_is_waited_for_and_no_place_is_lost(proxy, monkeypatch):
    monkeypatch.setattr(db, 'POOL_SECONDS', 0.3)
    proxy.silence()
    for _ in range(2):
        connect_in_vain()
    proxy.speak()
    over, inside = threading.Event(), []

    def hold():
        with db.connection():
            inside.append(True)
            over.wait(20)

    holders = [threading.Thread(target=hold) for _ in range(3)]
    for holder in holders:
        holder.start()
    wait_until(lambda: len(inside) == 3)
    with pytest.raises(MaxConnectionsExceeded), db.connection():
        pass
    over.set()
    for holder in holders:
        holder.join()
    with db.connection():
        assert db.fetch('SELECT 1') == [(1,)]
