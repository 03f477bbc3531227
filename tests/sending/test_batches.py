"""A batch on its way: progress, pause, resume, cancel, stopping by itself, and a crash while it is
stored.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
import requests

from service.graph.error_codes import explain
from tests.gateway import Http
from tests.people import CHATBOT, Backend, envelope, sql, status_of
from tests.stack import Processes, free_port, wait_until

TEMPLATE = {'type': 'template', 'template': {'name': 'sale', 'language': {'code': 'en_US'}}}
NOBODY = '0192a000-0000-7000-8000-000000000000'


@pytest.fixture
def acme(backend, stand_in):
    backend.account()
    return backend


def people(count, prefix='1202555'):
    return [f'+{prefix}{number:04}' for number in range(count)]


def bulk(backend, recipients, message=None, key=None, **more):
    message = message or {'text': {'body': 'Hello'}}
    headers = {'Idempotency-Key': key} if key else None
    body = {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients, **more}
    answer = backend.post('/send/bulk', body, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json


def batch_of(backend, batch):
    return backend.get(f'/batches/{batch["id"]}').json


def move(backend, batch, how):
    return backend.post(f'/batches/{batch["id"]}/{how}')


def seconds_until(moment):
    return (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()


# ---- how far it is


def test_progress_and_counts_follow_the_messages_until_it_is_done(acme, workers):
    batch = bulk(acme, [*people(2), '+19991310260', '+19980000003', 'nobody'])
    assert (batch['status'], batch['progress'], batch['counts']) == ('running', 0, {'queued': 4})
    assert {name: value for name, value in batch.items() if not name.endswith('_rows')}.keys() == {
        'id',
        'chatbot_id',
        'status',
        'reason',
        'recipients',
        'rejected',
        'duplicates',
        'dropped',
        'accepted',
        'counts',
        'progress',
        'estimated_end',
        'created_at',
        'updated_at',
    }
    workers.send()
    found = batch_of(acme, batch)
    assert (found['status'], found['progress']) == ('running', 0.75)
    assert found['counts'] in ({'accepted': 2, 'failed': 1, n: 1} for n in ('unknown', 'queued'))
    sql("UPDATE message SET status = 'failed', due_at = NULL WHERE status IN ('unknown', 'queued')")
    found = batch_of(acme, batch)
    assert (found['status'], found['progress'], found['estimated_end']) == ('done', 1, None)
    assert found['counts'] == {'accepted': 2, 'failed': 2}


def test_the_end_is_estimated_from_the_rate_and_then_from_the_pace(acme, setting):
    setting('SEND_RATE', 20)
    batch = bulk(acme, people(100))
    assert 2 < seconds_until(batch['estimated_end']) <= 5
    acme.account(max_mps=10)
    assert 7 < seconds_until(batch_of(acme, batch)['estimated_end']) <= 10
    sql(
        "UPDATE message SET status = 'sent', accepted_at = now() - interval '20 seconds', due_at "
        '= NULL WHERE id IN '
        '(SELECT id FROM message ORDER BY id LIMIT 40)'
    )
    assert (
        25 < seconds_until(batch_of(acme, batch)['estimated_end']) < 31
    )  # 40 in 20 s: 60 more need 30


def test_no_end_is_estimated_while_nothing_can_leave(acme):
    batch = bulk(acme, people(2))
    move(acme, batch, 'pause')
    assert batch_of(acme, batch)['estimated_end'] is None
    move(acme, batch, 'resume')
    assert batch_of(acme, batch)['estimated_end']
    acme.post(f'/account/{CHATBOT}/deactivate')
    found = batch_of(acme, batch)
    assert (found['status'], found['counts'], found['estimated_end']) == (
        'running',
        {'held': 2},
        None,
    )


def test_batches_are_listed_newest_first_with_a_cursor(acme):
    acme.account('other', '300112233445577')
    ids = [bulk(acme, people(1))['id'] for _ in range(3)]
    other = bulk(acme, people(1), chatbot_id='other')['id']
    first = acme.get('/batches', query_string={'chatbot_id': CHATBOT, 'limit': 2}).json
    assert [batch['id'] for batch in first['data']] == [ids[2], ids[1]]
    query = {'chatbot_id': CHATBOT, 'limit': 2, 'cursor': first['next_cursor']}
    last = acme.get('/batches', query_string=query).json
    assert ([batch['id'] for batch in last['data']], last['next_cursor']) == ([ids[0]], None)
    assert last['data'][0].keys() == batch_of(acme, {'id': ids[0]}).keys()
    assert acme.get('/batches').json['data'][0]['id'] == other
    assert acme.get('/batches', query_string={'chatbot_id': 'nobody'}).json == {
        'data': [],
        'next_cursor': None,
    }


def test_messages_are_found_by_their_batch(acme):
    batch = bulk(acme, people(2))
    single = acme.send()
    assert {m['batch_id'] for m in acme.messages(batch_id=batch['id'])} == {batch['id']}
    assert (len(acme.messages(batch_id=batch['id'])), single['batch_id']) == (2, None)
    assert acme.get('/messages', query_string={'batch_id': 'x'}).status_code == 422


# ---- a person's moves


def test_a_paused_batch_waits_and_goes_on_when_resumed(acme, workers, stand_in):
    batch = bulk(acme, people(3))
    paused = move(acme, batch, 'pause')
    assert (paused.status_code, paused.json['status'], paused.json['counts']) == (
        200,
        'paused',
        {'held': 3},
    )
    assert paused.json['reason'] is None
    workers.send()
    assert stand_in.sends() == []
    assert move(acme, batch, 'resume').json['counts'] == {'queued': 3}
    workers.send()
    assert len(stand_in.sends()) == 3
    assert batch_of(acme, batch)['status'] == 'done'


def test_a_new_token_does_not_send_what_is_paused(acme, workers, stand_in):
    batch = bulk(acme, people(2))
    acme.post(f'/account/{CHATBOT}/deactivate')
    move(acme, batch, 'pause')
    acme.account()
    workers.sweep()
    workers.send()
    assert (stand_in.sends(), batch_of(acme, batch)['counts']) == ([], {'held': 2})
    move(acme, batch, 'resume')
    workers.send()
    assert len(stand_in.sends()) == 2


def test_what_was_paused_goes_from_the_number_that_its_account_has_by_now(acme):
    """The account was held because its former number was gone, say."""
    batch = bulk(acme, people(1))
    acme.post(f'/account/{CHATBOT}/deactivate')
    move(acme, batch, 'pause')
    acme.account(phone_number_id='300112233445577')
    move(acme, batch, 'resume')
    rows = sql('SELECT status, phone_number_id FROM message WHERE batch_id = %s', batch['id'])
    assert rows == [('queued', '300112233445577')]


def test_a_pause_does_not_shorten_the_day_that_meta_wants(acme, workers, stand_in):
    batch = bulk(acme, ['+19991310491'])
    workers.send()
    for how in ('pause', 'resume'):
        assert move(acme, batch, how).status_code == 200
    workers.send()
    assert (acme.messages()[0]['status'], len(stand_in.sends())) == ('queued', 1)


def test_nor_does_a_resume_while_the_account_cannot_send(acme, workers, stand_in):
    """Whatever order they are stopped and let go in: test_hold_orders.py."""
    batch = bulk(acme, ['+19991310491'])
    workers.send()
    move(acme, batch, 'pause')
    acme.post(f'/account/{CHATBOT}/deactivate')
    move(acme, batch, 'resume')
    assert batch_of(acme, batch)['counts'] == {'held': 1}
    acme.account()
    workers.send()
    assert (acme.messages()[0]['status'], len(stand_in.sends())) == ('queued', 1)


@pytest.mark.parametrize('how', ['pause', 'cancel'])
def test_a_person_cannot_retry_a_message_of_a_batch_that_does_not_run(acme, workers, stand_in, how):
    batch = bulk(acme, ['+19991310471'])
    workers.send()
    move(acme, batch, how)
    (failed,) = acme.messages()
    assert acme.post(f'/messages/{failed["id"]}/retry').status_code == 409
    workers.send()
    assert len(stand_in.sends()) == 1


def test_a_cancelled_batch_is_over_and_cannot_go_on(acme, workers, stand_in):
    batch = bulk(acme, people(3))
    cancelled = move(acme, batch, 'cancel').json
    assert (cancelled['status'], cancelled['counts'], cancelled['progress']) == (
        'cancelled',
        {'cancelled': 3},
        1,
    )
    workers.send()
    assert stand_in.sends() == []
    for how in ('pause', 'resume'):
        answer = move(acme, batch, how)
        assert (answer.status_code, answer.json['detail']) == (409, 'The batch was cancelled.')
    assert move(acme, batch, 'cancel').json == cancelled | {
        'updated_at': batch_of(acme, batch)['updated_at']
    }


@pytest.mark.parametrize('how', ['', '/pause', '/resume', '/cancel'])
def test_a_batch_that_is_not_there_is_404(acme, how):
    assert acme.request('POST' if how else 'GET', f'/batches/{NOBODY}{how}').status_code == 404


# ---- by itself


@pytest.mark.parametrize(('code', 'message'), [(131048, None), (132015, TEMPLATE)])
def test_it_stops_by_itself_when_meta_refuses_bulks_or_pauses_the_template(
    acme, workers, stand_in, setting, code, message
):
    setting('SEND_CONCURRENCY', 4)
    batch = bulk(acme, people(60, f'1999{code}0'), message)
    other = bulk(acme, people(1))
    workers.send()
    found = batch_of(acme, batch)
    assert found['status'] == 'paused'
    assert found['reason']['code'] == code
    assert {name: found['reason'][name] for name in ('explanation', 'fix')} == explain(code)
    refused = len([call for call in stand_in.sends() if call['outcome'] == 'error'])
    assert 0 < refused < 60
    assert found['counts'].get('held', 0) >= 60 - refused
    assert found['progress'] < 1
    assert batch_of(acme, other)['status'] == 'done'
    resumed = move(acme, batch, 'resume').json
    assert (resumed['status'], resumed['reason']) == ('running', None)


def test_it_stops_by_itself_when_a_failed_status_says_so(acme, workers, meta, stand_in):
    batch = bulk(acme, people(3))
    sql(
        "UPDATE message SET due_at = now() + interval '1 hour' WHERE recipient_to <> %s",
        people(1)[0],
    )
    workers.send()
    wamid = stand_in.sends()[0]['wamid']
    errors = [{'code': 131048, 'title': 'Spam rate limit hit'}]
    meta.webhook(envelope(statuses=[status_of(wamid, 'failed', errors=errors)]))
    workers.incoming()
    found = batch_of(acme, batch)
    assert (found['status'], found['reason']['code']) == ('paused', 131048)
    assert found['counts']['held'] >= 2


# ---- through real processes


@pytest.fixture
def back_room(database, stand_in, tmp_path):
    """The real send worker and the real clock."""
    processes = Processes(tmp_path / 'back_room', {})
    processes.start('worker_send')
    processes.start('clock')
    yield processes
    processes.stop_all(20)


def test_the_command_follows_the_batch_to_its_end(acme, application, back_room, tmp_path):
    def run(*lines):
        path = tmp_path / 'people.csv'
        path.write_text('\n'.join(['to', *lines]))
        words = ['send-bulk', str(path), '--chatbot-id', CHATBOT, '--text', 'Hello', '--yes']
        return application.test_cli_runner().invoke(args=words)

    well = run(*people(20))
    assert (well.exit_code, 'done: 20 accepted' in well.output) == (0, True), well.output
    failed = run(*people(2), '+19991310260')
    assert (failed.exit_code, 'done: 2 accepted, 1 failed' in failed.output) == (1, True), (
        failed.output
    )
    stopped = run(*people(20, '19991310480'))
    assert stopped.exit_code == 1
    assert explain(131048)['fix'] in stopped.output


@pytest.fixture
def web(database, tmp_path):
    processes, port = (
        Processes(tmp_path / 'web', {'WEB_CONCURRENCY': '1', 'PORT': str(free_port())}),
        None,
    )
    port = int(processes.env['PORT'])
    processes.start('web')
    processes.wait_port(port)
    yield processes, f'http://127.0.0.1:{port}'
    processes.stop_all(20)


def stored():
    return sql(
        'SELECT (SELECT count(*) FROM batch), (SELECT count(*) FROM message), (SELECT count(*) '
        'FROM '
        'conversation), (SELECT count(*) FROM conversation_identity)'
    )[0]


def test_a_killed_web_process_leaves_nothing_half_done_and_the_same_key_sends_once(acme, web):
    processes, url = web
    caller, recipients = Backend(Http(url)), people(1000)
    blocker = psycopg2.connect(os.environ['DATABASE_URL'])
    with blocker.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute(
            'LOCK TABLE idempotency_key IN EXCLUSIVE MODE'
        )  # the last INSERT of the transaction waits for it
        lost = pool.submit(bulk, caller, recipients, key='k')
        wait_until(
            lambda: sql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE "
                "'%%INSERT INTO idempotency_key%%'"
            )
        )
        processes.kill('web')
        assert isinstance(lost.exception(10), requests.ConnectionError)
    blocker.close()
    wait_until(
        lambda: (
            not sql(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%INSERT INTO "
                "idempotency_key%%' AND "
                'pid <> pg_backend_pid()'
            )
        )
    )
    assert stored() == (0, 0, 0, 0)
    processes.start('web')
    processes.wait_port(int(processes.env['PORT']))
    first, again = (bulk(caller, recipients, key='k') for _ in range(2))
    assert first == again
    assert stored() == (1, 1000, 1000, 1000)


def test_what_was_queued_survives_the_death_of_the_web_process(acme, web, workers, stand_in):
    processes, url = web
    bulk(
        Backend(Http(url)),
        people(30),
        send_at=(datetime.now(UTC) - timedelta(seconds=1)).isoformat(),
    )
    processes.kill('web')
    workers.send()
    assert len({call['body']['to'] for call in stand_in.sends()}) == len(stand_in.sends()) == 30
