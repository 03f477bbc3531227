"""The release beside running processes: it takes its turn, harms nobody, and says why when it
cannot.
"""

import threading
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2.errors import DeadlockDetected, QueryCanceled

from service.runtime import migrate, table_locks
from service.runtime.config import settings
from service.runtime.ids import id_at
from tests.stack import wait_until
from tests.stack.postgres import administration, create_database, with_database

PEOPLE = """
INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, access_token) VALUES ('acme',
  '3', 't');
INSERT INTO conversation (id, chatbot_id) SELECT gen_random_uuid(),
  'acme' FROM generate_series(1, 50);
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  due_at, content)
SELECT gen_random_uuid(), 'acme', id, 'outbound', '3', 'text', 'queued', now(),
  '{}' FROM conversation;
"""
ONE = '(SELECT id FROM {} ORDER BY random() LIMIT 1)'
# What transactions of web and workers do, statement by statement: each meets the tables in another
# order.
TRANSACTIONS = {
    'a webhook': (
        'INSERT INTO webhook_event (id, digest, size, body) '
        "VALUES (gen_random_uuid(), uuid_send(gen_random_uuid()), 1, '')",
    ),
    'an event': (
        "SELECT id FROM webhook_event WHERE status = 'received' ORDER BY id LIMIT 1 FOR UPDATE "
        'SKIP LOCKED',
        'SELECT * FROM whatsapp_cloud_account',
        f'UPDATE conversation SET last_message_at = now() WHERE id = {ONE.format("conversation")}',
        'INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, '
        'status, content) '
        "SELECT gen_random_uuid(), 'acme', id, 'inbound', '3', 'text', 'received', '{}' "
        f'FROM {ONE.format("conversation")} c (id)',
        "UPDATE webhook_event SET status = 'processed' WHERE id = (SELECT id FROM webhook_event "
        "WHERE status = 'received' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)",
    ),
    'an outcome': (
        f'UPDATE message SET updated_at = now() WHERE id = {ONE.format("message")}',
        f'UPDATE conversation SET send_after = now() WHERE id = {ONE.format("conversation")}',
        'SELECT * FROM whatsapp_cloud_account FOR NO KEY UPDATE',
    ),
    'a status': (
        'INSERT INTO message_status (chatbot_id, phone_number_id, wamid, status) '
        "VALUES ('acme', '3', gen_random_uuid()::text, 'sent')",
        f'UPDATE message SET updated_at = now() WHERE id = {ONE.format("message")}',
    ),
    'a send': (
        'SELECT * FROM whatsapp_cloud_account',
        'SELECT * FROM template',
        f'UPDATE message SET updated_at = now() WHERE id = {ONE.format("message")}',
        'SELECT count(*) FROM idempotency_key',
        'SELECT count(*) FROM batch',
    ),
    'a list': (
        'SELECT count(*) FROM batch',
        'SELECT * FROM message m JOIN conversation c ON c.id = m.conversation_id',
    ),
}
# A section that locks what the others lock, in the order that is the worst for them.
WORST = ''.join(
    f'ALTER TABLE {table} ADD COLUMN worst integer;' for table in reversed(table_locks.ORDER)
)


@pytest.fixture
def database(postgres, monkeypatch):
    """The URL of an empty database, which is the release's."""
    url = with_database(postgres.url, 'upgraded')
    create_database(with_database(postgres.url, 'postgres'), 'upgraded')
    monkeypatch.setenv('DATABASE_URL', url)
    settings.forget()
    yield url
    monkeypatch.undo()
    settings.forget()
    with administration(with_database(postgres.url, 'postgres')) as cursor:
        cursor.execute('DROP DATABASE upgraded WITH (FORCE)')


def run(url, *statements):
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description is not None else None


class Traffic:
    """Every kind of transaction, in two threads each, until the end of the block."""

    def __init__(self, url):
        self.url, self.over, self.done, self.surprises = url, threading.Event(), [], []
        self.threads = [
            threading.Thread(target=self._act, args=(kind,))
            for kind in TRANSACTIONS
            for _ in range(2)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until(lambda: len(self.done) > 100)
        return self

    def __exit__(self, *exception):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _act(self, kind):
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            while not self.over.is_set():
                try:
                    for statement in TRANSACTIONS[kind]:
                        cursor.execute(statement)
                        cursor.execute('SELECT pg_sleep(0.003)')
                    connection.commit()
                    self.done.append(kind)
                except (DeadlockDetected, QueryCanceled):  # taken up again, as web and workers do
                    connection.rollback()
                except psycopg2.Error as error:
                    self.surprises.append((kind, error))
                    return


@pytest.mark.parametrize('version', [1, 2])
def test_an_upgrade_from_each_shipped_version_beside_traffic(database, monkeypatch, version):
    sections = migrate.sections()
    monkeypatch.setattr(migrate, 'sections', lambda: [one for one in sections if one[0] <= version])
    assert migrate.upgrade() == (0, version)
    run(database, PEOPLE)
    newest = sections[-1][0]
    monkeypatch.setattr(migrate, 'sections', lambda: [*sections, (newest + 1, WORST)])
    monkeypatch.setattr(table_locks, 'GIVE_WAY_SECONDS', 2)
    with Traffic(database) as traffic:
        assert migrate.upgrade() == (version, newest + 1)
        so_far = len(traffic.done)
        wait_until(lambda: {*traffic.done[so_far:]} == {*TRANSACTIONS}, 20)
    assert traffic.surprises == []
    assert run(database, 'SELECT version FROM schema_version ORDER BY 1') == [
        *((one,) for one, _ in sections),
        (newest + 1,),
    ]


def test_a_release_that_cannot_get_its_locks_says_who_has_them(database, monkeypatch, caplog):
    sections = migrate.sections()
    migrate.upgrade()
    monkeypatch.setattr(migrate, 'sections', lambda: [*sections, (sections[-1][0] + 1, WORST)])
    monkeypatch.setattr(table_locks, 'PATIENCE', 2)
    with (
        closing(psycopg2.connect(database, application_name='pg_dump')) as dump,
        dump.cursor() as cursor,
    ):
        cursor.execute('SELECT count(*) FROM message')
        with pytest.raises(
            table_locks.Locked,
            match=r'message by process \d+ \(pg_dump, idle in transaction, for \d+ s\)',
        ):
            migrate.upgrade()
        assert run(database, 'SELECT count(*) FROM conversation') == [
            (0,)
        ]  # nobody stands behind the release
    assert [record.held_by for record in caplog.records if 'pg_dump' in (record.held_by or '')]


OPERATED = 13  # the section that begins to count
OLD_MESSAGE = """
WITH m AS (
  INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
    content)
  SELECT %s, chatbot_id, id, 'outbound', '3', 'text', 'accepted', '{}' FROM conversation LIMIT 1
  RETURNING *)
INSERT INTO usage_log (message_id, chatbot_id, direction, type)
SELECT id, chatbot_id, direction, type FROM m
"""
NOT_COUNTED = """
SELECT count(*) FROM usage_log u
WHERE message_id >= (SELECT first_id FROM hourly_backfill) OR NOT EXISTS (
  SELECT FROM usage_backlog b WHERE b.chatbot_id = u.chatbot_id AND u.at < b.since)
"""
WAITS = """
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND a.application_name = 'whatsapp-gateway release'
"""


def test_what_is_stored_while_a_release_waits_is_counted_as_old(database, monkeypatch):
    sections = migrate.sections()
    with monkeypatch.context() as patch:
        patch.setattr(migrate, 'sections', lambda: sections[: OPERATED - 1])
        migrate.upgrade()
    run(database, PEOPLE.replace('gen_random_uuid()', 'new_event_id()'))
    monkeypatch.setattr(table_locks, 'SHORT_TIMEOUT', 20_000)
    with closing(psycopg2.connect(database)) as other, other.cursor() as cursor:
        cursor.execute('LOCK TABLE whatsapp_cloud_account')
        release = threading.Thread(target=migrate.upgrade)
        release.start()
        wait_until(lambda: run(database, WAITS) == [(1,)])
        with closing(psycopg2.connect(database)) as late, late, late.cursor() as writer:
            writer.execute('ALTER TABLE usage_log DISABLE TRIGGER ALL')  # no key needs the account
            writer.execute('ALTER TABLE message DISABLE TRIGGER ALL')
            ahead = id_at(datetime.now(UTC), timedelta(minutes=5))  # the clock of its machine
            writer.execute(OLD_MESSAGE, (ahead,))
        other.rollback()
    release.join(60)
    assert run(database, 'SELECT max(version) FROM schema_version') == [(sections[-1][0],)]
    assert run(database, 'SELECT count(*) FROM usage_log') == [(1,)]
    assert run(database, NOT_COUNTED) == [(0,)]
    # the processes of the former version work on, and tell neither country nor delivery
    late_by = "SELECT since > now() + interval '50 minutes' FROM usage_backlog"
    assert run(database, late_by) == [(True,)]


def test_a_release_waits_for_who_has_its_tables(database, monkeypatch):
    sections = migrate.sections()
    migrate.upgrade()
    monkeypatch.setattr(migrate, 'sections', lambda: [*sections, (sections[-1][0] + 1, WORST)])
    with closing(psycopg2.connect(database)) as other, other.cursor() as cursor:
        cursor.execute('SELECT count(*) FROM message')
        release = threading.Thread(target=migrate.upgrade)
        release.start()
        release.join(3)
        assert release.is_alive()
        other.rollback()
        release.join(20)
        assert not release.is_alive()
    assert run(database, 'SELECT max(version) FROM schema_version') == [(sections[-1][0] + 1,)]


def test_a_release_leaves_no_setting_behind(database, monkeypatch):
    """Behind PgBouncer its connection goes to somebody else afterwards."""
    sections = migrate.sections()
    monkeypatch.setattr(migrate, 'sections', lambda: sections[:1])
    connection = migrate._connect()
    monkeypatch.setattr(migrate, '_connect', lambda: connection)
    monkeypatch.setattr(table_locks, 'closing', nullcontext)
    migrate.upgrade()
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM pg_settings WHERE source = 'session' AND name <> 'application_name'"
        )
        assert {name for (name,) in cursor.fetchall()} <= {
            'client_encoding',
            'DateStyle',
            'TimeZone',
        }
    connection.close()


def test_every_table_has_its_place_in_the_order_of_locks(database):
    migrate.upgrade()
    tables = run(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {name for (name,) in tables} == {'schema_version', *table_locks.ORDER}
