"""Read receipts: a customer's message is shown as read, and the business as typing.

What is due is told by a worker.
"""

from service.runtime.db import columns, execute, fetch_dicts, to_json
from service.runtime.errors import Conflict

TYPING_SECONDS = (
    25  # an indicator is shown that long (section 6.2): one that is later than that helps nobody
)
MAX_AGE_DAYS = 30  # of a message, until Meta takes no receipt for it any more
SPOKEN = ('reaction', 'system', 'edit', 'revoke')  # types that nobody reads as a message of its own

# Told once is enough, but for the typing, which starts again.
ASK = f"""
INSERT INTO read_receipt AS r (message_id, chatbot_id, typing_until, due_at)
SELECT m.id, m.chatbot_id, CASE WHEN n.typing THEN now() + interval '{TYPING_SECONDS} s' END, now() FROM {{messages}}
ON CONFLICT (message_id) DO UPDATE SET due_at = now(), attempts = 0, error = NULL,
  typing_until = coalesce(excluded.typing_until, r.typing_until)
WHERE r.told_at IS NULL OR excluded.typing_until IS NOT NULL
"""
ASK_ONE = ASK.format(messages='message m JOIN (VALUES (%s::uuid, %s)) AS n (id, typing) USING (id)')
ASK_BEFORE_REPLIES = ASK.format(
    messages="""
  unnest(%s::uuid[], %s::bool[]) AS n (conversation_id, typing) CROSS JOIN LATERAL (
    SELECT id, chatbot_id FROM message WHERE conversation_id = n.conversation_id AND direction = 'inbound'
      AND type <> ALL(%s) ORDER BY id DESC LIMIT 1) m
  ORDER BY m.id"""
)


def ask(message, typing):
    """It is due at once. Raises Conflict for a message of ours."""
    if message.direction != 'inbound':
        raise Conflict('Only a message from a customer can be marked as read.')
    execute(ASK_ONE, (message.id, typing))


def ask_before_replies(claimed):
    """Of conversations whose responders are asked just now: the last message, where the account
    wants it.
    """
    wanted = [
        (reply.id, reply.read_receipts == 'typing')
        for reply in claimed
        if reply.read_receipts != 'none'
    ]
    return execute(ASK_BEFORE_REPLIES, (*columns(wanted), list(SPOKEN))) if wanted else 0


NEXT_DUE = 'SELECT min(due_at) FROM read_receipt WHERE due_at IS NOT NULL'
CLAIM = f"""
UPDATE read_receipt r SET due_at = now() + %s * interval '1 second', attempts = least(r.attempts + 1, 32767),
  error = NULL
FROM (
  SELECT message_id FROM read_receipt WHERE due_at <= now() ORDER BY due_at LIMIT %s
  FOR NO KEY UPDATE SKIP LOCKED) due
JOIN message m ON m.id = due.message_id JOIN whatsapp_cloud_account a USING (chatbot_id)
WHERE r.message_id = due.message_id
RETURNING r.message_id AS id, r.chatbot_id, r.due_at, r.attempts, coalesce(r.typing_until > now(), false) AS typing,
  m.phone_number_id, m.wamid, m.created_at < now() - interval '{24 * MAX_AGE_DAYS} hours' AS too_old,
  a.access_token, a.active
"""
# Under the lease that it was told with: who asked for it once more meanwhile has made it due again.
RECORD = """
UPDATE read_receipt r SET due_at = now() + n.delay * interval '1 second', error = n.error,
  told_at = CASE WHEN n.told THEN now() ELSE r.told_at END
FROM unnest(%s::uuid[], %s::timestamptz[], %s::bool[], %s::float8[], %s::json[]) AS n (id, lease, told, delay, error)
WHERE r.message_id = n.id AND r.due_at = n.lease
"""


def claim(limit, lease):
    """Receipts that are due, for `lease` seconds."""
    return fetch_dicts(CLAIM, (lease, limit))


def record(results):
    """`results`: [(claimed row, told, seconds until it is tried again or None, error or None)]."""
    rows = sorted(
        (row['id'], row['due_at'], told, delay, to_json(error))
        for row, told, delay, error in results
    )
    execute(RECORD, columns(rows))


# One that is claimed shows no error: what has one is waiting.
RETRY_FAILED = """
UPDATE read_receipt SET due_at = now() WHERE message_id IN (
  SELECT r.message_id FROM read_receipt r JOIN message m ON m.id = r.message_id
  WHERE r.due_at IS NOT NULL AND r.error IS NOT NULL AND m.phone_number_id = coalesce(%s, m.phone_number_id)
  ORDER BY r.message_id FOR NO KEY UPDATE OF r SKIP LOCKED)
"""


def retry_failed(phone_number_id: str | None) -> int:
    """Meta is back, for a number or for all (None): what has failed is due now.

    Returns how many.
    """
    return execute(RETRY_FAILED, (phone_number_id,))


OF_MESSAGES = """
SELECT message_id, typing_until IS NOT NULL AS typing, told_at, error FROM read_receipt
WHERE message_id = ANY(%s::uuid[])
"""


def of_messages(message_ids):
    """{message id: its receipt as callers see it}."""
    rows = fetch_dicts(OF_MESSAGES, (message_ids,)) if message_ids else []
    return {row.pop('message_id'): row for row in rows}
