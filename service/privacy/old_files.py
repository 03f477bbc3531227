"""Files that are too old: their rows say so, and they leave the storage."""

from service.privacy.rules import Rule
from service.runtime.db import execute

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


def mark_gone(rule: Rule) -> int:
    """Mark some files of an account as gone; returns how many."""
    if rule.media_days is None:
        return 0
    return execute(MARK_GONE, rule.older(rule.media_days))
