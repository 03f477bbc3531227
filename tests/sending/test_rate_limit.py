"""The rate limit of each phone number: one for all processes, safe without Redis."""

import json
import os
import subprocess
import sys
import time
from collections import Counter

import pytest

from service.runtime import queues
from service.sending.rate_limit import RateLimiter, RateRequest, scope_keys
from tests.people import sql
from tests.stack import ROOT, wait_until

pytestmark = pytest.mark.alone

NUMBER = '300112233445566'


@pytest.fixture
def limiter(database):
    return RateLimiter()


def request(number, rate, wanted):
    return RateRequest(rate, wanted, scope_keys(number, None, None))


def acquire(limiter, wanted, rate=10, number=NUMBER):
    return limiter.acquire({number: request(number, rate, wanted)})[number]


def too_early(times, rate, began):
    """Those beyond a burst of one second and the rate since. What is seen late is never too early,
    however busy the machine is.
    """
    times = sorted(times)
    return [at for index, at in enumerate(times) if index + 1 > rate * (1 + at - began)]


def test_a_burst_of_one_second_is_granted_at_once_and_no_more(limiter):
    assert [acquire(limiter, 4), acquire(limiter, 4), acquire(limiter, 4), acquire(limiter, 4)] == [
        4,
        4,
        2,
        0,
    ]
    time.sleep(1.05)
    assert acquire(limiter, 99) == 10


def test_numbers_and_their_rates_are_independent(limiter):
    requests = {
        number: request(number, rate, 9) for number, rate in (('1', 3), ('2', 5), ('3', 80))
    }
    assert limiter.acquire(requests) == {'1': 3, '2': 5, '3': 9}
    assert limiter.acquire(requests) == {'1': 0, '2': 0, '3': 9}
    assert limiter.acquire({}) == {}


def test_several_processes_have_one_limit(limiter):
    other = RateLimiter()
    assert acquire(limiter, 6) == 6
    assert acquire(other, 6) == 4
    assert acquire(limiter, 6) == acquire(other, 6) == 0


def test_unused_permissions_are_given_back(limiter):
    other = RateLimiter()
    assert acquire(limiter, 8) == 8
    limiter.release(NUMBER, 7)
    assert acquire(limiter, 0) == 0
    assert acquire(other, 99) == 9


def test_what_is_given_back_late_takes_nothing_from_the_others(limiter):
    """An idle worker tells of its unused permissions with its next claim, seconds after they ran
    out.
    """
    other = RateLimiter()
    assert acquire(limiter, 9) == 9
    limiter.release(NUMBER, 8)
    time.sleep(1.05)
    assert acquire(other, 10) == 10
    assert acquire(limiter, 10) == 0


def test_what_is_given_back_is_ones_own_also_when_others_took_meanwhile(limiter):
    other = RateLimiter()
    assert acquire(limiter, 5) == 5
    limiter.release(NUMBER, 5)
    time.sleep(0.6)
    assert acquire(other, 5) == 5
    assert acquire(limiter, 99) == 5
    time.sleep(0.5)  # the first five would have run out by now, the others' have not
    assert acquire(other, 99) == 0


def test_without_redis_every_process_keeps_to_a_safe_share(limiter, setting):
    setting('REDIS_URL', 'redis://127.0.0.1:9/0')
    queues._clients.clear()
    try:
        assert acquire(limiter, 99, rate=80) == 20
        limiter.release(NUMBER, 15)
        assert acquire(limiter, 99, rate=80) == 15
        assert acquire(limiter, 99, rate=80) == 0
        assert acquire(limiter, 99, rate=2, number='2') == 1
    finally:
        queues._clients.clear()


def test_a_limiter_survives_that_redis_forgot_its_script(limiter, redis_server):
    assert acquire(limiter, 1) == 1
    queues.client().script_flush()
    assert acquire(limiter, 1) == 1


GREEDY = """
import json, time
from service.sending.rate_limit import RateLimiter, RateRequest, scope_keys
limiter, times, end = RateLimiter(), [], time.monotonic() + 1.6
request = RateRequest(50, 9, scope_keys('7', None, None))
while time.monotonic() < end:
    granted = limiter.acquire({'7': request})['7']
    used = min(granted, 6)
    times += [time.time()] * used
    limiter.release('7', granted - used)
    time.sleep(0.004)
print(json.dumps(times))
"""


def test_three_greedy_processes_never_exceed_the_rate_in_any_second(database):
    began = time.time()
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', GREEDY], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    times = [at for process in processes for at in json.loads(process.communicate()[0])]
    assert not too_early(times, 50, began)
    assert len(times) >= 75


def test_messages_leave_at_the_rate_of_their_number(backend, workers, stand_in, setting):
    """SEND_RATE for one account, max_mps for the other; counted where they arrive."""
    setting('SEND_RATE', '20')
    backend.account()
    backend.account('slow', '300112233445567', max_mps=5)
    for n in range(45):
        backend.send(f'+120255501{n:02}')
    for n in range(12):
        backend.send(f'+120255502{n:02}', chatbot_id='slow')

    began = time.monotonic()

    def all_left():
        workers.send()
        return sql("SELECT count(*) FROM message WHERE status = 'accepted'")[0][0] == 57

    wait_until(all_left, 20)
    sends = stand_in.sends()
    for number, rate in ((NUMBER, 20), ('300112233445567', 5)):
        times = [one['monotonic'] for one in sends if one['phone_number_id'] == number]
        assert not too_early(times, rate, began)
    assert Counter(one['opaque'] for one in sends).most_common(1)[0][1] == 1
    assert sends[-1]['monotonic'] - sends[0]['monotonic'] < 3.5
