"""The bells: a ring is never lost, and costs little."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from redis import RedisError
from rq.registry import ScheduledJobRegistry, StartedJobRegistry

from service.runtime import queues, timetable
from service.runtime.db import connection
from service.runtime.queues import INCOMING, SEND, clear_wakeup, enqueue_drain, wake
from tests.stack import wait_until
from workers import clock, loop


def jobs():
    return queues.queue(SEND).jobs


def take_job():
    """What a worker does before it begins with a drain."""
    queues.client().lpop(queues.queue(SEND).key)


def test_rings_coalesce_until_a_drain_answers(database):
    for _ in range(5):
        enqueue_drain(SEND)
    assert len(jobs()) == 1
    take_job()
    enqueue_drain(SEND)
    assert jobs() == []
    clear_wakeup(SEND)
    enqueue_drain(SEND)
    assert len(jobs()) == 1


def test_one_job_waits_however_long_its_drain_is_busy(database):
    enqueue_drain(SEND)
    for _ in range(3):
        queues.client().delete(f'bell:{SEND}')  # the flag has expired, the job still waits
        enqueue_drain(SEND)
    assert len(jobs()) == 1


def test_the_jobs_of_killed_workers_do_not_pile_up(database):
    enqueue_drain(SEND)
    (job,) = jobs()
    registry = StartedJobRegistry(queue=queues.queue(SEND))
    take_job()
    job.set_status('started')
    queues.client().zadd(
        registry.key, {f'{job.id}:its-execution': 1}
    )  # its worker has not been heard of since 1970
    registry.cleanup()  # what every worker does now and then
    assert queues.client().exists(job.key)
    with connection():
        clock.tidy()
    assert not queues.client().exists(job.key)
    assert len(ScheduledJobRegistry(queue=queues.queue(SEND))) == 0


def test_a_bell_whose_job_was_lost_rings_again_soon(database):
    enqueue_drain(SEND)
    assert 0 < queues.client().ttl(f'bell:{SEND}') <= queues.FLAG_SECONDS
    queues.client().flushdb()
    enqueue_drain(SEND)
    assert len(jobs()) == 1


def test_a_job_carries_no_work_only_the_retry_policy(database):
    enqueue_drain(SEND)
    (job,) = jobs()
    assert (job.func_name, list(job.args), job.kwargs) == ('workers.send.drain', [], {})
    assert (job.retries_left, job.retry_intervals, job.description) == (3, [2, 4, 8], 'drain')
    assert [queues.retry_delay(attempts) for attempts in (1, 2, 3, 4, 5)] == [2, 4, 8, None, None]


def test_many_threads_that_wake_ring_once(database):
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(wake, [SEND] * 200))
    wait_until(jobs)
    time.sleep(queues.RING_EVERY * 1.5)
    assert len(jobs()) == 1


@pytest.fixture
def rings(monkeypatch):
    """(queue, when) of each ring, without Redis."""
    rung = []
    monkeypatch.setattr(queues, 'enqueue_drain', lambda name: rung.append((name, time.monotonic())))
    return rung


def test_a_process_rings_a_queue_seldom_and_the_last_commit_is_rung_for(rings, monkeypatch):
    monkeypatch.setattr(queues, 'RING_EVERY', 0.6)
    bell = queues.WakeupThread()
    began = time.monotonic()
    while time.monotonic() < began + 3 * queues.RING_EVERY:
        bell.wake(SEND)
        last = time.monotonic()
        time.sleep(0.002)
    wait_until(lambda: rings[-1][1] > last)
    times = [at for _, at in rings]
    assert times[0] - began < queues.RING_EVERY
    assert min(later - earlier for earlier, later in pairwise(times)) > queues.RING_EVERY / 2


def test_a_queue_that_was_just_rung_holds_up_no_other(rings, monkeypatch):
    monkeypatch.setattr(queues, 'RING_EVERY', 2)
    bell = queues.WakeupThread()
    bell.wake(SEND)
    wait_until(lambda: rings)
    bell.wake(SEND)
    bell.wake(INCOMING)
    wait_until(lambda: INCOMING in dict(rings))
    assert dict(rings)[INCOMING] - rings[0][1] < queues.RING_EVERY


def test_a_drain_looks_for_longer_than_a_process_keeps_silent():
    """The drain of one ring begins after it, so whatever is committed before the next ring may come
    is found by its looks.
    """
    assert queues.RING_EVERY + 2 * max(loop.PACE, timetable.EVERY) < loop.LINGER


def test_wake_never_waits_and_never_fails_without_redis(no_redis):
    began = time.monotonic()
    for _ in range(100):
        wake(SEND)
    assert time.monotonic() - began < 10
    with pytest.raises(RedisError):
        enqueue_drain(SEND)
