"""Threads that do slow calls between the claim and the record, and outlive the single drain."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from service.runtime import timetable
from service.runtime.db import LOCKED, connection, passes, reason, sqlstate

log = logging.getLogger(__name__)

LARGEST_BATCH = 500  # results that are recorded together


class ClaimedRow(Protocol):
    """A claimed row of any table."""

    @property
    def id(self) -> str: ...


RowT = TypeVar('RowT', bound=ClaimedRow)
ResultT = TypeVar('ResultT')


class Unrecordable(Exception):
    """PostgreSQL refuses to store the result of a call.

    `record` gets this instead of the result: a permanent failure.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(f'the result could not be stored ({type(error).__name__})')


class WorkerPool(Generic[RowT, ResultT]):
    """Threads that do slow calls, and one thread that records their results in batches."""

    def __init__(
        self,
        size: int,
        do: Callable[[RowT], ResultT],
        record: Callable[[list[tuple[RowT, ResultT | Exception]]], None],
        prefetch: int = 0,
        batch_window: float = 0.002,
    ) -> None:
        """`size` threads at most, each of which starts when it is needed first.

        `do` gives the result of a row; it is called without a connection to PostgreSQL.
        `record` writes all results that come within `batch_window` seconds; where they come all the
        time, by the timetable.
        `prefetch` more rows may wait, so that no thread has to wait for the next claim.
        """
        self.room = size + prefetch
        self._size = size
        self._do = do
        self._record = record
        self._batch_window = batch_window
        self._work: SimpleQueue[RowT | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[RowT, ResultT | Exception] | None] = SimpleQueue()
        # a row may be claimed once more meanwhile; single operations on a dict are atomic
        self._in_flight: dict[tuple[str, int], RowT] = {}
        self._unrecorded: dict[tuple[str, int], RowT] = {}
        self._threads = 0
        threading.Thread(target=self._recorder, name='recorder', daemon=True).start()

    @property
    def free(self) -> int:
        """How many more rows may be submitted."""
        return self.room - len(self._in_flight)

    def in_flight(self) -> list[RowT]:
        """The rows whose calls have not ended."""
        return list(self._in_flight.values())

    def submit(self, rows: Sequence[RowT]) -> None:
        """Have the calls of these rows made."""
        for row in rows:
            self._in_flight[row.id, id(row)] = row
            self._unrecorded[row.id, id(row)] = row
            self._work.put(row)
            if self._threads < min(self._size, len(self._in_flight)):
                self._threads += 1
                threading.Thread(target=self._run, name='pool', daemon=True).start()

    def _run(self) -> None:
        while (row := self._work.get()) is not None:
            result: ResultT | Exception
            try:
                result = self._do(row)
            except Exception as error:  # a fault of ours; the row's lease or the recorder decides
                log.error('a call failed unexpectedly', exc_info=error)
                result = error
            self._results.put((row, result))
            self._in_flight.pop((row.id, id(row)), None)

    def _recorder(self) -> None:
        began = -timetable.RECORD.every
        while (first := self._results.get()) is not None:
            batch = [first]
            departs = timetable.RECORD.after(began)
            time.sleep(max(self._batch_window, departs - time.monotonic()))
            began = time.monotonic()
            with suppress(Empty):
                while len(batch) < LARGEST_BATCH:
                    if (more := self._results.get_nowait()) is None:
                        self._results.put(None)  # the end, after this batch
                        break
                    batch.append(more)
            self._write(batch)

    def _write(self, batch: list[tuple[RowT, ResultT | Exception]]) -> None:
        """Record a batch, however long it takes: results must survive an outage of PostgreSQL.

        When PostgreSQL is there but refuses the batch, each row goes by itself, so that a bad or a
        locked one costs only itself.
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
                del self._unrecorded[row.id, id(row)]
        elif len(batch) > 1:
            for one in batch:
                self._write([one])
        else:
            self._handle_refusal(*batch[0], error)

    def _attempt(self, batch: list[tuple[RowT, ResultT | Exception]]) -> Exception | None:
        """What went wrong; None when the batch is written."""
        try:
            with connection():
                self._record(batch)
        except Exception as error:
            return error
        return None

    def _handle_refusal(self, row: RowT, result: ResultT | Exception, error: Exception) -> None:
        """Try a locked row again later; record the failure of one that PostgreSQL refuses."""
        if passes(error):
            told = {'row': row.id, 'reason': reason(error)}
            log.error('a result waits for the database', exc_info=error, extra=told)
            time.sleep(0.1)
            self._results.put((row, result))
            return
        log.error('a result could not be recorded', exc_info=error, extra={'row': row.id})
        if isinstance(result, Unrecordable):
            # not even the failure: the lease ends, and the row is claimed once more
            del self._unrecorded[row.id, id(row)]
        else:
            self._write([(row, Unrecordable(error))])

    def cancel_queued(self) -> list[RowT]:
        """Take back the rows that no thread has begun with."""
        rows = []
        with suppress(Empty):
            while row := self._work.get_nowait():
                rows.append(row)
        for row in rows:
            del self._in_flight[row.id, id(row)]
            del self._unrecorded[row.id, id(row)]
        return rows

    def dismiss(self) -> None:
        """End the threads of a pool that has nothing in flight and gets no more."""
        for _ in range(self._threads):
            self._work.put(None)
        self._results.put(None)

    def close(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until everything is done and recorded; whether it is."""
        deadline = time.monotonic() + timeout
        while self._unrecorded and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self._unrecorded


class BackgroundJob:
    """One kind of background job: how its due rows are claimed, and the pool that does them."""

    def __init__(
        self,
        size: int,
        claim: Callable[[int], Sequence[RowT]],
        do: Callable[[RowT], ResultT],
        record: Callable[[list[tuple[RowT, ResultT | Exception]]], None],
        batch_window: float = 0.002,
    ) -> None:
        """`claim(limit)` leases due rows; all else is as WorkerPool has it."""
        self.pool: WorkerPool[Any, Any] = WorkerPool(size, do, record, batch_window=batch_window)
        self._claim = claim

    def step(self) -> int:
        """Claim as many rows as there are free threads; returns how many it found."""
        free = self.pool.free
        rows = self._claim(free) if free else []
        self.pool.submit(rows)
        return len(rows)
