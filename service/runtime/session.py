"""A connection to PostgreSQL and its time limits, the server's and our own.

A direct connection has a session of the server for itself, so its limits are set once. Behind a
pooler like PgBouncer in transaction mode each transaction may run in another session, which other
clients use before and after: there the limits go with each transaction, and nothing is left behind.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg2
from psycopg2.errors import ReadOnlySqlTransaction
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_UNKNOWN,
    connection,
    cursor,
)
from psycopg2.sql import Composable

from service.runtime.array_literal import Parameters
from service.runtime.config import settings
from service.runtime.queues import EVENTS, wake
from service.runtime.watchdog import watchdog

# for one statement; after that the connection is dead, whatever the kernel believes
ANSWER_SECONDS = 22
LONG_SECONDS = 62  # for a statement that may go through all of an account's messages
# The server's own time limits in milliseconds, which hold also when it cannot see the client any
# more. PgBouncer refuses them as start-up options.
STATEMENT_LIMITS = {'statement_timeout': 20_000, 'lock_timeout': 10_000}
LIMITS = STATEMENT_LIMITS | {'idle_in_transaction_session_timeout': 20_000}
LONG_LIMITS = {'statement_timeout': 60_000}
# A prepared statement has one plan for all values, made when the tables may have been empty. Only
# plans that touch the fewest rows may seem cheap then, however few rows there are.
PLANNING = {
    'enable_seqscan': 'off',
    'enable_bitmapscan': 'off',  # it has no order
    'cpu_tuple_cost': 1,
    'cpu_index_tuple_cost': 1,
    'jit': 'off',  # such costs would start it, and parallel workers
    'max_parallel_workers_per_gather': 0,
    'plan_cache_mode': 'force_generic_plan',
}

DELIVERIES_ARE_DUE = 'event deliveries are due'  # as a trigger says, with the statement's answer

# .end: when (monotonic) the time of a deadline() block is up; .is_long: in a long_time() block;
# .lock_option: that of a lock_waits() block
_local = threading.local()


def _set(values: Mapping[str, object], command: str = 'SET') -> str:
    """SQL that goes before a statement, in one packet."""
    return ''.join(f'{command} {name} = {value}; ' for name, value in values.items())


ONCE = _set(LIMITS) + _set(PLANNING)
# Such a statement has plans of its own, for all the rows that it reads.
LONG = _set(LONG_LIMITS | dict.fromkeys(PLANNING, 'DEFAULT'), 'SET LOCAL')
# An index of words can be read by a bitmap alone; its statement has a plan of its own, too.
BITMAP_PLANNING = {'enable_seqscan': 'off', 'work_mem': "'32MB'"}
BY_BITMAP = _set(dict.fromkeys(PLANNING, 'DEFAULT') | BITMAP_PLANNING, 'SET LOCAL')


class Session(connection):
    """A connection, and what goes before a statement on it, in one packet.

    `is_direct`: it has a session of the server for itself; `limits`: goes before a statement
    outside of transactions; `begin`: before the first one of a transaction, and behind it
    `options` of this one; `prepared`: names of statements, on a direct connection.
    """

    is_direct = False
    prepared: set[str]
    limits = _set(STATEMENT_LIMITS, 'SET LOCAL')
    begin = 'BEGIN; ' + _set(LIMITS, 'SET LOCAL')
    options = ''

    def find_out(self) -> None:
        """See whether the server itself is at the other end; if so, set for good what is to hold.

        A pooler has told its client another process number than that of the session behind it.
        """
        if settings.DATABASE_PREPARE == 'no':
            return
        with self.cursor() as cursor:
            cursor.execute('SELECT pg_backend_pid()')
            if cursor.fetchone() == (self.get_backend_pid(),):
                cursor.execute(ONCE)
                self.is_direct = True
                self.prepared = set()
                self.limits = ''
                self.begin = 'BEGIN; '

    def wake_if_due(self) -> None:
        """After a commit: wake who tells endpoints, if the server has said that there is work."""
        if not self.notices:
            return
        notices, self.notices = self.notices, []
        if any(DELIVERIES_ARE_DUE in notice for notice in notices):
            wake(EVENTS)

    @property
    def is_idle(self) -> bool:
        """Whether no transaction has begun."""
        return self.get_transaction_status() == TRANSACTION_STATUS_IDLE

    @property
    def is_lost(self) -> bool:
        """Whether the server is gone, which undoes what was not committed."""
        return self.get_transaction_status() == TRANSACTION_STATUS_UNKNOWN


class Cursor(cursor):
    """Closes its connection when a statement is not answered in time."""

    answer_seconds = ANSWER_SECONDS

    def execute(self, sql: str | bytes | Composable, params: Parameters | None = None) -> None:
        seconds = LONG_SECONDS if getattr(_local, 'is_long', False) else self.answer_seconds
        wait = watchdog.begin(self.connection, seconds_left(seconds))
        try:
            return super().execute(sql, params or None)
        except ReadOnlySqlTransaction as error:
            # after a failover this is no primary any more: look for another
            self.connection.close()
            raise psycopg2.OperationalError(str(error)) from error
        except psycopg2.Error as error:
            if not wait.cut:
                raise
            waited = time.monotonic() - wait.began
            raise psycopg2.OperationalError(f'no answer for {waited:.0f} s') from error
        finally:
            watchdog.end(wait)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit the time of a block: for getting a connection and for all answers together."""
    before = getattr(_local, 'end', None)
    end = time.monotonic() + seconds
    _local.end = end if before is None else min(before, end)
    try:
        yield
    finally:
        _local.end = before


def seconds_left(at_most: float) -> float:
    """How long to wait for something that may take `at_most` seconds, within the deadline."""
    end = getattr(_local, 'end', None)
    return at_most if end is None else max(0, min(at_most, end - time.monotonic()))


@contextmanager
def lock_waits(milliseconds: int) -> Iterator[None]:
    """Let each statement of the transactions that begin in a block wait so long for a lock."""
    before = lock_option()
    _local.lock_option = _set({'lock_timeout': milliseconds}, 'SET LOCAL')
    try:
        yield
    finally:
        _local.lock_option = before


def lock_option() -> str:
    """What goes before the first statement of a transaction that begins now."""
    return getattr(_local, 'lock_option', '')


@contextmanager
def long_time() -> Iterator[None]:
    """Let the statements of a block take a minute; LONG goes before each of them."""
    _local.is_long = True
    try:
        yield
    finally:
        _local.is_long = False
