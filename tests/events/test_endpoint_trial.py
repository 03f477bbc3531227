"""POST /endpoints/<id>/test: what an endpoint makes of what it is told now."""

import hashlib
import hmac
import threading

import pytest

from service.runtime import standard_webhooks
from service.runtime.db import db
from service.web import endpoints
from tests.own_service import Platform
from tests.people import CHATBOT, sql
from tests.stack import free_port, wait_until


@pytest.fixture
def service(backend):
    backend.account()
    with Platform() as running:
        running.answer(204)
        yield running


def create(backend, service, **more):
    answer = backend.post('/endpoints', {'url': f'{service.url}/hook', **more})
    assert answer.status_code == 201, answer.text
    return answer.json


def tried(backend, made):
    answer = backend.post(f'/endpoints/{made["id"]}/test')
    assert answer.status_code == 200, answer.text
    return answer.json


@pytest.mark.parametrize('chatbot_id', [CHATBOT, None])
def test_an_endpoint_is_told_of_itself(backend, service, chatbot_id):
    made = create(backend, service, chatbot_id=chatbot_id, description='für Añá')
    outcome = tried(backend, made)
    assert (outcome['status'], outcome['error']) == (204, None)
    assert outcome['milliseconds'] >= 0
    (ask,) = service.asks
    assert ask['raw'].isascii()
    body = ask['body']
    assert list(body) == ['id', 'type', 'timestamp', 'chatbot_id', 'data']
    assert (body['type'], body['chatbot_id']) == ('endpoint.test', chatbot_id)
    assert body['data'] == {'endpoint': backend.get(f'/endpoints/{made["id"]}').json}
    assert made['secret'] not in ask['raw'].decode()
    at = int(ask['headers']['webhook-timestamp'])
    signed = standard_webhooks.signed_headers(body['id'], at, ask['raw'], [made['secret']])
    assert {name: ask['headers'][name] for name in signed} == signed
    assert sql('SELECT count(*) FROM event') == [(0,)]


def test_both_secrets_sign_a_test_after_a_rotation(backend, service):
    made = create(backend, service)
    backend.post(f'/endpoints/{made["id"]}/rotate-secret')
    tried(backend, made)
    (ask,) = service.asks
    signatures = ask['headers']['webhook-signature'].split()
    at = int(ask['headers']['webhook-timestamp'])
    former = standard_webhooks.signed_headers(ask['body']['id'], at, ask['raw'], [made['secret']])
    assert len(signatures) == 2
    assert signatures[1] == former['webhook-signature']


def test_a_relay_is_told_nothing_in_metas_form(backend, service):
    made = create(backend, service, kind='relay')
    assert tried(backend, made)['status'] == 204
    (ask,) = service.asks
    (entry,) = ask['body']['entry']
    (change,) = entry['changes']
    assert (change['field'], change['value'].keys()) == (
        'messages',
        {'messaging_product', 'metadata'},
    )
    digest = hmac.new(made['secret'].encode(), ask['raw'], hashlib.sha256).hexdigest()
    assert ask['headers']['X-Hub-Signature-256'] == f'sha256={digest}'


@pytest.mark.parametrize('status', [302, 404, 410, 500])
def test_an_endpoint_that_refuses_is_shown_so_and_stays_as_it_is(backend, service, status):
    made = create(backend, service)
    service.answer(status, Location=f'{service.url}/elsewhere')
    outcome = tried(backend, made)
    assert (outcome['status'], outcome['error']) == (status, f'HTTP {status}')
    assert len(service.asks) == 1
    shown = backend.get(f'/endpoints/{made["id"]}').json
    assert (shown['state'], shown['failing_since']) == ('active', None)


def test_an_endpoint_that_is_not_there_is_shown_so(backend, service):
    made = create(backend, service)
    backend.post(f'/endpoints/{made["id"]}', {'url': f'http://127.0.0.1:{free_port()}/'})
    outcome = tried(backend, made)
    assert outcome['status'] is None
    assert outcome['error'].startswith('no answer')


def test_a_paused_endpoint_is_tested_too(backend, service):
    made = create(backend, service)
    backend.post(f'/endpoints/{made["id"]}/pause')
    assert tried(backend, made)['status'] == 204


def test_an_address_that_is_not_public_is_neither_stored_nor_told(backend, service, setting):
    made = create(backend, service)
    setting('ALLOW_PRIVATE_URLS', 'no')
    assert tried(backend, made)['error'] == 'it has no public address'
    assert service.asks == []
    for url in (
        service.url,
        'http://localhost/',
        'http://2130706433/',
        'http://[::ffff:10.0.0.1]/',
    ):
        for path in ('/endpoints', f'/endpoints/{made["id"]}'):
            answer = backend.post(path, {'url': url})
            assert (answer.status_code, set(answer.json['errors'])) == (422, {'url'}), url
    assert backend.post('/endpoints', {'url': 'https://93.184.215.14/hook'}).status_code == 201


def test_tests_hold_no_connections_and_few_threads(application, backend, service):
    made = create(backend, service)
    service.thinks()
    free = db._free_places._value
    answers = []

    def ask():
        path = f'/whatsapp-cloud/endpoints/{made["id"]}/test'
        answers.append(application.test_client().post(path, headers=backend.headers))

    threads = [threading.Thread(target=ask) for _ in range(endpoints.MAX_TRIALS)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(service.asks) == endpoints.MAX_TRIALS)
    assert db._free_places._value == free
    refused = backend.post(f'/endpoints/{made["id"]}/test')
    assert (refused.status_code, refused.json['code']) == (429, 'too_many_requests')
    assert int(refused.headers['Retry-After']) >= 1
    service.open.set()
    for thread in threads:
        thread.join(30)
    assert [answer.json['status'] for answer in answers] == [204] * endpoints.MAX_TRIALS
    assert tried(backend, made)['status'] == 204
