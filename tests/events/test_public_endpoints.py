"""An endpoint has a public address: when it is stored or changed, and at each delivery."""

import socket

import pytest

from tests.listeners import Listener, make_due
from tests.people import CHATBOT, envelope, text_message

URL = 'https://8.8.8.8/hook'
PRIVATE = [
    'http://127.0.0.1:8000/hook',
    'http://localhost/hook',
    'http://2130706433/hook',
    'http://0x7f000001/hook',
    'http://[::ffff:a9fe:a9fe]/latest/meta-data',
    'http://[64:ff9b::7f00:1]/hook',
    'http://[fd00::7]/hook',
    'http://224.0.0.1/hook',
    'http://public.example@10.0.0.1/hook',
    'http://redis:6379/',
]


@pytest.fixture
def listener(backend, setting):
    setting('ALLOW_PRIVATE_URLS', 'no')
    backend.account(responder={'kind': 'none'})
    with Listener() as listener:
        yield listener


@pytest.fixture
def resolve(monkeypatch):
    """resolve(address): where the name `rebinds.example` leads from now on."""
    real, leads_to = socket.getaddrinfo, []

    def found(host, *arguments, **options):
        return real(leads_to[-1] if host == 'rebinds.example' else host, *arguments, **options)

    monkeypatch.setattr(socket, 'getaddrinfo', found)
    return leads_to.append


def create(backend, url, **more):
    return backend.post('/endpoints', {'url': url, 'chatbot_id': CHATBOT, **more})


def hear(meta, workers, wamid='wamid.A'):
    assert meta.webhook(envelope([text_message(wamid=wamid)])).status_code == 200
    workers.incoming()
    workers.events()


@pytest.mark.parametrize('kind', ['events', 'relay'])
def test_an_address_with_user_info_is_refused(backend, listener, kind):
    url = 'https://user:PASS@8.8.8.8/hook'
    made = create(backend, URL, kind=kind).json
    for refused in (
        create(backend, url, kind=kind),
        backend.post(f'/endpoints/{made["id"]}', {'url': url}),
    ):
        assert (refused.status_code, list(refused.json['errors'])) == (422, ['url'])
        assert '"secret"' in refused.json['errors']['url'][0]
        assert 'PASS' not in refused.text
    assert backend.get(f'/endpoints/{made["id"]}').json['url'] == URL


@pytest.mark.parametrize('kind', ['events', 'relay'])
@pytest.mark.parametrize('url', PRIVATE)
def test_a_private_address_is_refused(backend, listener, url, kind):
    refused = create(backend, url, kind=kind)
    assert (refused.status_code, list(refused.json['errors'])) == (422, ['url'])
    made = create(backend, URL, kind=kind).json
    refused = backend.post(f'/endpoints/{made["id"]}', {'url': url})
    assert (refused.status_code, list(refused.json['errors'])) == (422, ['url'])
    assert backend.get(f'/endpoints/{made["id"]}').json['url'] == URL


@pytest.mark.parametrize('kind', ['events', 'relay'])
def test_a_name_that_leads_inwards_at_the_second_time_is_not_told(
    backend, meta, workers, listener, resolve, setting, kind
):
    resolve('8.8.8.8')
    made = create(backend, listener.url.replace('127.0.0.1', 'rebinds.example'), kind=kind)
    assert made.status_code == 201, made.text
    resolve('127.0.0.1')
    hear(meta, workers)
    assert listener.asks == []
    (delivery,) = backend.get(f'/endpoints/{made.json["id"]}/deliveries').json['data']
    assert (delivery['status'], delivery['attempts']) == ('waiting', 1)
    assert delivery['error'] == 'it has no public address'
    setting('ALLOW_PRIVATE_URLS', 'yes')  # nothing else stood in its way
    make_due(made.json['id'])
    workers.events()
    assert len(listener.asks) == 1


def test_a_test_of_an_endpoint_goes_nowhere_private_either(backend, listener, resolve):
    resolve('8.8.8.8')
    made = create(backend, listener.url.replace('127.0.0.1', 'rebinds.example')).json
    resolve('127.0.0.1')
    told = backend.post(f'/endpoints/{made["id"]}/test')
    assert told.status_code == 200, told.text
    assert 'no public address' in told.text
    assert listener.asks == []
