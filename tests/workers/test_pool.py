"""A pool of threads, of whose rows one may be claimed once more while its first call goes on."""

from dataclasses import dataclass, field
from threading import Event

import pytest

from tests.stack import wait_until
from workers.pool import WorkerPool


@dataclass(eq=False)
class Row:
    id: str = 'one'
    began: Event = field(default_factory=Event)
    ends: Event = field(default_factory=Event)


@pytest.fixture
def pool(database):
    def call(row):
        row.began.set()
        row.ends.wait(10)

    pool = WorkerPool(3, call, lambda results: None)
    yield pool
    assert pool.close(10)
    pool.dismiss()


def test_a_row_that_is_claimed_once_more_waits_for_no_end_of_its_first_call(pool):
    first, second = Row(), Row()
    pool.submit([first])
    assert first.began.wait(5)
    pool.submit([second])
    assert second.began.wait(5)
    assert pool.free == 1
    for row in (first, second):
        row.ends.set()


def test_the_end_of_the_first_call_ends_only_that(pool):
    first, second = Row(), Row()
    pool.submit([first, second])
    first.ends.set()
    wait_until(lambda: pool.in_flight() == [second])
    second.ends.set()
    wait_until(lambda: pool.in_flight() == [])
    assert pool.free == 3
