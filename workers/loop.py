"""claim → do → record, until nothing is due: the only loop."""

import logging
import math
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from redis import RedisError

from service.jobs import job_table
from service.runtime.db import CONNECTION_LOST, connection, reason
from service.runtime.queues import clear_wakeup, wake
from service.runtime.timetable import Departures

log = logging.getLogger(__name__)

# Seconds of one drain; then it wakes its successor, so that RQ's heartbeats and warm shutdown work
# as usual. Each successor is some sixty commands in Redis.
BUDGET = 8
LINGER = 0.5  # seconds without work after which a drain ends; a later wake-up starts the next
PACE = 0.025  # seconds from the beginning of a step to that of the next
SEVERAL = 2  # rows; a step that finds so many is followed by one at the next departure
MANY = 4  # and by one without a look before: of so many there are some the next time, too
STEP_SECONDS = 1  # after which a step is taken though nothing is due: leases are renewed in it
FAILURE_REST_SECONDS = 0.2  # after a step that failed
AWAY = (*CONNECTION_LOST, MaxConnectionsExceeded)  # it may work the next time

Step = Callable[[], int]  # claims and submits what is due; returns how much it found


class Pool(Protocol):
    """What a drain has to know of the pool, or pools, that its steps fill."""

    @property
    def free(self) -> int: ...

    def in_flight(self) -> Sequence[object]: ...


class Stop:
    """A flag that a signal handler may set.

    An Event does not do: its lock may be held by the very code that the signal interrupts.
    """

    def __init__(self) -> None:
        self._set = False
        self._at: float | None = None
        self._read, self._write = os.pipe()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._at = self._at or time.monotonic()
        self._set = True
        os.write(self._write, b'.')

    def seconds(self) -> float:
        """For how long it has been set."""
        return time.monotonic() - self._at if self._set and self._at else 0

    def clear(self) -> None:
        self._set = False
        self._at = None
        os.read(self._read, 65536)

    def after_fork(self) -> None:
        """Have a pipe of this process's own: it hears of its own signals alone."""
        self._read, self._write = os.pipe()

    def wait(self, seconds: float) -> bool:
        """Sleep until it is set, at most so many seconds; whether it is set."""
        if not self._set:
            select.select([self._read], [], [], seconds)
        return self._set


stopping = Stop()  # set at SIGTERM: nothing is claimed any more


def drain(
    name: str,
    step: Step,
    pool: Pool,
    enough: int = 0,
    pace: float = PACE,
    departures: Departures | None = None,
) -> None:
    """Work off a queue: repeat `step` until it has found nothing for LINGER seconds.

    Never raises. A step is taken when `enough` places of the pool are free, `pace` seconds at least
    after the beginning of the last one; or at the next of `departures`, if there are any, after one
    that found several and left places free. What comes in between goes together. While calls are in
    flight the drain goes on, as the end of one may bring new work.
    """
    with suppress(RedisError):  # the flag expires by itself
        clear_wakeup(name)
    Drain(name, step, pool, enough, pace, departures).run()


class Drain:
    """One drain, from the bell until it has nothing to do or hands over to its successor."""

    def __init__(
        self,
        name: str,
        step: Step,
        pool: Pool,
        enough: int,
        pace: float,
        departures: Departures | None,
    ) -> None:
        self._name, self._step, self._pool = name, step, pool
        self._enough, self._pace, self._departures = enough, pace, departures
        self._idle_since = time.monotonic()
        self._stepped = -math.inf  # in monotonic seconds: the last step
        self._end = self._idle_since + BUDGET
        self._found: float = math.inf  # by the last step; the bell has rung

    def run(self) -> None:
        """Take steps with a connection that is kept until one of them fails."""
        while self._goes_on():
            try:
                with connection():
                    while self._goes_on():
                        self._take_turn()
            except (PeeweeException, *AWAY) as error:  # the rows are as they were
                told = {'reason': reason(error)}
                log.error('a step failed and will be repeated', exc_info=error, extra=told)
                stopping.wait(FAILURE_REST_SECONDS)
        if time.monotonic() > self._end:
            wake(self._name)  # the next drain goes on

    def _goes_on(self) -> bool:
        now = time.monotonic()
        return not stopping.is_set() and now <= self._end and now - self._idle_since <= LINGER

    def _take_turn(self) -> None:
        """Take a step if there is something to do, then rest until the next one may be taken."""
        began = time.monotonic()
        free, found = self._pool.free, 0
        if free >= self._enough:
            self._found = found = self._step_if_due(began)
        if found or self._pool.in_flight():
            self._idle_since = time.monotonic()
        until = began + self._pace
        if self._departures and SEVERAL <= found < free:  # who has filled the pool has more to do
            until = self._departures.after(began)
        stopping.wait(max(0, until - time.monotonic()))

    def _step_if_due(self, now: float) -> int:
        """How much a step found. One cheap look comes first, unless the last one found many."""
        is_time = self._found >= MANY or now - self._stepped > STEP_SECONDS
        if not (is_time or job_table.is_due(self._name)):
            return 0
        self._stepped = now
        return self._step()


def step_all(steps: Sequence[Step]) -> int:
    """Take all steps, even if one fails: work of one kind never waits for another kind.

    Returns how much they found. When one failed and no other found anything, its error is raised,
    so that the loop takes a rest.
    """
    found = 0
    failure: Exception | None = None
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
