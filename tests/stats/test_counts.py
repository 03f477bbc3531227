"""What each thing that happens to a message counts for, through the front door."""

from datetime import UTC, datetime, timedelta

import pytest

from service.messages import echo
from service.runtime.db import connection
from tests.people import CUSTOMER, contact, envelope, sql, status_of, text_message
from tests.stats.history import differences
from tests.web.tenants import backend_of

UNDELIVERABLE = {'code': 131026, 'title': 'Message undeliverable'}


@pytest.fixture(autouse=True)
def exact(database):
    """Whatever a test does, the sums are those of the rows, folded and not."""
    yield
    assert differences() == {}


@pytest.fixture
def account(backend, stand_in):
    backend.account(responder={'kind': 'none'})


def stats(backend, **query):
    answer = backend.get('/stats', query_string={'by': 'hour', **query})
    assert answer.status_code == 200, answer.text
    return answer.json


def tomorrow():
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


def total(backend, **query):
    """The counters that are not 0."""
    return {name: count for name, count in stats(backend, **query)['total'].items() if count}


def accepted(backend, workers, **more):
    """A message that Meta has taken; its id and wamid."""
    id_ = backend.send(**more)['id']
    workers.send()
    return id_, backend.message(id_)['wamid']


def test_statuses_move_a_message_through_the_funnel_in_whichever_order(
    account, backend, workers, tell
):
    _, wamid = accepted(backend, workers)
    assert total(backend) == {'out': 1, 'accepted': 1}
    tell(status_of(wamid, 'delivered'))
    funnel = {'out': 1, 'accepted': 1, 'sent': 1, 'delivered': 1}
    assert total(backend) == funnel
    tell(status_of(wamid, 'sent'))  # late
    assert total(backend) == funnel
    tell(status_of(wamid, 'read'), status_of(wamid, 'delivered'))
    assert total(backend) == funnel | {'read': 1}
    workers.sweep()
    tell(status_of(wamid, 'played'))
    assert total(backend) == funnel | {'read': 1}


def test_a_failure_counts_by_its_code_until_it_is_tried_again(account, backend, workers, tell):
    id_, wamid = accepted(backend, workers)
    tell(status_of(wamid, 'failed', errors=[UNDELIVERABLE]))
    assert total(backend) == {'out': 1, 'accepted': 1, 'failed': 1}
    (failure,) = stats(backend)['failures']
    message = backend.message(id_)
    assert failure == {
        'code': '131026',
        'count': 1,
        'explanation': message['explanation'],
        'fix': message['fix'],
    }
    workers.sweep()
    assert backend.post(f'/messages/{id_}/retry').status_code == 202
    assert total(backend) == {'out': 1, 'accepted': 1}
    assert stats(backend)['failures'] == []
    workers.send()
    tell(status_of(backend.message(id_)['wamid'], 'sent'))
    assert total(backend) == {'out': 1, 'accepted': 1, 'sent': 1}


def test_one_that_meta_refused_and_that_goes_again_by_itself_is_no_failure(
    account, backend, workers, tell
):
    _, wamid = accepted(backend, workers)
    tell(status_of(wamid, 'sent'))
    tell(status_of(wamid, 'failed', errors=[{'code': 131000, 'title': 'Something went wrong'}]))
    assert total(backend) == {'out': 1, 'accepted': 1}


def test_what_is_cancelled_was_a_message_and_nothing_else(account, backend):
    id_ = backend.send(send_at=tomorrow())['id']
    assert backend.post(f'/messages/{id_}/cancel').status_code == 200
    assert total(backend) == {'out': 1}
    assert stats(backend)['waiting'] == {'count': 0, 'oldest_seconds': None}


def test_a_customers_message_counts_once_however_often_meta_tells_of_it(
    account, backend, meta, workers
):
    for _ in range(2):
        meta.webhook(envelope([text_message('Hi'), text_message('You?', 'wamid.B')]))
        meta.webhook(envelope([text_message('Hi')]))
        workers.incoming()
    assert total(backend) == {'in': 2}
    assert total(backend, chatbot_id='acme') == {'in': 2}


def test_two_conversations_that_are_one_count_like_two(account, backend, meta, workers):
    def write(wamid, **ids):
        people = [contact('Ines', **ids)]
        meta.webhook(envelope([text_message('Hi', wamid, **ids)], contacts=people))
        workers.incoming()

    write('wamid.1', phone=CUSTOMER, user=None)
    write('wamid.2', phone=None, user='US.123456')
    assert len(backend.conversations()) == 2
    write('wamid.3', phone=CUSTOMER, user='US.123456')
    assert len(backend.conversations()) == 1
    assert total(backend) == {'in': 3}


def test_an_echo_of_our_own_message_is_no_second_one(account, backend, workers):
    id_, wamid = accepted(backend, workers)
    sql(
        'INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type,'
        ' content, status, accepted_at, echo, wamid) SELECT gen_random_uuid(), chatbot_id,'
        " conversation_id, direction, phone_number_id, type, content, 'sent', now(), true, wamid"
        ' FROM message'
    )
    assert total(backend) == {'out': 2, 'accepted': 2, 'sent': 1}
    with connection():
        echo.delete_duplicates([id_])
    assert total(backend) == {'out': 1, 'accepted': 1}


def test_an_echo_goes_out_and_takes_no_time(account, backend, meta, workers):
    assert meta.webhook(meta.payload('f_smb_message_echoes')).status_code == 200
    workers.incoming()
    assert total(backend) == {'out': 1, 'accepted': 1, 'sent': 1}
    assert stats(backend)['send_seconds'] == {'median': None, 'p95': None}


def test_it_tells_how_long_sends_and_replies_take(platform, backend, meta, workers, stand_in):
    platform.says('Hi!', 'And more.')
    meta.webhook(envelope([text_message('Hello')]))
    workers.incoming()
    sql(
        "UPDATE message SET reply_wanted_at = created_at - interval '10 minutes'"
        ' WHERE reply_wanted_at IS NOT NULL'
    )
    workers.send()
    sql('UPDATE conversation SET send_after = NULL')
    workers.send()
    told = stats(backend)
    assert told['total']['accepted'] == 2
    assert 450 < told['reply_seconds']['median'] < 800
    assert told['reply_seconds']['median'] <= told['reply_seconds']['p95'] < 800
    assert 0 < told['send_seconds']['median'] < 60
    wanted = sql('SELECT count(reply_wanted_at) FROM message')
    assert wanted == [(1,)]  # the customer waits for the first message of a reply
    backend.send()
    assert sql('SELECT count(reply_wanted_at) FROM message') == wanted


def test_it_says_what_waits_and_for_how_long(account, backend, workers, stand_in):
    for number in range(3):
        backend.send(to=f'+1202555010{number}')
    stored = sql('SELECT created_at, id FROM message')
    sql("UPDATE message SET created_at = now() - interval '90 seconds', status = 'queued'")
    backend.send(to='+12025550109', send_at=tomorrow())
    waiting = stats(backend)['waiting']
    assert waiting['count'] == 3
    assert 90 <= waiting['oldest_seconds'] < 150
    sql("UPDATE message SET status = 'unknown' WHERE recipient_to = '+12025550101'")
    told = stats(backend)
    assert (told['waiting']['count'], told['unknown'], told['held']) == (2, 1, 0)
    backend.post('/account/acme/deactivate')
    told = stats(backend, chatbot_id='acme')
    assert (told['waiting'], told['unknown']) == ({'count': 0, 'oldest_seconds': None}, 1)
    assert told['held'] >= 2
    for row in stored:  # back into the hour in which it was counted
        sql('UPDATE message SET created_at = %s WHERE id = %s', *row)


def test_a_key_counts_what_it_sees(account, backend, meta, workers):
    backend.account('other', '300112233445599', responder={'kind': 'none'})
    meta.webhook(envelope([text_message('Hi')]))
    meta.webhook(envelope([text_message('Hi', 'wamid.B')], number='300112233445599'))
    meta.webhook(envelope([text_message('Ho', 'wamid.C')], number='300112233445599'))
    workers.incoming()
    for _ in range(2):
        assert total(backend) == {'in': 3}
        assert total(backend_of(backend, 'acme')) == {'in': 1}
        assert total(backend_of(backend, 'other')) == {'in': 2}
        assert total(backend_of(backend, 'acme', 'other')) == {'in': 3}
        workers.sweep()
    assert stats(backend_of(backend, 'acme'))['chatbot_id'] == 'acme'
    assert stats(backend)['chatbot_id'] is None
