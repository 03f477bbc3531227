"""Brakes: what slows a number, a WABA or an app down, seen in the permissions that are granted."""

import time

import pytest

from service.graph.client import _regain, _retry_after
from service.runtime import queues
from service.sending import rate_limit
from service.sending.rate_limit import RateLimiter, RateRequest, scope_keys, slow_down
from tests.own_service import Platform
from tests.people import CHATBOT, envelope, sql
from tests.stack import PHONE_NUMBER_ID

SECOND, THIRD = '300112233445567', '300112233445568'
WABA, RATE = '880011223344556', 64


@pytest.fixture
def acme(backend, stand_in, setting):
    setting('SEND_RATE', RATE)
    backend.account(waba_id=WABA)
    return backend


def granted(number=PHONE_NUMBER_ID, waba_id=WABA, own_app=None):
    """What may leave of this number in a second, with nothing used yet."""
    queues.client().delete(f'sent:{number}')
    request = RateRequest(RATE, 1000, scope_keys(number, waba_id, own_app))
    count = RateLimiter().acquire({number: request})[number]
    queues.client().delete(f'sent:{number}')
    return count


def go_by(seconds, key):
    """The brake as it will be in so many seconds."""
    for name in ('at', 'until'):
        if value := queues.client().hget(key, name):
            queues.client().hset(key, name, float(value) - seconds)


def refused(backend, workers, code, chatbot_id=CHATBOT):
    sent = backend.send(f'+1999{code:06}0', chatbot_id=chatbot_id)
    workers.send()
    return sent['id']


def seconds_until_due(message_id):
    return sql(
        'SELECT extract(epoch FROM due_at - now())::float FROM message WHERE id = %s', message_id
    )[0][0]


NUMBER_BRAKE = scope_keys(PHONE_NUMBER_ID, None, None)[0]


def test_a_throttled_number_has_half_its_rate_and_recovers_within_a_minute(acme, workers):
    assert granted() == RATE
    refused(acme, workers, 130429)
    assert RATE / 2 <= granted() <= RATE / 2 + 3
    go_by(30, NUMBER_BRAKE)
    assert RATE * 0.95 <= granted() <= RATE
    go_by(30, NUMBER_BRAKE)
    assert granted() == RATE
    assert granted(SECOND) == RATE


def test_many_complaints_of_one_second_halve_once(acme, workers):
    for n in range(6):
        acme.send(f'+19991304290{n:02}')
    workers.send()
    assert RATE / 2 <= granted() <= RATE / 2 + 3
    go_by(1.1, NUMBER_BRAKE)
    refused(acme, workers, 130429)
    assert RATE / 4 <= granted() <= RATE / 4 + 4


def test_even_the_slowest_number_sends_something(acme):
    for _ in range(12):
        slow_down(NUMBER_BRAKE)
        go_by(1.05, NUMBER_BRAKE)
    assert 1 <= granted() <= 4


def test_retry_after_delays_the_message_and_pauses_the_number(acme, workers, stand_in):
    stand_in.config(retry_after=30)
    acme.account('other', SECOND)
    message_id = refused(acme, workers, 130429)
    assert 25 < seconds_until_due(message_id) <= 30
    waiting, other = acme.send('+12025550144'), acme.send(chatbot_id='other')
    workers.send()
    assert [acme.message(one['id'])['status'] for one in (waiting, other)] == ['queued', 'accepted']
    go_by(30, NUMBER_BRAKE)
    workers.send()
    assert acme.message(waiting['id'])['status'] == 'accepted'


def test_retry_after_of_a_pair_pauses_nobody_else(acme, workers, stand_in):
    stand_in.config(retry_after=30)
    message_id = refused(acme, workers, 131056)
    assert 25 < seconds_until_due(message_id) <= 30
    assert granted() == RATE


def test_a_429_with_a_code_that_nobody_knows_slows_the_number(acme, workers, setting):
    with Platform() as graph:
        graph.answer(429, {'error': {'code': 777}}, **{'Retry-After': '20'})
        setting('GRAPH_API_URL', graph.url)
        sent = acme.send()
        workers.send()
    assert 15 < seconds_until_due(sent['id']) <= 20
    assert granted() == 0


def test_80007_slows_all_numbers_of_the_waba(acme, workers):
    refused(acme, workers, 80007)
    assert RATE / 2 <= granted() <= RATE / 2 + 3
    assert RATE / 2 <= granted(SECOND) <= RATE / 2 + 3
    assert granted(THIRD, waba_id='another') == RATE


def test_4_slows_the_accounts_of_the_shared_app_and_no_app_of_its_own(acme, workers):
    refused(acme, workers, 4)
    assert RATE / 2 <= granted() <= RATE / 2 + 3
    assert RATE / 2 <= granted(SECOND, waba_id='another') <= RATE / 2 + 3
    assert granted(THIRD, waba_id='another', own_app='own') == RATE


def test_4_of_an_app_of_its_own_slows_that_alone(acme, workers):
    acme.account('own', THIRD, app_secret='secret-of-its-own', waba_id='another')
    refused(acme, workers, 4, 'own')
    assert RATE / 2 <= granted(THIRD, 'another', 'own') <= RATE / 2 + 3
    assert granted() == RATE


@pytest.mark.parametrize(
    ('code', 'number', 'waba_id'), [(80007, SECOND, WABA), (4, THIRD, 'another')]
)
def test_the_minutes_of_the_usage_header_pause_the_waba_or_the_app(
    acme, workers, stand_in, code, number, waba_id
):
    stand_in.config(regain_minutes=5)
    acme.account('sister', number, waba_id=waba_id)
    refused(acme, workers, code)
    sister = acme.send('+12025550144', chatbot_id='sister')
    workers.send()
    assert acme.message(sister['id'])['status'] == 'queued'
    for key in scope_keys(number, waba_id, None):
        go_by(290, key)
    workers.send()
    assert acme.message(sister['id'])['status'] == 'queued'
    for key in scope_keys(number, waba_id, None):
        go_by(11, key)
    workers.send()
    assert acme.message(sister['id'])['status'] == 'accepted'


def test_a_shorter_pause_or_none_does_not_end_a_longer_one(database):
    for pause in (3600, 1, None):
        slow_down(NUMBER_BRAKE, pause)
    assert granted() == 0
    assert 3600 < queues.client().ttl(NUMBER_BRAKE) <= 3661
    go_by(3590, NUMBER_BRAKE)
    assert granted() == 0
    go_by(11, NUMBER_BRAKE)
    assert RATE / 2 <= granted() <= RATE / 2 + 3  # it recovers from the end of the pause on


def test_a_webhook_that_tells_of_130429_brakes_the_number(acme, workers, meta):
    meta.webhook(envelope(errors=[{'code': 130429, 'title': 'Rate limit hit'}]))
    workers.incoming()
    assert acme.outcomes() == [('value_error', 'stored')]
    assert RATE / 2 <= granted() <= RATE / 2 + 3


def test_all_three_brakes_at_once_multiply(database):
    for key in scope_keys(PHONE_NUMBER_ID, WABA, None):
        slow_down(key)
    assert RATE / 8 <= granted() <= RATE / 8 + 3


def test_with_redis_away_a_safe_local_rate_holds_and_nothing_breaks(
    acme, workers, stand_in, setting
):
    setting('SEND_RATE', '20')
    for n in range(9):
        acme.send(f'+1202555015{n}')
    acme.send('+19991304290')
    setting('REDIS_URL', 'redis://127.0.0.1:9/0')
    queues._clients.clear()
    try:
        slow_down(NUMBER_BRAKE, 10)
        workers.send()
        assert len(stand_in.sends()) == 20 * rate_limit.RateLimiter.LOCAL_SHARE
    finally:
        queues._clients.clear()


class Answer:
    def __init__(self, **headers):
        self.headers = {name.replace('_', '-'): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ('header', 'seconds'),
    [
        ('30', 30),
        ('0', 0),
        ('9' * 400, 86400),
        ('soon', None),
        ('-5', None),
        ('', None),
        ('٣', None),
    ],
)
def test_retry_after_in_seconds(header, seconds):
    assert _retry_after(Answer(Retry_After=header)) == seconds


def test_retry_after_may_be_a_date():
    at = time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(time.time() + 60))
    assert 58 <= _retry_after(Answer(Retry_After=at)) <= 60
    assert _retry_after(Answer(Retry_After='Thu, 01 Jan 1970 00:00:00 GMT')) == 0


@pytest.mark.parametrize(
    ('header', 'seconds'),
    [
        (
            '{"1": [{"estimated_time_to_regain_access": 5}, {"estimated_time_to_regain_access": '
            '7}]}',
            420,
        ),
        (
            '{"1": [{"estimated_time_to_regain_access": null}], "2": '
            '[{"estimated_time_to_regain_access": 1}]}',
            60,
        ),
        ('{"1": [{"estimated_time_to_regain_access": 1e300}]}', 86400),
        ('{"1": [{"estimated_time_to_regain_access": "5"}]}', None),
        ('{"1": [{"estimated_time_to_regain_access": 0}]}', None),
        ('{"1": {"a": 1}}', None),
        ('[]', None),
        ('{', None),
        ('', None),
        ('{"1": [7]}', None),
    ],
)
def test_the_usage_header_in_any_shape(header, seconds):
    assert _regain(Answer(X_Business_Use_Case_Usage=header)) == seconds
