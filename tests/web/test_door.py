"""Slow and quiet clients: none of them holds a thread, the main loop, a stop or the port."""

import contextlib
import time

import pytest
import requests
from urllib3 import encode_multipart_formdata

from service.content.file_types import MB
from tests.people import CHATBOT
from tests.stack import Processes, free_port
from tests.web.clients import head, order, status, webhook

MANY = 48  # three for each thread of the worker
QUICK = 'gunicorn -c python:tests.quick_server wsgi:app'


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


@pytest.fixture(scope='module')
def quick(schema, tmp_path_factory):
    """The port of a web process whose patience is short, and its processes."""
    processes = Processes(tmp_path_factory.mktemp('quick'), {'WEB_CONCURRENCY': '1'})
    processes.port = free_port()
    processes.start('web', env={'PORT': str(processes.port)}, command=QUICK)
    processes.wait_port(processes.port)
    yield processes
    processes.stop_all()


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
