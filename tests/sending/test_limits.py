"""The budget of messages per second and number: one over all processes, safe without Redis."""

import json
import os
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter

import pytest

from service.runtime import queues
from service.sending.rate_limit import SendBudget
from tests.people import sql
from tests.stack import ROOT, wait_until

pytestmark = pytest.mark.alone

NUMBER = '300112233445566'


@pytest.fixture
def budget(database):
    return SendBudget()


def take(budget, wanted, rate=10, number=NUMBER):
    return budget.take({number: (rate, wanted)})[number]


def busiest_second(times):
    times = sorted(times)
    return max(index + 1 - bisect_left(times, at - 1) for index, at in enumerate(times))


def test_a_burst_of_one_second_is_granted_at_once_and_no_more(budget):
    assert [take(budget, 4), take(budget, 4), take(budget, 4), take(budget, 4)] == [4, 4, 2, 0]
    time.sleep(1.05)
    assert take(budget, 99) == 10


def test_numbers_and_their_rates_are_independent(budget):
    wishes = {'1': (3, 9), '2': (5, 9), '3': (80, 9)}
    assert budget.take(wishes) == {'1': 3, '2': 5, '3': 9}
    assert budget.take(wishes) == {'1': 0, '2': 0, '3': 9}
    assert budget.take({}) == {}


def test_several_processes_have_one_budget(budget):
    other = SendBudget()
    assert take(budget, 6) == 6
    assert take(other, 6) == 4
    assert take(budget, 6) == take(other, 6) == 0


def test_unused_permissions_are_given_back(budget):
    other = SendBudget()
    assert take(budget, 8) == 8
    budget.give_back(NUMBER, 7)
    assert take(budget, 0) == 0
    assert take(other, 99) == 9


def test_what_is_given_back_late_takes_nothing_from_the_others(budget):
    """An idle worker tells of its unused permissions with its next claim, seconds after they ran
    out.
    """
    other = SendBudget()
    assert take(budget, 9) == 9
    budget.give_back(NUMBER, 8)
    time.sleep(1.05)
    assert take(other, 10) == 10
    assert take(budget, 10) == 0


def test_what_is_given_back_is_ones_own_also_when_others_took_meanwhile(budget):
    other = SendBudget()
    assert take(budget, 5) == 5
    budget.give_back(NUMBER, 5)
    time.sleep(0.6)
    assert take(other, 5) == 5
    assert take(budget, 99) == 5
    time.sleep(0.5)  # the first five would have run out by now, the others' have not
    assert take(other, 99) == 0


def test_without_redis_every_process_keeps_to_a_safe_share(budget, setting):
    setting('REDIS_URL', 'redis://127.0.0.1:9/0')
    queues._clients.clear()
    try:
        assert take(budget, 99, rate=80) == 20
        budget.give_back(NUMBER, 15)
        assert take(budget, 99, rate=80) == 15
        assert take(budget, 99, rate=80) == 0
        assert take(budget, 99, rate=2, number='2') == 1
    finally:
        queues._clients.clear()


def test_a_budget_survives_that_redis_forgot_its_script(budget, redis_server):
    assert take(budget, 1) == 1
    queues.client().script_flush()
    assert take(budget, 1) == 1


GREEDY = """
import json, time
from service.sending.rate_limit import SendBudget
budget, times, end = SendBudget(), [], time.monotonic() + 1.6
while time.monotonic() < end:
    granted = budget.take({'7': (50, 9)})['7']
    used = min(granted, 6)
    times += [time.time()] * used
    budget.give_back('7', granted - used)
    time.sleep(0.004)
print(json.dumps(times))
"""


def test_three_greedy_processes_never_exceed_the_rate_in_any_second(database):
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', GREEDY], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    times = [at for process in processes for at in json.loads(process.communicate()[0])]
    assert busiest_second(times) <= 50
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

    def all_left():
        workers.send()
        return sql("SELECT count(*) FROM message WHERE status = 'accepted'")[0][0] == 57

    wait_until(all_left, 6)
    sends = stand_in.sends()
    for number, rate in ((NUMBER, 20), ('300112233445567', 5)):
        assert (
            busiest_second([one['monotonic'] for one in sends if one['phone_number_id'] == number])
            <= rate
        )
    assert Counter(one['opaque'] for one in sends).most_common(1)[0][1] == 1
    assert sends[-1]['monotonic'] - sends[0]['monotonic'] < 3.5
