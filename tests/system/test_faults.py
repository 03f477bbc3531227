"""Everything dies while messages flow: nothing that was accepted is lost, nothing is delivered
twice.
"""

import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import requests

from tests.gateway import Gateway
from tests.people import contact, envelope, text_message
from tests.stack import wait_until

SENDS, CUSTOMERS = 150, 150
GRACE = 6  # seconds; statuses of the stand-in come well within it
ENVIRON = {'GRAPH_TIMEOUT': '2', 'UNKNOWN_GRACE_SECONDS': str(GRACE), 'SEND_RATE': '1000'}


def insist(request):
    """What a backend, and Meta, do: repeat the same request until the gateway has answered it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = request()
            if answer.status_code < 500:
                return answer
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise AssertionError('the gateway did not answer for 60 s')


def send(gateway, number):
    body = {'chatbot_id': 'acme', 'to': f'+1202555{number:04}', 'text': {'body': f'send {number}'}}
    answer = insist(
        lambda: gateway.backend.post('/send', body, headers={'Idempotency-Key': f'send-{number}'})
    )
    assert answer.status_code == 202, answer.text


def customer_writes(gateway, number):
    phone = f'1303555{number:04}'
    body = envelope(
        [text_message(f'hello {number}', f'wamid.{number}', phone)], contacts=[contact(phone=phone)]
    )
    assert insist(lambda: gateway.meta.webhook(body)).status_code == 200


def trouble(gateway):
    """One disaster after the other, half a second apart."""
    yield lambda: gateway.restart('worker_send')
    yield lambda: gateway.restart('worker_incoming')
    yield gateway.redis.flush
    yield lambda: gateway.restart('web')
    yield lambda: gateway.redis.stop(kill=True)
    yield lambda: gateway.restart('worker_send')
    yield gateway.redis.start
    yield lambda: gateway.postgres.restart(crash=True)
    yield lambda: gateway.restart('worker_incoming')
    yield lambda: gateway.restart('worker_send')
    yield lambda: gateway.restart('clock')
    yield gateway.redis.flush


def make_trouble(gateway, over):
    for disaster in trouble(gateway):
        if over.wait(0.5):
            return
        disaster()


def paced(pool, function, gateway, count):
    """`count` calls over about six seconds, so that the trouble meets them in every state."""
    futures = []
    for number in range(count):
        futures.append(pool.submit(function, gateway, number))
        time.sleep(6 / count)
    for future in futures:
        future.result()


def delivered(gateway):
    """How often Meta accepted each text, by the stand-in's own books."""
    return Counter(
        call['body']['text']['body'] for call in gateway.stand_in.sends() if call['wamid']
    )


def test_nothing_is_lost_and_nothing_doubled_whatever_dies(tmp_path):
    with Gateway(tmp_path, **ENVIRON) as gateway:
        gateway.backend.account()
        gateway.stand_in.config(latency=0.15, status_delay=0.1)
        over = threading.Event()
        chaos = threading.Thread(target=make_trouble, args=(gateway, over))
        with ThreadPoolExecutor(16) as pool:
            chaos.start()
            flows = [
                threading.Thread(target=paced, args=(pool, send, gateway, SENDS)),
                threading.Thread(target=paced, args=(pool, customer_writes, gateway, CUSTOMERS)),
            ]
            for flow in flows:
                flow.start()
            for flow in flows:
                flow.join()
        chaos.join()
        expected = {f'send {n}' for n in range(SENDS)} | {
            f'You said: hello {n}' for n in range(CUSTOMERS)
        }
        wait_until(
            lambda: expected <= set(delivered(gateway)),
            60,
            0.5,
            lambda: f'lost: {expected - set(delivered(gateway))}',
        )
        wait_until(
            lambda: all_settled(gateway), 30, 0.5, lambda: f'not settled: {unsettled(gateway)}'
        )
        assert {text: times for text, times in delivered(gateway).items() if times > 1} == {}
        assert set(delivered(gateway)) == expected


def unsettled(gateway):
    with gateway.postgres.connect() as database, database.cursor() as cursor:
        cursor.execute(
            "SELECT status, count(*) FROM message WHERE direction = 'outbound' AND status NOT IN "
            "('accepted', 'sent', 'delivered', 'read') GROUP BY 1"
        )
        return dict(cursor.fetchall())


def all_settled(gateway):
    return not unsettled(gateway)


BULK, WORKERS = 5000, 4


def kill_at_random(gateway, over):
    """Every second one of the send workers dies without a word, and the host starts another."""
    dice = random.Random(5)
    while not over.wait(1):
        dice.choice(gateway.processes.running('worker_send')).send(signal.SIGKILL)
        gateway.processes.start('worker_send')


def waiting(gateway):
    with gateway.postgres.connect() as database, database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM message WHERE status IN ('queued', 'sending')")
        return cursor.fetchone()[0]


def test_a_bulk_of_5000_reaches_everybody_once_though_send_workers_die_every_second(tmp_path):
    environ = {
        'GRAPH_TIMEOUT': '2',
        'SEND_RATE': '1000',
        'SEND_CONCURRENCY': '24',
    }  # the grace is longer than the test
    with Gateway(tmp_path, **environ) as gateway:
        gateway.processes.start('worker_send', WORKERS - 1)
        gateway.backend.account()
        gateway.stand_in.config(latency=0.2, status_delay=0.1, status_batch=200, statuses=['sent'])
        people = [f'+1202{number:07}' for number in range(5550000, 5550000 + BULK)]
        body = {'chatbot_id': 'acme', 'message': {'text': {'body': 'Hello'}}, 'recipients': people}
        answer = gateway.backend.post('/send/bulk', body)
        assert answer.status_code == 202, answer.text
        over = threading.Event()
        killer = threading.Thread(target=kill_at_random, args=(gateway, over))
        killer.start()
        try:
            wait_until(
                lambda: waiting(gateway) < 400, 90, 0.2, lambda: f'{waiting(gateway)} still wait'
            )
        finally:
            over.set()
            killer.join()
        wait_until(lambda: waiting(gateway) == 0, 60, 0.3, lambda: f'{waiting(gateway)} still wait')
        wait_until(lambda: not gateway.stand_in.get('/undelivered')['pending'], 20)
        counts = gateway.stand_in.get('/sends', counts=1)
        times = {
            f'+{number}': accepted for number, accepted in counts['accepted_by_recipient'].items()
        }
        with gateway.postgres.connect() as database, database.cursor() as cursor:
            cursor.execute('SELECT recipient_to, status FROM message')
            states = dict(cursor.fetchall())
        assert max(times.values()) == 1
        assert {number for number in people if number not in times} == {
            number for number, state in states.items() if state == 'unknown'
        }
        assert len(states) == BULK
