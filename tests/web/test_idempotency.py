"""Idempotency-Key on POST /send: the first answer again, and never a second message."""

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from service.web.idempotency import digest_of_body
from tests.people import CHATBOT, Backend

BODY = {
    'chatbot_id': CHATBOT,
    'to': '+5511999990001',
    'text': {'body': 'Hello'},
    'client_reference': 'order-17',
}


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def send(backend, key, body=BODY, **options):
    return backend.post('/send', body, headers={'Idempotency-Key': key}, **options)


def raw(backend, key, text):
    return send(backend, key, None, data=text, content_type='application/json')


def test_the_same_key_and_body_give_the_first_answer_again(acme):
    first, second = send(acme, 'k1'), send(acme, 'k1')
    assert (first.status_code, second.status_code) == (202, 202)
    assert 'Idempotent-Replayed' not in first.headers
    assert second.headers['Idempotent-Replayed'] == 'true'
    assert second.json == first.json
    assert second.content_type == first.content_type
    assert len(acme.messages()) == 1


def test_the_first_answer_comes_again_also_when_the_message_has_moved_on(acme, workers, stand_in):
    first = send(acme, 'k1')
    workers.send()
    assert acme.message(first.json['id'])['status'] == 'accepted'
    acme.post(f'/account/{CHATBOT}/deactivate')
    assert send(acme, 'k1').json == first.json


def test_bodies_are_compared_as_json_not_as_bytes(acme):
    first = raw(acme, 'k1', json.dumps(BODY))
    second = raw(acme, 'k1', json.dumps(dict(reversed(BODY.items())), indent=3))
    third = raw(acme, 'k1', json.dumps(BODY).replace('Hello', '\\u0048ello'))
    assert first.json == second.json == third.json
    assert len(acme.messages()) == 1


WHERE = {'latitude': 0, 'longitude': -46, 'name': 'Here'}
PLACE = {'chatbot_id': CHATBOT, 'to': '+5511999990001', 'type': 'location', 'location': WHERE}


def test_a_number_is_the_same_however_it_is_written(acme):
    first = raw(acme, 'k1', json.dumps(PLACE))
    for whole in ('-46.0', '-46e0', '-4.6E1'):
        again = raw(acme, 'k1', json.dumps(PLACE).replace('-46', whole))
        assert (again.status_code, again.json['id']) == (202, first.json['id']), whole
    assert raw(acme, 'k1', json.dumps(PLACE).replace('-46', '-46.5')).status_code == 422


def test_the_digest_of_a_usual_body_is_that_of_earlier_versions():
    body = {**BODY, 'n': [1, 2.5, True, None, {'b': -0.25, 'a': 'é'}]}
    assert digest_of_body(body) == sha256(json.dumps(body, sort_keys=True).encode()).digest()


def test_another_body_under_the_same_key_is_422(acme):
    send(acme, 'k1')
    answer = send(acme, 'k1', BODY | {'text': {'body': 'Goodbye'}})
    assert answer.status_code == 422
    assert 'Idempotency-Key' in answer.json['errors']
    assert len(acme.messages()) == 1


def test_a_key_belongs_to_its_chatbot(acme):
    acme.account('other', '300112233445567')
    first, second = send(acme, 'k1'), send(acme, 'k1', BODY | {'chatbot_id': 'other'})
    assert second.status_code == 202
    assert 'Idempotent-Replayed' not in second.headers
    assert first.json['id'] != second.json['id']


@pytest.mark.parametrize(
    ('key', 'status'), [('', 422), ('x' * 256, 422), ('x' * 255, 202), ('x', 202), ('ä', 202)]
)
def test_a_key_has_1_to_255_characters(acme, key, status):
    answer = send(acme, key)
    assert answer.status_code == status
    if status == 422:
        assert 'Idempotency-Key' in answer.json['errors']


def test_a_refused_request_does_not_use_its_key_up(acme, setting):
    assert send(acme, 'k1', BODY | {'to': 'nobody'}).status_code == 422
    assert send(acme, 'k1', BODY | {'chatbot_id': 'nobody'}).status_code == 404
    acme.post(f'/account/{CHATBOT}/deactivate')
    assert send(acme, 'k1').status_code == 400
    acme.account()
    setting('MAX_QUEUED', 1)
    acme.send()
    assert send(acme, 'k1').status_code == 429
    setting('MAX_QUEUED', 10)
    answer = send(acme, 'k1')
    assert answer.status_code == 202
    assert 'Idempotent-Replayed' not in answer.headers


def test_without_a_key_equal_requests_are_two_messages(acme):
    assert acme.post('/send', BODY).json['id'] != acme.post('/send', BODY).json['id']


@pytest.mark.parametrize('known', [True, False])
def test_20_concurrent_equal_requests_make_one_message(acme, application, known):
    if known:  # the conversation is there already: no account lock stands in line before the key
        acme.send(BODY['to'])
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: send(Backend(application.test_client()), 'k1'), range(20))
        )
    assert [answer.status_code for answer in answers] == [202] * 20
    assert len({answer.data for answer in answers}) == 1
    assert sum(answer.headers.get('Idempotent-Replayed') == 'true' for answer in answers) == 19
    assert len(acme.messages()) == 1 + known
    assert len(acme.conversations()) == 1


def test_two_bodies_that_race_for_one_key_are_one_message_and_one_422(acme, application):
    bodies = [BODY | {'text': {'body': str(n % 2)}} for n in range(10)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda body: send(Backend(application.test_client()), 'k1', body), bodies)
        )
    assert sorted(answer.status_code for answer in answers) == [202] * 5 + [422] * 5
    assert len(acme.messages()) == 1
