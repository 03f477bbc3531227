"""Replies are claimed, read and recorded many at once; each comes out as if it were alone."""

import threading
from itertools import count

import pytest

from service.conversations import reply_queue
from service.messages import view
from service.replies.responder_answer import ResponderAnswer
from service.runtime.db import connection, db
from service.webhooks import process
from tests.own_service import Platform
from tests.people import CHATBOT, envelope, sql, text_message
from tests.stack import wait_until
from workers import replies

PHONES = [f'120255501{n:02}' for n in range(8)]
CALM = {'type': 'text', 'text': {'body': 'Hi!'}}


@pytest.fixture
def write(meta):
    """write(phone, …): the customers have written, and wait for replies that nobody asks for."""

    written = count()

    def post(*phones, number=None):
        for phone in phones:
            message = text_message('Hello', phone=phone, wamid=f'wamid.{next(written)}')
            body = envelope([message], number=number) if number else envelope([message])
            assert meta.webhook(body).status_code == 200
        hear()

    return post


def hear():
    with connection():
        while process.process_due():
            pass


def step():
    """Ask for as many replies as may be asked for at once."""
    with connection():
        return replies.replies_of_this_process().step()


def said(backend, **query):
    """Who got what."""
    return sorted(
        (message['to'].lstrip('+'), message['content']['body'])
        for message in backend.messages(direction='outbound', **query)
    )


def to_all(phones):
    return [(phone, 'Hi!') for phone in phones]


def answer_to(phone):
    return ResponderAnswer([CALM | {'to': f'+{phone}'}])


@pytest.fixture
def statements_of(monkeypatch):
    """statements_of(do): how many statements this thread gives PostgreSQL meanwhile."""

    def count_in(do):
        given = []
        execute = type(db).execute_sql

        def note(self, statement, parameters=None):
            given.append(threading.current_thread())
            return execute(self, statement, parameters)

        with monkeypatch.context() as patch, connection():
            patch.setattr(type(db), 'execute_sql', note)
            do()
        return given.count(threading.current_thread())

    return count_in


def test_many_replies_are_asked_for_in_the_statements_of_one(
    backend, platform, write, statements_of
):
    asked = []
    for phones in (PHONES[:1], PHONES):
        write(*phones)
        asked.append(statements_of(step))
        assert replies.close(10)
    assert len(platform.asks) == 1 + len(PHONES)
    assert asked[0] == asked[1]


def test_many_answers_are_recorded_in_the_statements_of_one(
    backend, platform, write, statements_of
):
    recorded = []
    for phones in (PHONES[:1], PHONES):
        write(*phones)
        with connection():
            claimed = reply_queue.claim(len(PHONES), 60, {}, len(PHONES))
        batch = [
            (replies.Ask(reply, None), answer_to(reply.conversation.wa_id)) for reply in claimed
        ]
        assert len(batch) == len(phones)
        recorded.append(statements_of(lambda batch=batch: replies.record(batch)))
    assert said(backend) == to_all(sorted([PHONES[0], *PHONES]))
    assert recorded[0] == recorded[1]


def test_the_threads_that_ask_open_no_connection(backend, platform, write, monkeypatch):
    opened = []
    connect = db.connect
    monkeypatch.setattr(
        db, 'connect', lambda: opened.append(threading.current_thread().name) or connect()
    )
    write(*PHONES)
    step()
    assert replies.close(10)
    assert said(backend) == to_all(PHONES)
    assert 'recorder' in opened
    assert 'pool' not in opened


def test_each_is_asked_about_its_own_conversation_alone(backend, platform, write):
    write(*PHONES[:3])
    write(*PHONES)
    step()
    assert replies.close(10)
    asked = {ask['body']['conversation']['wa_id']: ask['body']['messages'] for ask in platform.asks}
    assert set(asked) == set(PHONES)
    for phone, messages in asked.items():
        assert {message['from'] for message in messages} == {phone}


def test_questions_that_cannot_be_read_together_are_read_alone(
    backend, platform, write, monkeypatch
):
    """One message that our own code cannot show costs its own customer the reply."""
    write(*PHONES)
    serialize = view.serialize

    def stumble(messages):
        assert all(message.sender['from'] != PHONES[3] for message in messages)
        return serialize(messages)

    monkeypatch.setattr(view, 'serialize', stumble)
    step()
    assert replies.close(10)
    others = [phone for phone in PHONES if phone != PHONES[3]]
    assert sorted(ask['body']['conversation']['wa_id'] for ask in platform.asks) == others
    failed = sql('SELECT wa_id, reply_error FROM conversation WHERE reply_error IS NOT NULL')
    assert [(phone, error['title']) for phone, error in failed] == [
        (PHONES[3], 'internal error (AssertionError)')
    ]


@pytest.mark.parametrize(
    ('status', 'answer', 'title'),
    [
        (200, {'messages': [{'text': {'body': ''}}]}, 'not valid'),
        (200, {'messages': [CALM, {'type': 'image', 'image': {}}]}, 'not valid'),
        (200, {'messages': [{'type': 'image', 'image': {'id': '0' * 8}}] * 21}, '21 messages'),
        (500, {}, 'HTTP 500'),
    ],
)
def test_an_answer_that_is_refused_costs_its_neighbours_nothing(
    backend, platform, write, status, answer, title
):
    with Platform() as other:
        other.answer(status, answer)
        backend.account('other', '42', responder={'kind': 'http', 'url': other.url})
        write(PHONES[0], number='42')
        write(*PHONES[1:])
        platform.thinks()
        other.thinks()
        step()
        wait_until(lambda: len(platform.asks) + len(other.asks) == len(PHONES))
        platform.open.set()
        other.open.set()
        assert replies.close(10)
    assert said(backend) == to_all(PHONES[1:])
    failed = sql('SELECT wa_id, reply_error FROM conversation WHERE reply_error IS NOT NULL')
    assert [phone for phone, _ in failed] == [PHONES[0]]
    assert title in str(failed[0][1])


def test_answers_of_several_accounts_leave_from_their_own_numbers(backend, platform, write):
    with Platform() as other:
        other.says('Hi!')
        backend.account('other', '42', responder={'kind': 'http', 'url': other.url})
        backend.account('stopped', '43', responder={'kind': 'http', 'url': other.url})
        write(PHONES[0])
        write(PHONES[1], number='42')
        write(PHONES[2], number='43')
        other.thinks()
        platform.thinks()
        step()
        wait_until(lambda: len(platform.asks) + len(other.asks) == 3)
        assert backend.post('/account/stopped/deactivate').status_code == 200
        other.open.set()
        platform.open.set()
        assert replies.close(10)
    rows = sql(
        'SELECT recipient_to, chatbot_id, phone_number_id, status, hold_reason, priority '
        "FROM message WHERE direction = 'outbound' ORDER BY recipient_to"
    )
    numbers = dict(sql('SELECT chatbot_id, phone_number_id FROM whatsapp_cloud_account'))
    assert rows == [
        (f'+{PHONES[0]}', CHATBOT, numbers[CHATBOT], 'queued', None, 0),
        (f'+{PHONES[1]}', 'other', '42', 'queued', None, 0),
        (f'+{PHONES[2]}', 'stopped', '43', 'held', 'account', 0),
    ]


def test_of_a_batch_the_answer_that_comes_too_late_is_dropped_alone(backend, platform, write):
    platform.thinks()
    write(*PHONES)
    step()
    wait_until(lambda: len(platform.asks) == len(PHONES))
    sql(
        "UPDATE conversation SET reply_lease_until = now() - interval '1 second' WHERE wa_id = %s",
        PHONES[5],
    )
    other = replies.Replies()
    with connection():
        assert other.step() == 1
    wait_until(lambda: len(platform.asks) == len(PHONES) + 1)
    platform.open.set()
    assert replies.close(10)
    assert other.pool.close(10)
    assert said(backend) == to_all(PHONES)
    assert sql('SELECT count(*) FROM conversation WHERE reply_claim IS NOT NULL') == [(0,)]


def test_a_customer_of_a_batch_who_wrote_meanwhile_is_asked_about_again(
    backend, platform, write, meta
):
    platform.thinks()
    write(*PHONES)
    step()
    wait_until(lambda: len(platform.asks) == len(PHONES))
    more = text_message('And another thing', phone=PHONES[2], wamid='wamid.more')
    assert meta.webhook(envelope([more])).status_code == 200
    hear()
    platform.open.set()
    assert replies.close(10)
    waiting = sql('SELECT wa_id FROM conversation WHERE reply_due_at IS NOT NULL')
    assert waiting == [(PHONES[2],)]
