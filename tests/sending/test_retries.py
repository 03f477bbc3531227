"""The retry policy: 2, 4 and 8 seconds after the failure before it, four attempts in all."""

from itertools import pairwise

import pytest

from service.graph.error_class import ErrorClass
from service.graph.error_codes import look_up
from tests.people import CHATBOT, sql
from tests.stack import wait_until

REFUSED_ALWAYS, REFUSED_TWICE = '+19991310160', '+19991310162'


@pytest.fixture
def acme(backend, stand_in):
    backend.account()
    return backend


def seconds_until_due(message_id):
    return sql(
        'SELECT extract(epoch FROM due_at - now())::float FROM message WHERE id = %s', message_id
    )[0][0]


def due_now():
    sql("UPDATE message SET due_at = now() WHERE status = 'queued'")
    sql('UPDATE conversation SET send_after = NULL')


@pytest.mark.alone
def test_four_attempts_arrive_2_4_and_8_seconds_apart(acme, back_room, stand_in):
    """In real time, through Redis, the clock and the worker: the gaps as Meta would see them."""
    back_room()
    failing, healing = acme.send(REFUSED_ALWAYS), acme.send(REFUSED_TWICE)
    wait_until(lambda: acme.message(healing['id'])['status'] == 'accepted', 10)
    wait_until(lambda: acme.message(failing['id'])['status'] == 'failed', 20)
    calls = [call for call in stand_in.sends() if call['opaque'] == failing['id']]
    gaps = [later['monotonic'] - earlier['monotonic'] for earlier, later in pairwise(calls)]
    assert len(gaps) == 3
    for gap, due in zip(gaps, (2, 4, 8), strict=True):
        assert due <= gap <= due + 0.6, gaps
    message = acme.message(failing['id'])
    assert (message['attempts'], message['error']['code']) == (4, 131016)
    assert acme.message(healing['id'])['attempts'] == 3


def test_each_failure_makes_it_due_later_and_the_fourth_is_the_last(acme, workers, stand_in):
    sent = acme.send(REFUSED_ALWAYS)
    for attempt, delay in enumerate((2, 4, 8), start=1):
        workers.send()
        message = acme.message(sent['id'])
        assert (message['status'], message['attempts'], message['error']['code']) == (
            'queued',
            attempt,
            131016,
        )
        assert delay - 1.9 < seconds_until_due(sent['id']) <= delay
        due_now()
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['attempts'], message['error']['code']) == (
        'failed',
        4,
        131016,
    )
    due_now()
    workers.sweep()
    workers.send()
    assert len(stand_in.sends()) == 4


def test_the_error_is_gone_once_the_message_is_accepted(acme, workers, stand_in):
    sent = acme.send(REFUSED_TWICE)
    for _ in range(3):
        workers.send()
        due_now()
    message = acme.message(sent['id'])
    assert (message['status'], message['attempts'], message['error']) == ('accepted', 3, None)


@pytest.mark.parametrize(('retry_after', 'due'), [(30, 30), (1, 2)])
def test_a_longer_retry_after_is_honoured_and_a_shorter_one_not(
    acme, workers, stand_in, retry_after, due
):
    stand_in.config(retry_after=retry_after)
    sent = acme.send('+19991304290')
    workers.send()
    assert due - 1.9 < seconds_until_due(sent['id']) <= due


@pytest.mark.parametrize(
    ('code', 'due'), [(131057, 60), (133015, 300), (131056, 2), (4, 2), (135000, 2)]
)
def test_two_codes_have_longer_gaps_of_their_own(acme, workers, stand_in, code, due):
    sent = acme.send(f'+1999{code:06}0')
    workers.send()
    assert acme.message(sent['id'])['status'] == 'queued'
    assert due - 1.9 < seconds_until_due(sent['id']) <= due


@pytest.mark.parametrize(
    ('code', 'status'),
    [
        (2, 'queued'),
        (80007, 'queued'),
        (131000, 'queued'),
        (100, 'failed'),
        (131047, 'failed'),
        (132001, 'failed'),
        (999999, 'failed'),
        (10, 'held'),
        (200, 'held'),
        (131037, 'held'),
        (133010, 'held'),
    ],
)
def test_what_meta_answers_decides_what_becomes_of_the_message(
    acme, workers, stand_in, code, status
):
    sent = acme.send(f'+1999{code:06}0')
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['error']['code']) == (status, code)
    assert (acme.get(f'/account/{CHATBOT}').json['send_state'] == 'held') is (status == 'held')


@pytest.mark.parametrize(
    ('code', 'http_status', 'expected'),
    [
        (555, 500, ErrorClass.TRANSIENT),
        (555, 503, ErrorClass.TRANSIENT),
        (555, 429, ErrorClass.TRANSIENT),
        (555, 401, ErrorClass.ACCOUNT),
        (555, 403, ErrorClass.PERMANENT),
        (None, 400, ErrorClass.PERMANENT),
        (190, 500, ErrorClass.ACCOUNT),
        (131026, 500, ErrorClass.PERMANENT),
        (131016, 400, ErrorClass.TRANSIENT),
        (2494100, 400, ErrorClass.TRANSIENT),
        (250, 400, ErrorClass.ACCOUNT),
    ],
)
def test_a_known_code_decides_and_for_others_the_http_status(code, http_status, expected):
    assert look_up(code, http_status).error_class == expected
