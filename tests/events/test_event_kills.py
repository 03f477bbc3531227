"""Who tells and who is told die (-9) while 2,000 events flow, and Redis forgets everything: each
event comes at least once, in the order of its conversation.
"""

import itertools
import random
import threading
from collections import defaultdict
from functools import partial

import pytest

from tests.bench.event_listener import heard
from tests.gateway import Gateway
from tests.people import envelope, text_message
from tests.stack import free_port, wait_until

CONVERSATIONS, TEXTS, IN_ONE = 40, 50, 5
TELLERS = 2
ENTRIES = {
    'web': 'python -m service.web.gunicorn -c python:service.web.server wsgi:app',
    'incoming': 'python -m workers incoming',
    'clock': 'python -m workers clock',
}


class Told:
    """The endpoint's server, a process of its own."""

    def __init__(self, processes, directory):
        self.processes, self.port, self.file = processes, free_port(), directory / 'heard'
        self.url = f'http://127.0.0.1:{self.port}/hook'

    def start(self):
        command = f'python -m tests.bench.event_listener {self.port} {self.file} 0.002'
        self.processes.start('listener', command=command)

    def restart(self):
        self.processes.kill('listener')
        self.start()


@pytest.fixture
def gateway(tmp_path):
    gateway = Gateway(tmp_path)

    def start():
        for name, command in ENTRIES.items():
            gateway.processes.start(name, command=command)
        gateway.processes.start('events', TELLERS, command='python -m workers events')

    with gateway.entered_with(start):
        yield gateway


def kill_teller(gateway):
    (one, *_) = gateway.processes.running('events')
    one.send(9)
    one.wait(10)
    gateway.processes.start('events', command='python -m workers events')


def test_two_thousand_events_survive_kills_and_flushes(gateway, tmp_path):
    told = Told(gateway.processes, tmp_path)
    told.start()
    gateway.backend.account(responder={'kind': 'none'})
    answer = gateway.backend.post('/endpoints', {'url': told.url, 'types': ['message.received']})
    assert answer.status_code == 201
    is_over, killed = threading.Event(), []
    arguments = (gateway, told, is_over, killed)
    kills = threading.Thread(target=kill_again_and_again, args=arguments)
    kills.start()
    for number in range(0, TEXTS, IN_ONE):
        for phone in range(CONVERSATIONS):
            texts = [text_message(f'{n}', f'wamid.{phone}.{n}', f'120255502{phone:02}')
                     for n in range(number, number + IN_ONE)]  # fmt: skip
            assert gateway.meta.webhook(envelope(texts)).status_code == 200
    is_over.wait(3)
    is_over.set()
    kills.join(30)
    assert len(killed) >= 6
    wait_until(lambda: told_of(told) == CONVERSATIONS * TEXTS, 180, 0.5)
    in_order = defaultdict(dict)
    for _, _, id_, _, conversation in heard(told.file):
        in_order[conversation].setdefault(id_)  # the first time
    assert len(in_order) == CONVERSATIONS
    assert all(list(ids) == sorted(ids) for ids in in_order.values())
    # what was told before its record was lost is told again, when the lease has ended
    path = f'/endpoints/{answer.json["id"]}/deliveries?status=waiting'
    wait_until(lambda: gateway.backend.get(path).json['data'] == [], 90, 0.5)


def told_of(told):
    return len({one[2] for one in heard(told.file)})


def kill_again_and_again(gateway, told, is_over, killed):
    dice = random.Random(12)
    for trouble in itertools.cycle(
        [partial(kill_teller, gateway), told.restart, gateway.redis.flush]
    ):
        if is_over.wait(dice.uniform(0.1, 0.5)):
            return
        trouble()
        killed.append(trouble)
