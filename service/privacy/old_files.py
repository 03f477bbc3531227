"""Files that are too old, and those of people who were erased: they leave the storage."""

from collections.abc import Iterable

from service.media.storage import storage
from service.media.storage_interface import StorageError
from service.privacy.rules import Rule
from service.runtime.db import execute, fetch, no_connection

# A file that a caller gave us counts from when it last went to Meta, which is once a month while it
# is sent.
MARK_GONE = """
WITH old AS MATERIALIZED (
  SELECT id, storage_key FROM media m
  WHERE chatbot_id = %(chatbot_id)s AND status = 'stored' AND id < %(first_kept)s
    AND (message_id IS NOT NULL OR NOT EXISTS (
      SELECT FROM media_upload u WHERE u.media_id = m.id AND u.uploaded_at >= %(until)s))
  ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
uploads AS (
  DELETE FROM media_upload WHERE media_id = ANY (ARRAY(SELECT id FROM old))),
gone AS (
  UPDATE media SET status = 'gone', storage_key = NULL, sha256 = NULL, filename = NULL,
    updated_at = now()
  WHERE id = ANY (ARRAY(SELECT id FROM old)))
INSERT INTO file_deletion (storage_key) SELECT storage_key FROM old ORDER BY storage_key
ON CONFLICT DO NOTHING
"""
AGAIN_SECONDS = 60  # until a file is tried again that the storage did not delete
FILES = 50  # deleted at a time
CLAIM_FILES = """
UPDATE file_deletion SET due_at = now() + %(seconds)s * interval '1 second'
WHERE storage_key IN (
  SELECT storage_key FROM file_deletion WHERE due_at <= now() ORDER BY due_at LIMIT %(limit)s
  FOR UPDATE SKIP LOCKED)
RETURNING storage_key
"""
END_FILES = 'DELETE FROM file_deletion WHERE storage_key = ANY(%(keys)s)'


def mark_gone(rule: Rule) -> int:
    """Mark some files of an account as gone; returns how many."""
    if rule.media_days is None:
        return 0
    return execute(MARK_GONE, rule.older(rule.media_days))


def delete_due() -> int:
    """Delete some files from the storage; returns how many it has deleted."""
    claimed = fetch(CLAIM_FILES, {'seconds': AGAIN_SECONDS, 'limit': FILES})
    deleted = delete(key for (key,) in claimed) if claimed else []
    if deleted:
        execute(END_FILES, {'keys': deleted})
    return len(deleted)


def delete(keys: Iterable[str]) -> list[str]:
    """Delete files from the storage; returns those that are gone, also when it had none."""
    deleted = []
    with no_connection():
        for key in keys:
            try:
                storage().delete(key)
            except StorageError:
                continue
            deleted.append(key)
    return deleted
