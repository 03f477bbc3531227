"""Slow and quiet clients: none of them holds a thread, the main loop, a stop or the port."""

import contextlib
import io
import json
import os
import signal
import socket
import time

import psutil
import pytest
import requests
from urllib3 import encode_multipart_formdata

from service.content.file_types import MB
from service.runtime.db import db
from service.web.auth import sign
from tests.people import APP_SECRET, CHATBOT, envelope, sql, text_message
from tests.stack import Processes, free_port, wait_until

MANY = 48  # three for each thread of the worker
KEY = 'Authorization: Bearer test-key'
QUICK = 'gunicorn -c python:tests.quick_server wsgi:app'
SEND = {'chatbot_id': CHATBOT, 'to': '+12025550143', 'type': 'text', 'text': {'body': 'Hello'}}


def head(line, *headers, length=None, key=KEY):
    length = [] if length is None else [f'Content-Length: {length}']
    return '\r\n'.join(
        [f'{line} HTTP/1.1', 'Host: gateway', key, *length, *headers, '', '']
    ).encode()


def webhook(text='Hello'):
    body = json.dumps(envelope([text_message(text, f'wamid.{time.time_ns()}')])).encode()
    line = 'POST /whatsapp-cloud/webhook'
    return head(line, f'X-Hub-Signature-256: {sign(body, APP_SECRET)}', length=len(body)) + body


def order(**more):
    body = json.dumps(SEND | more).encode()
    return (
        head('POST /whatsapp-cloud/send', 'Content-Type: application/json', length=len(body)) + body
    )


def upload(length, kind='multipart/form-data; boundary=x'):
    return head('POST /whatsapp-cloud/media', f'Content-Type: {kind}', length=length)


CSV = head(
    f'POST /whatsapp-cloud/send/bulk?chatbot_id={CHATBOT}&text=Hi',
    'Content-Type: text/csv',
    length=8 * MB,
)
CHUNKED = head(
    'POST /whatsapp-cloud/send', 'Content-Type: application/json', 'Transfer-Encoding: chunked'
)
SLOW = {
    'nothing': b'',
    'half a line': b'POST /whatsapp-cl',
    'half a head': webhook()[:60],
    'a head': webhook()[: webhook().index(b'\r\n\r\n') + 4],
    'half a webhook': webhook()[:-20],
    'half an order': order()[:-20],
    'half a chunk': CHUNKED + b'ff\r\n{"chatbot_id":',
    'half a CSV': CSV + b'to\r\n' + b'+12025550143\r\n' * 1000,
    'half a small file': upload(MB) + b'--x\r\n' * 1000,
    'half a large file': upload(20 * MB) + b'--x\r\n' * 1000,
    'half a body that nobody may send': upload(20 * MB).replace(b'test-key', b'wrong')
    + b'x' * 1000,
    'a body to be asked for': head('POST /whatsapp-cloud/send', 'Expect: 100-continue', length=100),
}


@pytest.fixture
def connect(web, backend):
    """connect(raw): a connection to the web process on which that was sent.

    Closed after the test.
    """
    backend.account()
    with contextlib.ExitStack() as stack:

        def connect(raw=b'', port=web.port, room=None):
            connection = stack.enter_context(socket.socket())
            if room:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            connection.settimeout(30)
            connection.connect(('127.0.0.1', port))
            connection.sendall(raw)
            return connection

        yield connect


@pytest.fixture
def start(schema, backend, tmp_path):
    """start(workers=…, port=…, wait=…): web processes of this test; with .port and .master."""
    backend.account()
    started = []

    def start(workers=1, port=None, wait=True):
        processes = Processes(tmp_path / str(len(started)), {'WEB_CONCURRENCY': str(workers)})
        processes.port = port or free_port()
        started.append(processes)
        (processes.master,) = processes.start('web', env={'PORT': str(processes.port)})
        if wait:
            wait_until(lambda: serves(processes), 30, message=lambda: processes.logs('web'))
        return processes

    yield start
    for processes in started:
        processes.stop_all()


def serves(processes):
    """Whether a worker of these very processes answers."""
    with contextlib.suppress(requests.RequestException):
        is_ok = requests.get(f'http://127.0.0.1:{processes.port}/healthz', timeout=10).ok
        return is_ok and 'Booting worker' in processes.logs('web')


@pytest.fixture(scope='module')
def quick(schema, tmp_path_factory):
    """The port of a web process whose patience is short, and its processes."""
    processes = Processes(tmp_path_factory.mktemp('quick'), {'WEB_CONCURRENCY': '1'})
    processes.port = free_port()
    processes.start('web', env={'PORT': str(processes.port)}, command=QUICK)
    processes.wait_port(processes.port)
    yield processes
    processes.stop_all()


def status(connection):
    """The status code of the next answer; 0 when the connection is closed instead."""
    data = b''
    with contextlib.suppress(ConnectionResetError):
        while b'\r\n\r\n' not in data and (more := connection.recv(1)):
            data += more
    found = data.split()
    length = data.lower().partition(b'content-length: ')[2].split(b'\r\n')[0]
    connection.recv(int(length or 0), socket.MSG_WAITALL)
    return int(found[1]) if found else 0


def everybody_is_served(connect, url):
    """The API, and webhooks whole and in pieces, on new connections."""
    assert requests.get(f'{url}/healthz', timeout=10).status_code == 200
    assert requests.get(f'{url}/readyz', timeout=10).status_code == 200
    assert [status(connect(raw)) for raw in (order(), webhook())] == [202, 200]
    raw = webhook('x' * 200_000)
    for cut in (30, raw.index(b'\r\n\r\n') + 4, 100_000):
        connection = connect(raw[:cut])
        assert (
            requests.get(f'{url}/healthz', timeout=10).status_code == 200
        )  # by now the first part has arrived
        connection.sendall(raw[cut:])
        assert status(connection) == 200


@pytest.mark.parametrize('raw', SLOW.values(), ids=SLOW)
def test_many_that_are_slow_stop_nobody(connect, web, raw):
    slow = [connect(raw) for _ in range(MANY)]
    everybody_is_served(connect, web.url)
    assert len(slow) == MANY


def test_many_that_do_not_close_after_us_stop_nobody(connect, web):
    asked = head('GET /healthz', 'Connection: close')
    open_still = [connect(asked) for _ in range(MANY)]
    assert {status(one) for one in open_still} == {200}
    everybody_is_served(connect, web.url)


def test_many_that_do_not_read_stop_nobody(connect, web, backend):
    body = 'x' * 4000
    for number in range(200):
        backend.send(f'+1202556{number:04}', body)
    asked = head(f'GET /whatsapp-cloud/messages?chatbot_id={CHATBOT}&limit=200')
    unread = [connect(asked * 20, room=4096) for _ in range(MANY)]
    everybody_is_served(connect, web.url)
    assert status(unread[0]) == 200


def test_many_that_do_not_read_a_file_stop_nobody(connect, web, backend):
    parts = {'chatbot_id': (None, CHATBOT), 'file': ('a.txt', b'word ' * (6 * MB))}
    headers = {'Authorization': 'Bearer test-key'}
    file = requests.post(
        f'{web.url}/whatsapp-cloud/media', files=parts, headers=headers, timeout=60
    ).json()
    asked = head(f'GET /whatsapp-cloud/media/{file["id"]}/content')
    unread = [connect(asked, room=4096) for _ in range(MANY)]
    everybody_is_served(connect, web.url)
    assert len(unread) == MANY


def test_a_slow_request_is_served_once_it_is_whole(connect):
    for raw, expected in (
        (order(), 202),
        (webhook(), 200),
        (CHUNKED + b'2\r\n{}\r\n0\r\n\r\n', 422),
    ):
        connection = connect()
        for at in range(0, len(raw), 40):
            connection.sendall(raw[at : at + 40])
            time.sleep(0.002)  # else the kernel joins them
        assert status(connection) == expected


def test_who_waits_to_be_told_is_told(connect):
    body, kind = encode_multipart_formdata(
        {'chatbot_id': CHATBOT, 'file': ('a.txt', b'word ' * 2 * MB)}
    )
    for raw, code in ((order(), 202), (webhook(), 200), (upload(len(body), kind) + body, 201)):
        cut = raw.index(b'\r\n\r\n')
        connection = connect(raw[:cut] + b'\r\nExpect: 100-continue\r\n\r\n')
        assert status(connection) == 100
        connection.sendall(raw[cut + 4 :])
        assert status(connection) == code
        connection.sendall(order())
        assert status(connection) == 202


def test_what_comes_after_a_large_body_is_the_next_request(connect):
    parts = {'chatbot_id': CHATBOT, 'file': ('a.txt', b'word ' * 2 * MB)}
    body, kind = encode_multipart_formdata(parts)
    connection = connect(upload(len(body), kind) + body + order() + webhook())
    assert [status(connection) for _ in range(3)] == [201, 202, 200]


def test_a_body_that_nobody_wants_is_not_waited_for(connect):
    refused = upload(20 * MB).replace(b'test-key', b'wrong')
    connection = connect(refused + b'x' * 1000)
    assert [status(connection), status(connection)] == [401, 0]


@pytest.mark.parametrize('raw', SLOW.values(), ids=SLOW)
def test_each_part_of_a_request_has_a_time(connect, quick, raw):
    """Who sends nothing at all costs nothing, and may wait for his own request."""
    connection = connect(raw, quick.port)
    if not raw:
        time.sleep(3)
        connection.sendall(webhook())
        assert status(connection) == 200
        return
    codes = [status(connection), status(connection)]
    expected = 401 if b'wrong' in raw else 408
    assert codes in ([expected, 0], [100, expected]), codes
    assert 'unexpected error' not in quick.logs('web')


def test_a_byte_now_and_then_is_too_slow(connect, quick):
    cut = order().index(b'\r\n\r\n') + 4
    for raw, at in (
        (order(), 0),
        (order(text={'body': 'x' * 4000}), cut),
        (upload(20 * MB) + b'x' * MB, len(upload(0))),
    ):
        connection = connect(raw[:at], quick.port)
        with contextlib.suppress(OSError):
            for byte in raw[at : at + 1000]:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert status(connection) in (
            408,
            0,
        )  # 0: the answer was lost to a byte that came after the end


def test_when_the_room_is_full_the_one_that_is_idle_goes(connect, quick):
    quiet = [connect(b'', quick.port) for _ in range(120)]
    assert [status(connect(raw, quick.port)) for raw in (order(), webhook())] == [202, 200]
    assert status(quiet[0]) == 0


@pytest.mark.alone
@pytest.mark.parametrize(
    'raw', [b'', webhook()[:60], order()[:-5]], ids=['nothing', 'half a head', 'half a body']
)
def test_a_silent_connection_does_not_hold_a_stop(connect, start, raw):
    processes = start()
    silent = connect(raw, processes.port)
    began = time.monotonic()
    assert processes.stop('web') == [0]
    assert time.monotonic() - began < 12
    assert status(silent) in (0, 408)


def test_at_a_stop_what_is_under_way_is_finished(connect, start):
    processes = start()
    half = [
        (connect(raw[:-5], processes.port), raw, code)
        for raw, code in ((order(), 202), (webhook(), 200))
    ]
    assert serves(processes)  # by now the first part has arrived
    processes.master.send(signal.SIGTERM)
    wait_until(lambda: not accepts(processes.port), 20)
    for connection, raw, code in half:
        connection.sendall(raw[-5:])
        assert status(connection) == code
    assert processes.stop('web') == [0]


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


@pytest.mark.alone
def test_after_kill_9_of_the_master_the_next_one_starts_and_nobody_loses_a_request(connect, start):
    processes = start(workers=2)
    orphans = psutil.Process(processes.master.pid).children()
    raw = order()
    half = connect(raw[:-5], processes.port)
    assert serves(processes)  # by now the first part has arrived
    os.kill(processes.master.pid, signal.SIGKILL)
    heir = start(port=processes.port, wait=False)
    half.sendall(raw[-5:])
    assert status(half) == 202
    wait_until(lambda: serves(heir), 30, message=lambda: heir.logs('web'))
    wait_until(
        lambda: not any(one.is_running() and one.status() != 'zombie' for one in orphans), 20
    )
    assert status(connect(webhook(), heir.port)) == 200
    assert heir.master.returncode is None


def test_a_body_is_read_before_a_database_connection_is_taken(backend, application):
    backend.account()
    seen = []

    class Slow(io.BytesIO):
        def readinto(self, buffer):
            seen.append(db.is_closed())
            return super().readinto(buffer)

    body = json.dumps(SEND).encode()
    for path in ('/send', '/account', '/messages/01930000-0000-7000-8000-000000000000/read'):
        application.test_client().post(
            f'/whatsapp-cloud{path}',
            input_stream=Slow(body),
            content_length=len(body),
            headers={'Authorization': 'Bearer test-key', 'Content-Type': 'application/json'},
        )
    assert seen
    assert all(seen)
    assert sql('SELECT count(*) FROM message') == [(1,)]
