"""Files that have to go: rows remember them until the storage has none of them any more.

A storage may be slow, and may hang. So whoever deletes looks at the time between two files, and
what is not tried then stays due.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from service.media.storage import storage
from service.media.storage_interface import StorageError
from service.runtime.db import execute, fetch, no_connection

AGAIN_SECONDS = 60  # until a file is tried again that the storage did not delete
FILES = 500  # claimed at a time
SECONDS = 1.5  # for those that were claimed together
# The one that has waited the longest comes first, so that none that fails each time is before it.
CLAIM_FILES = """
WITH due AS MATERIALIZED (
  SELECT storage_key, due_at FROM file_deletion WHERE due_at <= now() ORDER BY due_at
  LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
claimed AS (
  UPDATE file_deletion f SET due_at = now() + %(seconds)s * interval '1 second'
  FROM due WHERE f.storage_key = due.storage_key
  RETURNING f.storage_key, f.due_at AS claimed_until, due.due_at)
SELECT storage_key, claimed_until FROM claimed ORDER BY due_at, storage_key
"""
# Only under the claim: who was erased meanwhile has files that are to be deleted once more.
END_FILES = """
DELETE FROM file_deletion WHERE storage_key = ANY(%(keys)s) AND due_at = %(claimed_until)s
"""
RELEASE_FILES = """
UPDATE file_deletion SET due_at = now()
WHERE storage_key = ANY(%(keys)s) AND due_at = %(claimed_until)s
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """Files that nobody else deletes until then."""

    keys: list[str]
    until: datetime


@dataclass(frozen=True, slots=True)
class Deletion:
    """What came of files: the storage has none of the `gone`; the `untried` had no time left."""

    gone: list[str] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)


def claim() -> Claim | None:
    """Take some of the files that have to go now; None when there are none."""
    found = fetch(CLAIM_FILES, {'seconds': AGAIN_SECONDS, 'limit': FILES})
    return Claim([key for key, _ in found], found[0][1]) if found else None


def delete(keys: Sequence[str], seconds: float) -> Deletion:
    """Delete files from the storage for so long, and to the end of the one that is under way.

    One that the storage did not have is gone, too.
    """
    end = time.monotonic() + seconds
    done = Deletion()
    with no_connection():
        for place, key in enumerate(keys):
            if place and time.monotonic() >= end:
                done.untried.extend(keys[place:])
                break
            try:
                storage().delete(key)
            except StorageError:
                continue
            done.gone.append(key)
    return done


def record(claimed: Claim, done: Deletion) -> int:
    """Forget files that are gone, and make those due that nobody has tried; returns how many went.

    One that the storage did not delete is due again when its claim ends.
    """
    if done.untried:
        execute(RELEASE_FILES, {'keys': done.untried, 'claimed_until': claimed.until})
    if done.gone:
        execute(END_FILES, {'keys': done.gone, 'claimed_until': claimed.until})
    return len(done.gone)


def delete_due() -> int:
    """Delete some of the files that have to go now, and wait for the storage; returns how many."""
    claimed = claim()
    return record(claimed, delete(claimed.keys, SECONDS)) if claimed else 0
