"""claim → do → record, until nothing is due: the only loop."""

import logging
import os
import select
import time
from contextlib import suppress

from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from redis import RedisError

from service.runtime.db import CONNECTION_LOST, connection, reason
from service.runtime.queues import clear_wakeup, enqueue_drain, wake

log = logging.getLogger(__name__)

# seconds of one drain; then it wakes its successor, so that RQ's heartbeats and warm shutdown stay
# ordinary
BUDGET = 5
LINGER = 0.5  # seconds without work before a drain ends; a ring after that starts the next
POLL_SECONDS = 0.02  # seconds between two looks while there is nothing
AWAY = (*CONNECTION_LOST, MaxConnectionsExceeded)  # it may work the next time


class Stop:
    """A flag for signal handlers: an Event's lock could be held by the very code that the signal
    interrupts.
    """

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


def drain(name, step, pool, enough=0, pace=0):
    """Answer the bell of a queue: `step()` until it has found nothing for LINGER seconds.

    Never raises.

    `step()` returns how much it found; it is taken when `enough` places of the pool are free. While
    the pool is busy there is no rest: the end of a call may bring new work. `pace`: seconds between
    two steps even when there is work.
    """
    end, idle_since = time.monotonic() + BUDGET, time.monotonic()
    with suppress(RedisError):  # the flag expires by itself
        clear_wakeup(name)
    while not stopping.is_set():
        found = _guarded(step) if pool.free >= enough else 0
        now = time.monotonic()
        if found or pool.in_flight():
            idle_since = now
        if now > end:
            wake(name)  # whoever comes next goes on
            return
        if now - idle_since > LINGER:
            return
        if rest := pace if found else max(pace, POLL_SECONDS):
            stopping.wait(rest)


def step_all(steps):
    """All of them, whatever goes wrong in one: work of one kind never waits for that of another.

    How much they found; what went wrong is raised when no other found anything, so that the loop
    takes a rest.
    """
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
    """A step with its connection.

    What goes wrong is logged and tried again: the rows are as they were.
    """
    try:
        with connection():
            return step()
    except (PeeweeException, *AWAY) as error:
        log.error(
            'a step failed and will be repeated', exc_info=error, extra={'reason': reason(error)}
        )
        stopping.wait(0.2)
        return 0


def more_is_due(name):
    """This worker has all it can take and there is more: wake another one."""
    with suppress(RedisError):
        enqueue_drain(name)
