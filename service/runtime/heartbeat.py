"""Which worker processes live: each renews a row of its own from its loop.

A process that hangs does not renew its row, so it is seen.
"""

import os
import socket
import time
from typing import Any

from service.runtime.db import CONNECTION_LOST, connection, execute, fetch_dicts
from service.runtime.ids import new_id

BEAT_EVERY = 10  # seconds
# an idle RQ worker comes round every 5 s; a PostgreSQL that is silent stops it for 22 s
ALIVE_SECONDS = 45
KEEP_HOURS = 24  # a process that was killed is shown for so long

SAVE_HEARTBEAT = """
INSERT INTO process AS p (id, kind, host, pid) VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s)
ON CONFLICT (id) DO UPDATE SET seen_at = now()
"""
COUNT_PROCESSES = """
SELECT kind, count(*) FILTER (WHERE seen_at > now() - %(alive)s * interval '1 second') AS alive,
  extract(epoch FROM now() - max(seen_at))::float8 AS seen_seconds_ago
FROM process GROUP BY kind
"""
DELETE_OWN = 'DELETE FROM process WHERE id = %s'
DELETE_OLD = "DELETE FROM process WHERE seen_at < now() - %s * interval '1 hour'"

_own: dict[str, Any] = {}  # of this process: its row's id, and when it was last renewed


def beat(kind: str) -> None:
    """Say that this process's loop goes round; cheap to call often.

    `kind`: as in `python -m workers KIND`.
    """
    if _own.get('pid') != os.getpid():
        _own.update(pid=os.getpid(), id=new_id(), at=float('-inf'))
    if time.monotonic() - _own['at'] < BEAT_EVERY:
        return
    _own['at'] = time.monotonic()
    row = {'id': _own['id'], 'kind': kind, 'host': socket.gethostname()[:255], 'pid': os.getpid()}
    try:
        with connection():
            execute(SAVE_HEARTBEAT, row)
    except CONNECTION_LOST:  # whoever needs the database says so
        pass


def leave() -> None:
    """Delete the row: this process ends as it should."""
    if _own.get('pid') == os.getpid():
        try:
            with connection():
                execute(DELETE_OWN, (_own['id'],))
        except CONNECTION_LOST:
            pass


def living() -> dict[str, dict[str, int | float]]:
    """Of each kind seen within KEEP_HOURS: {kind: {"alive": how many, "seen_seconds_ago": …}}."""
    rows = fetch_dicts(COUNT_PROCESSES, {'alive': ALIVE_SECONDS})
    return {
        row['kind']: {'alive': row['alive'], 'seen_seconds_ago': round(row['seen_seconds_ago'], 1)}
        for row in rows
    }


def delete_old() -> None:
    """Delete the rows of processes that were killed long ago."""
    execute(DELETE_OLD, (KEEP_HOURS,))
