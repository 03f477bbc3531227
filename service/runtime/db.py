"""The PostgreSQL database: a small pool of connections.

They are opened and closed at the edges (a request, a step of a drain), never before a fork.
"""

import json
import re
import select
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import psycopg2
from peewee import InterfaceError, NotSupportedError, OperationalError, PostgresqlDatabase
from playhouse.pool import MaxConnectionsExceeded
from psycopg2.extensions import cursor, new_type, register_type

from service.runtime.array_literal import Parameters, with_arrays
from service.runtime.config import settings
from service.runtime.connection_plan import WEB
from service.runtime.durability import commit_option
from service.runtime.prepared import Prepared
from service.runtime.session import LONG, Cursor, Session, lock_option, long_time, seconds_left
from service.runtime.watchdog import watchdog

CONNECTION_LOST = (OperationalError, InterfaceError)
# SQLSTATE classes of passing errors: no connection, read-only, a deadlock, too few resources,
# locked, shut down, a disk. All others are about the statement or its values: they come again.
PASSING = ('08', '25', '40', '53', '55', '57', '58')
GONE = ('08', '57P')  # SQLSTATEs that begin so: the connection has ended, or the server ends
LOCK_NOT_AVAILABLE = '55P03'
STATEMENT_TOOK_TOO_LONG = '57014'
UNKNOWN_STATEMENT = '26000'
LOCKED = (LOCK_NOT_AVAILABLE, STATEMENT_TOOK_TOO_LONG)  # the server is there

CONNECT_SECONDS = 3  # for each address of the server
POOL_SECONDS = 10  # until another thread gives its connection back
CONNECT = {
    'connect_timeout': CONNECT_SECONDS,
    'application_name': 'whatsapp-gateway',
    'client_encoding': 'UTF8',
    'keepalives_idle': 10,  # seconds; with the two below a dead peer is noticed after 22
    'keepalives_interval': 4,
    'keepalives_count': 3,
    'tcp_user_timeout': 20_000,  # milliseconds
}

# libpq's words before the server's own
PREFIX = re.compile(r'connection to server (?:at|on) .*? failed: ')
SEVERITY = re.compile(r'^[^\s:"]+ ?:\s\s')  # "FATAL:  ", in the server's language
QUOTED = re.compile(r'"[^"]*"')

UUID_AS_TEXT = new_type((2950,), 'UUID', lambda value, cursor: value)  # ids are text here


class Database(PostgresqlDatabase):
    """Peewee's database with a pool in which no thread waits while another one connects."""

    def __init__(self) -> None:
        self._idle: deque[Session] = deque()
        super().__init__(None, autoconnect=False)
        self._lock = nullcontext()  # what it would guard is each thread's own

    def init(self, database: str, max_connections: int = WEB, **parameters: Any) -> None:  # type: ignore[override]
        self.close_idle()
        self._free_places = threading.Semaphore(max_connections)
        super().init(database, **parameters)

    def _connect(self) -> Session:
        places = self._free_places
        seconds = seconds_left(POOL_SECONDS)
        if not seconds:
            raise psycopg2.OperationalError('no time is left to wait for it')
        if not places.acquire(timeout=seconds):
            raise MaxConnectionsExceeded('all connections of this process are in use')
        try:
            return self._idle_one() or self._open()
        except BaseException:
            places.release()
            raise

    def _idle_one(self) -> Session | None:
        """The idle connection that was used last, if the server has not closed it."""
        while self._idle:
            try:
                conn = self._idle.pop()
            except IndexError:
                break
            if not conn.closed:
                goodbye = select.poll()  # of a server that closed it there is something to read
                goodbye.register(conn.fileno(), select.POLLIN)
                if not goodbye.poll(0):
                    return conn
            conn.close()
        return None

    def _open(self) -> Session:
        with watchdog.connecting(CONNECT_SECONDS):
            session: Session = super()._connect()  # type: ignore[misc]  # not in Peewee's types
        register_type(UUID_AS_TEXT, session)
        try:
            session.find_out()
        except BaseException:
            session.close()
            raise
        return session

    def _close(self, conn: Session) -> None:
        try:
            if not conn.closed and self._adapter.is_connection_reusable(conn):  # type: ignore[attr-defined]
                self._idle.append(conn)
            else:
                conn.close()
        finally:
            self._free_places.release()

    def close_idle(self) -> None:
        with suppress(IndexError):
            while self._idle:
                self._idle.pop().close()

    def begin(self) -> None:  # type: ignore[override]  # nobody asks for another isolation
        """Send nothing yet: BEGIN goes in one packet with the first statement."""
        self._session().options = commit_option() + lock_option()

    def commit(self) -> None:
        session = self._session()
        if not session.is_idle:
            super().commit()
            session.wake_if_due()

    def rollback(self) -> None:
        session = self._session()
        if not (session.is_idle or session.is_lost):
            super().rollback()
        session.notices = []

    def execute_sql(self, sql: str, params: Parameters | None = None) -> cursor:
        given = with_arrays(params) if params else params
        if isinstance(sql, Prepared) and not self.is_closed() and self._session().is_direct:
            return self._execute_prepared(sql, given)
        return self._send(sql, given)

    def _execute_prepared(self, statement: Prepared, params: Parameters | None) -> cursor:
        session = self._session()
        if statement.name not in session.prepared:
            super().execute_sql(statement.prepare)
            session.prepared.add(statement.name)
        is_first = session.is_idle
        try:
            return self._send(statement.execute, params)
        except (NotSupportedError, OperationalError) as error:
            if not _is_outdated(error):
                raise
            if not is_first:  # what came before is lost: the whole transaction has to come again
                session.close()
                raise OperationalError('a prepared statement is outdated') from error
        self.rollback()
        super().execute_sql('DEALLOCATE ALL')
        session.prepared.clear()
        return self._send(statement, params)

    def _send(self, sql: str, params: Parameters | None) -> cursor:
        answered: cursor = super().execute_sql(self._before() + sql, params)
        if not self.in_transaction():
            self._session().wake_if_due()
        return answered

    def _before(self) -> str:
        """What goes before a statement, in one packet with it."""
        if self.is_closed():
            return ''
        session = self._session()
        if not self.in_transaction():
            return session.limits + commit_option()
        return session.begin + session.options if session.is_idle else ''

    def _session(self) -> Session:
        session: Session = self.connection()
        return session


db = Database()


def configure(max_connections: int = WEB) -> None:
    """Name the server, without connecting to it."""
    factories = {'connection_factory': Session, 'cursor_factory': Cursor}
    db.init(settings.DATABASE_URL, max_connections, **factories, **CONNECT)


def passes(error: Exception) -> bool:
    """Whether the same statement may succeed the next time."""
    if state := sqlstate(error):
        return state[:2] in PASSING
    return isinstance(error, (*CONNECTION_LOST, MaxConnectionsExceeded))  # the connection is lost


def close_idle_if_lost(error: Exception) -> None:
    """Close the idle connections, unless it was a statement that failed, by a deadlock say."""
    state = sqlstate(error)
    if isinstance(error, CONNECTION_LOST) and (not state or state.startswith(GONE)):
        db.close_idle()


def _is_outdated(error: Exception) -> bool:
    """Whether a prepared statement is unknown to the server, or what it returns has other types."""
    diagnostics = getattr(getattr(error, 'orig', error), 'diag', None)
    origin = getattr(diagnostics, 'source_function', None)
    return sqlstate(error) == UNKNOWN_STATEMENT or origin == 'RevalidateCachedQuery'


def sqlstate(error: Exception) -> str | None:
    """PostgreSQL's code of an error, None for an error that is not PostgreSQL's."""
    return getattr(getattr(error, 'orig', error), 'pgcode', None)


@contextmanager
def connection() -> Iterator[Database]:
    """Use a connection of the pool within a block, or the open one if there is one.

    Afterwards a broken one is closed for good; one in which a statement failed is rolled back.
    """
    if not db.is_closed():
        yield db
        return
    db.connect()
    try:
        yield db
    except CONNECTION_LOST as error:
        close_idle_if_lost(error)
        raise
    finally:
        db.close()


def reason(error: Exception) -> str:
    """Why PostgreSQL refused or was lost, in its own words, on one line.

    It may name hosts and users, but no secret. Of any other error only the type is told, since
    its text may quote what was to be stored.
    """
    if not isinstance(error, (*CONNECTION_LOST, MaxConnectionsExceeded, psycopg2.OperationalError)):
        return type(error).__name__
    lines = str(getattr(error, 'orig', error)).splitlines()
    refusals = [
        SEVERITY.sub('', PREFIX.sub('', line)).strip() for line in lines if PREFIX.match(line)
    ]
    told = '; '.join(dict.fromkeys(refusals or lines[:1]))
    return told[:300] or type(error).__name__


def public_reason(error: Exception) -> str:
    """The reason without the names that PostgreSQL quotes, for answers to anybody."""
    return QUOTED.sub('"…"', reason(error))


@contextmanager
def no_connection() -> Iterator[None]:
    """Give a connection, if one is open, back to the pool within a block that takes long."""
    was_open = db.close()
    try:
        yield
    finally:
        if was_open:
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
    """Execute a statement that may take a minute, as one about all messages of an account does."""
    with long_time():
        return execute(LONG + sql, params)


def to_json(value: object) -> str | None:
    """A value as the text of a json column; None for None.

    ASCII only, so \\u0000 and lone surrogates stay escapes, which the type json keeps.
    """
    return None if value is None else json.dumps(value)
