"""claim → do → record, until nothing is due: the only loop."""

import logging
import os
import select
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from redis import RedisError

from service.runtime.db import CONNECTION_LOST, LOCKED, connection, passes, reason, sqlstate
from service.runtime.queues import answer_bell, ring, wake

log = logging.getLogger(__name__)

BUDGET = 5  # seconds of one drain; then it wakes its successor, so that RQ's heartbeats and warm shutdown stay ordinary
LINGER = 0.5  # seconds without work before a drain ends; a ring after that starts the next
LOOK = 0.02  # seconds between two looks while there is nothing
AWAY = (*CONNECTION_LOST, MaxConnectionsExceeded)  # it may work the next time


class Stop:
    """A flag for signal handlers: an Event's lock could be held by the very code that the signal interrupts."""

    def __init__(self):
        self._set, self._at = False, None
        self._read, self._write = os.pipe()

    def is_set(self):
        return self._set

    def set(self):
        self._at = self._at or time.monotonic()
        self._set = True
        os.write(self._write, b'.')

    def seconds(self):
        """For how long it is set."""
        return time.monotonic() - self._at if self._set else 0

    def clear(self):
        self._set, self._at = False, None
        os.read(self._read, 65536)

    def wait(self, seconds):
        """Sleep, at most until it is set; whether it is."""
        if not self._set:
            select.select([self._read], [], [], seconds)
        return self._set


stopping = Stop()  # set at SIGTERM: claim nothing any more


class Unrecordable(Exception):
    """PostgreSQL refuses to store what a call brought. `record` gets this in the result's place: a failure for good."""

    def __init__(self, error):
        super().__init__(f'the result could not be stored ({type(error).__name__})')


class Crew:
    """Threads that do slow calls, and one that records their results in batches; they outlive the single drain."""

    def __init__(self, size, do, record, ahead=0, gather=0.002):
        """`size` threads; `do(row)` gives a result and holds no connection meanwhile, `record([(row, result), …])`
        writes what came within `gather` seconds. `ahead` rows more may wait, so that no thread waits for a claim."""
        self.room, self._do, self._record, self._gather = size + ahead, do, record, gather
        self._work, self._results = SimpleQueue(), SimpleQueue()
        self._size = size
        self._in_flight, self._unrecorded = {}, {}  # by id; single dict operations are atomic
        for _ in range(size):
            threading.Thread(target=self._labour, name='crew', daemon=True).start()
        threading.Thread(target=self._recorder, name='recorder', daemon=True).start()

    @property
    def free(self):
        return self.room - len(self._in_flight)

    def in_flight(self):
        return list(self._in_flight.values())

    def submit(self, rows):
        for row in rows:
            self._in_flight[row['id']] = self._unrecorded[row['id'], id(row)] = row
            self._work.put(row)

    def _labour(self):
        while (row := self._work.get()) is not None:
            try:
                result = self._do(row)
            except Exception as error:  # a fault of ours; the row's lease or the recorder decides
                log.error('a call failed unexpectedly', exc_info=error)
                result = error
            self._results.put((row, result))
            self._in_flight.pop(row['id'], None)

    def _recorder(self):
        while (first := self._results.get()) is not None:
            batch = [first]
            time.sleep(self._gather)
            try:
                while len(batch) < 500:
                    batch.append(self._results.get_nowait())
            except Empty:
                pass
            self._write(batch)

    def _write(self, batch):
        """Until it is written: what was done may not be forgotten while PostgreSQL is away. When PostgreSQL is there
        and does not take a batch, each row goes by itself, so that a bad or a locked one costs only itself."""
        error = self._attempt(batch)
        while error and passes(error) and sqlstate(error) not in LOCKED:
            log.error('results wait for the database', extra={'reason': reason(error), 'results': len(batch)})
            time.sleep(0.3)
            error = self._attempt(batch)
        if not error:
            for row, _ in batch:
                del self._unrecorded[row['id'], id(row)]
        elif len(batch) > 1:
            for one in batch:
                self._write([one])
        else:
            self._refused(*batch[0], error)

    def _attempt(self, batch):
        """What went wrong; None when the batch is written."""
        try:
            with connection():
                self._record(batch)
        except Exception as error:
            return error
        return None

    def _refused(self, row, result, error):
        """One row's result, not taken: a lock passes, and others go first; else its failure is recorded instead."""
        if passes(error):
            told = {'row': row['id'], 'reason': reason(error)}
            log.error('a result waits for the database', exc_info=error, extra=told)
            time.sleep(0.1)
            self._results.put((row, result))
            return
        log.error('a result could not be recorded', exc_info=error, extra={'row': row['id']})
        if isinstance(result, Unrecordable):  # not even that: its lease ends, and it is claimed once more
            del self._unrecorded[row['id'], id(row)]
        else:
            self._write([(row, Unrecordable(error))])

    def recall(self):
        """Take back the rows that no thread has begun with."""
        rows = []
        with suppress(Empty):
            while True:
                rows.append(self._work.get_nowait())
        for row in rows:
            del self._in_flight[row['id']], self._unrecorded[row['id'], id(row)]
        return rows

    def dismiss(self) -> None:
        """End the threads of a crew that has nothing in flight and gets no more."""
        for _ in range(self._size):
            self._work.put(None)
        self._results.put(None)

    def close(self, timeout):
        """Wait until everything in flight is done and recorded, at most `timeout` seconds. True when it is."""
        deadline = time.monotonic() + timeout
        while self._unrecorded and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self._unrecorded


class Errand:
    """One kind of errand: rows that are due, a crew that does them, what is written of them.

    `claim(limit)` leases due rows (dicts with an `id`), `do`, `record` and `gather` are the crew's.
    """

    def __init__(self, size, claim, do, record, gather=0.002):
        self.crew, self._claim = Crew(size, do, record, gather=gather), claim

    def step(self):
        """Take as many as there are threads free; returns how many."""
        free = self.crew.free
        rows = self._claim(free) if free else []
        self.crew.submit(rows)
        return len(rows)


def drain(name, step, crew, enough=0, pace=0):
    """Answer the bell of a queue: `step()` until it has found nothing for LINGER seconds. Never raises.

    `step()` returns how much it found; it is taken when `enough` places of the crew are free. While the crew is busy
    there is no rest: the end of a call may bring new work. `pace`: seconds between two steps even when there is work.
    """
    end, idle_since = time.monotonic() + BUDGET, time.monotonic()
    with suppress(RedisError):  # the flag expires by itself
        answer_bell(name)
    while not stopping.is_set():
        found = _guarded(step) if crew.free >= enough else 0
        now = time.monotonic()
        if found or crew.in_flight():
            idle_since = now
        if now > end:
            wake(name)  # whoever comes next goes on
            return
        if now - idle_since > LINGER:
            return
        if rest := pace if found else max(pace, LOOK):
            stopping.wait(rest)


def step_all(steps):
    """All of them, whatever goes wrong in one: work of one kind never waits for that of another. How much they found;
    what went wrong is raised when no other found anything, so that the loop takes a rest."""
    found, failure = 0, None
    for step in steps:
        try:
            found += step()
        except (PeeweeException, *AWAY) as error:
            failure = error
    if failure and not found:
        raise failure
    if failure:
        log.error('a step failed and will be repeated', exc_info=failure)
    return found


def _guarded(step):
    """A step with its connection. What goes wrong is logged and tried again: the rows are as they were."""
    try:
        with connection():
            return step()
    except (PeeweeException, *AWAY) as error:
        log.error('a step failed and will be repeated', exc_info=error, extra={'reason': reason(error)})
        stopping.wait(0.2)
        return 0


def more_is_due(name):
    """This worker has all it can take and there is more: wake another one."""
    with suppress(RedisError):
        ring(name)
