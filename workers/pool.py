"""Threads that do slow calls between the claim and the record, and outlive the single drain."""

import logging
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from service.runtime.db import LOCKED, connection, passes, reason, sqlstate

log = logging.getLogger(__name__)


class Unrecordable(Exception):
    """PostgreSQL refuses to store what a call brought.

    `record` gets this in the result's place: a failure for good.
    """

    def __init__(self, error):
        super().__init__(f'the result could not be stored ({type(error).__name__})')


class WorkerPool:
    """Threads that do slow calls, and one that records their results in batches; they outlive the
    single drain.
    """

    def __init__(self, size, do, record, prefetch=0, batch_window=0.002):
        """`size` threads; `do(row)` gives a result and holds no connection meanwhile,
        `record([(row, result), …])` writes what came within `batch_window` seconds. `prefetch` rows
        more may wait, so that no thread waits for a claim.
        """
        self.room, self._do, self._record, self._batch_window = (
            size + prefetch,
            do,
            record,
            batch_window,
        )
        self._work, self._results = SimpleQueue(), SimpleQueue()
        self._size = size
        self._in_flight, self._unrecorded = {}, {}  # by id; single dict operations are atomic
        for _ in range(size):
            threading.Thread(target=self._run, name='pool', daemon=True).start()
        threading.Thread(target=self._recorder, name='recorder', daemon=True).start()

    @property
    def free(self):
        return self.room - len(self._in_flight)

    def in_flight(self):
        return list(self._in_flight.values())

    def submit(self, rows):
        for row in rows:
            self._in_flight[_id(row)] = self._unrecorded[_id(row), id(row)] = row
            self._work.put(row)

    def _run(self):
        while (row := self._work.get()) is not None:
            try:
                result = self._do(row)
            except Exception as error:  # a fault of ours; the row's lease or the recorder decides
                log.error('a call failed unexpectedly', exc_info=error)
                result = error
            self._results.put((row, result))
            self._in_flight.pop(_id(row), None)

    def _recorder(self):
        while (first := self._results.get()) is not None:
            batch = [first]
            time.sleep(self._batch_window)
            try:
                while len(batch) < 500:
                    batch.append(self._results.get_nowait())
            except Empty:
                pass
            self._write(batch)

    def _write(self, batch):
        """Until it is written: what was done may not be forgotten while PostgreSQL is away.

        When PostgreSQL is there and does not take a batch, each row goes by itself, so that a bad
        or a locked one costs only itself.
        """
        error = self._attempt(batch)
        while error and passes(error) and sqlstate(error) not in LOCKED:
            log.error(
                'results wait for the database',
                extra={'reason': reason(error), 'results': len(batch)},
            )
            time.sleep(0.3)
            error = self._attempt(batch)
        if not error:
            for row, _ in batch:
                del self._unrecorded[_id(row), id(row)]
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
        """One row's result, not taken: a lock passes, and others go first; else its failure is
        recorded instead.
        """
        if passes(error):
            told = {'row': _id(row), 'reason': reason(error)}
            log.error('a result waits for the database', exc_info=error, extra=told)
            time.sleep(0.1)
            self._results.put((row, result))
            return
        log.error('a result could not be recorded', exc_info=error, extra={'row': _id(row)})
        if isinstance(
            result, Unrecordable
        ):  # not even that: its lease ends, and it is claimed once more
            del self._unrecorded[_id(row), id(row)]
        else:
            self._write([(row, Unrecordable(error))])

    def cancel_queued(self):
        """Take back the rows that no thread has begun with."""
        rows = []
        with suppress(Empty):
            while True:
                rows.append(self._work.get_nowait())
        for row in rows:
            del self._in_flight[_id(row)], self._unrecorded[_id(row), id(row)]
        return rows

    def dismiss(self) -> None:
        """End the threads of a pool that has nothing in flight and gets no more."""
        for _ in range(self._size):
            self._work.put(None)
        self._results.put(None)

    def close(self, timeout):
        """Wait until everything in flight is done and recorded, at most `timeout` seconds.

        True when it is.
        """
        deadline = time.monotonic() + timeout
        while self._unrecorded and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self._unrecorded


class BackgroundJob:
    """One kind of background job: rows that are due, a pool that does them, what is written of
    them.

    `claim(limit)` leases due rows (dicts with an `id`), `do`, `record` and `batch_window` are the
    pool's.
    """

    def __init__(self, size, claim, do, record, batch_window=0.002):
        self.pool, self._claim = WorkerPool(size, do, record, batch_window=batch_window), claim

    def step(self):
        """Take as many as there are threads free; returns how many."""
        free = self.pool.free
        rows = self._claim(free) if free else []
        self.pool.submit(rows)
        return len(rows)


def _id(row):
    """A claimed row's id, whether it is a dict or a dataclass."""
    return row['id'] if isinstance(row, dict) else row.id
