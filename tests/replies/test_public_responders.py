"""A responder of an account has a public address: when it is saved, and whenever it is asked."""

import json
import socket

import pytest

from tests.own_service import Platform
from tests.people import PHONE_NUMBER_ID, envelope, sql, text_message

TITLE = 'the responder has no public address, and ALLOW_PRIVATE_URLS is not set'


@pytest.fixture
def service():
    with Platform() as there:
        there.says('Hi!')
        yield there


@pytest.fixture
def guarded(setting):
    setting('ALLOW_PRIVATE_URLS', 'no')


def save(backend, **responder):
    account = {'chatbot_id': 'acme', 'phone_number_id': PHONE_NUMBER_ID, 'access_token': 'EAA'}
    return backend.post('/account', account | {'responder': responder})


def hear(meta, workers):
    assert meta.webhook(envelope([text_message()])).status_code == 200
    workers.incoming()


def state(backend):
    account = backend.get('/account/acme').json
    return account['responder_state'], (account['responder_state_reason'] or {}).get('title')


@pytest.mark.parametrize(
    'url',
    [
        'http://127.0.0.1:8000/reply',
        'http://localhost/reply',
        'http://2130706433/reply',
        'http://0x7f000001/reply',
        'http://017700000001/reply',
        'http://127.1/reply',
        'http://127.0.0.1./reply',
        'http://[::1]/reply',
        'http://[::ffff:7f00:1]/reply',
        'http://[::ffff:127.0.0.1]/reply',
        'http://[64:ff9b::a9fe:a9fe]/latest/meta-data',
        'http://169.254.169.254/latest/meta-data',
        'http://10.0.0.7/reply',
        'http://[fd00::7]/reply',
        'http://224.0.0.1/reply',
        'http://0.0.0.0/reply',
        'http://redis:6379/',
        'https://user:password@192.168.1.1/reply',
        'http://public.example@127.0.0.1/reply',
    ],
)
def test_a_private_address_is_refused_by_the_name_of_its_field(backend, guarded, url):
    for name, responder in (
        ('url', {'kind': 'http', 'url': url}),
        ('base_url', {'kind': 'openai', 'base_url': url}),
    ):
        answer = save(backend, **responder)
        assert answer.status_code == 422
        assert answer.json['code'] == 'invalid'
        assert list(answer.json['errors']) == [f'responder.{name}']
    assert backend.get('/account/acme').status_code == 404


def test_a_public_address_is_saved(backend, guarded):
    assert save(backend, kind='http', url='https://8.8.8.8/reply').status_code == 201
    assert save(backend, kind='http', url='https://not-yet.example/reply').status_code == 200


@pytest.mark.parametrize('user', ['user:PASS', 'PASS', ':PASS', 'a%40b:PASS', ''])
def test_an_address_with_user_info_is_refused_and_says_where_the_secret_belongs(backend, user):
    for name, responder, secret in (
        ('url', {'kind': 'http', 'url': f'https://{user}@8.8.8.8/reply'}, '"secret"'),
        ('base_url', {'kind': 'openai', 'base_url': f'https://{user}@8.8.8.8'}, '"api_key"'),
    ):
        answer = save(backend, **responder)
        assert answer.status_code == 422
        (sentence,) = answer.json['errors'][f'responder.{name}']
        assert 'password' in sentence
        assert secret in sentence
        assert 'PASS' not in answer.text
    good = save(backend, kind='http', url='https://8.8.8.8/@reply?to=a@b:c#d@e')
    assert good.status_code == 201


def test_an_address_with_user_info_of_before_is_asked_as_before(backend, meta, workers, service):
    url = service.url.replace('http://', 'http://user:pass@')
    assert save(backend, kind='http', url=service.url).status_code == 201
    sql(
        'UPDATE whatsapp_cloud_account SET responder = %s', json.dumps({'kind': 'http', 'url': url})
    )
    renamed = backend.post('/account', {'chatbot_id': 'acme', 'name': 'New name'})
    assert renamed.json['responder']['url'] == url
    hear(meta, workers)
    assert len(service.asks) == 1


@pytest.mark.parametrize('kind', ['http', 'openai'])
def test_a_private_address_of_before_is_not_asked(backend, meta, workers, service, setting, kind):
    name = 'url' if kind == 'http' else 'base_url'
    assert save(backend, kind=kind, **{name: service.url}).status_code == 201
    setting('ALLOW_PRIVATE_URLS', 'no')
    hear(meta, workers)
    assert service.asks == []
    assert state(backend) == ('misconfigured', TITLE)


def test_a_name_that_leads_inwards_after_it_was_saved_is_not_asked(
    backend, meta, workers, service, guarded, monkeypatch
):
    real, leads_to = socket.getaddrinfo, ['8.8.8.8']

    def resolve(host, *arguments, **options):
        return real(leads_to[0] if host == 'rebinds.example' else host, *arguments, **options)

    monkeypatch.setattr(socket, 'getaddrinfo', resolve)
    url = service.url.replace('127.0.0.1', 'rebinds.example')
    assert save(backend, kind='http', url=url).status_code == 201
    leads_to[0] = '127.0.0.1'
    assert save(backend, kind='http', url=url).status_code == 422
    hear(meta, workers)
    assert service.asks == []
    assert state(backend) == ('misconfigured', TITLE)


def test_the_ai_of_the_environment_may_be_anywhere(
    backend, meta, workers, service, guarded, setting
):
    """It is the operator's own, and so is Meta's address."""
    service.answer(200, {'choices': [{'message': {'role': 'assistant', 'content': 'Hello!'}}]})
    setting('AI_BASE_URL', service.url)
    assert save(backend, kind='openai', model='m').status_code == 201
    hear(meta, workers)
    assert len(service.asks) == 1
    (message,) = backend.messages(direction='outbound')
    assert message['content']['body'] == 'Hello!'


def test_a_redirect_inwards_is_not_followed(backend, meta, workers, service):
    with Platform() as inner:
        service.answer(307, Location=f'{inner.url}/secret')
        save(backend, kind='http', url=service.url)
        hear(meta, workers)
        assert len(service.asks) == 1
        assert inner.asks == []
