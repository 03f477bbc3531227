"""Events are kept for 30 days, whatever became of their deliveries."""

from datetime import UTC, datetime, timedelta

from service.runtime.db import db, execute
from service.runtime.ids import id_at
from service.runtime.prepared import fill

KEPT = timedelta(days=30)
DELETED = 10_000  # events in one statement
ROUNDS = 60  # statements at a time: more than are written in the ten minutes between two times
DELETE = """
WITH old AS MATERIALIZED ({which}),
deliveries AS (
  DELETE FROM event_delivery WHERE event_id = ANY (ARRAY(SELECT id FROM old)))
DELETE FROM event WHERE id = ANY (ARRAY(SELECT id FROM old))
"""


def deleting(which: str) -> str:
    """The statement that deletes events with their deliveries; `which` selects their ids."""
    return fill(DELETE, which=which)


DELETE_OLD = deleting('SELECT id FROM event WHERE id < %(first_kept)s ORDER BY id LIMIT %(limit)s')


def delete_old() -> None:
    """Delete the events that are older, and their deliveries, some at a time."""
    values = {'first_kept': id_at(datetime.now(UTC), -KEPT), 'limit': DELETED}
    for _ in range(ROUNDS):
        with db.atomic():
            deleted = execute(DELETE_OLD, values)
        if deleted < DELETED:
            return
