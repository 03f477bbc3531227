"""Deltas: what triggers leave behind of each change of rows, until it is added up to sums.

They have no key, so that nobody who changes rows waits for anybody. Several clocks may add them up
at once; one of them works, in one transaction for each portion.
"""

from collections import Counter

from service.runtime.db import db, fetch
from service.runtime.prepared import fill

PORTIONS = 10  # in one go
# Nothing is planned where there is nothing to do.
TRY_LOCK = """
SELECT CASE WHEN EXISTS (SELECT FROM {table})
  THEN pg_try_advisory_xact_lock(hashtextextended('{table}', 0)) ELSE false END
"""
# In SQL, beneath a WITH: the rows of a portion.
TAKE = """
  DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} LIMIT %(portion)s))
  RETURNING *"""


def is_mine(table: str) -> bool:
    """Whether a table has rows, and this transaction alone works them off."""
    found: bool = fetch(fill(TRY_LOCK, table=table))[0][0]
    return found


def fold(table: str, add_up: str, portion: int) -> Counter[str]:
    """Add up the rows of a table, some portions of them; how many there were of each chatbot.

    `add_up`: takes them by TAKE, and returns chatbots and how many of its rows it took.
    """
    folded: Counter[str] = Counter()
    for _ in range(PORTIONS):
        with db.atomic():
            if not is_mine(table):
                break
            taken = dict(fetch(add_up, {'portion': portion}))
        folded.update(taken)
        if sum(taken.values()) < portion:
            break
    return folded
