"""What a responder may cost: a time for its whole answer, a size, a number of messages, a part of
the threads.
"""

import gzip
import threading
import time
import tracemalloc
import zlib

import pytest

from service.replies import responder_client
from service.runtime.db import connection
from tests.own_service import Platform
from tests.people import envelope, sql, text_message
from tests.raw_server import RawServer, drips, floods, silent
from tests.stack import wait_until
from workers import incoming, replies

ANSWER = b'{"messages": [{"text": {"body": "Hi!"}}]}'


@pytest.fixture
def platform():
    with Platform() as platform:
        yield platform


@pytest.fixture
def hear(meta, workers):
    def post(*phones):
        for phone in phones or ('12025550143',):
            message = text_message(phone=phone, wamid=f'wamid.{time.time_ns()}')
            meta.webhook(envelope([message]))
        workers.incoming()

    return post


def serve(backend, url, kind='http', chatbot_id='acme', **more):
    where = {'url': url} if kind == 'http' else {'base_url': url}
    backend.account(chatbot_id, responder={'kind': kind, **where, **more})


def said(backend):
    return [message['content']['body'] for message in backend.messages(direction='outbound')]


def error(backend):
    (conversation,) = backend.conversations()
    return conversation['reply_error']


# ---- size


def padded(length):
    """An answer of so many bytes that is good JSON."""
    return ANSWER[:-1] + b' ' * (length - len(ANSWER)) + b'}'


ENCODED = {
    'gzip': gzip.compress(ANSWER),
    'x-gzip': gzip.compress(ANSWER),
    'GZIP': gzip.compress(ANSWER),
    'deflate': zlib.compress(ANSWER),
    'Deflate': zlib.compress(ANSWER)[2:-4],  # without zlib's head and sum, as some servers send it
    'identity': ANSWER,
}


@pytest.mark.parametrize('encoding', ENCODED)
def test_an_answer_may_be_compressed(backend, platform, hear, encoding):
    serve(backend, platform.url)
    platform.answer(200, ENCODED[encoding], **{'Content-Encoding': encoding})
    hear()
    assert said(backend) == ['Hi!']


def test_an_answer_may_have_a_megabyte_and_no_more(backend, platform, hear):
    serve(backend, platform.url)
    platform.answer(200, padded(responder_client.MAX_ANSWER))
    hear()
    assert said(backend) == ['Hi!']
    platform.answer(200, padded(responder_client.MAX_ANSWER + 1))
    hear()
    assert said(backend) == ['Hi!']
    assert '1,048,576 bytes' in error(backend)['title']


def bomb(kind):
    """A few kilobytes that become 200 MB, or a thing that should not be decoded at all."""
    if kind == 'gzip of nothing':
        return gzip.compress(b'') * 50000
    if kind in ('br', 'zstd'):
        return b'\x00' * 1000
    large = padded(200 * 2**20)
    if kind == 'deflate':
        return zlib.compress(large, 9)
    return (
        gzip.compress(gzip.compress(large, 9), 9)
        if kind == 'gzip, gzip'
        else gzip.compress(large, 9)
    )


@pytest.mark.parametrize('kind', ['gzip', 'deflate', 'gzip, gzip', 'br', 'zstd', 'gzip of nothing'])
def test_a_bomb_costs_no_memory(backend, platform, hear, kind):
    body = bomb(kind)
    platform.answer(200, body, **{'Content-Encoding': kind.removesuffix(' of nothing')})
    for attempt, responder in enumerate(('http', 'openai'), start=1):
        serve(backend, platform.url, responder)
        tracemalloc.start()
        try:
            hear()
            assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
        finally:
            tracemalloc.stop()
        assert len(platform.asks) == attempt
        assert (error(backend)['attempts'], error(backend)['final']) == (1, False)
        assert said(backend) == []


def test_an_endless_body_is_left_after_a_megabyte(backend, hear):
    chunk = b'10000\r\n' + b'x' * 65536 + b'\r\n'
    with RawServer(
        floods(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', chunk)
    ) as server:
        serve(backend, f'http://127.0.0.1:{server.port}')
        hear()
        assert '1,048,576 bytes' in error(backend)['title']


def test_an_answer_that_is_cut_off_is_none(backend, hear):
    def behave(connection):
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n' + ANSWER)
        connection.close()

    with RawServer(behave) as server:
        serve(backend, f'http://127.0.0.1:{server.port}')
        hear()
        assert said(backend) == []
        assert error(backend)['title'] == 'the responder did not answer (ProtocolError)'


def test_an_answer_has_twenty_messages_at_most(backend, platform, hear):
    serve(backend, platform.url)
    platform.says(*'abcdefghijklmnopqrstu')
    hear()
    assert said(backend) == []
    assert error(backend)['title'] == 'the answer has 21 messages, and 20 at most are sent'
    platform.says(*'abcdefghijklmnopqrst')
    hear()
    assert len(said(backend)) == 20


# ---- time

SLOW = {
    'says nothing': silent,
    'a head in drops': drips(b'HTTP/1.1 200 OK\r\nX: ', b'x'),
    'one 100 after another': drips(b'', b'HTTP/1.1 100 Continue\r\n\r\n'),
    'one 102 after another': drips(b'', b'HTTP/1.1 102 Processing\r\n\r\n'),
    'a body in drops': drips(b'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n', b' '),
    'chunks in drops': drips(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', b'1\r\n \r\n'
    ),
}


@pytest.mark.parametrize('kind', ['http', 'openai'])
@pytest.mark.parametrize('behave', SLOW.values(), ids=SLOW)
def test_the_whole_answer_has_its_time(backend, hear, setting, behave, kind):
    setting('RESPONDER_TIMEOUT', 1)
    with RawServer(behave) as server:
        serve(backend, f'http://127.0.0.1:{server.port}', kind)
        hear()  # which waits for at most 10 s
        assert error(backend)['title'] == 'the responder did not answer within 1 s'


def test_an_accounts_own_time_wins(backend, platform, hear, setting):
    setting('RESPONDER_TIMEOUT', 300)
    with RawServer(silent) as server:
        serve(backend, f'http://127.0.0.1:{server.port}', timeout_seconds=1)
        hear()
        assert error(backend)['title'] == 'the responder did not answer within 1 s'
    setting('RESPONDER_TIMEOUT', 0.2)
    platform.says('Hi!')
    platform.thinks()
    serve(backend, platform.url, timeout_seconds=300)
    threading.Timer(1, platform.open.set).start()
    hear()
    assert said(backend) == ['Hi!']


@pytest.mark.parametrize('seconds', [0, 301, -1, '30', 1.5])
def test_an_accounts_time_is_1_to_300_seconds(backend, seconds):
    responder = {'kind': 'http', 'url': 'https://e.example', 'timeout_seconds': seconds}
    body = {'chatbot_id': 'a', 'phone_number_id': '1', 'access_token': 't', 'responder': responder}
    answer = backend.post('/account', body)
    assert answer.status_code == 422
    assert 'responder.timeout_seconds' in answer.json['errors']
    responder['timeout_seconds'] = 300
    assert backend.post('/account', body).json['responder']['timeout_seconds'] == 300


# ---- threads


@pytest.fixture
def few_threads(monkeypatch):
    """A pool of its own with 64 threads: here the servers are threads of the same process."""
    monkeypatch.setattr(replies, 'THREADS', 64)
    replies.replies_of_this_process.cache_clear()
    yield
    replies.replies_of_this_process().pool.dismiss()
    replies.replies_of_this_process.cache_clear()


@pytest.mark.parametrize('accounts', [4, 12])
def test_accounts_whose_servers_drip_do_not_stop_the_others(
    few_threads, backend, meta, setting, platform, accounts
):
    """Each of them has more customers waiting than there are threads."""
    setting('RESPONDER_TIMEOUT', 40)
    with RawServer(drips(b'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n', b' ')) as server:
        for n in range(accounts):
            backend.account(
                f'slow{n}',
                f'{n}',
                responder={'kind': 'http', 'url': f'http://127.0.0.1:{server.port}'},
            )
            many = [
                text_message(wamid=f'wamid.{n}.{i}', phone=f'1202555{i:04}')
                for i in range(replies.THREADS + 6)
            ]
            assert meta.webhook(envelope(many, number=f'{n}')).status_code == 200
        backend.account('quick', '42', responder={'kind': 'http', 'url': platform.url})
        platform.says('Quick!')
        wait_until(lambda: step() is None and len(server.connections) >= 8)
        for n in range(5):  # one after another, while the others' answers drip
            meta.webhook(envelope([text_message(wamid=f'wamid.q{n}')], number='42'))
            wait_until(lambda n=n: step() is None and len(said_by(backend, 'quick')) == n + 1, 20)
    assert replies.close(20)


def said_by(backend, chatbot_id):
    return backend.messages(direction='outbound', chatbot_id=chatbot_id)


def step():
    with connection():
        while incoming.step():
            pass


def test_a_server_that_drips_holds_no_ask_longer_than_its_time(backend, hear, setting):
    setting('RESPONDER_TIMEOUT', 1)
    with RawServer(drips(b'', b'x')) as server:
        serve(backend, f'http://127.0.0.1:{server.port}')
        hear(*(f'1202555{n:04}' for n in range(12)))
        assert sql('SELECT count(*) FROM conversation WHERE reply_attempts = 1') == [(12,)]
