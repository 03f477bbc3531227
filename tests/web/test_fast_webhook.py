"""The short way of webhooks: what it takes, what it leaves to Flask, and that both answer alike."""

import contextlib
import json
import os
import socket
import subprocess
import sys

import pytest
import requests

from service.web.auth import sign
from service.web.fast_webhook import recognise
from tests.people import APP_SECRET
from tests.stack import Processes, free_port, wait_until

PATH = '/whatsapp-cloud/webhook'
BODY = b'{"object":"whatsapp_business_account","entry":[]}'


@pytest.fixture
def connect(web, database):
    """connect() opens a connection to the web process."""
    with contextlib.ExitStack() as stack:

        def connect():
            return stack.enter_context(
                socket.create_connection(('127.0.0.1', web.port), timeout=10)
            )

        yield connect


def request(body=BODY, headers=(), signature=None, length=None, line=f'POST {PATH} HTTP/1.1'):
    lines = [line, 'Host: gateway', f'X-Hub-Signature-256: {signature or sign(body, APP_SECRET)}']
    lines += [
        f'Content-Length: {len(body) if length is None else length}',
        'Content-Type: application/json',
        *headers,
    ]
    return '\r\n'.join(lines).encode() + b'\r\n\r\n' + body


def body_with(number):
    return json.dumps({'object': 'whatsapp_business_account', 'entry': [], 'n': number}).encode()


def answers(connection, count=1):
    """The status codes of the next `count` answers; 0 for a connection that was closed instead."""
    reader, codes = connection.makefile('rb'), []
    for _ in range(count):
        line = reader.readline()
        codes.append(int(line.split()[1]) if line else 0)
        length = 0
        while line not in (b'\r\n', b''):
            line = reader.readline()
            if line.lower().startswith(b'content-length:'):
                length = int(line.split(b':')[1])
        reader.read(length)
    return codes


def stored(database):
    with database.connection():
        return sorted(bytes(row[0]) for row in database.fetch('SELECT body FROM webhook_event'))


def test_a_plain_signed_webhook_goes_the_short_way(database):
    webhook = recognise(request())
    assert (webhook.body, webhook.size, webhook.keep_alive) == (BODY, len(request()), True)


@pytest.mark.parametrize(
    ('headers', 'line', 'keep_alive'),
    [
        (['Connection: close'], f'POST {PATH} HTTP/1.1', False),
        (
            ['connection:keep-alive', 'X-Forwarded-For: 1.2.3.4', 'Via: 1.1 router'],
            f'POST {PATH} HTTP/1.1',
            True,
        ),
        ([], f'POST {PATH} HTTP/1.0', False),
        (['Connection: Keep-Alive'], f'POST {PATH} HTTP/1.0', True),
    ],
)
def test_what_proxies_add_goes_the_short_way(database, headers, line, keep_alive):
    assert recognise(request(headers=headers, line=line)).keep_alive is keep_alive


def test_an_answer_of_the_short_way_has_a_request_id_or_keeps_the_proxys(connect, database):
    connection, proxys = connect(), '0f7e6d5c-1a2b-4c3d-9e8f-001122334455'
    ids = []
    for number, headers in enumerate(
        ([], [], [f'X-Request-ID: {proxys}'], ['X-Request-ID: 5511999990001'])
    ):
        connection.sendall(request(body_with(number), headers))
        reader = connection.makefile('rb')
        head = [line.decode() for line in iter(reader.readline, b'\r\n')]
        assert reader.read(len('OK')) == b'OK'
        ids += [line.split()[1] for line in head if line.startswith('Request-Id: ')]
    assert len(set(ids)) == 4
    assert ids[2] == proxys
    assert '5511999990001' not in ids


@pytest.mark.parametrize(
    'raw',
    [
        request(signature='sha256=' + '0' * 64),
        request(signature=sign(BODY, APP_SECRET).upper()),
        request(headers=['Transfer-Encoding: chunked']),
        request(headers=['Expect: 100-continue']),
        request(headers=['Connection: upgrade', 'Upgrade: h2c']),
        request(headers=[f'Content-Length: {len(BODY)}']),
        request(headers=[f'Content-Length : {len(BODY)}']),
        request(headers=[f'X-Hub-Signature-256: {sign(BODY, APP_SECRET)}']),
        request(headers=['Folded: one\r\n two']),
        request(headers=['Bare: line\nfeed: x']),
        request(headers=['Nul: \x00']),
        request(length='+49'),
        request(length=len(BODY) + 1),
        request(line=f'POST {PATH}/acme HTTP/1.1'),
        request(line=f'POST {PATH}?x=1 HTTP/1.1'),
        request(line=f'PUT {PATH} HTTP/1.1'),
        request(line=f'POST {PATH} HTTP/2.0'),
        request()[:60],
        b'',
    ],
)
def test_whatever_is_unusual_is_only_looked_at(database, raw):
    assert recognise(raw) is None


def test_an_accounts_own_path_is_short_while_its_secret_is_fresh(connect, backend, database):
    backend.account(app_secret='their-app-secret')
    connection = connect()
    for number in range(3):
        body = body_with(number)
        connection.sendall(
            request(
                body, signature=sign(body, 'their-app-secret'), line=f'POST {PATH}/acme HTTP/1.1'
            )
        )
        connection.sendall(
            request(body, line=f'POST {PATH}/acme HTTP/1.1')
        )  # the shared app's secret is not theirs
    assert answers(connection, 6) == [200, 400] * 3
    assert stored(database) == [body_with(number) for number in range(3)]
    backend.account(app_secret='their-next-secret')
    wait_until(lambda: refused(connection, 'their-app-secret'))
    connection.sendall(
        request(signature=sign(BODY, 'their-next-secret'), line=f'POST {PATH}/acme HTTP/1.1')
    )
    assert answers(connection) == [200]


def refused(connection, secret):
    connection.sendall(request(signature=sign(BODY, secret), line=f'POST {PATH}/acme HTTP/1.1'))
    return answers(connection) == [400]


def test_many_on_one_connection_are_stored_in_one_row_each(connect, database):
    connection = connect()
    for number in range(20):
        connection.sendall(request(body_with(number)))
        assert answers(connection) == [200]
    assert stored(database) == sorted(body_with(number) for number in range(20))


def test_pipelined_requests_are_answered_one_after_the_other(connect, database):
    connection = connect()
    connection.sendall(b''.join(request(body_with(number)) for number in range(5)))
    assert answers(connection, 5) == [200] * 5
    assert len(stored(database)) == 5


def test_a_request_in_pieces_is_stored_whole(connect, database):
    connection, raw = connect(), request()
    for piece in (raw[:10], raw[10:150], raw[150:-5], raw[-5:]):
        connection.sendall(piece)
    assert answers(connection) == [200]
    assert stored(database) == [BODY]


def test_both_ways_share_a_connection(connect, database):
    connection = connect()
    connection.sendall(request(body_with(1)))
    connection.sendall(b'GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n')
    connection.sendall(request(body_with(2), signature='sha256=' + '0' * 64))
    connection.sendall(request(body_with(3)))
    assert answers(connection, 4) == [200, 200, 400, 200]
    assert stored(database) == [body_with(1), body_with(3)]


def test_a_large_webhook_goes_the_long_way_and_is_stored(connect, database):
    body = json.dumps({'object': 'x' * 2_900_000}).encode()
    connection = connect()
    connection.sendall(request(body))
    assert answers(connection) == [200]
    assert stored(database) == [body]


def test_a_body_over_four_mebibytes_is_refused(web, database):
    body = b'{"a":"' + b'x' * 4_200_000 + b'"}'
    answer = requests.post(
        web.url + PATH,
        data=body,
        headers={'X-Hub-Signature-256': sign(body, APP_SECRET)},
        timeout=20,
    )
    assert (answer.status_code, answer.headers['Content-Type']) == (413, 'application/problem+json')
    assert stored(database) == []


def test_connection_close_closes_after_the_answer(connect, database):
    connection = connect()
    connection.sendall(request(headers=['Connection: close']))
    assert answers(connection, 2) == [200, 0]


def test_equal_bodies_at_the_same_moment_are_one_event(connect, database):
    connections = [connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(request())
    assert [answers(connection) for connection in connections] == [[200]] * 20
    assert stored(database) == [BODY]


def test_postgresql_away_gives_503_and_the_next_one_is_stored(connect, database, postgres):
    if not postgres.embedded:
        pytest.fail('this test stops PostgreSQL: run it without DATABASE_URL')
    postgres.stop()
    try:
        connection = connect()
        connection.sendall(request())
        assert answers(connection) == [503]
    finally:
        postgres.start()
    connection.sendall(request())
    assert answers(connection) == [200]
    assert stored(database) == [BODY]


def test_a_client_that_hangs_up_costs_nobody_else_anything(connect, database):
    for number in range(10):
        connection = connect()
        connection.sendall(request(body_with(number)))
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b'\x01\x00\x00\x00\x00\x00\x00\x00'
        )
        connection.close()
    last = connect()
    last.sendall(request(body_with('last')))
    assert answers(last) == [200]


def test_sigterm_answers_what_was_taken_and_exits_with_0(schema, database, tmp_path):
    port = free_port()
    processes = Processes(tmp_path, {'PORT': str(port), 'WEB_CONCURRENCY': '2'})
    (child,) = processes.start('web')
    processes.wait_port(port)
    load = subprocess.Popen(
        [sys.executable, '-c', STREAM, str(port), PATH],
        stdout=subprocess.PIPE,
        env={**os.environ, 'SECRET': APP_SECRET},
        text=True,
    )
    wait_until(lambda: len(stored(database)) > 50)
    assert processes.stop('web') == [0], processes.logs('web')
    answered = int(load.communicate(timeout=20)[0])
    assert len(stored(database)) >= answered > 50
    assert child.returncode == 0


STREAM = """
import hashlib, hmac, os, sys, requests
session, n = requests.Session(), 0
while True:
    body = b'{"n":%d}' % n
    digest = hmac.new(os.environ['SECRET'].encode(), body, hashlib.sha256).hexdigest()
    signature = f'sha256={digest}'
    try:
        url = f'http://127.0.0.1:{sys.argv[1]}{sys.argv[2]}'
        answer = session.post(url, data=body, headers={'X-Hub-Signature-256': signature})
    except requests.RequestException:
        break
    n += answer.status_code == 200
print(n)
"""
