"""Relays as a service that was written against Meta sees them: over HTTP, signed as Meta signs."""

import hashlib
import hmac
import json

import pytest

from tests.docs import blocks
from tests.listeners import Listener, make_due
from tests.people import CHATBOT, CUSTOMER, WABA, envelope, sql, status_of, text_message
from tests.stack import wait_until

SECRET = 'the app secret of a service'


@pytest.fixture
def service(backend, stand_in):
    backend.account(waba_id=WABA, responder={'kind': 'none'})
    with Listener() as listener:
        yield listener


@pytest.fixture
def tell(meta, workers):
    def tell(*bodies):
        for body in bodies:
            assert meta.webhook(body).status_code == 200
        workers.incoming()
        workers.events()

    return tell


(EXAMPLE,) = (one.text for one in blocks('docs/relay.md') if one.language == 'python')
verify = {'hashlib': hashlib, 'hmac': hmac}
exec(EXAMPLE, verify)  # noqa: S102  what docs/relay.md shows is what verifies here


def is_metas(ask, secret=SECRET):
    """Whether a service that was written against Meta takes it."""
    return verify['is_metas'](ask['raw'], ask['headers']['X-Hub-Signature-256'], secret)


def test_a_message_arrives_as_meta_posted_and_signed_it(backend, service, tell, meta):
    """With Meta's app secret as its own a service gets the very signature that Meta made."""
    backend.relay(CHATBOT, service.url, secret='conformance-app-secret')
    raw = json.dumps(envelope([text_message('é / \U0001f600')]), indent=1).encode()
    tell(raw)
    (ask,) = service.asks
    assert ask['raw'] == raw
    assert is_metas(ask, 'conformance-app-secret')
    assert ask['headers']['Content-Type'] == 'application/json'
    assert not [name for name in ask['headers'] if name.lower().startswith('webhook-')]


def test_raw_letters_are_signed_as_bytes(backend, service, tell):
    backend.relay(CHATBOT, service.url, secret='schlüssel des dienstes')
    raw = json.dumps(envelope([text_message('é \U0001f600')]), ensure_ascii=False).encode()
    tell(raw)
    (ask,) = service.asks
    assert ask['raw'] == raw
    assert is_metas(ask, 'schlüssel des dienstes')


def test_a_secret_that_is_made_here_has_metas_form(backend, service, tell):
    made = backend.relay(CHATBOT, service.url)['secret']
    assert len(made) == 32
    int(made, 16)
    tell(envelope([text_message()]))
    assert is_metas(service.asks[0], made)


def test_statuses_of_a_whole_turn_bear_the_callers_own(backend, service, tell, workers):
    backend.relay(CHATBOT, service.url, secret=SECRET)
    sent = backend.send(biz_opaque_callback_data='order / 17 é')
    workers.send()
    wamid = backend.message(sent['id'])['wamid']
    for status in ('sent', 'delivered', 'read'):
        tell(envelope(statuses=[status_of(wamid, status, opaque=sent['id'])]))
    told = [ask['body']['entry'][0]['changes'][0]['value']['statuses'][0] for ask in service.asks]
    assert [(one['id'], one['status'], one['biz_opaque_callback_data']) for one in told] == [
        (wamid, status, 'order / 17 é') for status in ('sent', 'delivered', 'read')
    ]
    assert all(is_metas(ask) and ask['raw'].isascii() for ask in service.asks)


def test_a_new_secret_signs_alone(backend, service, tell):
    relay = backend.relay(CHATBOT, service.url, secret=SECRET)
    answer = backend.post(
        f'/endpoints/{relay["id"]}/rotate-secret', {'secret': 'another secret of it'}
    )
    assert answer.status_code == 200, answer.text
    tell(envelope([text_message()]))
    assert is_metas(service.asks[0], 'another secret of it')


def test_a_try_that_failed_comes_again_with_the_same_bytes(backend, service, tell, workers):
    relay = backend.relay(CHATBOT, service.url, secret=SECRET)
    service.answer(503)
    sent = backend.send(biz_opaque_callback_data='order-17')
    workers.send()
    wamid = backend.message(sent['id'])['wamid']
    tell(
        envelope([text_message('a\x00 \ud83d')]),
        envelope(statuses=[status_of(wamid, 'sent', opaque=sent['id'])]),
    )
    tried = {ask['raw'] for ask in service.asks}
    service.answer(200)
    make_due(relay['id'])
    workers.events()
    raws = [ask['raw'] for ask in service.asks]
    assert tried <= set(raws[len(tried) :])
    assert len(set(raws)) == 2
    assert sql("SELECT count(*) FROM event_delivery WHERE status <> 'delivered'") == [(0,)]


def test_bodies_of_one_customer_come_in_metas_order(backend, service, meta, workers):
    backend.relay(CHATBOT, service.url, secret=SECRET)
    wamids = [f'wamid.{number}' for number in range(30)]
    for wamid in wamids:
        meta.webhook(envelope([text_message(wamid=wamid)]))
    workers.incoming()

    def all_told():
        workers.events()
        return len(service.asks) == len(wamids)

    wait_until(all_told, 20)
    told = [ask['body']['entry'][0]['changes'][0]['value']['messages'][0] for ask in service.asks]
    assert [one['id'] for one in told] == wamids
    assert {one['from'] for one in told} == {CUSTOMER}


def test_a_paused_relay_gets_what_it_missed(backend, service, tell, workers):
    relay = backend.relay(CHATBOT, service.url, secret=SECRET)
    backend.post(f'/endpoints/{relay["id"]}/pause')
    tell(envelope([text_message()]))
    assert service.asks == []
    backend.post(f'/endpoints/{relay["id"]}/resume')
    workers.events()
    assert len(service.asks) == 1


def test_a_webhook_of_three_megabytes_is_handed_on(backend, service, tell):
    backend.relay(CHATBOT, service.url, secret=SECRET)
    texts = [text_message('x' * 4000, f'wamid.{number}') for number in range(720)]
    raw = json.dumps(envelope(texts)).encode()
    assert len(raw) > 2_900_000
    tell(raw)
    (ask,) = service.asks
    assert ask['raw'] == raw
    assert is_metas(ask)


def test_a_webhook_that_is_gone_fails_alone(backend, service, tell, meta, workers):
    backend.relay(CHATBOT, service.url, secret=SECRET)
    meta.webhook(envelope([text_message(wamid='wamid.1')]))
    workers.incoming()
    sql('DELETE FROM webhook_event')
    tell(envelope([text_message(wamid='wamid.2', phone='12025550199')]))
    (ask,) = service.asks
    assert b'wamid.2' in ask['raw']
    assert sql("SELECT error FROM event_delivery WHERE status = 'waiting'") == [
        ('what it tells could not be read',)
    ]


def test_nothing_of_it_is_in_the_list_of_events(backend, service, tell):
    backend.relay(CHATBOT, service.url, secret=SECRET)
    backend.get('/events')
    tell(envelope([text_message()]))
    assert {one['type'] for one in backend.get('/events').json['data']} == {'message.received'}
