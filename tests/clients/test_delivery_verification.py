"""The libraries of Standard Webhooks, PyPI's and npm's, verify what we deliver."""

import json

import pytest

from tests.own_service import Platform
from tests.people import CHATBOT
from tests.stack import wait_until

pytestmark = pytest.mark.clients

CUSTOMER = '12025550145'
TEXTS = [
    'Olá 🎉',
    '日本語とčeština',
    'plain',
    '\u2028 and "quotes" \\ and \U0001f468\u200d\U0001f469',
]
SCRIPTS = ('verify_deliveries.py', 'verify_deliveries.mjs')


@pytest.fixture(scope='module')
def deliveries(door):
    """What an endpoint for everything got of TEXTS, its secret changed in the middle."""
    backend = door.gateway.backend
    with Platform() as receiver:
        made = backend.post(
            '/endpoints',
            {
                'url': f'{receiver.url}/hook',
                'kind': 'events',
                'chatbot_id': CHATBOT,
                'types': ['message.received'],
            },
        ).json
        secrets = [made['secret']]
        for text in TEXTS[:2]:
            door.customer_writes(CUSTOMER, text)
        wait_until(lambda: len(receiver.asks) >= 2, 20)
        secrets.append(backend.post(f'/endpoints/{made["id"]}/rotate-secret').json['secret'])
        for text in TEXTS[2:]:
            door.customer_writes(CUSTOMER, text)
        wait_until(lambda: len(receiver.asks) >= 4, 20)
        backend.request('DELETE', f'/endpoints/{made["id"]}')
        yield [as_given(ask) for ask in receiver.asks], secrets


def as_given(ask):
    return {'headers': dict(ask['headers'].items()), 'body': ask['raw'].decode()}


def verify(packages, script, deliveries, secret):
    """What a library says of each: the body, or the name of its error."""
    given = [{**one, 'secret': secret} for one in deliveries]
    return json.loads(packages.run(script, json.dumps(given)))


@pytest.mark.parametrize('script', SCRIPTS)
def test_the_library_verifies_what_we_deliver(packages, deliveries, script):
    got, (first, _) = deliveries
    bodies = verify(packages, script, got, first)  # signs on for a day after it was changed
    assert [body['type'] for body in bodies] == ['message.received'] * 4
    assert [body['data']['message']['text'] for body in bodies] == TEXTS
    ids = [dict(one['headers'])['webhook-id'] for one in got]
    assert [body['id'] for body in bodies] == ids


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_new_secret_signs_from_then_on(packages, deliveries, script):
    got, (_, second) = deliveries
    found = verify(packages, script, got, second)
    assert [isinstance(body, dict) for body in found] == [False, False, True, True]


@pytest.mark.parametrize('script', SCRIPTS)
def test_what_was_changed_on_the_way_is_not_verified(packages, deliveries, script):
    """The control of the above: the library does look."""
    got, (first, _) = deliveries
    changed = [{**one, 'body': one['body'].replace(CUSTOMER, '12025550199')} for one in got]
    assert verify(packages, script, changed, first) == ['WebhookVerificationError'] * 4


@pytest.mark.parametrize('script', SCRIPTS)
def test_the_library_verifies_the_questions_to_a_responder(door, packages, deliveries, script):
    secret = deliveries[1][0]
    backend = door.gateway.backend
    with Platform() as service:
        backend.account(responder={'kind': 'http', 'url': service.url, 'secret': secret})
        door.customer_writes(CUSTOMER, TEXTS[0])
        wait_until(lambda: service.asks, 20)
        backend.account(responder={'kind': 'none'})
        (body,) = verify(packages, script, map(as_given, service.asks[:1]), secret)
    assert body['messages'][-1]['text'] == TEXTS[0]
