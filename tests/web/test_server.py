"""gunicorn: where it listens, how long it keeps a connection, how it refuses what is no request."""

import json
import socket
from http.client import HTTPResponse

import pytest

from service.web import server
from service.web.callers import CallerSocket
from service.web.door import Door


def test_both_families_of_addresses_reach_the_door(web):
    for host in ('127.0.0.1', '::1'):
        with socket.create_connection((host, web.port), timeout=10) as connection:
            connection.sendall(b'GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n')
            assert connection.recv(15) == b'HTTP/1.1 200 OK'


def test_a_machine_without_ipv6_is_served_by_ipv4_alone(monkeypatch):
    class NoIPv6(socket.socket):
        def __init__(self, family=-1, *more, **options):
            if family == socket.AF_INET6:
                raise OSError(97, 'Address family not supported by protocol')
            super().__init__(family, *more, **options)

    assert server.addresses(8000)[0] == '[::]:8000'
    monkeypatch.setattr(server.socket, 'socket', NoIPv6)
    assert server.addresses(8000) == ['0.0.0.0:8000']


def test_a_connection_is_kept_longer_than_a_router_in_front_keeps_it():
    assert server.keepalive > 90  # Heroku's; else it sends a request into one that is being closed


# ---- what never becomes a request


MINE = b'5511999990001'  # what a log and an answer must not repeat
UNREADABLE = [
    (b'GET /%s\r\n\r\n', 400), (b'GET /%s HTTP/9.9\r\n\r\n', 400), (b'\x16\x03\x01%s\r\n\r\n', 400),
    (b'GET /?%s' + MINE * 700 + b' HTTP/1.1\r\n\r\n', 414),
    (b'GET / HTTP/1.1\r\nA: %s' + MINE * 900 + b'\r\n\r\n', 431),
    (b'GET / HTTP/1.1\r\n%s b: c\r\n\r\n', 400), (b'GET / HTTP/1.1\r\nA: %s\0\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\nContent-Length: -%s\r\n\r\n', 400),
    (b'POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n%s', 400),
    (b'POST / HTTP/1.1\r\nExpect: %s\r\n\r\n', 417),
    # gunicorn's two parsers call these by different names
    (b'GET / HTTP/1.1\r\n%s: a\r\n' + b'A: a\r\n' * 300 + b'\r\n', (400, 431)),
    (b'POST / HTTP/1.1\r\nTransfer-Encoding: %s\r\n\r\n', (400, 501)),
]  # fmt: skip


def read(connection):
    answer = HTTPResponse(connection)
    answer.begin()
    return answer, json.loads(answer.read())


@pytest.mark.parametrize(('raw', 'status'), UNREADABLE)
def test_what_gunicorn_refuses_is_refused_like_all_else(web, raw, status):
    with socket.create_connection(('127.0.0.1', web.port), timeout=10) as connection:
        connection.sendall(raw % MINE)
        answer, problem = read(connection)
        assert connection.recv(1) == b''
    assert answer.status in (status if isinstance(status, tuple) else (status,))
    assert answer.headers['Content-Type'] == 'application/problem+json'
    assert (problem['status'], problem['code']) == (answer.status, 'bad_request')
    assert problem['type'].endswith('/docs/errors#bad_request')
    logs = web.processes.logs('web')
    (line,) = [json.loads(one) for one in logs.splitlines() if answer.headers['Request-Id'] in one]
    assert (line['level'], line['message'], line['status']) == (
        'WARNING',
        'request refused',
        answer.status,
    )
    assert MINE.decode() not in logs + json.dumps(problem)


def test_what_the_application_did_not_catch_tells_nobody_what_it_was(caplog):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Door.handle_error(None, None, CallerSocket(ours), None, RuntimeError(MINE.decode()))
        answer, problem = read(theirs)
    assert (answer.status, problem['code']) == (500, 'internal_error')
    assert MINE.decode() not in json.dumps(problem)
    (line,) = caplog.records
    assert (line.levelname, line.exc_info[0]) == ('ERROR', RuntimeError)
