"""A whole outage with the Procfile's processes: all is delivered once, in order, and only probes
went meanwhile.
"""

import re
import time
from collections import Counter

import pytest

from tests.gateway import Gateway
from tests.meta_away import OVERLOADED, UNAVAILABLE, Road
from tests.stack import wait_until

WORKERS, EARLY, PEOPLE, EACH = 2, 5, 40, 5
SECONDS = 10  # of the outage
ENVIRON = {'GRAPH_TIMEOUT': '2', 'UNKNOWN_GRACE_SECONDS': '3', 'SEND_RATE': '200'}
CLOSED = {
    'refuses': Road.refuse,
    'overloaded': lambda road: road.say(OVERLOADED),
    'unavailable': lambda road: road.say(UNAVAILABLE),
    'hangs': Road.hang,
}
TEXT = re.compile(rb'"body": ?"(\d+ of \d+)"')


@pytest.mark.parametrize('how', CLOSED)
def test_all_is_delivered_once_and_in_order_after_an_outage(tmp_path, how):
    rehearse(tmp_path, CLOSED[how], PEOPLE, EACH, SECONDS, **ENVIRON)


def rehearse(directory, close, people, each, seconds, **environ):
    """Returns how often each message was tried meanwhile, and how many probes went."""
    with Road() as road, Gateway(directory, GRAPH_API_URL=road.url, **environ) as gateway:
        road.target = gateway.stand_in.port
        gateway.processes.start('worker_send', WORKERS - 1)
        gateway.backend.account()
        queue(gateway, range(EARLY), each)
        wait_until(lambda: len(accepted(gateway)) == EARLY * each, 30)
        close(road)
        until = time.monotonic() + seconds
        queue(gateway, range(EARLY, people), each)
        wait_until(lambda: send_state(gateway) == 'away', 60)
        time.sleep(
            max(0, until - time.monotonic())
        )  # the outage lasts; there is nothing to wait for
        ((probes, failures),) = rows(gateway, 'SELECT sum(probes), sum(failures) FROM graph_outage')
        tried = Counter(TEXT.findall(b''.join(road.heard)))
        road.open()
        expected = [text(person, number) for person in range(people) for number in range(each)]
        wait_until(
            lambda: set(expected) <= set(accepted(gateway)), 150, 0.5, lambda: states(gateway)
        )
        wait_until(lambda: send_state(gateway) == 'ok', 10)
        arrived = accepted(gateway)
        assert sorted(arrived) == sorted(expected)
        for person in range(people):
            of_one = [one for one in arrived if one.startswith(f'{person} of ')]
            assert of_one == [text(person, number) for number in range(each)]
        assert max(tried.values(), default=0) <= probes + 1
        return tried, probes, failures


def text(person, number):
    return f'{person} of {number}'


def queue(gateway, people, each):
    for number in range(each):
        recipients = [
            {'to': f'+1202555{person:04}', 'parameters': {'n': str(person)}} for person in people
        ]
        message = {'text': {'body': f'{{{{n}}}} of {number}'}}
        body = {'chatbot_id': 'acme', 'message': message, 'recipients': recipients}
        answer = gateway.backend.post('/send/bulk', body)
        assert answer.status_code == 202, answer.text


def accepted(gateway):
    """The texts that Meta accepted, by its own books."""
    return [call['body']['text']['body'] for call in gateway.stand_in.sends() if call['wamid']]


def send_state(gateway):
    return gateway.backend.get('/account/acme').json['send_state']


def states(gateway):
    return rows(
        gateway, "SELECT status, count(*) FROM message WHERE direction = 'outbound' GROUP BY 1"
    )


def rows(gateway, statement):
    with gateway.postgres.connect() as database, database.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()
