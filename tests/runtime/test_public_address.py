"""Where a tenant's URL may lead: every spelling of an address, and what a name resolves to when it
is stored and when it is connected to.
"""

import http.client
import socket
import time

import pytest
from urllib3.exceptions import HTTPError

from service.runtime import deadline, public_address
from service.runtime.config import settings
from service.runtime.public_address import NotPublic, is_public
from tests.raw_server import RawServer

SECONDS = 5
NOT_PUBLIC = [
    *('0.0.0.0', '0.1.2.3', '10.0.0.1', '100.64.0.1', '100.127.255.254', '127.0.0.1', '127.9.9.9'),
    *('168.63.129.16', '169.254.169.254', '172.16.0.1', '172.31.255.255', '192.0.0.192'),
    *('192.0.2.1', '192.88.99.1', '192.168.1.1', '198.18.0.1', '198.19.255.255', '198.51.100.7'),
    *('203.0.113.9', '224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255'),
    *('::', '::1', '::127.0.0.1', '::ffff:127.0.0.1', '::ffff:a9fe:a9fe', '::ffff:0:127.0.0.1'),
    *('64:ff9b::7f00:1', '64:ff9b::10.0.0.1', '64:ff9b:1::8.8.8.8', '100::1', '2001::1'),
    *('2001:db8::1', '2002:7f00:1::', '2002:808:808::1', '3fff::1', '5f00::1', 'fc00::1'),
    *('fd00:ec2::254', 'fe80::1', 'fe80::1%lo', '2606:4700::1111%lo', 'fec0::1', 'ff02::1'),
]
PUBLIC = [
    *('8.8.8.8', '1.1.1.1', '100.63.255.255', '100.128.0.1', '126.255.255.255', '128.0.0.1'),
    *('172.15.255.255', '172.32.0.1', '192.0.1.1', '192.167.0.1', '198.20.0.1', '223.255.255.254'),
    *('2606:4700:4700::1111', '2a00:1450:4001::64', '::ffff:8.8.8.8', '64:ff9b::808:808'),
]
# Each of them is 127.0.0.1, 10.0.0.1, 169.254.169.254, or a machine of the local network.
REFUSED_HOSTS = [
    *('127.0.0.1', '127.0.0.1.', '127.1', '127.0.1', '2130706433', '0x7f000001', '0X7F.1'),
    *('017700000001', '0177.0.0.1', '0177.0.0.01', '0x7f.0x0.0x0.0x1', '0300.0250.1.1', '0', '0.0'),
    *('167772161', '2852039166', '0xa9fea9fe', '169.254.43518', '256.1.1.1', '127.0.0.1.5'),
    *(
        '[::1]',
        '[::]',
        '[0:0:0:0:0:0:0:1]',
        '[::ffff:127.0.0.1]',
        '[::ffff:7f00:1]',
        '[::127.0.0.1]',
    ),
    *('[64:ff9b::7f00:1]', '[64:ff9b::127.0.0.1]', '[2002:7f00:1::]', '[fd12:3456::1]'),
    *('[fe80::1]', '[fe80::1%25eth0]', '[fe80::1%eth0]', '[ff02::1]', '[fec0::1]'),
    *(
        'localhost',
        'LocalHost',
        'localhost.',
        'a.localhost',
        'a.localhost.',
        'localhost.localdomain',
    ),
    *('redis', 'metadata', 'metadata.google.internal', 'printer.local', 'nas.lan', 'x.home.arpa'),
    *('%6c%6f%63alhost', '127.0.0.%31', '127。0。0。1', '①②⑦.⓪.⓪.①', '٣.0.0.1'),
]


@pytest.fixture
def resolver(monkeypatch):
    """resolver(name=[address, …]): what a name resolves to, one list for each time it is asked for;
    the last one stays.
    """
    real, answers = socket.getaddrinfo, {}

    def resolve(host, port, *arguments, **options):
        if host not in answers:
            return real(host, port, *arguments, **options)
        told = answers[host]
        addresses = told.pop(0) if len(told) > 1 else told[0]
        if isinstance(addresses, Exception):
            raise addresses
        found = [real(address, port, *arguments, **options) for address in addresses]
        return [entry for entries in found for entry in entries]

    monkeypatch.setattr(socket, 'getaddrinfo', resolve)
    return lambda name, *told: answers.update({name: list(told)})


@pytest.fixture(autouse=True)
def guarded(monkeypatch):
    monkeypatch.setenv('ALLOW_PRIVATE_URLS', 'no')
    settings.forget()
    yield
    settings.forget()


def ok(connection):
    connection.recv(65536)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')


def call(url):
    with deadline.within(SECONDS):
        return public_address.pool_manager().request('GET', url)


@pytest.mark.parametrize('address', NOT_PUBLIC)
def test_what_is_not_of_the_public_internet(address):
    assert not is_public(address)


@pytest.mark.parametrize('address', PUBLIC)
def test_what_is_of_the_public_internet(address):
    assert is_public(address)


@pytest.mark.parametrize('host', REFUSED_HOSTS)
def test_no_spelling_of_a_private_address_may_be_stored(host):
    for url in (f'http://{host}', f'https://{host}:8443/hook', f'http://public.example@{host}/'):
        with pytest.raises(NotPublic):
            public_address.check_url(url)


@pytest.mark.parametrize('host', REFUSED_HOSTS)
def test_no_spelling_of_a_private_address_is_connected_to(host):
    """Whatever was stored: what the resolver makes of a host, or that it makes nothing of it."""
    with RawServer(ok) as server:
        url = f'http://{host}:{server.port}/'
        with pytest.raises(HTTPError):
            call(url)
        assert server.connections == []


@pytest.mark.parametrize('address', ['8.8.8.8', '134744072', '0x08080808', '[2606:4700::1111]'])
def test_a_public_address_may_be_stored_in_any_spelling(address):
    public_address.check_url(f'https://user:password@{address}:8443/hook?x=127.0.0.1#localhost')


@pytest.mark.parametrize('hidden', ['127.0.0.1', '::1', '10.0.0.1', 'fd00::1', '169.254.169.254'])
def test_a_name_that_leads_to_a_private_address_is_refused(resolver, hidden):
    resolver('service.example', ['8.8.8.8', hidden])
    with pytest.raises(NotPublic):
        public_address.check_url('https://service.example/hook')
    with pytest.raises(NotPublic):
        call('http://service.example/hook')


@pytest.mark.parametrize(
    'told', [['8.8.8.8', '2606:4700::1111'], socket.gaierror(socket.EAI_NONAME, 'unknown')]
)
def test_a_public_name_and_one_that_nobody_knows_yet_may_be_stored(resolver, told):
    resolver('service.example', told)
    public_address.check_url('https://service.example/hook')


def test_a_name_that_leads_elsewhere_the_second_time_is_refused_then(resolver):
    with RawServer(ok) as server:
        resolver('rebinds.example', ['8.8.8.8'], ['127.0.0.1'])
        url = f'http://rebinds.example:{server.port}/hook'
        public_address.check_url(url)
        with pytest.raises(NotPublic):
            call(url)
        assert server.connections == []


def test_the_connection_goes_to_the_addresses_that_were_checked(resolver, monkeypatch):
    """Not to those of one more question, which might have another answer."""
    with RawServer(ok) as server:
        resolver('rebinds.example', ['127.0.0.1'], ['10.0.0.1'])
        monkeypatch.setattr(public_address, 'is_public', lambda address: address == '127.0.0.1')
        answer = call(f'http://rebinds.example:{server.port}/hook')
        assert answer.data == b'ok'


def test_tls_is_refused_before_a_handshake(resolver):
    with RawServer(ok) as server:
        resolver('service.example', ['127.0.0.1'])
        with pytest.raises(NotPublic):
            call(f'https://service.example:{server.port}/')
        assert server.connections == []


def test_a_redirect_is_not_followed(monkeypatch):
    def redirect(connection):
        connection.recv(65536)
        connection.sendall(
            b'HTTP/1.1 302 Found\r\nContent-Length: 0\r\n'
            b'Location: http://169.254.169.254/latest/meta-data/\r\n\r\n'
        )

    monkeypatch.setattr(public_address, 'is_public', lambda address: address == '127.0.0.1')
    with RawServer(redirect) as server:
        assert call(f'http://127.0.0.1:{server.port}/').status == http.client.FOUND


def test_a_name_that_is_slow_to_resolve_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(public_address, 'RESOLVE_SECONDS', 0.1)
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *arguments, **options: time.sleep(20))
    began = time.monotonic()
    public_address.check_url('https://slow.example/')
    assert time.monotonic() - began < 10


def test_private_addresses_may_be_allowed(monkeypatch):
    monkeypatch.setenv('ALLOW_PRIVATE_URLS', 'yes')
    settings.forget()
    with RawServer(ok) as server:
        url = f'http://127.0.0.1:{server.port}/'
        public_address.check_url(url)
        public_address.check_url('http://localhost/')
        assert call(url).data == b'ok'
