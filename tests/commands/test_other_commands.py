"""`flask send`, `events`, `queue` and `keys`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.accounts import api_key
from service.runtime import queues
from tests.people import CHATBOT, CUSTOMER, Backend, envelope
from tests.stack import ROOT, free_port

PHONE = f'+{CUSTOMER}'


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    return backend


# ---- send


def test_a_send_is_the_message_that_the_api_shows(answer, acme, workers, stand_in):
    sent = answer('send', CHATBOT, PHONE, '--text', 'Hello', '--client-reference', 'order-17')
    assert (sent['status'], sent['client_reference']) == ('queued', 'order-17')
    workers.send()
    assert acme.message(sent['id'])['status'] == 'accepted'
    assert [call['body']['text']['body'] for call in stand_in.sends()] == ['Hello']


def test_a_send_rings_before_the_command_ends(answer, acme):
    answer('send', CHATBOT, PHONE, '--text', 'Hello')
    assert len(queues.queue(queues.SEND)) == 1


def test_a_send_with_the_same_idempotency_key_is_one(answer, acme):
    words = ['send', CHATBOT, PHONE, '--text', 'Hello', '--idempotency-key', 'order-17']
    assert answer(*words)['id'] == answer(*words)['id']
    assert len(acme.messages()) == 1


def test_a_text_and_a_message_come_by_a_pipe_too(answer, acme):
    text = answer('send', CHATBOT, PHONE, '--text', '-', input='Two\nlines\n')
    assert text['content'] == {'body': 'Two\nlines'}
    place = {'type': 'location', 'location': {'latitude': 1.5, 'longitude': 2.5}}
    sent = answer('send', CHATBOT, PHONE, '--message', '-', input=json.dumps(place))
    assert sent['type'] == 'location'


@pytest.mark.parametrize(
    'words',
    [
        [],
        ['--text', 'a', '--message', '{}'],
        ['--template', 'hello_world'],
        ['--text', 'a', '--language', 'en_US'],
        ['--message', 'nothing'],
        ['--message', '[]'],
    ],
)
def test_what_is_to_be_sent_is_said_once_and_in_json(run, acme, words):
    assert run('send', CHATBOT, PHONE, *words).exit_code == 2
    assert acme.messages() == []


def test_a_send_that_does_not_leave_in_time_is_no_success(answer, run, acme):
    late = answer('send', CHATBOT, PHONE, '--text', 'Hello', '--wait', 1, code=1)
    assert late['status'] == 'queued'
    refused = run('send', CHATBOT, '12', '--text', 'Hello')
    assert (refused.exit_code, 'to: ' in refused.stderr) == (1, True)


# ---- send-bulk


def test_a_bulk_is_one_document_with_its_rejected_rows_on_stderr(answer, run, acme, tmp_path):
    path = tmp_path / 'people.csv'
    path.write_text(f'to,name\n{PHONE},Ana\n12,Max\n')
    words = ['send-bulk', path, '--chatbot-id', CHATBOT, '--text', 'Hello {{name}}', '--yes']
    batch = answer(*words, '--no-wait', code=1)  # a row was rejected
    assert (batch['accepted'], batch['rejected']) == (1, 1)
    assert batch['id'] == acme.get('/batches').json['data'][0]['id']
    assert 'line 3: to: ' in run(*words, '--no-wait', '--json').stderr


# ---- events


def test_events_are_listed_and_processed_once_more(answer, run, acme, meta, workers):
    meta.webhook(envelope())
    meta.webhook(b'not JSON')
    workers.incoming()
    listed = answer('events', 'list')
    assert listed['data'] == acme.events()
    quarantined = answer('events', 'list', '--status', 'quarantined')['data']
    assert len(quarantined) == 1
    again = answer('events', 'replay', quarantined[0]['id'])['data']
    assert [one['status'] for one in again] == ['received']
    workers.incoming()
    done = run('events', 'replay', '--status', 'processed')
    assert (done.exit_code, done.stdout) == (0, '1 events are processed once more.\n')
    assert run('events', 'replay').exit_code == 2


# ---- queue


def test_the_queue_shows_what_is_due_and_what_is_away(answer, run, acme):
    acme.send()
    found = answer('queue', 'status', code=1)
    assert set(found['away']) == {'incoming', 'send', 'errands', 'events', 'clock'}
    assert found['oldest_due_seconds']['send'] >= 0
    assert found['bells'][queues.SEND] in (0, 1)
    text = run('queue', 'status').stdout
    assert 'away: clock' in text


def test_the_queue_is_shown_without_redis(answer, acme, no_redis):
    found = answer('queue', 'status', code=1)
    assert 'redis' in found['away']
    assert set(found['bells'].values()) == {None}


# ---- keys


def test_a_key_is_shown_once_alone_and_works_until_it_is_revoked(run, answer, acme, application):
    made = run('keys', 'make', 'shop', '--chatbot-id', CHATBOT, '--scope', 'read')
    key = made.stdout.strip()
    assert api_key.FORM.fullmatch(key)
    shop = Backend(application.test_client(), key)
    assert shop.get('/messages').status_code == 200
    (listed,) = answer('keys', 'list')['data']
    assert (listed['name'], listed['scopes'], listed['last4']) == ('shop', ['read'], key[-4:])
    assert key not in json.dumps(listed)
    assert answer('keys', 'revoke', listed['id']) == {'revoked': listed['id']}
    assert shop.get('/messages').status_code == 401
    assert run('keys', 'revoke', listed['id']).exit_code == 1


# ---- as a process


def flask(*words, **environ):
    done = subprocess.run(
        [Path(sys.executable).parent / 'flask', *words],
        cwd=ROOT,
        env={name: value for name, value in (os.environ | environ).items() if value},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_process_needs_no_key_and_none_of_webs_secrets(acme):
    away = dict.fromkeys(('API_KEYS', 'WHATSAPP_APP_SECRET', 'WHATSAPP_VERIFY_TOKEN'), '')
    code, stdout, stderr = flask('account', 'list', '--json', **away)
    assert (code, stderr) == (0, '')
    assert json.loads(stdout) == acme.get('/accounts').json


def test_help_needs_nothing_and_a_missing_variable_is_one_line(database):
    assert flask('account', 'add', '--help', DATABASE_URL='')[0] == 0
    code, stdout, stderr = flask('account', 'list', '--json', DATABASE_URL='')
    assert (code, stdout, len(stderr.splitlines())) == (1, '', 1)


def test_without_a_database_the_command_says_so(acme):
    gone = f'postgresql://nobody@127.0.0.1:{free_port()}/gone'
    code, stdout, stderr = flask('account', 'list', '--json', DATABASE_URL=gone)
    assert (code, json.loads(stdout)['code']) == (1, 'database_away')
    assert 'The database is away' in stderr
    assert 'Traceback' not in stderr
