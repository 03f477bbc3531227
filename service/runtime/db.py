"""The PostgreSQL database: a small pool, opened and closed at the edges (request, drain step),
never before a fork.
"""

import json
import re
import select
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg2
from peewee import InterfaceError, OperationalError, PostgresqlDatabase
from playhouse.pool import MaxConnectionsExceeded
from psycopg2.errors import ReadOnlySqlTransaction
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor, new_type, register_type
from psycopg2.sql import Composable

from service.runtime.config import settings
from service.runtime.watchdog import watchdog

CONNECTION_LOST = (OperationalError, InterfaceError)
# SQLSTATE classes of what passes: no connection, read-only for a moment, a deadlock, too little of
# something, locked, shut down, a disk. All others are about the statement or its values, which will
# be refused the next time, too.
PASSING = ('08', '25', '40', '53', '55', '57', '58')
LOCK_NOT_AVAILABLE = '55P03'
LOCKED = (
    LOCK_NOT_AVAILABLE,
    '57014',
)  # the server is there: somebody else's lock, or a statement that took too long

CONNECT_SECONDS = 3  # for each address of the server
PLACE_SECONDS = 10  # until another one gives his connection back
ANSWER_SECONDS = (
    22  # for one statement; after that the connection is dead, whatever the kernel believes
)
CONNECT = {
    'connect_timeout': CONNECT_SECONDS,
    'application_name': 'whatsapp-gateway',
    'client_encoding': 'UTF8',
    'keepalives_idle': 10,  # seconds; with the two below a peer that is gone is noticed in 22
    'keepalives_interval': 4,
    'keepalives_count': 3,
    'tcp_user_timeout': 20_000,  # milliseconds
}
# What the server ends by itself, also for a client it cannot see any more. SET LOCAL, in the
# statement's own packet: PgBouncer refuses them as start-up options, and behind it a SET would meet
# whoever gets the connection next.
LIMITS = 'SET LOCAL statement_timeout = 20000; SET LOCAL lock_timeout = 10000; '
LONG_SECONDS = 62  # for a statement that may go through all of an account's messages
LONG = 'SET LOCAL statement_timeout = 60000; '
BEGIN = f'BEGIN; {LIMITS}SET LOCAL idle_in_transaction_session_timeout = 20000'

PLACE = re.compile(
    r'connection to server (?:at|on) .*? failed: '
)  # libpq's, before the server's own words
SEVERITY = re.compile(r'^[^\s:"]+ ?:\s\s')  # "FATAL:  ", in the server's language
QUOTED = re.compile(r'"[^"]*"')

UUID_AS_TEXT = new_type((2950,), 'UUID', lambda value, cursor: value)  # ids are text in this house
_local = (
    threading.local()
)  # .end: when (monotonic) the time of a deadline() block is up; .is_long: in execute_long()


Parameters = Sequence[Any] | Mapping[str, Any]


class Cursor(cursor):
    """A statement that is not answered in time ends with its connection."""

    answer_seconds = ANSWER_SECONDS

    def execute(self, sql: str | bytes | Composable, params: Parameters | None = None) -> None:
        seconds = LONG_SECONDS if getattr(_local, 'is_long', False) else self.answer_seconds
        wait = watchdog.begin(self.connection, _seconds_left(seconds))
        try:
            return super().execute(sql, params)
        except (
            ReadOnlySqlTransaction
        ) as error:  # after a failover this is no primary any more: look for another
            self.connection.close()
            raise psycopg2.OperationalError(str(error)) from error
        except psycopg2.Error as error:
            if not wait.cut:
                raise
            waited = time.monotonic() - wait.began
            raise psycopg2.OperationalError(f'no answer for {waited:.0f} s') from error
        finally:
            watchdog.end(wait)


class Database(PostgresqlDatabase):
    """Peewee's database with a pool in which nobody waits while another one connects."""

    def __init__(self) -> None:
        self._idle: deque[Connection] = deque()
        super().__init__(None, autoconnect=False)
        self._lock = nullcontext()  # what it would guard is each thread's own

    def init(self, database: str, max_connections: int = 10, **parameters: Any) -> None:  # type: ignore[override]
        self.close_idle()
        self._places = threading.Semaphore(max_connections)
        super().init(database, **parameters)

    def _connect(self) -> Connection:
        places, seconds = self._places, _seconds_left(PLACE_SECONDS)
        if not seconds:
            raise psycopg2.OperationalError('no time is left to wait for it')
        if not places.acquire(timeout=seconds):
            raise MaxConnectionsExceeded('all connections of this process are in use')
        try:
            return self._idle_one() or self._open()
        except BaseException:
            places.release()
            raise

    def _idle_one(self) -> Connection | None:
        """The one used last that is still there.

        Who hung up has left a farewell in the idle socket.
        """
        while self._idle:
            try:
                conn = self._idle.pop()
            except IndexError:
                break
            if not conn.closed:
                farewell = select.poll()
                farewell.register(conn.fileno(), select.POLLIN)
                if not farewell.poll(0):
                    return conn
            conn.close()
        return None

    def _open(self) -> Connection:
        conn: Connection = super()._connect()  # type: ignore[misc]  # not in the types of Peewee
        register_type(UUID_AS_TEXT, conn)
        return conn

    def _close(self, conn: Connection) -> None:
        try:
            if not conn.closed and self._adapter.is_connection_reusable(conn):  # type: ignore[attr-defined]
                self._idle.append(conn)
            else:
                conn.close()
        finally:
            self._places.release()

    def close_idle(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def close_all(self) -> None:
        """This thread's connection and the idle ones."""
        self.close()
        self.close_idle()

    def begin(self) -> None:  # type: ignore[override]  # nobody asks for another isolation
        super().execute_sql(BEGIN)

    def execute_sql(self, sql: str, params: Parameters | None = None) -> cursor:
        answered: cursor = super().execute_sql(
            sql if self.in_transaction() else LIMITS + sql, params
        )
        return answered


db = Database()


def configure(max_connections: int = 10) -> None:
    """Name the server; nothing is opened."""
    db.init(
        settings.DATABASE_URL, max_connections=max_connections, cursor_factory=Cursor, **CONNECT
    )


def passes(error: Exception) -> bool:
    """Whether the database may take the same thing the next time.

    An error without a state is a lost connection.
    """
    state = sqlstate(error)
    return (
        state[:2] in PASSING
        if state
        else isinstance(error, (*CONNECTION_LOST, MaxConnectionsExceeded))
    )


def sqlstate(error: Exception) -> str | None:
    """PostgreSQL's code of an error, None when it is not PostgreSQL that speaks."""
    return getattr(getattr(error, 'orig', error), 'pgcode', None)


@contextmanager
def connection() -> Iterator[Database]:
    """A connection of the pool for a block.

    Joins an open one; afterwards a broken one is closed for good.
    """
    if not db.is_closed():
        yield db
        return
    db.connect()
    try:
        yield db
    except CONNECTION_LOST:
        db.close_idle()  # the server went away for all of them
        raise
    finally:
        db.close()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Within the block PostgreSQL has so many seconds in all: for a free connection and for every
    answer.
    """
    before = getattr(_local, 'end', None)
    end = time.monotonic() + seconds
    _local.end = end if before is None else min(before, end)
    try:
        yield
    finally:
        _local.end = before


def _seconds_left(at_most: float) -> float:
    end = getattr(_local, 'end', None)
    return at_most if end is None else max(0, min(at_most, end - time.monotonic()))


def reason(error: Exception) -> str:
    """Why PostgreSQL refused or was lost, in its own words, on one line.

    May name hosts and users, but no secret.

    Of any other error only the kind: its text may quote what was to be stored.
    """
    if not isinstance(error, (*CONNECTION_LOST, MaxConnectionsExceeded, psycopg2.OperationalError)):
        return type(error).__name__
    lines = str(getattr(error, 'orig', error)).splitlines()
    refusals = [
        SEVERITY.sub('', PLACE.sub('', line)).strip() for line in lines if PLACE.match(line)
    ]
    told = '; '.join(dict.fromkeys(refusals or lines[:1]))
    return told[:300] or type(error).__name__


def public_reason(error: Exception) -> str:
    """The same for strangers: without the names that PostgreSQL quotes."""
    return QUOTED.sub('"…"', reason(error))


@contextmanager
def no_connection() -> Iterator[None]:
    """Within a request: while somebody takes his time, others have its connection."""
    db.close()
    try:
        yield
    finally:
        db.connect()


def fetch(sql: str, params: Parameters = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement as tuples."""
    return db.execute_sql(sql, params).fetchall()


def fetch_dicts(sql: str, params: Parameters = ()) -> list[dict[str, Any]]:
    """All rows of a statement as dicts."""
    cursor = db.execute_sql(sql, params)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def execute(sql: str, params: Parameters = ()) -> int:
    """Run a statement, return the number of rows it touched."""
    return db.execute_sql(sql, params).rowcount


def execute_long(sql: str, params: Parameters = ()) -> int:
    """The same with a minute's time: for a statement that may go through all messages of an account
    or a template.
    """
    _local.is_long = True
    try:
        return execute(LONG + sql, params)
    finally:
        _local.is_long = False


def columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows (tuples) as the parameters of unnest(): a list for each column."""
    return [list(column) for column in zip(*rows, strict=True)]


def to_json(value: object) -> str | None:
    """A json column's text, None for None.

    ASCII only: \\u0000 and lone surrogates stay the escapes that json keeps.
    """
    return None if value is None else json.dumps(value)
