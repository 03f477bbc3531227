"""schema.sql, the release process, and what /readyz says of it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from service.runtime import db, migrate, queues
from service.runtime.config import settings
from tests.stack import ROOT, free_port
from tests.stack.postgres import administration, create_database, with_database


@pytest.fixture
def empty(postgres):
    """The URL of a database without anything in it."""
    url = with_database(postgres.url, 'empty')
    create_database(url.replace('/empty', '/postgres'), 'empty')
    yield url
    with administration(with_database(postgres.url, 'postgres')) as cursor:
        cursor.execute('DROP DATABASE empty WITH (FORCE)')


def look(url, statement):
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall()
    connection.close()
    return rows


def release(url):
    environ = os.environ | {'DATABASE_URL': url}
    command = [sys.executable, '-m', 'service.runtime.migrate']
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)


TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"


def test_releases_from_empty_two_at_once_and_again_make_the_schema_once(empty):
    with ThreadPoolExecutor(2) as pool:
        first = list(pool.map(release, [empty, empty]))
    again = release(empty)
    assert [done.returncode for done in (*first, again)] == [0, 0, 0], first
    assert sorted('"from_version": 0' in done.stdout for done in first) == [False, True]
    assert f'"from_version": {migrate.newest()}' in again.stdout
    assert look(empty, 'SELECT version FROM schema_version ORDER BY 1') == [
        (v,) for v, _ in migrate.sections()
    ]
    assert {name for (name,) in look(empty, TABLES)} >= {
        'whatsapp_cloud_account',
        'conversation',
        'message',
        'message_status',
        'webhook_event',
        'usage_log',
    }


def test_a_section_that_fails_leaves_the_database_as_it_was(empty, monkeypatch):
    monkeypatch.setenv('DATABASE_URL', empty)
    settings.forget()
    sections = [
        *migrate.sections(),
        (migrate.newest() + 1, 'CREATE TABLE half (id int); SELECT 1/0'),
    ]
    monkeypatch.setattr(migrate, 'sections', lambda: sections)
    with pytest.raises(psycopg2.Error):
        migrate.upgrade()
    assert look(empty, TABLES) == []
    monkeypatch.undo()
    settings.forget()


def test_an_upgrade_applies_only_the_sections_that_are_new(empty, monkeypatch):
    monkeypatch.setenv('DATABASE_URL', empty)
    settings.forget()
    before = migrate.upgrade()
    sections = [*migrate.sections(), (migrate.newest() + 1, 'CREATE TABLE later (id int)')]
    monkeypatch.setattr(migrate, 'sections', lambda: sections)
    assert before == (0, sections[-2][0])
    assert migrate.upgrade() == (sections[-2][0], sections[-1][0])
    assert ('later',) in look(empty, TABLES)
    monkeypatch.undo()
    settings.forget()


def test_versions_are_numbered_from_one_without_gaps():
    assert [version for version, _ in migrate.sections()] == list(range(1, migrate.newest() + 1))
    assert migrate.FILE.read_text().count('\n-- version ') == migrate.newest()


OLD_MESSAGES = """
INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, access_token) VALUES ('acme',
  '3', 't');
INSERT INTO conversation (id, chatbot_id) VALUES (gen_random_uuid(), 'acme');
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  wamid, content)
SELECT gen_random_uuid(), 'acme', c.id, 'inbound', '3', n.type, 'received', n.wamid, n.content::json
FROM conversation c, (VALUES
  ('1', 'reaction', '{"message_id": "A", "emoji": "\\ud83d\\udc4d"}'), ('2', 'reaction',
    '{"emoji": "\\ud83d"}'),
  ('3', 'reaction', '{"message_id": "A\\u0000"}'), ('4', 'reaction', '[]'), ('5', 'reaction', '5'),
  ('6', 'edit', '{"original_message_id": "B"}'), ('7', 'revoke', '{"original_message_id": "C"}'),
  ('8', 'text', '{"message_id": "D", "body": "x"}')) AS n (wamid, type, content)
"""


def test_an_upgrade_finds_what_old_messages_are_about(empty, monkeypatch):
    monkeypatch.setenv('DATABASE_URL', empty)
    settings.forget()
    sections = migrate.sections()
    monkeypatch.setattr(migrate, 'sections', lambda: sections[:1])
    assert migrate.upgrade() == (0, 1)
    look(empty, f'{OLD_MESSAGES} RETURNING id')
    monkeypatch.setattr(migrate, 'sections', lambda: sections)
    assert migrate.upgrade() == (1, migrate.newest())
    found = look(
        empty, 'SELECT wamid, refers_to FROM message WHERE refers_to IS NOT NULL ORDER BY wamid'
    )
    assert found == [('1', 'A'), ('6', 'B'), ('7', 'C')]
    monkeypatch.undo()
    settings.forget()


def elsewhere(setting, name, url):
    """Point the process at another server, as if ours had gone away."""
    setting(name, url)
    if name == 'DATABASE_URL':
        db.db.close()
        db.configure()


@pytest.fixture
def home(database):
    yield
    db.db.close()
    settings.forget()
    db.configure()


def test_readyz_is_200_when_all_is_there_and_healthz_asks_nobody(
    application, database, home, setting
):
    client = application.test_client()
    assert (client.get('/readyz').status_code, client.get('/healthz').status_code) == (200, 200)
    elsewhere(setting, 'DATABASE_URL', f'postgresql://x@127.0.0.1:{free_port()}/x')
    assert client.get('/readyz').status_code == 503
    assert client.get('/readyz').json['away'] == ['database']
    assert client.get('/healthz').status_code == 200


def test_readyz_names_a_missing_schema(application, home, empty, setting):
    elsewhere(setting, 'DATABASE_URL', empty)
    answer = application.test_client().get('/readyz')
    assert (answer.status_code, answer.json['away']) == (503, ['schema'])


def test_readyz_names_redis(application, database, setting):
    setting('REDIS_URL', f'redis://127.0.0.1:{free_port()}/0')
    queues._clients.clear()
    try:
        answer = application.test_client().get('/readyz')
        assert (answer.status_code, answer.json['away']) == (503, ['redis'])
        assert application.test_client().get('/healthz').status_code == 200
    finally:
        queues._clients.clear()


def test_an_older_process_stays_ready_beside_a_newer_schema(application, database, monkeypatch):
    with db.connection():
        db.execute('INSERT INTO schema_version (version) VALUES (%s)', (migrate.newest() + 1,))
    try:
        assert application.test_client().get('/readyz').status_code == 200
    finally:
        with db.connection():
            db.execute('DELETE FROM schema_version WHERE version > %s', (migrate.newest(),))


def test_an_api_request_is_503_while_postgresql_is_away_and_works_again_after(
    backend, home, setting
):
    backend.account()
    elsewhere(setting, 'DATABASE_URL', f'postgresql://x@127.0.0.1:{free_port()}/x')
    for answer in (
        backend.get('/messages'),
        backend.post('/send', {'chatbot_id': 'acme', 'to': '+12025550143', 'text': {'body': 'x'}}),
    ):
        assert answer.status_code == 503
        assert answer.content_type == 'application/problem+json'
        assert answer.headers['Retry-After']
        assert '127.0.0.1' not in answer.text


def test_after_a_restart_of_postgresql_one_request_at_most_notices(backend, application, database):
    """Connections from before it are dropped together, not one by one."""
    backend.account()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: application.test_client().get('/readyz'), range(24)))
    with db.connection():
        db.fetch(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() '
            "AND application_name = 'whatsapp-gateway'"
        )
    statuses = [backend.get('/messages').status_code for _ in range(8)]
    assert statuses.count(503) <= 1
    assert statuses[-1] == 200


def test_redis_away_is_no_error_for_a_caller(backend, setting):
    backend.account()
    setting('REDIS_URL', f'redis://127.0.0.1:{free_port()}/0')
    queues._clients.clear()
    try:
        assert backend.send()['status'] == 'queued'
    finally:
        queues._clients.clear()
