"""Applies schema.sql: `python -m service.runtime.migrate` is the release process."""

import logging
import re
import sys
import time
from contextlib import AbstractContextManager, closing
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection, cursor

from service.runtime import config, logs, table_locks
from service.runtime.config import settings
from service.runtime.db import CONNECT as CONNECTION
from service.runtime.db import fetch, reason, sqlstate
from service.runtime.session import Cursor

log = logging.getLogger(__name__)
FILE = Path(__file__).resolve().parents[2] / 'schema.sql'
VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())
"""
CONNECT: dict[str, Any] = CONNECTION | {'application_name': 'whatsapp-gateway release'}
NOT_THERE_YET = ('42P01', '42703')  # sqlstates: no such table, no such column
CONNECT_PATIENCE = 60  # seconds that a release waits for PostgreSQL


class PatientCursor(Cursor):
    """A cursor for a section of schema.sql, which may have to go through every row."""

    answer_seconds = 3600


def sections() -> list[tuple[int, str]]:
    """schema.sql as [(version, sql)]."""
    text, _ = _parts()
    parts = re.split(r'^-- version (\d+)(?:: .*)?$', text, flags=re.MULTILINE)
    return [(int(version), sql) for version, sql in zip(parts[1::2], parts[2::2], strict=True)]


def retired() -> str:
    """What of the tables only the processes of the former version need."""
    return _parts()[1]


def _parts() -> tuple[str, str]:
    text, _, rest = FILE.read_text().partition('\n-- retired')
    return text, rest.partition('\n')[2]


def at_once(sql: str) -> str:
    """A section as it is applied where nobody else is, in a transaction."""
    return sql.replace('CONCURRENTLY ', '')


def newest() -> int:
    return max(version for version, _ in sections())


@cache
def needed() -> int:
    """The version that this process's code is written for."""
    return newest()


def missing() -> str | None:
    """Why the tables are not those that this code needs, None when they are. Needs a connection."""
    if fetch("SELECT to_regclass('schema_version') IS NULL")[0][0]:
        return 'no release has made the tables'
    version = fetch('SELECT coalesce(max(version), 0) FROM schema_version')[0][0]
    if version < needed():
        return f'of version {version}, {needed()} is needed: run the release'
    return None


def is_behind(error: Exception) -> bool:
    """Whether a statement failed for want of a table or column, which a release has to bring."""
    return sqlstate(error) in NOT_THERE_YET


def upgrade() -> tuple[int, int]:
    """Bring the database to the newest version; returns (from, to).

    By one process at a time; safe to repeat, and while other processes run: it has all its locks
    before it changes anything. What schema.sql does CONCURRENTLY comes statement by statement, the
    rest in one transaction. A database that is new to us gets all in one. Raises
    table_locks.Locked.
    """
    before, after = table_locks.until_free(_connect, _apply)
    while after < newest():
        _, after = table_locks.until_free(_connect, _apply)
    return before, after


def _apply(cursor: cursor, firmness: AbstractContextManager[None]) -> tuple[int, int]:
    """Apply the sections that go together with the next one; returns (from, to)."""
    cursor.execute('SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 300')
    cursor.execute('SET LOCAL idle_in_transaction_session_timeout = 0')
    cursor.execute(
        'SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))', ('whatsapp gateway schema',)
    )
    cursor.execute(VERSIONS)
    cursor.execute('SELECT coalesce(max(version), 0) FROM schema_version')
    before: int = table_locks.value(cursor)
    pending = [(version, sql) for version, sql in sections() if version > before]
    if not before:
        _together(cursor, [(version, at_once(sql)) for version, sql in pending], firmness)
        _run(cursor, at_once(retired()))
    elif not pending:
        _beside(retired())
    elif 'CONCURRENTLY' in pending[0][1]:
        pending = pending[:1]
        _beside(pending[0][1])
        _record(cursor, pending[0][0])
    else:
        pending = [*takewhile(lambda one: 'CONCURRENTLY' not in one[1], pending)]
        _together(cursor, pending, firmness)
    return before, pending[-1][0] if pending else before


def _together(
    cursor: cursor, pending: list[tuple[int, str]], firmness: AbstractContextManager[None]
) -> None:
    """Apply sections in the transaction."""
    with firmness:
        table_locks.take(cursor, _words(pending))
    for version, sql in pending:
        _run(cursor, sql)
        _record(cursor, version)


def _run(cursor: cursor, sql: str) -> None:
    with cursor.connection.cursor(cursor_factory=PatientCursor) as patient:
        patient.execute(sql)


def _record(cursor: cursor, version: int) -> None:
    cursor.execute('INSERT INTO schema_version (version) VALUES (%s)', (version,))


def _beside(section: str) -> None:
    """Run each statement of a section by itself, while others read and write its tables.

    The caller's transaction holds the lock of releases. What an earlier try left is made anew.
    """
    with closing(_connect()) as opened:
        opened.autocommit = True
        with opened.cursor(cursor_factory=PatientCursor) as cursor:
            for statement in re.sub(r'--.*', '', section).split(';')[:-1]:
                if made := re.search(r'CREATE INDEX CONCURRENTLY (\w+)', statement):
                    cursor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS {made[1]}')
                cursor.execute(statement)


def _words(pending: list[tuple[int, str]]) -> set[str]:
    """Whatever may be the name of a table that the sections lock."""
    return set(re.findall(r'\w+', re.sub(r'--.*', '', '\n'.join(sql for _, sql in pending))))


def _connect() -> connection:
    give_up_at = time.monotonic() + CONNECT_PATIENCE
    said: str | None = None
    while True:
        try:
            opened: connection = psycopg2.connect(
                settings.DATABASE_URL, cursor_factory=Cursor, **CONNECT
            )
            return opened
        except psycopg2.OperationalError as error:
            if time.monotonic() > give_up_at:
                raise
            if reason(error) != said:
                said = reason(error)
                log.warning('waiting', extra={'for': 'postgresql', 'reason': said})
            time.sleep(1)


def main() -> None:
    """Apply schema.sql; ends with one line when it cannot."""
    config.check('release')
    logs.configure()
    try:
        before, after = upgrade()
    except table_locks.Locked as error:
        sys.exit(f'The schema was not changed: {error}')
    except psycopg2.OperationalError as error:
        sys.exit(f'DATABASE_URL: {reason(error)}')
    log.info('schema applied', extra={'from_version': before, 'to_version': after})


if __name__ == '__main__':
    main()
