"""Who is answered, when, and how often: one conversation at a time, and nobody waits for another's
responder.
"""

import pytest
from peewee import OperationalError

from service.runtime.db import connection
from tests.own_service import Platform
from tests.people import CHATBOT, CUSTOMER, contact, envelope, sql, text_message
from tests.stack import wait_until
from workers import incoming, replies


@pytest.fixture
def write(meta):
    """write('text', …): the customer writes, and a worker hears it, but waits for no responder."""
    written = []

    def post(*texts, number=None, **more):
        for text in texts:
            written.append(text)
            message = text_message(text, wamid=f'wamid.{len(written)}', **more)
            body = envelope([message], number=number) if number else envelope([message])
            assert meta.webhook(body).status_code == 200
        step()

    return post


def step():
    with connection():
        while incoming.step():
            pass


def due():
    """Every conversation's (seconds until a reply is asked for, attempts, error)."""
    return sql(
        'SELECT extract(epoch FROM reply_due_at - now())::float, reply_attempts, reply_error '
        'FROM conversation'
    )


def make_due():
    sql('UPDATE conversation SET reply_due_at = now() WHERE reply_due_at IS NOT NULL')


def said(backend, **query):
    """What was queued for the customer, in order."""
    return [
        message['content']['body'] for message in backend.messages(direction='outbound', **query)
    ][::-1]


# ---- who is answered

ANSWERED = {
    'text': {'body': 'Hi'},
    'image': {'id': '1'},
    'video': {'id': '1'},
    'audio': {'id': '1', 'voice': True},
    'document': {'id': '1', 'filename': '../etc'},
    'sticker': {'id': '1'},
    'location': {'latitude': 0, 'longitude': 0},
    'contacts': [{'phones': []}],
    'interactive': {'type': 'button_reply', 'button_reply': {'id': '1', 'title': 'Yes'}},
    'button': {'payload': 'x', 'text': 'Yes'},
    'order': {'catalog_id': '1', 'product_items': []},
    'request_welcome': None,
}
NOT_ANSWERED = {
    'reaction': {'message_id': 'wamid.B', 'emoji': '👍'},
    'system': {'type': 'user_changed_number', 'body': 'x'},
    'edit': {'original_message_id': 'wamid.B'},
    'revoke': {'original_message_id': 'wamid.B'},
    'unsupported': {'type': 'poll'},
    'unknown': {},
    'hologram': {'id': '1'},
    'ephemeral': {},
}


def of_type(kind, content, **more):
    message = text_message(**more)
    del message['text']
    return message | {'type': kind} | ({kind: content} if content is not None else {})


@pytest.fixture
def later(setting):
    """Replies are asked for in an hour: enough to see who waits for one."""
    setting('AI_BASE_URL', 'http://127.0.0.1:9/v1')
    setting('REPLY_QUIET_SECONDS', 3600)


@pytest.mark.parametrize('kind', ANSWERED)
def test_what_a_customer_says_is_answered(backend, meta, workers, later, kind):
    backend.account()
    meta.webhook(envelope([of_type(kind, ANSWERED[kind])]))
    workers.incoming()
    ((seconds, *_),) = due()
    assert 3590 < seconds <= 3600


@pytest.mark.parametrize('kind', NOT_ANSWERED)
def test_what_nobody_said_to_us_is_not_answered(backend, meta, workers, later, kind):
    backend.account()
    meta.webhook(envelope([of_type(kind, NOT_ANSWERED[kind])]))
    workers.incoming()
    assert backend.outcomes() == [('message', 'stored')]
    assert due() == [(None, 0, None)]


@pytest.mark.parametrize(
    'why',
    [
        'in a group',
        'inactive account',
        'responder none',
        'no responder and no AI',
        'on a message that came twice',
    ],
)
def test_a_text_is_not_answered(backend, meta, workers, later, setting, why):
    backend.account(responder={'kind': 'none'} if why == 'responder none' else None)
    if why == 'inactive account':
        backend.post(f'/account/{CHATBOT}/deactivate')
    if why == 'no responder and no AI':
        setting('AI_BASE_URL', '')
    meta.webhook(envelope([text_message(**({'group_id': 'group'} if why == 'in a group' else {}))]))
    workers.incoming()
    if why == 'on a message that came twice':
        sql('UPDATE conversation SET reply_due_at = NULL')
        meta.webhook(envelope([text_message()], contacts=[contact()]))
        workers.incoming()
    assert due() == [(None, 0, None)]


# ---- when


def test_a_burst_is_answered_once(backend, platform, write, workers, setting):
    setting('REPLY_QUIET_SECONDS', 60)
    waits = []
    for text in ('One', 'Two', 'Three'):
        write(text)
        waits.append(sql('SELECT reply_due_at FROM conversation')[0][0])
    assert waits[0] < waits[1] < waits[2]
    assert platform.asks == []
    make_due()
    workers.incoming()
    (ask,) = platform.asks
    assert [message['content']['body'] for message in ask['body']['messages']] == [
        'One',
        'Two',
        'Three',
    ]
    assert said(backend) == ['Hi!']
    assert due() == [(None, 0, None)]


def test_an_answer_that_a_newer_message_overtakes_is_dropped_and_asked_for_anew(
    backend, platform, write, workers
):
    platform.thinks()
    write('One')
    wait_until(lambda: platform.asks)
    write('Two')
    make_due()
    step()
    assert len(platform.asks) == 1
    platform.open.set()
    assert replies.close(10)
    workers.incoming()
    assert [len(ask['body']['messages']) for ask in platform.asks] == [1, 2]
    assert platform.most_at_once == 1
    assert said(backend) == ['Hi!']
    assert due() == [(None, 0, None)]


def test_two_workers_ask_once(backend, platform, write):
    platform.thinks()
    write('One')
    wait_until(lambda: platform.asks)
    other = replies.Replies()
    make_due()
    with connection():
        assert other.step() == 0
    platform.open.set()
    assert replies.close(10)
    assert len(platform.asks) == 1


def test_what_a_dead_worker_asked_is_asked_again_and_its_late_answer_is_dropped(
    backend, platform, write, workers
):
    platform.thinks()
    write('One')
    wait_until(lambda: platform.asks)
    sql("UPDATE conversation SET reply_lease_until = now() - interval '1 second'")
    other = replies.Replies()
    with connection():
        assert other.step() == 1
    wait_until(lambda: len(platform.asks) == 2)
    platform.open.set()
    assert replies.close(10)
    assert other.pool.close(10)
    assert said(backend) == ['Hi!']


def test_a_paused_conversation_is_not_asked_about(backend, platform, write, workers, setting):
    setting('REPLY_QUIET_SECONDS', 60)
    write('One')
    sql("UPDATE conversation SET paused_until = now() + interval '1 hour'")
    make_due()
    workers.incoming()
    assert platform.asks == []
    sql("UPDATE conversation SET paused_until = now() - interval '1 second'")
    workers.incoming()
    assert said(backend) == ['Hi!']


def test_an_account_that_was_deactivated_meanwhile_is_not_asked_for(
    backend, platform, write, workers, setting
):
    setting('REPLY_QUIET_SECONDS', 60)
    write('One')
    backend.post(f'/account/{CHATBOT}/deactivate')
    make_due()
    workers.incoming()
    assert platform.asks == []


def test_a_slow_responder_delays_neither_events_nor_the_others(backend, platform, write):
    with Platform() as quick:
        quick.says('Quick!')
        backend.account('quick', '42', responder={'kind': 'http', 'url': quick.url})
        platform.thinks()
        for n in range(40):
            write('Slow', phone=f'1202555{n:04}')
        wait_until(lambda: len(platform.asks) >= 8)
        write('Hello', number='42')
        wait_until(lambda: said(backend, chatbot_id='quick') == ['Quick!'])
        assert backend.outcomes() == [('message', 'stored')] * 41
        assert said(backend, chatbot_id=CHATBOT) == []
        platform.open.set()

        def all_answered():
            step()
            return len(said(backend, chatbot_id=CHATBOT)) == 40

        wait_until(all_answered)
        assert len(platform.asks) == 40


# ---- when it fails


def test_a_failing_responder_is_asked_again_after_2_4_and_8_seconds_and_then_the_error_is_shown(
    backend, platform, write, workers
):
    platform.answer(500, {'secret': 'of theirs'})
    write('One')
    for attempt, delay in enumerate((2, 4, 8), start=1):
        workers.incoming()
        ((seconds, attempts, error),) = due()
        assert delay - 1.9 < seconds <= delay
        assert attempts == len(platform.asks) == attempt
        assert error == {
            'title': 'the responder answered HTTP 500',
            'attempts': attempt,
            'final': False,
        }
        make_due()
    workers.incoming()
    (conversation,) = backend.conversations()
    assert len(platform.asks) == 4
    assert conversation['reply_error'] == {
        'title': 'the responder answered HTTP 500',
        'attempts': 4,
        'final': True,
    }
    assert conversation['reply_due_at'] is None
    assert 'of theirs' not in str(conversation)

    platform.says('Hi!')
    write('Two')
    workers.incoming()
    (conversation,) = backend.conversations()
    assert (conversation['reply_error'], conversation['reply_attempts']) == (None, 0)
    assert said(backend) == ['Hi!']


def test_a_responder_that_is_away_is_asked_again(backend, write, workers):
    backend.account(responder={'kind': 'http', 'url': 'http://127.0.0.1:9/'})
    write('One')
    workers.incoming()
    ((seconds, attempts, error),) = due()
    assert (attempts, error['title']) == (1, 'the responder did not answer (ConnectionError)')
    assert 0 < seconds <= 2


def test_an_ask_that_postgresql_was_away_for_is_no_attempt(
    backend, platform, write, workers, monkeypatch
):
    with monkeypatch.context() as away:
        away.setattr('workers.replies.read_questions', lambda replies: lost_connection())
        write('One')
        for _ in range(5):
            workers.incoming()
            ((seconds, attempts, error),) = due()
            assert (attempts, error['final']) == (0, False)
            assert seconds <= 2
            make_due()
    workers.incoming()
    assert said(backend) == ['Hi!']


def lost_connection():
    raise OperationalError('server closed the connection unexpectedly')


def test_a_customer_without_a_phone_is_answered_by_the_bsuid(backend, stand_in, meta, workers):
    backend.account()
    meta.webhook(meta.payload('bsuid_in_text_no_phone'))
    meta.webhook(envelope([text_message('Hello')]))
    workers.incoming()
    workers.send()
    bodies = sorted((send['body'] for send in stand_in.sends()), key=str)
    assert sorted((body.get('to'), body.get('recipient')) for body in bodies if body.get('to')) == [
        (f'+{CUSTOMER}', None)
    ]
    (by_bsuid,) = [body for body in bodies if 'to' not in body]
    assert by_bsuid['recipient'].startswith('US.')
