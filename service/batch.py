"""Batches: one message to many, as rows of `message` with a state of their own."""

import json

from peewee import DateTimeField, IntegerField, Model, TextField

from service.account import JSON
from service.db import db, execute
from service.errors import Conflict, NotFound


class Batch(Model):
    id = TextField(primary_key=True)
    chatbot_id = TextField()
    status = TextField()
    reason = JSON(null=True)
    recipients = IntegerField()
    rejected = IntegerField()
    duplicates = IntegerField()
    created_at = DateTimeField()
    updated_at = DateTimeField()

    class Meta:
        database = db

    @classmethod
    def find(cls, batch_id):
        batch = cls.get_or_none(cls.id == batch_id)
        if batch is None:
            raise NotFound('There is no such batch.')
        return batch


MOVE = 'UPDATE batch SET status = %s, reason = %s, updated_at = now() WHERE id = %s AND status = ANY(%s)'
HOLD = """
UPDATE message SET status = 'held', hold_reason = 'batch', due_at = NULL, updated_at = now()
WHERE batch_id = %s AND status IN ('scheduled', 'queued')
"""
RESUME = """
UPDATE message m SET status = d.status, hold_reason = CASE WHEN d.status = 'held' THEN 'account' END,
  updated_at = now(), due_at = CASE WHEN d.status <> 'held' THEN greatest(m.send_at, now()) END
FROM (
  SELECT m.id, CASE WHEN m.send_at > now() THEN 'scheduled' WHEN a.active AND a.send_state = 'ok' THEN 'queued'
    ELSE 'held' END AS status
  FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE m.batch_id = %s AND m.status = 'held' AND m.hold_reason = 'batch') d
WHERE m.id = d.id
"""
CANCEL = """
UPDATE message SET status = 'cancelled', hold_reason = NULL, due_at = NULL, updated_at = now()
WHERE batch_id = %s AND status IN ('scheduled', 'queued', 'held')
"""


# What crossed a pause or a cancel: read before, written after it.
STRAYS = """
UPDATE message m SET status = CASE b.status WHEN 'paused' THEN 'held' ELSE 'cancelled' END, due_at = NULL,
  hold_reason = CASE b.status WHEN 'paused' THEN 'batch' END, updated_at = now()
FROM batch b WHERE m.batch_id = b.id AND b.status IN ('paused', 'cancelled') AND m.status IN ('scheduled', 'queued')
  AND b.updated_at > now() - interval '1 hour'
"""


def settle_strays():
    """Hold or cancel what missed its batch's turn; returns how many messages."""
    return execute(STRAYS)


def pause(batch_id, reason=None):
    """Nothing more of it leaves until it is resumed. `reason`: Meta's error, None for a person's wish."""
    _move(batch_id, 'paused', ['running', 'paused'], HOLD, reason)


def resume(batch_id):
    _move(batch_id, 'running', ['paused', 'running'], RESUME)


def cancel(batch_id):
    """Take back what nobody has claimed yet; for good."""
    _move(batch_id, 'cancelled', ['running', 'paused', 'cancelled'], CANCEL)


def _move(batch_id, status, allowed, messages, reason=None):
    with db.atomic():
        if not execute(MOVE, (status, reason and json.dumps(reason), batch_id, allowed)):
            raise Conflict('The batch was cancelled.')
        execute(messages, (batch_id,))
