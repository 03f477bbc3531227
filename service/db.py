"""The PostgreSQL database: a small pool, opened and closed at the edges (request, drain step), never before a fork."""

import json
import os
import select
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from peewee import InterfaceError, OperationalError
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase
from psycopg2.extensions import new_type, register_type

from service.config import settings

CONNECTION_LOST = (OperationalError, InterfaceError)
# SQLSTATE classes of what passes: no connection, read-only for a moment, a deadlock, too little of something, locked,
# shut down, a disk. All others are about the statement or its values, which will be refused the next time, too.
PASSING = ('08', '25', '40', '53', '55', '57', '58')
LOCK_NOT_AVAILABLE = '55P03'
LOCKED = (LOCK_NOT_AVAILABLE, '57014')  # the server is there: somebody else's lock, or a statement that took too long

UUID_AS_TEXT = new_type((2950,), 'UUID', lambda value, cursor: value)  # ids are text in this house


class Database(PooledPostgresqlDatabase):
    """Peewee's pool; a connection that broke is thrown away instead of being handed to the next one."""

    def _connect(self):
        conn = super()._connect()
        register_type(UUID_AS_TEXT, conn)
        return conn

    def _is_closed(self, conn):
        """Peewee would ask the server each time. One that hung up has left its farewell in the idle socket."""
        if conn.closed:
            return True
        idle = select.poll()
        idle.register(conn.fileno(), select.POLLIN)
        return bool(idle.poll(0))

    def _can_reuse(self, conn):
        return not conn.closed and super()._can_reuse(conn)


db = Database(None, autoconnect=False)


def configure(max_connections=10):
    """Name the server; nothing is opened. `statement_timeout` ends what a lost peer would leave hanging."""
    db.init(
        settings.DATABASE_URL,
        max_connections=max_connections,
        timeout=10,
        connect_timeout=3,
        application_name='whatsapp-gateway',
        keepalives_idle=30,
        options='-c TimeZone=UTC -c statement_timeout=60000 -c lock_timeout=30000',
    )


def passes(error: Exception) -> bool:
    """Whether the database may take the same thing the next time. An error without a state is a lost connection."""
    state = sqlstate(error)
    return state[:2] in PASSING if state else isinstance(error, (*CONNECTION_LOST, MaxConnectionsExceeded))


def sqlstate(error: Exception) -> str | None:
    """PostgreSQL's code of an error, None when it is not PostgreSQL that speaks."""
    return getattr(getattr(error, 'orig', error), 'pgcode', None)


@contextmanager
def connection():
    """A connection of the pool for a block. Joins an open one; afterwards a broken one is closed for good."""
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
def no_connection():
    """Within a request: while somebody takes his time, others have its connection."""
    db.close()
    try:
        yield
    finally:
        db.connect()


def fetch(sql, params=()):
    """All rows of a statement as tuples."""
    return db.execute_sql(sql, params).fetchall()


def fetch_dicts(sql, params=()):
    """All rows of a statement as dicts."""
    cursor = db.execute_sql(sql, params)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def execute(sql, params=()):
    """Run a statement, return the number of rows it touched."""
    return db.execute_sql(sql, params).rowcount


def columns(rows):
    """Rows (tuples) as the parameters of unnest(): a list for each column."""
    return [list(column) for column in zip(*rows, strict=True)]


def to_json(value):
    """A json column's text, None for None. ASCII only: \\u0000 and lone surrogates stay the escapes that json keeps."""
    return None if value is None else json.dumps(value)


_last = 0


def new_id():
    """A UUIDv7 as text (RFC 9562): sorts by time of creation, within a process strictly."""
    global _last
    ticks = max(time.time_ns() * 4096 // 1_000_000, _last + 1)  # milliseconds with 12 bits of fraction
    _last = ticks
    random = int.from_bytes(os.urandom(8)) & 0x3FFFFFFFFFFFFFFF
    value = f'{(ticks >> 12) << 80 | 7 << 76 | (ticks & 0xFFF) << 64 | 2 << 62 | random:032x}'
    return f'{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}'


def id_at(moment: datetime, shift: timedelta) -> str:
    """Where in the order of our ids those of a time stand, `shift` before or after it."""
    milliseconds = int((moment.timestamp() + shift.total_seconds()) * 1000)
    return str(UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80))
