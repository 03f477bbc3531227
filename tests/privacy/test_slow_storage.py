"""A storage that is slow, hangs or is away: who deletes files waits for it no longer than told."""

import io
import itertools
import threading
from types import SimpleNamespace

import pytest

from service.media import file_deletion
from service.media.storage import storage
from service.media.storage_interface import StorageError
from service.privacy import erase, retention_walk
from service.privacy.retention_walk import Walk
from service.runtime.db import connection
from tests.files import comes_in, media_message
from tests.people import sql
from tests.stack import wait_until
from workers import delete_files, retention
from workers.delete_files import FileDeleter

DUE = """
INSERT INTO file_deletion (storage_key, due_at)
SELECT 'a/' || n, now() - (20 - n) * interval '1 second' FROM generate_series(1, %s) n
"""


class Slow:
    """A storage that takes `seconds` for each file, of a clock that nobody else moves.

    `asked`: for which files, in this order; `broken`: those that it does not delete.
    """

    def __init__(self, seconds=0.0):
        self.seconds, self.now = seconds, 1000.0
        self.asked, self.broken = [], set()

    def delete(self, key):
        self.asked.append(key)
        self.now += self.seconds
        if key in self.broken:
            raise StorageError('away')

    @property
    def time(self):
        """What stands for the module `time`."""
        return SimpleNamespace(monotonic=lambda: self.now)


@pytest.fixture
def slow(database, monkeypatch):
    there = Slow()
    monkeypatch.setattr(file_deletion, 'storage', lambda: there)
    for module in (file_deletion, delete_files):
        monkeypatch.setattr(module, 'time', there.time)
    return there


def try_again(deleter, slow):
    """A minute later, to the end."""
    sql('UPDATE file_deletion SET due_at = now()')
    slow.now += delete_files.PAUSE
    step(deleter)
    step(deleter)


def step(deleter):
    """A step of the clock, and then the end of what its thread has been given."""
    with connection():
        deleter.step()
    if deleter._under_way:
        deleter._under_way[1].exception(20)


def due_files():
    return [key for (key,) in sql('SELECT storage_key FROM file_deletion WHERE due_at <= now()')]


def files():
    return sql('SELECT count(*) FROM file_deletion')[0][0]


def keys(*numbers):
    return [f'a/{number}' for number in numbers]


def test_a_slow_storage_is_asked_no_more_once_the_time_is_over_and_nothing_is_lost(slow):
    sql(DUE, 8)
    slow.seconds = file_deletion.SECONDS / 2.5
    deleter = FileDeleter()
    step(deleter)
    assert slow.asked == keys(1, 2, 3)
    step(deleter)
    assert slow.asked == keys(*range(1, 7))
    assert files() == 5  # those of the second step are not recorded yet
    step(deleter)
    step(deleter)
    assert slow.asked == keys(*range(1, 9))
    assert files() == 0


def test_a_file_that_takes_longer_than_all_the_time_there_is_holds_up_one_step_alone(slow):
    sql(DUE, 3)
    slow.seconds = 100
    deleter = FileDeleter()
    for count in (1, 2, 3):
        step(deleter)
        assert slow.asked == keys(*range(1, count + 1))
    step(deleter)
    assert files() == 0


def test_the_clock_goes_on_while_a_deletion_hangs(database, monkeypatch):
    begun, release = threading.Event(), threading.Event()
    asked = []

    def hang(key):
        asked.append(key)
        begun.set()
        assert release.wait(20)

    monkeypatch.setattr(file_deletion, 'storage', lambda: SimpleNamespace(delete=hang))
    sql(DUE, 2)
    deleter = FileDeleter()
    try:
        for _ in range(3):  # each comes back, though the storage has not answered
            with connection():
                deleter.step()
            assert begun.wait(20)
        assert asked == keys(1)
    finally:
        release.set()
    while files():
        step(deleter)
    assert asked == keys(1, 2)


def test_the_clocks_walk_asks_no_storage(database, slow, backend, monkeypatch):
    backend.account(retention={'media_days': 1})
    sql(DUE, 3)
    monkeypatch.setattr(retention, '_walks', [])
    monkeypatch.setattr(retention, '_next_at', 0)
    with connection():
        retention.step()
        while retention._walks:
            retention.step()
    assert slow.asked == []
    assert len(due_files()) == 3


def test_a_storage_that_is_away_is_asked_again_a_minute_later(slow):
    sql(DUE, 3)
    slow.broken = {*keys(1, 2, 3)}
    deleter = FileDeleter()
    for _ in range(3):
        step(deleter)
    assert slow.asked == keys(1, 2, 3)
    assert (files(), due_files()) == (3, [])
    slow.broken = set()
    slow.now += delete_files.PAUSE
    step(deleter)
    assert slow.asked == keys(1, 2, 3)  # each has a minute of its own
    try_again(deleter, slow)
    assert files() == 0


def test_a_file_that_always_hangs_and_fails_keeps_no_other_in_the_storage(slow):
    sql(DUE, 3)
    slow.broken, slow.seconds = {*keys(1)}, 100
    deleter = FileDeleter()
    for _ in range(3):
        step(deleter)
        while deleter._under_way:
            step(deleter)
        # it rests, and a minute passes
        sql("UPDATE file_deletion SET due_at = due_at - interval '1 minute'")
        slow.now += delete_files.PAUSE
    assert sql('SELECT storage_key FROM file_deletion') == [('a/1',)]


def test_a_fault_of_ours_ends_no_deletion(slow, monkeypatch, caplog):
    sql(DUE, 1)
    deleter = FileDeleter()
    with monkeypatch.context() as patch:
        patch.setattr(slow, 'delete', lambda key: 1 / 0)
        step(deleter)
        step(deleter)
    assert 'files could not be deleted' in caplog.text
    try_again(deleter, slow)
    assert files() == 0


def test_a_file_of_a_person_who_was_erased_meanwhile_is_deleted_once_more(slow):
    sql(DUE, 2)
    with connection():
        claimed = file_deletion.claim()
        done = file_deletion.delete(claimed.keys, 1)
        sql("UPDATE file_deletion SET due_at = now() + interval '1 hour' WHERE storage_key = 'a/1'")
        file_deletion.record(claimed, done)
    assert sql('SELECT storage_key, due_at > now() FROM file_deletion') == [('a/1', True)]


@pytest.fixture
def many_files(backend, meta, workers, file_server):
    """A customer who has sent six files; the id of their conversation."""
    for number in range(6):
        comes_in(meta, workers, media_message('77', wamid=f'wamid.{number}'))
    workers.errands()
    assert sql("SELECT count(*) FROM media WHERE status = 'stored'") == [(6,)]
    return backend.conversations()[0]['id']


def test_an_erase_waits_for_a_slow_storage_so_long_and_the_clock_deletes_the_rest(
    many_files, slow, backend
):
    slow.seconds = erase.FILE_SECONDS / 2.5
    answer = backend.request('DELETE', f'/contacts/{many_files}')
    assert answer.json['erased']['media'] == 6
    assert len(slow.asked) == 3
    assert (files(), due_files()) == (6, [])  # once more an hour later, also those that are gone
    sql('UPDATE file_deletion SET due_at = now()')
    slow.seconds = 0
    deleter = FileDeleter()
    step(deleter)
    step(deleter)
    assert (files(), len(set(slow.asked))) == (0, 6)


def test_a_rest_of_the_clocks_walk_ends_with_its_time(monkeypatch, database):
    """The database may be slow, too: who rests as long as that took would hold the clock twice."""
    now, slept = itertools.count(1000.0, 10.0), []
    fake = SimpleNamespace(monotonic=lambda: next(now), sleep=slept.append)
    monkeypatch.setattr(retention_walk, 'time', fake)
    with connection():
        walk = Walk(deletes_files=False)
        walk._parts.clear()
        walk._parts.append(('messages', lambda: 1))
        walk.step(end=1015.0)  # it has begun at 1000 and come back at 1010
        assert slept == [5.0]
        walk.step(end=1015.0)
        assert slept == [5.0, 0]
        walk.step()
        assert slept == [5.0, 0, 10.0]


def test_the_clock_deletes_what_is_due(back_room):
    storage().put('a/1', io.BytesIO(b'x'))
    sql(DUE, 1)
    processes = back_room()
    wait_until(lambda: not files(), 20, message=lambda: processes.logs('clock'))
    assert not (storage().root / 'a' / '1').exists()
