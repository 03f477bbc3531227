"""The clock: it rings for what is due, at its time, and sweeps what was left lying."""

import threading
import time

import pytest
from redis import Redis

from service.runtime import queues
from service.runtime.config import settings
from service.runtime.db import connection
from service.runtime.queues import INCOMING, SEND
from tests.people import envelope, sql, text_message
from tests.stack import free_port, wait_until
from workers import clock

pytestmark = pytest.mark.alone


@pytest.fixture
def ticking(database):
    """The clock's own loop, in a thread."""
    thread = threading.Thread(target=clock.run)
    thread.start()
    yield
    clock.stopping.set()
    thread.join(5)
    clock.stopping.clear()
    assert not thread.is_alive()


@pytest.fixture
def acme(backend, redis_server):
    """An account, and the noise of its making over: no bell rings but the clock's."""
    backend.account()
    return backend


def silence():
    """Forget what was rung so far."""
    time.sleep(queues.RING_EVERY + 0.1)  # what a process has still to ring
    queues.client().flushdb()


def rung(name):
    return queues.queue(name).count


def test_it_rings_for_what_is_due_and_not_for_what_is_not(acme, ticking):
    acme.send()
    sql("UPDATE message SET due_at = now() + interval '1 hour'")
    silence()
    time.sleep(clock.TICK * 1.5)
    assert (rung(SEND), rung(INCOMING)) == (0, 0)
    sql('UPDATE message SET due_at = now()')
    wait_until(lambda: rung(SEND) == 1, 2)


def test_it_rings_at_the_due_time_not_at_the_next_tick(acme, ticking):
    acme.send()
    silence()
    sql("UPDATE message SET due_at = now() + interval '0.7 seconds'")
    due = time.monotonic() + 0.7
    silence()
    wait_until(lambda: rung(SEND), 2, interval=0.005)
    assert -0.05 < time.monotonic() - due < 0.25


def test_it_finds_events_and_customers_who_wait_though_redis_forgot_the_ring(acme, meta, ticking):
    meta.webhook(envelope([text_message()]))
    silence()
    wait_until(lambda: rung(INCOMING) == 1, 2)
    sql("UPDATE webhook_event SET status = 'processed'")
    silence()
    acme.send('+12025550143')
    sql("UPDATE message SET due_at = NULL, status = 'failed'")
    silence()
    sql('UPDATE conversation SET reply_due_at = now()')
    wait_until(lambda: rung(INCOMING) == 1, 2)


def test_it_goes_on_when_redis_was_away(acme, ticking, setting):
    acme.send()
    there = settings.REDIS_URL
    setting('REDIS_URL', f'redis://127.0.0.1:{free_port()}/0')
    queues._clients.clear()
    time.sleep(clock.TICK * 2)
    with Redis.from_url(there) as redis:
        redis.flushdb()
    setting('REDIS_URL', there)
    queues._clients.clear()
    wait_until(lambda: rung(SEND), 3)


def test_it_sweeps_by_itself(acme, database):
    acme.send()
    sql("UPDATE message SET status = 'sending', due_at = now() - interval '1 second'")
    thread = threading.Thread(target=clock.run)
    thread.start()
    try:
        wait_until(lambda: acme.messages(status='unknown'), 3)
    finally:
        clock.stopping.set()
        thread.join(5)
        clock.stopping.clear()


def test_idempotency_keys_are_kept_at_least_a_day_and_not_for_ever(acme):
    body = {'chatbot_id': 'acme', 'to': '+12025550143', 'text': {'body': 'x'}}
    for key in ('new', 'day', 'old'):
        acme.post('/send', body, headers={'Idempotency-Key': key})
    sql("UPDATE idempotency_key SET created_at = now() - interval '25 hours' WHERE key = 'day'")
    sql("UPDATE idempotency_key SET created_at = now() - interval '49 hours' WHERE key = 'old'")
    with connection():
        clock.tidy()
    assert sql('SELECT key FROM idempotency_key ORDER BY key') == [('day',), ('new',)]
    assert (
        'Idempotent-Replayed'
        in acme.post('/send', body, headers={'Idempotency-Key': 'day'}).headers
    )
