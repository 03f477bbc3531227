"""The release's locks on tables, all taken before anything is changed, while processes run.

Other transactions lock some tables and wait for more, not all in the same order. So does the
release, and each may wait for the other. At first the release gives way: when it does not get a
lock soon, it releases all it has and tries again. When that has not helped, it keeps its locks and
cancels the statement of whoever holds a table and waits for one of the release's. That is what
PostgreSQL does to one of two in a deadlock; the cancelled transaction is tried again.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from psycopg2.errors import DeadlockDetected, LockNotAvailable
from psycopg2.extensions import connection, cursor

from service.runtime.db import reason

log = logging.getLogger(__name__)
PATIENCE = 120  # seconds until it is given up
GIVE_WAY_SECONDS = 10  # of them
# Milliseconds for one table: first below PostgreSQL's deadlock_timeout (1 s), so that it cancels
# nobody because of us; later above it, as an autovacuum gives way only to one that waits longer.
SHORT_TIMEOUT, FIRM_TIMEOUT = 300, 3000
CANCEL_EVERY = 0.1  # seconds
# In the order in which most transactions first touch the tables, to read or to write.
ORDER = (
    'webhook_event', 'whatsapp_cloud_account', 'conversation', 'conversation_identity',
    'conversation_merged', 'contact_event', 'account_event', 'template_sync', 'template', 'message',
    'message_search', 'message_backfill', 'media', 'media_upload', 'read_receipt', 'message_status',
    'message_fact', 'usage_log', 'idempotency_key', 'batch', 'graph_outage', 'process',
    'reply_request', 'api_key', 'endpoint', 'event', 'event_delivery', 'graph_media',
    'usage_backlog', 'usage_delta', 'usage_day', 'usage_tokens_day', 'rate', 'budget_notice',
    'ended_count', 'row_trace', 'dashboard_logout',
    'hourly_backfill', 'hourly_delta', 'hourly', 'hourly_failure', 'daily', 'daily_failure',
    'erased', 'file_deletion', 'retention_progress', 'retention_postponed',
)  # fmt: skip


# A connection of its own, and what the release does in its transaction.
Connect = Callable[[], connection]
Change = Callable[[cursor, AbstractContextManager[None]], tuple[int, int]]


class Locked(Exception):
    """The tables could not be had within PATIENCE; the text says who has them."""


def until_free(connect: Connect, change: Change) -> tuple[int, int]:
    """Run `change(cursor, firmness)` in a transaction, again while it gets no lock; its result.

    `firmness` is a context for take(). Raises Locked.
    """
    began = time.monotonic()
    with closing(connect()) as database:
        while True:
            waited = time.monotonic() - began
            try:
                with database, database.cursor() as cursor:
                    return change(cursor, _firmness(waited > GIVE_WAY_SECONDS, cursor, connect))
            except (LockNotAvailable, DeadlockDetected) as error:
                with database, database.cursor() as cursor:
                    who = _in_the_way(cursor)
                log.warning(
                    'waiting',
                    extra={'for': 'locks on the tables', 'reason': reason(error), 'held_by': who},
                )
                if waited > PATIENCE:
                    raise Locked(f'the tables are locked, {who or "by many in turns"}') from error
            time.sleep(random.uniform(0.2, 1))


def take(cursor: cursor, tables: Collection[str]) -> None:
    """Lock those of `tables` that exist, in the order that others use as well."""
    for table in filter(tables.__contains__, ORDER):
        cursor.execute('SELECT to_regclass(%s) IS NOT NULL', (table,))
        if value(cursor):
            cursor.execute(f'LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE')


def value(cursor: cursor) -> Any:
    """The single value that a statement found; None when there is no row."""
    row = cursor.fetchone()
    return row[0] if row else None


CANCEL_CIRCLES = """
SELECT pg_cancel_backend(pid) FROM (
  SELECT DISTINCT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid)
    JOIN pg_class c ON c.oid = l.relation
  WHERE c.relname = ANY(%s) AND l.granted AND a.datname = current_database()
    AND pg_has_role(a.usesysid, 'MEMBER')
    AND %s = ANY(pg_blocking_pids(a.pid))) AS circle
"""


@contextmanager
def _firmness(is_firm: bool, cursor: cursor, connect: Connect) -> Iterator[None]:
    """Set how long the transaction of `cursor` waits for a lock.

    When `is_firm`, another connection cancels the statements that wait for it in a circle.
    """
    cursor.execute('SET LOCAL lock_timeout = %s', (FIRM_TIMEOUT if is_firm else SHORT_TIMEOUT,))
    if not is_firm:
        yield
        return
    cursor.execute('SELECT pg_backend_pid()')
    pid = value(cursor)
    over = threading.Event()
    canceller = threading.Thread(target=_cancel, args=(connect, pid, over), name='canceller')
    canceller.start()
    try:
        yield
    finally:
        over.set()
        canceller.join()


def _cancel(connect: Connect, pid: int, over: threading.Event) -> None:
    with closing(connect()) as database:
        while not over.wait(CANCEL_EVERY):
            with database, database.cursor() as cursor:
                cursor.execute(CANCEL_CIRCLES, ([*ORDER], pid))


FIND_BLOCKER = """
SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), a.backend_type) AS name,
  a.state, c.relname, extract(epoch FROM now() - a.xact_start)::int AS seconds
FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
WHERE l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database()
  AND c.relname = ANY(%s)
ORDER BY seconds DESC NULLS LAST LIMIT 1
"""


def _in_the_way(cursor: cursor) -> str | None:
    """The oldest transaction that holds one of our tables, in words; None when there is none."""
    cursor.execute(FIND_BLOCKER, (['schema_version', *ORDER],))
    for pid, name, state, table, seconds in cursor.fetchall():
        return f'{table} by process {pid} ({name}, {state}, for {seconds} s)'
    return None
