"""Replies that are due: conversations whose customer waits for an answer.

A reply is no row of its own: it stands in the conversation's `reply_…` columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any, NotRequired, TypedDict

from service.conversations.conversation import Conversation
from service.runtime.db import execute, fetch_dicts
from service.runtime.durability import worked_out_again
from service.runtime.ids import new_id
from service.runtime.model import columns_of
from service.runtime.prepared import Prepared
from service.runtime.rows import Json, Uuid, fetch_bulk

# Why `LIMIT (SELECT …)`: see service/jobs/job_table.py.
NEXT_DUE = """
WITH waiting AS (
  SELECT chatbot_id, greatest(reply_due_at, reply_lease_until, paused_until) AS due_at
  FROM conversation WHERE reply_due_at IS NOT NULL ORDER BY reply_due_at LIMIT (SELECT 1000000))
SELECT min(due_at) FROM waiting JOIN whatsapp_cloud_account a USING (chatbot_id) WHERE a.active
"""
# In SQL, of a conversation `c` and its account `a`: whether its responder may be asked now.
IS_DUE = """
    c.reply_due_at <= now() AND a.active
    AND (c.reply_lease_until IS NULL OR c.reply_lease_until < now())
    AND (c.paused_until IS NULL OR c.paused_until < now())"""
# The longest waiting first, each account up to its share of the threads. Only the first 200 are
# looked at; accounts without a share are left out before, so that they cannot fill these 200.
CLAIM_REPLIES = Prepared(
    """
WITH share AS (
  SELECT * FROM unnest(%(chatbots)s::text[], %(shares)s::int[]) AS s (chatbot_id, n)),
waiting AS MATERIALIZED (
  SELECT c.id, c.chatbot_id, c.reply_due_at
  FROM conversation c JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE {is_due} AND c.chatbot_id <> ALL(ARRAY(SELECT chatbot_id FROM share WHERE n = 0))
    AND (%(share)s > 0 OR c.chatbot_id = ANY(ARRAY(SELECT chatbot_id FROM share)))
  ORDER BY c.reply_due_at LIMIT (SELECT 200)),
chosen AS MATERIALIZED (
  SELECT w.id, w.reply_due_at FROM (
    SELECT *, row_number() OVER (PARTITION BY chatbot_id ORDER BY reply_due_at, id) AS place
    FROM waiting) w LEFT JOIN share USING (chatbot_id)
  WHERE w.place <= coalesce(share.n, %(share)s) ORDER BY w.reply_due_at LIMIT %(limit)s)
UPDATE conversation c SET
  reply_claim = %(claim)s, reply_attempts = least(reply_attempts + 1, 32767),
  reply_lease_until = now() + %(lease)s * interval '1 second'
FROM (
  SELECT c.id, a.read_receipts FROM chosen JOIN conversation c USING (id)
    JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE {is_due} ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) due
WHERE c.id = due.id
RETURNING {conversation}, c.reply_claim, due.read_receipts
""",
    is_due=IS_DUE,
    conversation=columns_of(Conversation, 'c'),
)
RENEW_LEASES = Prepared("""
UPDATE conversation SET reply_lease_until = now() + %s * interval '1 second' WHERE id IN (
  SELECT id FROM conversation WHERE id = ANY(%s::uuid[]) AND reply_claim IS NOT NULL
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
""")


Claim = tuple[str, str]  # the conversation's id, and who holds it


@dataclass(slots=True)
class ClaimedReply:
    """A conversation whose responder one worker may ask, until its lease ends."""

    id: str  # of the conversation
    chatbot_id: str
    due_at: datetime
    claim: str  # who holds it: another one's claim replaces it
    attempts: int  # this one counts already
    last_inbound_at: datetime | None
    read_receipts: str  # as the account has it: none, read or typing
    conversation: Conversation  # as it was claimed
    claimed_at: float = field(default_factory=monotonic)

    @property
    def key(self) -> Claim:
        return self.id, self.claim


class ReplyError(TypedDict):
    """Why there is no reply, as callers see it of the conversation."""

    title: str
    attempts: int
    final: bool  # the responder is not asked again
    details: NotRequired[str]  # its server's own words, redacted
    errors: NotRequired[dict[str | None, list[str]]]  # what is wrong with its answer, by field


@dataclass(slots=True)
class ReplyOutcome:
    """What came of a claimed reply: it was answered, or there is an error.

    `delay`: seconds until the responder is asked again, None: it is not. `is_counted`: whether this
    was an attempt.
    """

    id: Uuid
    claim: Uuid
    due_at: datetime
    error: Json | None = None  # a ReplyError
    delay: float | None = None
    is_counted: bool = True


def claim(
    limit: int, lease: float, shares: dict[str, int], other_share: int
) -> Sequence[ClaimedReply]:
    """Conversations whose customer waits for a reply, leased for `lease` seconds.

    `shares`: at most so many of each chatbot; `other_share`: of each chatbot that is not in it.
    """
    parameters: dict[str, Any] = {
        'limit': limit,
        'lease': lease,
        'claim': new_id(),
        'chatbots': list(shares),
        'shares': list(shares.values()),
        'share': other_share,
    }
    return [_claimed(**row) for row in fetch_dicts(CLAIM_REPLIES, parameters)]


def _claimed(reply_claim: str, read_receipts: str, **columns: Any) -> ClaimedReply:
    return ClaimedReply(
        id=columns['id'],
        chatbot_id=columns['chatbot_id'],
        due_at=columns['reply_due_at'],
        claim=reply_claim,
        attempts=columns['reply_attempts'],
        last_inbound_at=columns['last_inbound_at'],
        read_receipts=read_receipts,
        conversation=Conversation(**columns),
    )


@worked_out_again()
def renew_leases(conversation_ids: Sequence[str], lease: float) -> None:
    """Lengthen the leases of replies that this process is still asking for."""
    execute(RENEW_LEASES, (lease, list(conversation_ids)))


# Somebody who wrote while the responder was thinking has moved reply_due_at: it stays.
RECORD_OUTCOMES = Prepared.for_rows(ReplyOutcome)("""
UPDATE conversation c SET reply_claim = NULL, reply_lease_until = NULL, reply_error = n.error,
  reply_attempts = CASE WHEN n.error IS NULL THEN 0
                   ELSE greatest(0, c.reply_attempts - (NOT n.is_counted)::int) END,
  reply_due_at = CASE c.reply_due_at WHEN n.due_at THEN now() + n.delay * interval '1 second'
                 ELSE c.reply_due_at END,
  updated_at = now()
FROM (
  SELECT n.* FROM {rows} JOIN conversation c ON c.id = n.id AND c.reply_claim = n.claim
  ORDER BY c.id FOR NO KEY UPDATE OF c) n
WHERE c.id = n.id
RETURNING n.id, n.claim
""")


def record(outcomes: Sequence[ReplyOutcome]) -> set[Claim]:
    """End claims; the caller queues the answers in the same transaction.

    Returns those that were still held: of all others nothing may be queued. A customer who wrote in
    the meantime is answered once more.
    """
    return set(fetch_bulk(RECORD_OUTCOMES, outcomes))
