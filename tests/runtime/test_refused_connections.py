"""Why PostgreSQL cannot be had stands in the log and in /readyz, in words that help and without a
secret.
"""

import json
import os
import re
import signal
import time

import pytest
from peewee import OperationalError

from service.runtime import db, migrate
from tests.stack import Processes, free_port, wait_until
from tests.stack.postgres import administration, with_database

PASSWORD = 'not-the-pass-word'


def parts(url):
    """(user, password, host and port) of a server's URL."""
    user, _, rest = url.removeprefix('postgresql://').partition(':')
    password, _, rest = rest.partition('@')
    return user, password, rest.partition('/')[0]


@pytest.fixture
def full(postgres):
    """The URL of a role that may have no connection."""
    with administration(with_database(postgres.url, 'postgres')) as cursor:
        cursor.execute(f"CREATE ROLE full_up LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0")
    yield f'postgresql://full_up:{PASSWORD}@{parts(postgres.url)[2]}/gateway'
    with administration(with_database(postgres.url, 'postgres')) as cursor:
        cursor.execute('DROP ROLE full_up')


@pytest.fixture
def urls(postgres, full):
    """What is wrong → a URL of which it is true."""
    user, password, address = parts(postgres.url)
    return {
        'the password': f'postgresql://{user}:{PASSWORD}@{address}/gateway',
        'the database': f'postgresql://{user}:{password}@{address}/nosuchthing',
        'the host': f'postgresql://{user}:{PASSWORD}@host.invalid/gateway',
        'the port': f'postgresql://{user}:{PASSWORD}@127.0.0.1:{free_port()}/gateway',
        'the number': full,
        'TLS': f'postgresql://{user}:{PASSWORD}@{address}/gateway?sslmode=require',
    }


REASONS = {
    'the password': 'password authentication failed for user "postgres"',
    'the database': 'database "nosuchthing" does not exist',
    'the host': 'could not translate host name "host.invalid" to address',
    'the port': 'Connection refused',
    'the number': 'too many connections for role "full_up"',
    'TLS': 'server does not support SSL, but SSL was required',
}


@pytest.mark.parametrize('wrong', REASONS)
def test_readyz_and_the_log_say_why(application, by_way_of, urls, backend, caplog, wrong):
    by_way_of(urls[wrong])
    for_us, for_strangers = REASONS[wrong], re.sub('".*"', '"…"', REASONS[wrong])
    answer = application.test_client().get('/readyz')
    assert (answer.status_code, answer.json['away']) == (503, ['database'])
    assert answer.json['reasons']['database'].startswith(for_strangers)
    assert PASSWORD not in answer.text
    assert backend.get('/messages').status_code == 503
    told = [record.reason for record in caplog.records if record.getMessage() == 'database away']
    assert [reason.startswith(for_us) for reason in told] == [True]
    assert PASSWORD not in str([vars(record) for record in caplog.records])


def test_processes_that_wait_say_why_once_and_again_when_it_changes(
    postgres, redis_server, urls, tmp_path
):
    environ = {name: os.environ[name] for name in ('REDIS_URL', 'ENCRYPTION_KEYS')}
    processes = Processes(tmp_path, environ)
    for name in ('clock', 'worker_send'):
        processes.start(name, env={'DATABASE_URL': urls['the password']})
        wait_until(lambda name=name: '"waiting"' in processes.logs(name), 20)
        time.sleep(1)  # it asks three times a second and says it every five
        processes.kill(name, signal.SIGTERM)
    assert processes.stop_all() == {'clock': [0], 'worker_send': [0]}
    for name in ('clock', 'worker_send'):
        lines = [json.loads(line) for line in processes.logs(name).splitlines()]
        waits = [line for line in lines if line['message'] == 'waiting']
        assert {line['reason'] for line in waits} == {REASONS['the password']}
        assert len(waits) <= 2
        assert PASSWORD not in processes.logs(name)


@pytest.mark.parametrize('wrong', ['the password', 'the host'])
def test_the_release_says_why(by_way_of, urls, monkeypatch, wrong):
    monkeypatch.setattr(migrate, 'CONNECT_PATIENCE', 0.5)
    by_way_of(urls[wrong])
    with pytest.raises(SystemExit) as end:
        migrate.main()
    assert str(end.value).startswith(f'DATABASE_URL: {REASONS[wrong]}')
    assert PASSWORD not in str(end.value)


def test_a_server_that_has_become_a_replica_is_away(backend, by_way_of, postgres):
    """After a failover its connections live and refuse to write: they are closed, and a primary is
    looked for.
    """
    backend.account()
    by_way_of(f'{postgres.url}?options=-c%20default_transaction_read_only%3Don')
    assert backend.get('/messages').status_code == 200
    answer = backend.post(
        '/send', {'chatbot_id': 'acme', 'to': '+12025550143', 'text': {'body': 'x'}}
    )
    assert answer.status_code == 503
    with pytest.raises(OperationalError), db.connection():
        db.execute('DELETE FROM usage_log')
    assert list(db.db._idle) == []


def test_a_request_that_is_not_given_a_lock_costs_no_other_its_connection(backend, monkeypatch):
    backend.account()
    failed = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '55P03'; END $$"
    monkeypatch.setattr('service.sending.submit.queue', lambda prepared: db.execute(failed))
    before = [db.db._connect() for _ in range(3)]
    for session in before:
        db.db._close(session)
    answer = backend.post(
        '/send', {'chatbot_id': 'acme', 'to': '+12025550143', 'text': {'body': 'x'}}
    )
    assert answer.status_code == 503
    assert {*before} <= {*db.db._idle}


def test_of_other_errors_the_reason_is_their_kind():
    assert db.reason(ValueError('a customer wrote this')) == 'ValueError'
