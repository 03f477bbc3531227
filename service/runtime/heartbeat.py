"""Which processes live, and what they have counted: each renews a row of its own.

Workers do it from their loop: one that hangs does not renew its row, so it is seen. The counts of a
process that ends are added to the sums of those that have ended.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypedDict

from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded

from service.runtime import metrics
from service.runtime.db import CONNECTION_LOST, connection, execute, fetch, reason
from service.runtime.ids import new_id
from service.runtime.prepared import fill
from service.runtime.session import deadline

log = logging.getLogger(__name__)

BEAT_EVERY = 10  # seconds
# an idle RQ worker comes round every 5 s, one that drains every 8; a PostgreSQL that is silent
# stops it for 22 s
ALIVE_SECONDS = 45
LEAVE_SECONDS = 2  # that a process which ends has for its last counts
KEEP_HOURS = 24  # a process that was killed is shown for so long

INSERT_OWN = """
INSERT INTO process (id, kind, host, pid, counts)
VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s, %(counts)s)
"""
RENEW_OWN = 'UPDATE process SET seen_at = now(), counts = %(counts)s WHERE id = %(id)s'
COUNT_PROCESSES = """
SELECT kind, count(*) FILTER (WHERE seen_at > now() - %(alive)s * interval '1 second') AS alive,
  extract(epoch FROM now() - max(seen_at))::float8 AS seen_seconds_ago
FROM process GROUP BY kind
"""
# In one order, so that of two that end together none waits for the other.
END = """
WITH ended AS (DELETE FROM process WHERE {which} RETURNING {counts} AS counts)
INSERT INTO ended_count AS e (series, value)
SELECT c.key, sum(c.value::numeric) FROM ended, json_each_text(ended.counts) c
GROUP BY c.key ORDER BY c.key
ON CONFLICT (series) DO UPDATE SET value = e.value + EXCLUDED.value
"""
END_OWN = fill(END, which='id = %(id)s', counts='%(counts)s::json')
END_OLD = fill(
    END, which="seen_at < now() - %(hours)s * interval '1 hour'", counts='process.counts'
)
# As numeric: a sum of floats depends on its order, and what is a millionth less than it was looks
# like a count that began anew.
SUM_COUNTS = """
SELECT series, sum(value) FROM (
  SELECT c.key AS series, c.value::numeric AS value FROM process p, json_each_text(p.counts) c
  UNION ALL SELECT series, value FROM ended_count) counted
GROUP BY series
"""


@dataclass(slots=True)
class Own:
    """The row of this process. `base`: the part of its counts that another row has."""

    pid: int
    id: str = field(default_factory=new_id)
    at: float = float('-inf')  # monotonic seconds of the last beat
    is_there: bool = False
    has_left: bool = False
    written: dict[str, float] = field(default_factory=dict)
    base: dict[str, float] = field(default_factory=dict)

    def counts(self) -> str:
        """What is to be written now, as JSON."""
        self.written = metrics.counts()
        if not self.base:
            return json.dumps(self.written)
        new = {name: value - self.base.get(name, 0) for name, value in self.written.items()}
        return json.dumps(new)


_own = Own(pid=0)
_lock = threading.Lock()  # a web process has a thread that beats, and ends in another one


def beat(kind: str) -> None:
    """Say that this process's loop goes round; cheap to call often.

    `kind`: as in `python -m workers KIND`, or `web`.
    """
    global _own
    with _lock:
        if _own.pid != os.getpid():
            _own = Own(os.getpid())
        if _own.has_left or time.monotonic() - _own.at < BEAT_EVERY:
            return
        _own.at = time.monotonic()
        try:
            with connection():
                _write(kind)
        except CONNECTION_LOST:  # whoever needs the database says so
            pass


def _write(kind: str) -> None:
    """Renew the row. Of one that was taken away the counts are kept: the next goes on from them."""
    before = _own.written
    if _own.is_there and execute(RENEW_OWN, {'id': _own.id, 'counts': _own.counts()}):
        return
    if _own.is_there:
        _own.base = before
    row = {'id': _own.id, 'kind': kind, 'host': socket.gethostname()[:255], 'pid': _own.pid}
    execute(INSERT_OWN, {**row, 'counts': _own.counts()})
    _own.is_there = True


def keep_beating(kind: str) -> None:
    """Beat from a thread of its own, for a process whose loop must not wait for PostgreSQL."""
    threading.Thread(target=_beat_for_ever, args=(kind,), name='heartbeat', daemon=True).start()


def _beat_for_ever(kind: str) -> None:
    while True:
        try:
            beat(kind)
        except (PeeweeException, MaxConnectionsExceeded) as error:
            # the release has yet to run, say
            log.warning('no heartbeat', extra={'reason': reason(error)})
        time.sleep(BEAT_EVERY)


def leave() -> None:
    """Delete the row and keep its counts: this process ends as it should, and beats no more."""
    global _own
    with deadline(LEAVE_SECONDS), _lock:
        if _own.pid != os.getpid():
            _own = Own(os.getpid(), has_left=True)  # its first beat may be about to come
        if _own.has_left:
            return
        _own.has_left = True
        try:
            with connection():
                execute(END_OWN, {'id': _own.id, 'counts': _own.counts()})
        except (PeeweeException, MaxConnectionsExceeded):
            pass  # delete_old() keeps what the row has


class Living(TypedDict):
    """The processes of a kind. `alive`: how many; `seen_seconds_ago`: None within KEEP_HOURS."""

    alive: int
    seen_seconds_ago: float | None


def living(kinds: Iterable[str]) -> dict[str, Living]:
    """The processes of these kinds, by kind."""
    seen: dict[str, Living] = {
        kind: {'alive': alive, 'seen_seconds_ago': round(seconds, 1)}
        for kind, alive, seconds in fetch(COUNT_PROCESSES, {'alive': ALIVE_SECONDS})
    }
    never: Living = {'alive': 0, 'seen_seconds_ago': None}
    return {kind: seen.get(kind, never) for kind in kinds}


def counts_of_all() -> dict[str, Decimal]:
    """What all processes have counted, those that have ended too, by series."""
    return dict(fetch(SUM_COUNTS))


def delete_old() -> None:
    """Delete the rows of processes that were killed long ago, and keep their counts."""
    execute(END_OLD, {'hours': KEEP_HOURS})
