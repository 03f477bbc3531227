"""Read receipts: a customer's message is shown as read, and the business as typing.

They wait in rows of read_receipt until workers/send_receipts.py tells Meta.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from service.accounts.account import Account
from service.conversations.reply_queue import ClaimedReply
from service.messages.message import Message
from service.runtime.db import execute, fetch, fetch_dicts
from service.runtime.durability import worked_out_again
from service.runtime.errors import Conflict
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Integer, Json, Uuid, execute_bulk, fetch_as

TYPING_SECONDS = 25  # as long as Meta shows it (section 6.2): told later, it helps nobody
MAX_AGE_DAYS = 30  # of a message; for older ones Meta takes no receipt
UNREAD_TYPES = (
    'reaction',
    'system',
    'edit',
    'revoke',
)  # types that nobody reads as a message of its own


@dataclass(slots=True)
class ReceiptBeforeReply:
    """A conversation whose last message is shown as read, and as answered if `typing`."""

    conversation_id: Uuid
    typing: bool


@dataclass(slots=True)
class ClaimedReceipt:
    """A receipt that this process tells Meta while its lease lasts. `id`: of the message."""

    id: Uuid
    chatbot_id: str
    due_at: datetime  # the end of the lease
    attempts: Integer
    typing: bool
    phone_number_id: str
    wamid: str
    too_old: bool
    access_token: str  # encrypted
    active: bool


@dataclass(slots=True)
class ReceiptResult:
    """What became of a claimed receipt.

    `delay`: seconds until it is tried again, None when it is not; `error`: as callers see it.
    """

    id: Uuid
    lease: datetime
    told: bool
    delay: float | None
    error: Json | None


# Told once is enough, but for the typing, which starts again.
REQUEST_RECEIPTS = fill(
    """
INSERT INTO read_receipt AS r (message_id, chatbot_id, typing_until, due_at)
SELECT m.id, m.chatbot_id,
  CASE WHEN n.typing THEN now() + interval '{typing_seconds} s' END, now()
FROM {messages}
ON CONFLICT (message_id) DO UPDATE SET due_at = now(), attempts = 0, error = NULL,
  typing_until = coalesce(excluded.typing_until, r.typing_until)
WHERE r.told_at IS NULL OR excluded.typing_until IS NOT NULL
""",
    typing_seconds=TYPING_SECONDS,
)
REQUEST_RECEIPT = REQUEST_RECEIPTS.format(
    messages='message m JOIN (VALUES (%s::uuid, %s)) AS n (id, typing) USING (id)'
)
REQUEST_RECEIPTS_BEFORE_REPLIES = REQUEST_RECEIPTS.format(
    messages="""
  {rows} CROSS JOIN LATERAL (
    SELECT id, chatbot_id FROM message
    WHERE conversation_id = n.conversation_id AND direction = 'inbound' AND type <> ALL(%(spoken)s)
    ORDER BY id DESC LIMIT 1) m
  ORDER BY m.id"""
)


def ask(message: Message, typing: bool) -> None:
    """It is due at once. Raises Conflict for a message of ours."""
    if message.direction != 'inbound':
        raise Conflict('Only a message from a customer can be marked as read.')
    execute(REQUEST_RECEIPT, (message.id, typing))


FIND_INBOUND = Prepared("""
SELECT id FROM message
WHERE phone_number_id = %s AND wamid = %s AND direction = 'inbound' AND chatbot_id = %s
""")


def ask_by_wamid(account: Account, wamid: str, typing: bool) -> str | None:
    """The same for a customer's message by its wamid: our id of it, None if there is none.

    The number may have been another chatbot's before.
    """
    found = fetch(FIND_INBOUND, (account.phone_number_id, wamid, account.chatbot_id))
    if not found:
        return None
    execute(REQUEST_RECEIPT, (found[0][0], typing))
    return str(found[0][0])


def ask_before_replies(claimed: Iterable[ClaimedReply]) -> int:
    """Ask for the last message of conversations whose responders are asked now; returns how many.

    Only where the account wants it.
    """
    wanted = [
        ReceiptBeforeReply(reply.id, reply.terms.is_typing)
        for reply in claimed
        if reply.terms.read_receipts != 'none'
    ]
    return execute_bulk(REQUEST_RECEIPTS_BEFORE_REPLIES, wanted, spoken=list(UNREAD_TYPES))


NEXT_DUE = 'SELECT min(due_at) FROM read_receipt WHERE due_at IS NOT NULL'
CLAIM_RECEIPTS = fill(
    """
WITH due AS MATERIALIZED (
  SELECT message_id FROM read_receipt WHERE due_at <= now() ORDER BY due_at
  LIMIT (SELECT %(limit)s::bigint) FOR NO KEY UPDATE SKIP LOCKED)
UPDATE read_receipt r SET due_at = now() + %(lease)s * interval '1 second',
  attempts = least(r.attempts + 1, 32767), error = NULL
FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
WHERE r.message_id = ANY (ARRAY(SELECT message_id FROM due)) AND m.id = r.message_id
RETURNING r.message_id AS id, r.chatbot_id, r.due_at, r.attempts,
  coalesce(r.typing_until > now(), false) AS typing, m.phone_number_id, m.wamid,
  m.created_at < now() - interval '{max_age_hours} hours' AS too_old, a.access_token, a.active
""",
    max_age_hours=24 * MAX_AGE_DAYS,
)
# Only under the lease that it was told with: a receipt that was asked for once more meanwhile is
# due again.
RECORD_RESULTS = """
UPDATE read_receipt r SET due_at = now() + n.delay * interval '1 second', error = n.error,
  told_at = CASE WHEN n.told THEN now() ELSE r.told_at END
FROM {rows} WHERE r.message_id = n.id AND r.due_at = n.lease
"""


@worked_out_again()
def claim(limit: int, lease: float) -> list[ClaimedReceipt]:
    """Receipts that are due, for `lease` seconds."""
    return fetch_as(ClaimedReceipt, CLAIM_RECEIPTS, {'limit': limit, 'lease': lease})


@worked_out_again()
def record(results: Iterable[ReceiptResult]) -> None:
    """Write what became of claimed receipts."""
    execute_bulk(RECORD_RESULTS, sorted(results, key=attrgetter('id')))


# A claimed receipt has no error: one with an error is waiting.
RETRY_FAILED = """
UPDATE read_receipt SET due_at = now() WHERE message_id IN (
  SELECT r.message_id FROM read_receipt r JOIN message m ON m.id = r.message_id
  WHERE r.due_at IS NOT NULL AND r.error IS NOT NULL
    AND m.phone_number_id = coalesce(%s, m.phone_number_id)
  ORDER BY r.message_id FOR NO KEY UPDATE OF r SKIP LOCKED)
"""


def retry_failed(phone_number_id: str | None) -> int:
    """Make failed receipts due, for Meta is back: for a number or for all (None).

    Returns how many.
    """
    return execute(RETRY_FAILED, (phone_number_id,))


@dataclass(frozen=True, slots=True)
class SettledReceipt:
    """A receipt that Meta was told of, or that was given up (`error`)."""

    id: str
    error: Any


FIND_SETTLED = Prepared("""
SELECT message_id AS id, error FROM read_receipt
WHERE message_id = ANY(%s::uuid[]) AND due_at IS NULL
""")


def find_settled(message_ids: Collection[str]) -> dict[str, SettledReceipt]:
    """{message id: what became of its receipt}, without those that are still waiting."""
    rows = fetch_as(SettledReceipt, FIND_SETTLED, (list(message_ids),))
    return {row.id: row for row in rows}


FIND_RECEIPTS = Prepared("""
SELECT message_id, typing_until IS NOT NULL AS typing, told_at, error FROM read_receipt
WHERE message_id = ANY(%(ids)s::uuid[])
""")


def of_messages(message_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{message id: its receipt as callers see it}."""
    rows = fetch_dicts(FIND_RECEIPTS, {'ids': message_ids}) if message_ids else []
    return {row.pop('message_id'): row for row in rows}
