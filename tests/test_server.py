"""gunicorn's settings: where it listens, and for how long it keeps a connection."""

import socket

from service.web import server


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
