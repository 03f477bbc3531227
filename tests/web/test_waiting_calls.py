"""Callers who wait for Meta's answer: they hold no thread and no connection to the database."""

import json
import signal
import socket
import time

import pytest
import requests

from tests.people import CUSTOMER, sql
from tests.stack import PHONE_NUMBER_ID, Processes, free_port, wait_until
from tests.web.clients import head, order, status, webhook

CALL = f'POST /v26.0/{PHONE_NUMBER_ID}/messages'
MANY = 100  # six for each thread of the worker
FEW = 'gunicorn -c python:tests.few_waiters wsgi:app'
ACCEPT = """
UPDATE message SET status = 'accepted', wamid = 'wamid.' || id, accepted_at = now(), due_at = NULL
WHERE direction = 'outbound' AND wamid IS NULL
"""


def call(*headers):
    body = json.dumps({'to': CUSTOMER, 'text': {'body': 'Hi'}}).encode()
    return head(CALL, *headers, length=len(body)) + body


def said(connection):
    """(HTTP status, JSON) of the next answer."""
    data = b''
    while b'\r\n\r\n' not in data:
        data += connection.recv(1)
    length = int(data.lower().partition(b'content-length: ')[2].split(b'\r\n')[0])
    return int(data.split()[1]), json.loads(connection.recv(length, socket.MSG_WAITALL))


def queued():
    return sql("SELECT count(*) FROM message WHERE direction = 'outbound'")[0][0]


def is_silent(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) is None
    except BlockingIOError:
        return True
    finally:
        connection.settimeout(30)


def test_many_that_wait_starve_nobody(connect, web):
    waiting = [connect(call()) for _ in range(MANY)]
    wait_until(lambda: queued() == MANY, 30)
    assert [status(connect(raw)) for raw in (order(), webhook(), order())] == [202, 200, 202]
    assert requests.get(f'{web.url}/readyz', timeout=10).status_code == 200
    assert all(map(is_silent, waiting))
    busy = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'whatsapp-gateway' AND state <> 'idle' AND pid <> pg_backend_pid()"""
    wait_until(lambda: sql(busy) == [(0,)], 10)  # who looks for all of them is gone in a moment
    sql(ACCEPT)
    answers = [said(one) for one in waiting]
    assert {code for code, _ in answers} == {200}
    ids = {body['messages'][0]['id'] for _, body in answers}
    assert len(ids) == MANY
    assert all(one.startswith('wamid.') for one in ids)


def test_a_connection_goes_on_after_a_late_answer(connect, web):
    connection = connect(call())
    wait_until(lambda: queued() == 1, 20)
    sql(ACCEPT)
    assert said(connection)[0] == 200
    connection.sendall(order())
    assert status(connection) == 202
    connection.sendall(call('Connection: close'))
    wait_until(lambda: queued() == 3, 20)
    sql(ACCEPT)
    assert said(connection)[0] == 200
    assert connection.recv(1) == b''


def test_who_hangs_up_has_sent_the_message_all_the_same(connect, web):
    connect(call()).close()
    wait_until(lambda: queued() == 1, 20)
    sql(ACCEPT)
    assert status(connect(order())) == 202
    assert sql("SELECT count(*) FROM message WHERE status = 'accepted'") == [(1,)]


@pytest.mark.alone
def test_a_stop_lets_callers_have_their_answers(connect, start):
    processes = start()
    waiting = connect(call(), processes.port)
    wait_until(lambda: queued() == 1, 20)
    processes.master.send(signal.SIGTERM)
    time.sleep(1)  # the process is stopping
    assert is_silent(waiting)
    sql(ACCEPT)
    code, body = said(waiting)
    assert (code, body['messages'][0]['id'][:6]) == (200, 'wamid.')
    assert processes.stop('web') == [0]


@pytest.mark.alone
def test_callers_wait_on_while_the_database_is_away(connect, web, postgres):
    if not postgres.embedded:
        pytest.skip('DATABASE_URL was given: the server is not ours to stop')
    waiting = connect(call())
    wait_until(lambda: queued() == 1, 20)
    postgres.restart()
    assert is_silent(waiting)
    sql(ACCEPT)
    assert said(waiting)[1]['messages'][0]['id'].startswith('wamid.')


def test_beyond_the_most_callers_get_our_own_id_at_once(schema, backend, connect, tmp_path):
    processes = Processes(tmp_path, {'WEB_CONCURRENCY': '1'})
    port = free_port()
    processes.start('web', env={'PORT': str(port)}, command=FEW)
    processes.wait_port(port)
    try:
        few = [connect(call(), port) for _ in range(3)]
        wait_until(lambda: queued() == 3, 20)
        code, body = said(connect(call(), port))
        assert code == 200
        ((latest,),) = sql('SELECT id FROM message ORDER BY id DESC LIMIT 1')
        assert body['messages'] == [{'id': latest, 'message_status': 'accepted'}]
        assert all(map(is_silent, few))
    finally:
        sql(ACCEPT)
        assert processes.stop_all() == {'web': [0]}


UNREADABLE = {
    'cut off': (call()[:-5], 400, 100),
    'a line that ends with LF': (call().replace(b'\r\nHost', b'\nHost', 1), 400, 100),
    'a long first line': (call().replace(b'/messages', b'/messages?' + b'x' * 9000, 1), 414, 100),
    'another expectation': (call('Expect: nothing'), 417, 100),
    'another coding': (call('Transfer-Encoding: gzip'), (400, 501), (100, 131000)),
    'chunks that are none': (
        head(CALL, 'Transfer-Encoding: chunked') + b'zz\r\n',
        400,
        100,
    ),
}


@pytest.mark.parametrize('case', UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize('below', ['', '/graph'])
def test_what_cannot_be_read_is_refused_in_metas_form_too(case, below, connect):
    raw, status_, code = case
    connection = connect(raw.replace(b'/v26.0', f'{below}/v26.0'.encode(), 1))
    connection.shutdown(socket.SHUT_WR)
    answered, body = said(connection)
    assert answered in (status_ if isinstance(status_, tuple) else (status_,))
    assert body['error']['code'] in (code if isinstance(code, tuple) else (code,))
    assert body['error']['fbtrace_id']
