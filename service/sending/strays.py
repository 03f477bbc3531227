"""Strays: messages that missed a change of their account, their template or their batch.

They came to where they wait by a transaction that had read the row before it changed, or were in a
call meanwhile. The sweep moves them to where the others are.
"""

from service.accounts.account import MAY_SEND
from service.messages.state_machine import HoldReason
from service.runtime.db import execute_long
from service.runtime.prepared import fill
from service.sending import holds
from service.sending.holds import IS_APPROVED, RELEASE_MESSAGES, RELEASE_MESSAGES_OF_ACCOUNT

HOLD_STRAYS_OF_ACCOUNTS = fill(
    """
UPDATE message m SET status = 'held', hold_reason = 'account', updated_at = now()
FROM whatsapp_cloud_account a
WHERE a.chatbot_id = m.chatbot_id AND NOT ({may_send}) AND m.waiting = 'queued'
""",
    may_send=MAY_SEND,
)
# What Meta itself refused waits until Meta says that the template goes again.
RELEASE_STRAYS_OF_TEMPLATES = RELEASE_MESSAGES.format(
    templates='template t', which=f"{IS_APPROVED} AND m.error ->> 'cause' = 'template_paused'"
)
# From one batch of which something waits to the next: of those that were cancelled there may be
# thousands, and of one that is paused thousands are held.
FIND_WAITING_BATCHES = """
WITH RECURSIVE waiting (batch_id) AS (
  (SELECT batch_id FROM message WHERE batch_id IS NOT NULL AND waiting IS NOT NULL
    ORDER BY batch_id LIMIT 1)
  UNION ALL
  SELECT (
    SELECT m.batch_id FROM message m WHERE m.batch_id > w.batch_id AND m.waiting IS NOT NULL
    ORDER BY m.batch_id LIMIT 1)
  FROM waiting w WHERE w.batch_id IS NOT NULL)
"""
# Whoever moves the batch just now has its row, and does not see what is held here beside it: a
# message that is held after its batch was resumed would wait for ever. So it is left to the next
# sweep.
HOLD_STRAYS_OF_BATCHES = fill(
    """
{find_waiting_batches}
UPDATE message m SET status = 'held', hold_reason = 'batch', updated_at = now()
FROM (
  SELECT m.id FROM waiting w JOIN batch b ON b.id = w.batch_id CROSS JOIN LATERAL (
    SELECT id FROM message WHERE batch_id = b.id AND waiting IN ('scheduled', 'queued')
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) m
  WHERE b.status = 'paused' FOR SHARE OF b SKIP LOCKED) d
WHERE m.id = d.id
""",
    find_waiting_batches=FIND_WAITING_BATCHES,
)
# Also what is held: Meta's answer, or an account that cannot send, did it after the cancel.
CANCEL_STRAYS_OF_BATCHES = fill(
    """
{find_waiting_batches}
UPDATE message m SET status = 'cancelled', hold_reason = NULL, due_at = NULL, updated_at = now()
FROM (
  SELECT m.id FROM waiting w JOIN batch b ON b.id = w.batch_id CROSS JOIN LATERAL (
    SELECT id FROM message WHERE batch_id = b.id AND waiting IN ('scheduled', 'queued', 'held')
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) m
  WHERE b.status = 'cancelled') d
WHERE m.id = d.id
""",
    find_waiting_batches=FIND_WAITING_BATCHES,
)


def reconcile() -> int:
    """Move what missed a change of its account, batch or template; returns how many messages."""
    count = execute_long(HOLD_STRAYS_OF_ACCOUNTS)
    held = {'reasons': [HoldReason.ACCOUNT], 'chatbot': None}
    count += execute_long(RELEASE_MESSAGES_OF_ACCOUNT, held)
    count += execute_long(HOLD_STRAYS_OF_BATCHES)
    count += execute_long(CANCEL_STRAYS_OF_BATCHES)
    count += holds.apply_template_stops()
    return count + execute_long(RELEASE_STRAYS_OF_TEMPLATES)
