"""Read receipts and the typing indicator: on demand, and before a reply."""

import time

import pytest

from service.runtime.db import connection
from tests.own_service import Platform
from tests.people import CHATBOT, CUSTOMER, envelope, sql, text_message
from tests.stack import wait_until
from workers import incoming, replies

READ = {'messaging_product': 'whatsapp', 'status': 'read'}
TYPING = {'typing_indicator': {'type': 'text'}}


@pytest.fixture
def hear(backend, meta, workers):
    """hear(message, …): they come in; the id of the last one."""
    backend.account(responder={'kind': 'none'})

    def post(*messages):
        for message in messages or (text_message(),):
            assert meta.webhook(envelope([message])).status_code == 200
        workers.incoming()
        return backend.messages()[0]['id']

    return post


@pytest.fixture
def graph(setting):
    """A Graph API that answers as the test tells it to; `.asks` are the calls."""
    with Platform() as platform:
        setting('GRAPH_API_URL', platform.url)
        platform.answer(200, {'success': True})
        yield platform


def reads(stand_in):
    return stand_in.get('/reads')['data']


def due():
    """Seconds until each receipt is tried again, None when it is not."""
    return [
        seconds
        for (seconds,) in sql('SELECT extract(epoch FROM due_at - now())::float FROM read_receipt')
    ]


def make_due():
    sql('UPDATE read_receipt SET due_at = now() WHERE due_at IS NOT NULL')


# ---- on demand


@pytest.mark.parametrize(
    ('body', 'more'), [(None, {}), ({}, {}), ({'typing': False}, {}), ({'typing': True}, TYPING)]
)
def test_a_customers_message_is_shown_as_read_and_the_business_typing(
    backend, stand_in, hear, workers, body, more
):
    message_id = hear()
    answer = backend.post(f'/messages/{message_id}/read', body)
    assert answer.status_code == 202
    assert answer.json['id'] == message_id
    assert answer.json['read_receipt'] == {'typing': bool(more), 'told_at': None, 'error': None}
    workers.errands()
    assert reads(stand_in) == [READ | {'message_id': 'wamid.A'} | more]
    message = backend.message(message_id)
    assert (
        message['read_receipt']['told_at'] > message['created_at'],
        message['read_receipt']['error'],
    ) == (
        True,
        None,
    )
    assert backend.messages()[0]['read_receipt'] == message['read_receipt']
    workers.errands()
    assert len(reads(stand_in)) == 1


def test_asked_again_the_typing_starts_again_and_nothing_else_happens(
    backend, stand_in, hear, workers
):
    message_id = hear()
    for typing, calls in ((False, 1), (False, 1), (True, 2), (True, 3), (False, 3)):
        assert backend.post(f'/messages/{message_id}/read', {'typing': typing}).status_code == 202
        workers.errands()
        assert len(reads(stand_in)) == calls
    assert [one.keys() >= TYPING.keys() for one in reads(stand_in)] == [False, True, True]


def test_what_we_have_sent_or_do_not_know_is_not_marked_as_read(backend, stand_in, hear):
    hear()
    assert backend.post(f'/messages/{backend.send()["id"]}/read').status_code == 409
    assert backend.post('/messages/01930000-0000-7000-8000-000000000000/read').status_code == 404
    assert sql('SELECT count(*) FROM read_receipt') == [(0,)]


@pytest.mark.parametrize(
    ('body', 'field'),
    [({'typing': 'yes'}, 'typing'), ({'typing': 1}, 'typing'), ({'typed': True}, 'typed')],
)
def test_an_odd_wish_is_named(backend, hear, body, field):
    answer = backend.post(f'/messages/{hear()}/read', body)
    assert answer.status_code == 422
    assert list(answer.json['errors']) == [field]


def test_an_inactive_account_tells_nobody_anything(backend, stand_in, hear, workers):
    message_id = hear()
    backend.post(f'/messages/{message_id}/read')
    backend.post(f'/account/{CHATBOT}/deactivate')
    assert backend.post(f'/messages/{message_id}/read').status_code == 400
    workers.errands()
    assert (
        backend.message(message_id)['read_receipt']['error']['title'] == 'The account is not active'
    )
    assert reads(stand_in) == []


# ---- when it fails


def test_what_passes_is_tried_again_for_some_hours_and_then_given_up(backend, graph, hear, workers):
    graph.answer(400, {'error': {'code': 131016, 'message': 'down'}})
    message_id = hear()
    backend.post(f'/messages/{message_id}/read', {'typing': True})
    for calls, delay in enumerate((2, 4, 8, 60, 600, 3600, 21600), start=1):
        workers.errands()
        assert len(graph.asks) == calls
        (seconds,) = due()
        assert delay - 1.9 < seconds <= delay
        make_due()
    workers.errands()
    assert due() == [None]
    receipt = backend.message(message_id)['read_receipt']
    assert (receipt['told_at'], receipt['error']['code'], receipt['error']['title']) == (
        None,
        131016,
        'down',
    )
    graph.answer(200, {'success': True})
    backend.post(f'/messages/{message_id}/read')
    workers.errands()
    assert backend.message(message_id)['read_receipt']['error'] is None
    assert len(graph.asks) == 9


@pytest.mark.parametrize('code', [131009, 190, 100])
def test_what_is_final_is_given_up_at_once_and_holds_nobody(backend, graph, hear, workers, code):
    graph.answer(400, {'error': {'code': code, 'message': 'no'}})
    message_id = hear()
    backend.post(f'/messages/{message_id}/read')
    workers.errands()
    assert (len(graph.asks), due()) == (1, [None])
    assert backend.message(message_id)['read_receipt']['error']['code'] == code
    assert backend.get(f'/account/{CHATBOT}').json['send_state'] == 'ok'


@pytest.mark.parametrize(('status', 'body'), [(500, b'<html>'), (503, b'')])
def test_a_lost_answer_is_asked_for_again(backend, graph, hear, workers, status, body):
    graph.answer(status, body)
    backend.post(f'/messages/{hear()}/read')
    workers.errands()
    assert 0 < due()[0] <= 2


def test_typing_that_comes_late_is_not_shown_any_more(backend, graph, hear, workers):
    backend.post(f'/messages/{hear()}/read', {'typing': True})
    sql("UPDATE read_receipt SET typing_until = now() - interval '1 second'")
    workers.errands()
    assert [ask['body'] for ask in graph.asks] == [READ | {'message_id': 'wamid.A'}]


def test_a_message_older_than_30_days_is_given_up_without_a_call(backend, graph, hear, workers):
    message_id = hear()
    sql("UPDATE message SET created_at = now() - interval '31 days'")
    backend.post(f'/messages/{message_id}/read')
    workers.errands()
    assert (graph.asks, due()) == ([], [None])
    assert '30 days' in backend.message(message_id)['read_receipt']['error']['title']


def test_what_a_dead_worker_had_in_hand_is_told_after_its_lease(backend, stand_in, hear, workers):
    backend.post(f'/messages/{hear()}/read')
    sql("UPDATE read_receipt SET attempts = 1, due_at = now() + interval '1 hour'")
    workers.errands()
    assert reads(stand_in) == []
    make_due()
    workers.errands()
    assert len(reads(stand_in)) == 1


def test_typing_that_is_asked_for_during_a_call_gets_its_own(backend, graph, hear, workers):
    message_id = hear()
    backend.post(f'/messages/{message_id}/read')
    sql("UPDATE read_receipt SET due_at = now() + interval '1 hour'")  # somebody has it in hand
    backend.post(f'/messages/{message_id}/read', {'typing': True})
    workers.errands()
    assert [ask['body'].get('typing_indicator') for ask in graph.asks] == [{'type': 'text'}]


# ---- before a reply


@pytest.mark.parametrize(('wish', 'more'), [('none', None), ('read', {}), ('typing', TYPING)])
def test_an_account_may_show_that_it_has_read_and_is_typing_before_it_replies(
    backend, stand_in, meta, workers, wish, more
):
    backend.account(read_receipts=wish)
    assert backend.get(f'/account/{CHATBOT}').json['read_receipts'] == wish
    for n, message in enumerate(
        [
            text_message('One'),
            text_message('Two'),
            {
                **text_message(),
                'type': 'reaction',
                'reaction': {'message_id': 'wamid.0', 'emoji': '👍'},
            },
        ]
    ):
        meta.webhook(envelope([message | {'id': f'wamid.{n}'}]))
    workers.incoming()
    workers.errands()
    assert reads(stand_in) == ([] if more is None else [READ | {'message_id': 'wamid.1'} | more])
    (answer,) = backend.messages(direction='outbound')
    assert answer['text'] == 'You said: One\nTwo\n[reaction] 👍'


def test_a_receipt_waits_for_no_responder_and_no_responder_for_a_receipt(
    backend, graph, meta, workers
):
    with Platform() as platform:
        platform.thinks()
        backend.account(responder={'kind': 'http', 'url': platform.url}, read_receipts='typing')
        meta.webhook(envelope([text_message()]))
        began = time.monotonic()
        with connection():
            while incoming.step():
                pass
        wait_until(lambda: platform.asks)
        workers.errands()
        assert [ask['body']['message_id'] for ask in graph.asks] == ['wamid.A']
        assert time.monotonic() - began < 15
        platform.says('Hi!')
        platform.open.set()
        assert replies.close(10)


def test_only_the_asked_conversations_last_message_is_told(backend, stand_in, meta, workers):
    backend.account(read_receipts='read')
    people = [
        text_message(wamid=f'wamid.{who}.{n}', phone=f'{CUSTOMER[:-1]}{who}')
        for n in range(2)
        for who in range(3)
    ]
    meta.webhook(envelope([*people, text_message(wamid='wamid.G', group_id='g')]))
    workers.incoming()
    workers.errands()
    assert sorted(read['message_id'] for read in reads(stand_in)) == [
        'wamid.0.1',
        'wamid.1.1',
        'wamid.2.1',
    ]


def test_an_odd_wish_of_an_account_is_named(backend):
    answer = backend.post(
        '/account',
        {
            'chatbot_id': 'x',
            'phone_number_id': '5',
            'access_token': 't',
            'read_receipts': 'always',
        },
    )
    assert answer.status_code == 422
    assert list(answer.json['errors']) == ['read_receipts']
