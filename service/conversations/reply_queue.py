"""Replies that are due: conversations whose customer waits for an answer.

A reply is no row of its own: it stands in the conversation's `reply_…` columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from service.conversations.conversation import IS_LIMITED, Conversation
from service.runtime.db import fetch_dicts
from service.runtime.durability import worked_out_again
from service.runtime.ids import new_id
from service.runtime.model import columns_of
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Uuid, fetch_bulk

Claim = tuple[str, str]  # the conversation's id, and who holds it


@dataclass(slots=True)
class Held:
    """A claim that somebody holds."""

    id: Uuid  # of the conversation
    claim: Uuid


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
# In SQL, of messages `n` that are replies: since when the customer waits, of the first of each.
REPLY_WANTED_AT = """(SELECT c.reply_wanted_at FROM conversation c
  WHERE c.id = n.conversation_id AND NOT EXISTS (
    SELECT FROM n earlier WHERE earlier.conversation_id = c.id AND earlier.id < n.id))"""
# What a claim tells of the account: the fields of Terms.
TERMS = {
    'read_receipts': 'a.read_receipts',
    'max_turns': 'a.max_turns_a_day',
    'has_fallback': 'a.fallback_text IS NOT NULL',
    'is_misconfigured': "a.responder_state = 'misconfigured'",
    'saved_at': 'a.updated_at',
}
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
  SELECT c.id, {limited} AS is_limited, a.reply_ttl_seconds * interval '1 second' AS ttl,
    {terms}
  FROM chosen JOIN conversation c USING (id)
    JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE {is_due} ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) due
WHERE c.id = due.id
RETURNING {conversation}, c.reply_claim, c.reply_wanted_at + due.ttl AS expires_at,
  CASE WHEN c.reply_wanted_at + due.ttl < now() THEN 'stale'
    WHEN due.is_limited THEN 'limited' END AS refusal, {names}
""",
    is_due=IS_DUE,
    limited=fill(IS_LIMITED, limit='a.max_turns_a_day'),
    terms=', '.join(f'{column} AS {name}' for name, column in TERMS.items()),
    names=', '.join(f'due.{name}' for name in TERMS),
    conversation=columns_of(Conversation, 'c'),
)
RENEW_LEASES = Prepared.for_rows(Held)("""
UPDATE conversation c SET reply_lease_until = now() + %(lease)s * interval '1 second'
FROM (
  SELECT c.id FROM {rows} JOIN conversation c ON c.id = n.id AND c.reply_claim = n.claim
  ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) held
WHERE c.id = held.id
RETURNING c.id, c.reply_claim
""")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the account of a claimed reply wants, and how it was, at the time of the claim."""

    read_receipts: str  # none, read or typing
    max_turns: int  # replies to one conversation in a day
    has_fallback: bool  # something is sent when the responder is given up on
    is_misconfigured: bool  # its responder was, when it was asked last
    saved_at: datetime

    @property
    def is_typing(self) -> bool:
        """Whether the business is seen typing while its responder thinks."""
        return self.read_receipts == 'typing'


@dataclass(slots=True)
class ClaimedReply:
    """A conversation whose responder one worker may ask, until its lease ends."""

    id: str  # of the conversation
    chatbot_id: str
    due_at: datetime
    claim: str  # who holds it: another one's claim replaces it
    attempts: int  # this one counts already
    last_inbound_at: datetime | None
    expires_at: datetime | None  # an answer that comes later is not sent
    refusal: str | None  # why nobody is asked: stale or limited
    terms: Terms
    conversation: Conversation  # as it was claimed
    claimed_at: float = field(default_factory=monotonic)
    typing_at: float = field(default_factory=monotonic)  # when it was last asked for

    @property
    def key(self) -> Claim:
        return self.id, self.claim

    @property
    def owner(self) -> str:
        """Whose threads it takes."""
        return self.chatbot_id


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


def _claimed(
    reply_claim: str, expires_at: datetime | None, refusal: str | None, **columns: Any
) -> ClaimedReply:
    terms = Terms(**{name: columns.pop(name) for name in TERMS})
    return ClaimedReply(
        id=columns['id'],
        chatbot_id=columns['chatbot_id'],
        due_at=columns['reply_due_at'],
        claim=reply_claim,
        attempts=columns['reply_attempts'],
        last_inbound_at=columns['last_inbound_at'],
        expires_at=expires_at,
        refusal=refusal,
        terms=terms,
        conversation=Conversation(**columns),
    )


@worked_out_again()
def renew_leases(replies: Sequence[ClaimedReply], lease: float) -> set[Claim]:
    """Lengthen the leases of replies that this process is still asking for.

    Returns those that are still held: a pause or another worker's claim may have ended one.
    """
    return set(fetch_bulk(RENEW_LEASES, [Held(*reply.key) for reply in replies], lease=lease))
