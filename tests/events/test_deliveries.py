"""Events come to endpoints: signed, in order, again after a failure, and as GET shows things."""

import pytest

from tests.listeners import Listener, deliveries, make_due, new_endpoint
from tests.people import CHATBOT, envelope, sql, status_of, text_message


@pytest.fixture
def listener(backend, stand_in, setting):
    setting('ALLOW_PRIVATE_URLS', 'yes')
    backend.account(responder={'kind': 'none'})
    with Listener() as listener:
        yield listener


@pytest.fixture
def endpoint(listener):
    """One that wants everything."""
    return new_endpoint(f'{listener.url}/events')


def receive(meta, workers, *bodies, phone='12025550143'):
    messages = [text_message(body, f'wamid.{body}', phone) for body in bodies]
    assert meta.webhook(envelope(messages)).status_code == 200
    workers.incoming()


def test_a_customers_message_is_told_as_get_shows_it(backend, meta, workers, listener, endpoint):
    receive(meta, workers, 'Olá')
    workers.events()
    (body,) = listener.heard
    (message,) = backend.messages()
    assert body['type'] == 'message.received'
    assert body['chatbot_id'] == CHATBOT
    assert body['data']['message'] == backend.message(message['id'])
    (conversation,) = backend.conversations()
    assert body['data']['conversation'] == conversation
    assert deliveries(endpoint) == [('delivered', 1, None)]
    assert listener.asks[0]['raw'].isascii()


def test_a_sent_message_is_told_of_at_each_of_its_states(
    backend, meta, workers, tell, listener, endpoint
):
    message = backend.send()
    workers.send()
    wamid = backend.message(message['id'])['wamid']
    for status in ('sent', 'delivered', 'read'):
        tell(status_of(wamid, status))
    workers.events()
    assert listener.states() == ['accepted', 'sent', 'delivered', 'read']
    previous = [body['data']['previous_status'] for body in listener.heard]
    assert previous == ['sending', 'accepted', 'sent', 'delivered']
    times = [body['timestamp'] for body in listener.heard]
    assert times == sorted(times)
    assert all(time.endswith('Z') for time in times)


def test_what_nobody_wants_is_not_written(backend, meta, workers, listener):
    new_endpoint(f'{listener.url}/events', types=['batch.done'])
    new_endpoint(f'{listener.url}/events', chatbot_id=CHATBOT, types=['media.stored'])
    receive(meta, workers, 'Hello')
    assert sql('SELECT count(*) FROM event') == [(0,)]
    workers.events()
    assert listener.heard == []


def test_a_failed_delivery_comes_again_with_the_same_bytes_and_id(
    backend, meta, workers, listener, endpoint
):
    listener.answer(503)
    receive(meta, workers, 'Hello')
    workers.events()
    ((status, attempts, wait),) = deliveries(endpoint)
    assert (status, attempts) == ('waiting', 1)
    assert 4 < wait <= 6
    workers.events()
    assert len(listener.heard) == 1
    receive(meta, workers, 'More')  # which changes the conversation
    listener.answer(204)
    make_due(endpoint)
    workers.events()
    first, again, more = listener.asks
    assert first['raw'] == again['raw']
    assert first['headers']['webhook-id'] == again['headers']['webhook-id'] == first['body']['id']
    assert more['body']['data']['message']['text'] == 'More'


def test_what_is_behind_a_failed_one_waits_for_it_and_other_conversations_do_not(
    backend, meta, workers, listener, endpoint
):
    listener.answer(500)
    receive(meta, workers, 'a1', 'a2', 'a3')
    workers.events()
    assert [body['data']['message']['text'] for body in listener.heard] == ['a1']
    listener.answer(204)
    receive(meta, workers, 'b1', phone='12025550199')
    workers.events()
    heard = [body['data']['message']['text'] for body in listener.heard]
    assert heard[:2] == ['a1', 'b1']
    make_due(endpoint)
    workers.events()
    heard = [body['data']['message']['text'] for body in listener.heard]
    assert heard == ['a1', 'b1', 'a1', 'a2', 'a3']
    assert {status for status, _, _ in deliveries(endpoint)} == {'delivered'}
