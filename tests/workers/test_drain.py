"""The one loop and its pools: what is due is done in turns, a result is never forgotten."""

import json
import statistics
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import pytest
from peewee import OperationalError, PeeweeException
from playhouse.pool import MaxConnectionsExceeded

from service.runtime import queues, timetable
from service.runtime.db import connection, db
from service.runtime.logs import Formatter
from service.runtime.queues import SEND, enqueue_drain
from service.runtime.timetable import Departures
from tests.people import sql
from tests.stack import Processes, free_port, wait_until
from workers import loop
from workers.__main__ import DrainWorker, _worker
from workers.pool import Unrecordable, WorkerPool


def jobs():
    return queues.queue(SEND).jobs


class Ledger:
    """Stands where a room's `record` stands; refuses as often as told."""

    def __init__(self, *refusals):
        self.refusals, self.results, self.sizes = list(refusals), [], []

    def __call__(self, batch):
        if self.refusals:
            raise self.refusals.pop(0)
        if any(result == 'poison' for _, result in batch):
            raise ValueError('cannot be recorded')
        self.results += [result for _, result in batch]
        self.sizes.append(len(batch))


@dataclass
class Row:
    id: int


def rows(count):
    return [Row(number) for number in range(count)]


@pytest.mark.parametrize('away', [OperationalError('gone'), MaxConnectionsExceeded()])
def test_results_are_kept_while_postgresql_is_away(database, away):
    ledger = Ledger(away, away)
    pool = WorkerPool(4, lambda row: row.id, ledger)
    pool.submit(rows(6))
    assert pool.close(5)
    assert sorted(ledger.results) == list(range(6))
    assert pool.free == 4


def test_a_result_that_cannot_be_recorded_costs_only_itself(database):
    ledger = Ledger()
    pool = WorkerPool(8, lambda row: 'poison' if row.id == 3 else row.id, ledger, batch_window=0.1)
    pool.submit(rows(6))
    assert pool.close(5)
    assert sorted(map(str, ledger.results)) == [
        *'01245',
        'the result could not be stored (ValueError)',
    ]


class Refuses(Ledger):
    """Takes everything but, so many times, what row 3 brought; as a failure it takes that, too."""

    def __init__(self, code, times):
        super().__init__()
        self.code, self.times = code, times

    def __call__(self, batch):
        if self.times and any(
            row.id == 3 and not isinstance(result, Unrecordable) for row, result in batch
        ):
            self.times -= 1
            raise state(self.code)
        super().__call__(batch)


def state(code):
    """What Peewee makes of an error of PostgreSQL's."""
    with pytest.raises(PeeweeException) as caught, connection():
        db.execute_sql("DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = %s; END $$", (code,))
    return caught.value


@pytest.mark.parametrize(
    'code', ['22P02', '22P05', '22003', '23514', '23505', '54000', '54001', 'XX000', '42703']
)
def test_a_result_that_postgresql_refuses_becomes_a_failure_and_stops_no_other(database, code):
    ledger = Refuses(code, times=100)
    pool = WorkerPool(8, lambda row: row.id, ledger, batch_window=0.1)
    pool.submit(rows(6))
    assert pool.close(5)
    assert pool.free == 8
    (failure,) = [result for result in ledger.results if isinstance(result, Unrecordable)]
    assert 'could not be stored' in str(failure)
    assert sorted(result for result in ledger.results if result is not failure) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize('code', ['40P01', '40001', '57P01', '53300', '25006', '55P03', '57014'])
def test_what_passes_is_waited_for_and_no_result_is_lost(database, code):
    ledger = Refuses(code, times=3)
    pool = WorkerPool(8, lambda row: row.id, ledger, batch_window=0.1)
    pool.submit(rows(6))
    assert pool.close(10)
    assert ledger.times == 0
    assert sorted(ledger.results) == list(range(6))


@pytest.mark.parametrize('code', ['55P03', '57014'])
def test_a_row_that_somebody_holds_lets_the_others_be_recorded(database, code):
    ledger = Refuses(code, times=10000)
    pool = WorkerPool(8, lambda row: row.id, ledger, batch_window=0.1)
    pool.submit(rows(6))
    wait_until(lambda: sorted(ledger.results) == [0, 1, 2, 4, 5])
    assert not pool.close(0.1)
    ledger.times = 0
    assert pool.close(5)
    assert sorted(ledger.results) == list(range(6))


def test_a_call_that_raises_leaves_the_pool_at_work(database):
    ledger = Ledger()
    pool = WorkerPool(1, lambda row: 1 // row.id, ledger)
    pool.submit(rows(3))
    assert pool.close(5)
    assert [type(result) for result in ledger.results] == [ZeroDivisionError, int, int]


def test_at_the_end_what_was_not_begun_is_given_back_and_the_rest_is_waited_for(database):
    ledger, go = Ledger(), threading.Event()
    pool = WorkerPool(2, lambda row: go.wait() and row.id, ledger, prefetch=3)
    pool.submit(rows(5))
    wait_until(lambda: pool._work.qsize() == 3)
    assert pool.free == 0
    assert [row.id for row in pool.cancel_queued()] == [2, 3, 4]
    assert not pool.close(0.1)
    go.set()
    assert pool.close(5)
    assert sorted(ledger.results) == [0, 1]


@pytest.fixture
def pool(database):
    return WorkerPool(1, lambda row: row.id, Ledger())


@pytest.fixture
def due(monkeypatch):
    """What the loop's looks say, and how often it looked."""
    there = SimpleNamespace(answer=True, looks=0)

    def look(queue):
        there.looks += 1
        return there.answer

    monkeypatch.setattr(loop.job_table, 'is_due', look)
    return there


def drain(step, pool, **options):
    loop.drain(SEND, step, pool, **options)


def test_a_drain_goes_on_until_nothing_was_found_for_a_moment(pool, due, monkeypatch):
    monkeypatch.setattr(loop, 'LINGER', 1)
    found = [2, 0, 1, 0, 0, 3]
    drain(lambda: found.pop(0) if found else 0, pool)
    assert found == []


def test_between_the_beginnings_of_two_steps_is_a_pace_also_while_there_is_work(pool, due):
    began = []

    def step():
        began.append(time.monotonic())
        time.sleep(0.25)
        return 5 if len(began) < 6 else 0

    drain(step, pool, pace=0.3)
    gaps = [later - earlier for earlier, later in pairwise(began)]
    assert min(gaps) > 0.29
    assert statistics.median(gaps) < 0.5  # counted from a step's beginning


@pytest.fixture
def beginnings(due, monkeypatch):
    """When the steps of a drain begin that find so many rows, one after another."""
    monkeypatch.setattr(loop, 'LINGER', 3)

    def run(found, places):
        began = []

        def step():
            began.append(time.monotonic())
            return found[len(began) - 1] if len(began) <= len(found) else 0

        pool = WorkerPool(places, lambda row: row.id, Ledger())
        wait_until(lambda: 0.2 < time.monotonic() % 1 < 0.3)
        drain(step, pool, pace=0.01, departures=LINE)
        return began

    return run


LINE = Departures(0.2, every=1)


def test_a_drain_that_finds_several_departs_by_the_timetable_until_it_finds_few(beginnings):
    first, second, third, fourth, *_ = beginnings([2, 2, 1, 1], places=8)
    assert second >= LINE.after(first)
    assert third >= LINE.after(second)
    assert fourth < LINE.after(third)


def test_a_step_that_fills_the_pool_is_soon_followed_by_the_next(beginnings):
    first, second, *_ = beginnings([8, 1], places=8)
    assert second < LINE.after(first)


def test_results_that_come_all_the_time_are_recorded_by_the_timetable(database, monkeypatch):
    monkeypatch.setattr(timetable, 'RECORD', Departures(0, every=2))
    ledger = Ledger()
    pool = WorkerPool(8, lambda row: row.id, ledger)
    first, *others = rows(6)
    wait_until(lambda: time.monotonic() % 2 < 0.2)
    pool.submit([first])
    wait_until(lambda: ledger.sizes)
    for row in others:
        pool.submit([row])
        time.sleep(0.05)
    assert pool.close(10)
    assert ledger.sizes == [1, 5]
    assert sorted(ledger.results) == list(range(6))


def test_a_result_after_a_rest_is_recorded_at_once(database, monkeypatch):
    monkeypatch.setattr(timetable, 'RECORD', Departures(0, every=3600))
    ledger = Ledger()
    pool = WorkerPool(1, lambda row: row.id, ledger)
    pool.submit(rows(1))
    assert pool.close(10)


def test_what_is_not_due_costs_a_look_and_no_step(pool, due):
    due.answer = False
    found = [1]
    drain(lambda: found.pop(), pool)  # a second step would raise IndexError
    assert due.looks > 5


def test_where_a_step_finds_many_the_next_one_comes_without_a_look(pool, due):
    due.answer = False
    found = [4, 5, 6, 0]
    drain(lambda: found.pop(0), pool)
    assert found == []


def test_while_calls_are_in_flight_a_step_comes_in_time_to_renew_their_leases(due, monkeypatch):
    monkeypatch.setattr(loop, 'STEP_SECONDS', 0.2)
    due.answer = False
    steps, done = [], threading.Event()
    pool = WorkerPool(1, lambda row: done.wait(10), Ledger())
    pool.submit(rows(1))

    def step():
        steps.append(time.monotonic())
        if len(steps) == 5:
            done.set()
        return 0

    drain(step, pool)
    assert len(steps) >= 5


def test_a_full_pool_is_neither_looked_for_nor_stepped_for(due, monkeypatch):
    monkeypatch.setattr(loop, 'BUDGET', 0.3)
    done = threading.Event()
    pool = WorkerPool(1, lambda row: done.wait(10), Ledger())
    pool.submit(rows(1))
    drain(lambda: pytest.fail('no place is free'), pool, enough=1)
    done.set()
    assert due.looks == 0
    assert pool.close(10)


def test_a_drain_keeps_its_connection_and_takes_another_after_a_failure(pool, due):
    connections, steps = [], [1, 1, OperationalError('gone'), 1, 1]

    def step():
        connections.append(db.connection())
        found = steps.pop(0) if steps else 0
        if isinstance(found, Exception):
            db.connection().close()
            raise found
        return found

    drain(step, pool)
    assert len(set(connections[:3])) == 1
    assert len(set(connections[3:])) == 1
    assert connections[0] is not connections[-1]
    assert db.is_closed()


def test_a_drain_that_has_had_its_time_wakes_its_successor(pool, due, monkeypatch):
    monkeypatch.setattr(loop, 'BUDGET', 0.1)
    drain(lambda: 1, pool)
    wait_until(jobs)


def test_a_drain_answers_the_bell_before_it_looks(pool, due, monkeypatch):
    """A row that is committed while a drain looks rings anew.

    Its ring is not taken for an old one.
    """
    monkeypatch.setattr(loop, 'LINGER', 0.05)
    enqueue_drain(SEND)
    queues.client().delete(queues.queue(SEND).key)  # a worker takes the job
    rung = []

    def step():
        if not rung:
            enqueue_drain(SEND)
            rung.append(len(jobs()))
        return 0

    drain(step, pool)
    assert rung == [1]


@pytest.mark.parametrize('trouble', [OperationalError('gone'), MaxConnectionsExceeded()])
def test_a_step_that_fails_is_repeated(pool, due, trouble):
    steps = [trouble, 1, 0]

    def step():
        found = steps.pop(0) if steps else 0
        if isinstance(found, Exception):
            raise found
        return found

    drain(step, pool)
    assert steps == []


def test_a_drain_works_without_redis(no_redis, pool, due, monkeypatch):
    monkeypatch.setattr(loop, 'LINGER', 0.05)
    found = [1]
    drain(lambda: found.pop() if found else 0, pool)
    assert found == []


def test_what_a_drain_fails_of_is_told_without_its_text(database, caplog, monkeypatch):
    """RQ would write it to its log and to Redis."""
    queue = queues.queue(SEND)
    job = queue.enqueue(queues.DRAINS[SEND], failure_ttl=60)
    monkeypatch.setattr('workers.send.drain', lambda: {}['Maria wrote: call 5511999990001'])
    monkeypatch.setattr(DrainWorker, '_install_signal_handlers', lambda self: None)
    worker = _worker('send', SEND)
    worker.work(burst=True, logging_level='WARNING')
    lines = [Formatter().format(record) for record in caplog.records]
    assert [line for line in lines if 'Maria' in line] == []
    (line,) = [json.loads(line) for line in lines if 'a drain failed' in line]
    assert (line['level'], line['queue']) == ('ERROR', SEND)
    assert line['exception'][0] == 'builtins.KeyError'
    assert [job.id] == queue.failed_job_registry.get_job_ids()
    assert job.latest_result().exc_string == ''


def test_processes_wait_for_servers_that_are_not_up_and_end_at_sigterm(tmp_path):
    away = {
        'DATABASE_URL': f'postgresql://x@127.0.0.1:{free_port()}/x',
        'REDIS_URL': f'redis://127.0.0.1:{free_port()}/0',
    }
    processes = Processes(tmp_path, away)
    for name in ('worker_send', 'worker_incoming', 'clock'):
        processes.start(name)
    for name in processes.children:
        wait_until(lambda name=name: '"waiting"' in processes.logs(name), 20)
    assert processes.stop_all() == {'worker_send': [0], 'worker_incoming': [0], 'clock': [0]}


@pytest.mark.alone
def test_under_steady_traffic_one_drain_job_waits_at_most(backend, back_room):
    """Each drain outlasts the bell's flag, and its successor waits all the while."""
    back_room(SEND_CONCURRENCY='4')
    backend.account()
    waiting, end, number = [], time.monotonic() + 2 * loop.BUDGET, 0
    while time.monotonic() < end:
        number += 1
        backend.send(f'+1202555{number:04}')
        waiting.append(queues.queue(SEND).count)
        time.sleep(0.02)
    assert max(waiting) == 1
    wait_until(lambda: not sql("SELECT 1 FROM message WHERE status IN ('queued', 'sending')"), 20)


def test_a_pool_that_is_dismissed_leaves_no_thread(database):
    before = set(threading.enumerate())
    go = threading.Event()
    pool = WorkerPool(3, lambda row: go.wait(10), Ledger())
    pool.submit(rows(5))
    threads = set(threading.enumerate()) - before
    go.set()
    assert pool.close(10)
    pool.dismiss()
    wait_until(lambda: not any(thread.is_alive() for thread in threads), 10)
    assert len(threads) == 4
