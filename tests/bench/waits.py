"""What PostgreSQL's backends wait for: looked at ten times a second."""

import contextlib
import threading
from collections import Counter

LOOK_SECONDS = 0.1
SHOWN = 4
# A lock with its kind and whose it is; `CPU` is who waits for nothing.
ACTIVE = """
SELECT coalesce(a.wait_event_type || ' ' || a.wait_event, 'CPU') || coalesce(' of ' || (
  SELECT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
  WHERE l.pid = a.pid AND l.locktype = 'tuple' LIMIT 1), '')
FROM pg_stat_activity a
WHERE a.backend_type = 'client backend' AND a.state = 'active' AND a.pid <> pg_backend_pid()
"""


class Waits:
    """`with Waits(postgres) as waits:` looks, begin() begins anew, told() is of what was since."""

    def __init__(self, postgres):
        self.connection = postgres.connect()
        self.connection.autocommit = True
        self.ended, self.thread = threading.Event(), threading.Thread(target=self.look)

    def __enter__(self):
        self.begin()
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        self.thread.join()
        self.connection.close()

    def begin(self):
        self.found, self.looks = Counter(), 0

    def look(self):
        with contextlib.closing(self.connection.cursor()) as cursor:
            while not self.ended.wait(LOOK_SECONDS):
                cursor.execute(ACTIVE)
                self.found.update(event for (event,) in cursor.fetchall())
                self.looks += 1

    def told(self):
        """How many backends on average were in what."""
        found = self.found.most_common(SHOWN)
        return ', '.join(f'{event} {number / max(1, self.looks):.2f}' for event, number in found)
