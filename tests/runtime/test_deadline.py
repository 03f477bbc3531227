"""A call ends in time whatever the server does: silent, slow, endless, in the head or in the body,
by TLS too.
"""

import itertools
import socket
import ssl
import threading
import time

import pytest
import urllib3

from service.runtime import deadline
from tests.certificate import self_signed
from tests.raw_server import RawServer, drips, floods, silent
from tests.stack import wait_until

LIMIT = 0.7  # seconds for a call
ENOUGH = 15  # seconds: a call without a limit lasts for longer than a test's patience
HEAD = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n'


ENDLESS = {
    'says nothing': silent,
    'a status line in drops': drips(b'HTTP/1.1 200 O', b'K'),
    'a head in drops': drips(b'HTTP/1.1 200 OK\r\nX: ', b'x'),
    'one header after another': drips(b'HTTP/1.1 200 OK\r\n', b'X: 1\r\n'),
    'one 100 after another': drips(b'', b'HTTP/1.1 100 Continue\r\n\r\n'),
    'one 103 after another': drips(b'', b'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'),
    'a body in drops': drips(b'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n', b'x'),
    'chunks in drops': drips(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', b'1\r\nx\r\n'
    ),
    'a chunk size in drops': drips(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', b'0'),
    'trailers in drops': drips(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n', b'X: 1\r\n'
    ),
    'a body until the end of the connection': drips(b'HTTP/1.1 200 OK\r\n\r\n', b'x'),
}


@pytest.mark.parametrize('behave', ENDLESS.values(), ids=ENDLESS)
def test_a_call_ends_in_time(behave):
    with RawServer(behave) as server, deadline.within(LIMIT):
        began = time.monotonic()
        with pytest.raises(urllib3.exceptions.HTTPError):
            deadline.pool_manager().request('POST', f'http://127.0.0.1:{server.port}/', body=b'{}')
        assert LIMIT - 0.1 < time.monotonic() - began < ENOUGH


@pytest.mark.parametrize(
    'behave', [silent, drips(b'', b'\x16\x03\x03\x40\x00')], ids=['silent', 'in drops']
)
def test_a_tls_handshake_ends_in_time(behave):
    with RawServer(behave) as server, deadline.within(LIMIT):
        began = time.monotonic()
        with pytest.raises(urllib3.exceptions.HTTPError):
            deadline.pool_manager().request('GET', f'https://127.0.0.1:{server.port}/')
        assert time.monotonic() - began < ENOUGH


def test_who_does_not_take_the_body_is_left_in_time():
    body = itertools.repeat(b'x' * 65536, 10000)
    with RawServer(silent) as server, deadline.within(LIMIT):
        began = time.monotonic()
        with pytest.raises(urllib3.exceptions.HTTPError):
            deadline.pool_manager().request('POST', f'http://127.0.0.1:{server.port}/', body=body)
        assert time.monotonic() - began < ENOUGH


def test_a_name_that_is_not_resolved_in_time_is_left_alone(monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *arguments, **more: asked.wait(ENOUGH * 2))
    began = time.monotonic()
    with deadline.within(LIMIT), pytest.raises(urllib3.exceptions.ConnectTimeoutError):
        deadline.pool_manager().request('GET', 'http://slow.example/')
    assert time.monotonic() - began < ENOUGH
    asked.set()


def test_the_second_address_gets_its_turn_when_the_first_is_silent(monkeypatch):
    """A server whose backlog is full answers no SYN: that is what an unreachable address looks
    like.
    """
    full = socket.socket()
    full.bind(('127.0.0.1', 0))
    full.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(full.getsockname())

    def behave(connection):
        connection.recv(65536)
        connection.sendall(HEAD + b'ok')

    with RawServer(behave) as server:
        places = [full.getsockname(), ('127.0.0.1', server.port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, '', place) for place in places]
        monkeypatch.setattr(socket, 'getaddrinfo', lambda *arguments, **more: found)
        with deadline.within(8):
            assert deadline.pool_manager().request('GET', 'http://two.example/').data == b'ok'
    for one in (*waiting, full):
        one.close()


def assert_no_answer(server):
    with deadline.within(ENOUGH), pytest.raises(urllib3.exceptions.ProtocolError):
        deadline.pool_manager().request('GET', f'http://127.0.0.1:{server.port}/')


@pytest.mark.parametrize(
    'piece',
    [
        b'X-Filler: 1234567890\r\n',
        b'X' * 60000 + b': 1\r\n',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n',
    ],
)
def test_an_endless_head_costs_no_more_than_64_kb(piece):
    beginning = b'' if piece.startswith(b'HTTP') else b'HTTP/1.1 200 OK\r\n'
    with RawServer(floods(beginning, piece)) as server:
        assert_no_answer(server)


def test_what_comes_before_the_answer_is_not_the_answer():
    """102 and 103 too: else the real answer would wait in the connection and be that of the next
    call.
    """

    def behave(connection):
        for text in (b'11', b'22'):
            connection.recv(65536)
            connection.sendall(b'HTTP/1.1 102 Processing\r\n\r\n')
            connection.sendall(b'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n')
            connection.sendall(b'HTTP/1.1 100 Continue\r\n\r\n' + HEAD + text)

    with RawServer(behave) as server, deadline.within(ENOUGH):
        manager = deadline.pool_manager()
        answers = [
            manager.request('GET', f'http://127.0.0.1:{server.port}/').data for _ in range(2)
        ]
    assert answers == [b'11', b'22']
    assert len(server.connections) == 1


def test_a_switch_of_protocols_is_no_answer():
    with RawServer(
        drips(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n', b'x')
    ) as server:
        assert_no_answer(server)


def test_a_connection_is_used_again_and_each_call_has_its_own_time():
    asked = []

    def behave(connection):
        while connection.recv(65536):
            asked.append(1)
            time.sleep(0.8)
            connection.sendall(HEAD + b'ok')

    with RawServer(behave) as server:
        manager = deadline.pool_manager()
        for _ in range(4):
            with deadline.within(3):
                assert manager.request('GET', f'http://127.0.0.1:{server.port}/').data == b'ok'
        wait_until(lambda: len(asked) == 4)
        assert len(server.connections) == 1


def test_an_answer_by_tls_is_read_whole(tmp_path):
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def behave(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            for _ in range(2):
                while not tls.recv(65536).endswith(b'.'):
                    pass
                tls.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n' + b'x' * 300000)

    with RawServer(behave) as server, deadline.within(ENOUGH):
        manager = deadline.pool_manager(ca_certs=str(certificate))
        for _ in range(2):
            answer = manager.request(
                'POST', f'https://localhost:{server.port}/', body=b'y' * 40000 + b'.'
            )
            assert answer.data == b'x' * 300000
        assert len(server.connections) == 1


def test_the_shorter_of_two_limits_holds_and_a_call_without_one_is_a_fault():
    with deadline.within(100):
        with deadline.within(1):
            assert deadline.seconds_left() <= 1
        with deadline.within(1000):
            assert deadline.seconds_left() <= 100
    with pytest.raises(RuntimeError, match='without a time limit'):
        deadline.seconds_left()
