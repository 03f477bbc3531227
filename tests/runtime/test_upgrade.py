"""The upgrade of a large database beside processes of the former version.

A million rows: `MESSAGES=1000000 python -m pytest -n 0 tests/runtime/test_upgrade.py`.
"""

import os
import threading
from contextlib import closing

import psycopg2
import pytest
from psycopg2.errors import DeadlockDetected

from service.runtime import migrate
from service.runtime.config import settings
from tests.many_rows import fill
from tests.stack import wait_until
from tests.stack.postgres import administration, create_database, with_database

MESSAGES = int(os.environ.get('MESSAGES', 100_000))
FORMER = 7
# What processes of the former version do all the time. Nobody waits for a lock for a second.
TRAFFIC = (
    """
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  due_at, content)
SELECT gen_random_uuid(), 'bot0', id, 'outbound', '3', 'text', 'queued', now(), '{}'
FROM conversation LIMIT 1
""",
    """
UPDATE message SET status = 'sending', updated_at = now() WHERE id IN (
  SELECT id FROM message WHERE status = 'queued' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
""",
    """
UPDATE message SET status = 'accepted', due_at = NULL, updated_at = now() WHERE id IN (
  SELECT id FROM message WHERE status = 'sending' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
""",
    """
UPDATE message SET status = 'held', hold_reason = 'account', updated_at = now() WHERE id IN (
  SELECT id FROM message WHERE status = 'queued' ORDER BY id DESC LIMIT 1 FOR UPDATE SKIP LOCKED)
""",
)
MARKS = "CASE WHEN status IN ('scheduled', 'queued', 'sending', 'unknown', 'held') THEN status END"
UNMARKED = f"""
SELECT count(*) FROM message WHERE waiting IS DISTINCT FROM {MARKS}
  OR waiting IS NOT NULL AND changed_minute <> date_bin('1 minute', updated_at, '2000-01-01Z')
"""
INDEXES = """
SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'message'::regclass
"""
FORMER_INDEXES = {'message_queued', 'message_due', 'message_changed', 'message_to_send'}
NEW_INDEXES = {'message_sendable', 'message_held_for', 'message_next', 'message_changed_in'}


@pytest.fixture
def former(postgres, monkeypatch):
    """The URL of a database of the former version, with many rows."""
    url = with_database(postgres.url, 'former')
    create_database(with_database(postgres.url, 'postgres'), 'former')
    monkeypatch.setenv('DATABASE_URL', url)
    settings.forget()
    sections = migrate.sections()
    with monkeypatch.context() as patch:
        patch.setattr(migrate, 'sections', lambda: sections[:FORMER])
        patch.setattr(migrate, 'retired', lambda: 'SELECT 1')
        assert migrate.upgrade() == (0, FORMER)
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        fill(cursor, MESSAGES, MESSAGES // 20, told=False)
    yield url
    monkeypatch.undo()
    settings.forget()
    with administration(with_database(postgres.url, 'postgres')) as cursor:
        cursor.execute('DROP DATABASE former WITH (FORCE)')


def rows(url, statement):
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description is not None else None


def indexes(url):
    found = dict(rows(url, INDEXES))
    assert all(found.values()), found
    return {*found}


class FormerProcesses:
    """They work on until the end of the block; `rounds` counts, `surprises` is what failed."""

    def __init__(self, url):
        self.url, self.rounds, self.surprises, self.over = url, 0, [], threading.Event()
        self.thread = threading.Thread(target=self._work)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.rounds > 3 or self.surprises)
        return self

    def __exit__(self, *exception):
        self.over.set()
        self.thread.join()

    def _work(self):
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SET lock_timeout = '1s'")
            while not self.over.is_set() and not self.surprises:
                for statement in TRAFFIC:
                    try:
                        cursor.execute(statement)
                    except DeadlockDetected:  # taken up again, as all processes do
                        pass
                    except psycopg2.Error as error:
                        self.surprises.append(error)
                self.rounds += 1


def test_a_large_database_is_upgraded_while_the_former_version_works(former):
    with FormerProcesses(former) as processes:
        assert migrate.upgrade() == (FORMER, migrate.newest())
        so_far = processes.rounds
        wait_until(lambda: processes.rounds > so_far + 3 or processes.surprises)
    assert processes.surprises == []
    assert rows(former, UNMARKED) == [(0,)]
    # The former version's processes have the indexes that they need until the next release.
    assert indexes(former) >= FORMER_INDEXES | NEW_INDEXES
    assert migrate.upgrade() == (migrate.newest(), migrate.newest())
    assert indexes(former) & FORMER_INDEXES == set()
    assert indexes(former) >= NEW_INDEXES


def test_an_upgrade_that_was_interrupted_goes_on(former, monkeypatch):
    sections = migrate.sections()
    nine = dict(sections)[9].replace('CREATE INDEX CONCURRENTLY message_changed_in', 'SELECT 1/0;')
    with monkeypatch.context() as patch:
        patch.setattr(migrate, 'sections', lambda: [*sections[: FORMER + 1], (9, nine)])
        with pytest.raises(psycopg2.Error, match='division by zero'):
            migrate.upgrade()
    assert rows(former, 'SELECT max(version) FROM schema_version') == [(8,)]
    assert migrate.upgrade() == (8, migrate.newest())
    assert rows(former, UNMARKED) == [(0,)]
    assert indexes(former) >= NEW_INDEXES


STATUS = """
UPDATE message SET status = 'delivered', updated_at = now(), error = NULL, tries = tries || '[]',
  accepted_at = coalesce(accepted_at, now())
WHERE id = (SELECT id FROM message WHERE status IN ('read', 'delivered') ORDER BY id LIMIT 1)
"""
HOT = "SELECT pg_stat_get_xact_tuples_hot_updated('message'::regclass)"


def test_a_status_of_metas_changes_no_index(former):
    migrate.upgrade()
    assert migrate.upgrade() == (migrate.newest(), migrate.newest())
    with closing(psycopg2.connect(former)) as connection, connection.cursor() as cursor:
        cursor.execute(STATUS)  # the first one after the upgrade marks its row
        cursor.execute(HOT)
        before = cursor.fetchone()[0]
        cursor.execute(STATUS)
        cursor.execute(HOT)
        assert cursor.fetchone()[0] == before + 1


BATCH = """
WITH b AS (
  INSERT INTO batch (id, chatbot_id, status, recipients) VALUES (gen_random_uuid(), 'bot1', %s, 1)
  RETURNING id)
UPDATE message SET batch_id = b.id, status = %s, due_at = CASE WHEN %s IN ('queued') THEN now() END,
  hold_reason = CASE WHEN %s = 'held' THEN 'account' END
FROM b WHERE message.id = (
  SELECT id FROM message
  WHERE chatbot_id = 'bot1' AND batch_id IS NULL AND direction = 'outbound' LIMIT 1)
"""


def test_batches_under_way_are_told_of_when_they_are_done_after_an_upgrade(former):
    with closing(psycopg2.connect(former)) as connection, connection, connection.cursor() as cursor:
        for batch, message in STATES:
            cursor.execute(BATCH, (batch, message, message, message))
    migrate.upgrade()
    found = rows(
        former,
        'SELECT b.status, m.status, b.done_at IS NOT NULL'
        ' FROM batch b JOIN message m ON m.batch_id = b.id',
    )
    assert {(batch, message): is_done for batch, message, is_done in found} == STATES


# {of a batch, of its message: whether nothing is told of it any more}
STATES = {
    ('running', 'queued'): False,
    ('running', 'held'): False,
    ('paused', 'held'): False,
    ('running', 'read'): True,
    ('cancelled', 'read'): True,
}
