"""Applies schema.sql: `python -m service.schema` is the release process."""

import logging
import re
import sys
import time
from functools import cache
from pathlib import Path

import psycopg2

from service import config, logs
from service.config import settings
from service.db import CONNECT, fetch, reason

log = logging.getLogger(__name__)
FILE = Path(__file__).resolve().parent.parent / 'schema.sql'
VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())
"""
CONNECT_PATIENCE = 60  # seconds that a release waits for PostgreSQL


def sections():
    """schema.sql as [(version, sql)]."""
    parts = re.split(r'^-- version (\d+)(?:: .*)?$', FILE.read_text(), flags=re.MULTILINE)
    return [(int(version), sql) for version, sql in zip(parts[1::2], parts[2::2], strict=True)]


def newest():
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
    return f'of version {version}, {needed()} is needed: run the release' if version < needed() else None


def upgrade():
    """Bring the database to the newest version; returns (from, to). One transaction, one at a time, safe to repeat."""
    with _connect() as database, database.cursor() as cursor:
        cursor.execute("SET lock_timeout = '60s'")  # beside running processes, rather fail than stand in their way
        cursor.execute('SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))', ('whatsapp gateway schema',))
        cursor.execute(VERSIONS)
        cursor.execute('SELECT coalesce(max(version), 0) FROM schema_version')
        before = cursor.fetchone()[0]
        for version, sql in sections():
            if version > before:
                cursor.execute(sql)
                cursor.execute('INSERT INTO schema_version (version) VALUES (%s)', (version,))
    database.close()
    return before, max(before, newest())


def _connect():
    give_up_at, said = time.monotonic() + CONNECT_PATIENCE, None
    while True:
        try:
            return psycopg2.connect(settings.DATABASE_URL, **CONNECT)
        except psycopg2.OperationalError as error:
            if time.monotonic() > give_up_at:
                raise
            if reason(error) != said:
                said = reason(error)
                log.warning('waiting', extra={'for': 'postgresql', 'reason': said})
            time.sleep(1)


def main():
    config.check('release')
    logs.configure()
    try:
        before, after = upgrade()
    except psycopg2.OperationalError as error:
        sys.exit(f'DATABASE_URL: {reason(error)}')
    log.info('schema applied', extra={'from_version': before, 'to_version': after})


if __name__ == '__main__':
    main()
