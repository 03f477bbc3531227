"""What came of claimed replies: answered, to be asked for again, or given up on.

An answer is sent only if nothing has passed it by: a newer message of the customer's, a pause, or
the time after which nobody wants it any more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NotRequired, TypedDict

from service.conversations import pause
from service.conversations.conversation import IS_PAUSED, TODAY
from service.conversations.pause import Occasion, PausedBy
from service.conversations.reply_queue import Claim
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Json, Uuid, fetch_bulk_as

# Two machines that answer each other: their messages come within so many seconds of an answer,
QUICK_SECONDS = 5
# and after so many turns within two minutes the conversation is paused.
LOOP_TURNS = 10
LOOP_MINUTES = 2
LOOP_PAUSE_MINUTES = 60  # where the account's pause_minutes is 0
LOOP = (
    f'{LOOP_TURNS} turns within {LOOP_MINUTES} minutes, each message within {QUICK_SECONDS} s of '
    'the answer before it: two machines answer each other'
)
# In SQL, of a conversation `c` that is answered now: whether this turn follows the one before as
# quickly as those of machines.
IS_QUICK = fill(
    """(coalesce(c.reply_wanted_at < c.answered_at + interval '{quick_seconds} s'
        AND c.quick_since > now() - interval '{loop_minutes} min', false)
        AND c.quick_turns > 0)""",
    quick_seconds=QUICK_SECONDS,
    loop_minutes=LOOP_MINUTES,
)
# In SQL, beside IS_QUICK: whether that makes the turn the last one of a loop.
IS_LOOP = fill('is_quick AND quick_turns + 1 >= {loop_turns}', loop_turns=LOOP_TURNS)
# In SQL: counts a turn of a conversation `c` where {is_turn}; `n` has is_quick and is_loop.
COUNT_TURN = fill(
    """
  turns_on = CASE WHEN {is_turn} THEN {today} ELSE c.turns_on END,
  turns = CASE WHEN NOT {is_turn} THEN c.turns WHEN c.turns_on = {today}
          THEN least(c.turns + 1, 32767) ELSE 1 END,
  quick_since = CASE WHEN {is_turn} AND NOT n.is_quick THEN now() ELSE c.quick_since END,
  quick_turns = CASE WHEN NOT {is_turn} THEN c.quick_turns WHEN n.is_loop THEN 0
                WHEN n.is_quick THEN c.quick_turns + 1 ELSE 1 END""",
    today=TODAY,
)
STALE = 'the customer wrote longer ago than reply_ttl_seconds'


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
    was an attempt. `is_turn`: something is to be sent. `may_fall_back`: else the account's
    fallback_text is. `is_patient`: it may be recorded later, see Verdict.PENDING.
    """

    id: Uuid
    claim: Uuid
    due_at: datetime
    expires_at: datetime | None
    error: Json | None = None  # a ReplyError
    delay: float | None = None
    is_counted: bool = True
    is_turn: bool = False
    may_fall_back: bool = False
    is_patient: bool = True


class Verdict(StrEnum):
    """What becomes of an outcome."""

    ANSWERED = 'answered'
    FAILED = 'failed'
    OVERTAKEN = 'overtaken'  # the customer has written since: the responder is asked anew
    STALE = 'stale'  # nobody wants the answer any more
    PAUSED = 'paused'  # a person has taken over
    PENDING = 'pending'  # a webhook waits that may tell what the customer has written since


@dataclass(frozen=True, slots=True)
class RecordedReply:
    """What was made of an outcome whose claim was still held."""

    id: str
    claim: str
    verdict: str
    falls_back: bool  # the account's fallback_text is to be sent
    is_loop: bool  # two machines answer each other: the caller pauses the conversation
    turns: int  # today's, this one included

    @property
    def key(self) -> Claim:
        return self.id, self.claim


# In SQL, of a conversation `c`: whether its customer may have written what nobody has read yet. Of
# the webhooks that wait those are looked at that are read next, and are not a whole history.
HAS_UNREAD = """EXISTS (
  SELECT FROM (
    SELECT body FROM webhook_event WHERE status = 'received' AND size < 65536
    ORDER BY id LIMIT 100) e
  WHERE (position(convert_to(c.wa_id, 'UTF8') IN e.body) > 0
      OR position(convert_to(c.user_id, 'UTF8') IN e.body) > 0)
    AND position('"messages":'::bytea IN e.body) > 0)"""
# reply_due_at has moved when the customer wrote while the responder was thinking; then it stays.
RECORD_OUTCOMES = Prepared.for_rows(ReplyOutcome)(
    """
WITH judged AS MATERIALIZED (
  SELECT n.*, n.verdict = 'answered' AND n.is_turn AS is_sent,
    n.verdict = 'failed' AND n.may_fall_back AND n.is_wanted AS falls_back,
    n.verdict = 'answered' AND n.is_turn AND {loop} AS is_loop
  FROM (
    SELECT n.*, c.quick_turns,
      c.fell_back_at IS NULL AND coalesce(n.expires_at >= now(), true) AS is_wanted,
      {quick} AS is_quick,
      CASE WHEN {paused} THEN 'paused'
        WHEN c.reply_due_at IS DISTINCT FROM n.due_at THEN 'overtaken'
        WHEN n.error IS NOT NULL THEN 'failed'
        WHEN n.is_turn AND n.expires_at < now() THEN 'stale'
        WHEN n.is_turn AND n.is_patient AND {has_unread} THEN 'pending'
        ELSE 'answered' END AS verdict
    FROM {rows} JOIN conversation c ON c.id = n.id AND c.reply_claim = n.claim
    ORDER BY c.id FOR NO KEY UPDATE OF c) n),
recorded AS (
UPDATE conversation c SET reply_claim = NULL, reply_lease_until = NULL,
  reply_due_at = CASE n.verdict WHEN 'overtaken' THEN c.reply_due_at WHEN 'paused' THEN NULL
                 ELSE now() + n.delay * interval '1 second' END,
  reply_attempts = CASE WHEN n.error IS NULL THEN 0
                   ELSE greatest(0, c.reply_attempts - (NOT n.is_counted)::int) END,
  reply_error = CASE n.verdict WHEN 'answered' THEN NULL WHEN 'failed' THEN n.error
                WHEN 'stale' THEN json_build_object(
                  'title', %(stale)s::text, 'attempts', c.reply_attempts, 'final', true)
                ELSE c.reply_error END,
  fell_back_at = CASE WHEN n.falls_back THEN now()
                 WHEN n.verdict <> 'answered' THEN c.fell_back_at END,
  answered_at = CASE WHEN n.is_sent THEN now() ELSE c.answered_at END,
  {count_turn},
  updated_at = now()
FROM judged n WHERE c.id = n.id AND n.verdict <> 'pending'
RETURNING c.id, n.claim, n.verdict, n.falls_back, n.is_loop, c.turns)
SELECT * FROM recorded
UNION ALL SELECT id, claim, verdict, false, false, 0 FROM judged WHERE verdict = 'pending'
""",
    count_turn=fill(COUNT_TURN, is_turn='n.is_sent'),
    paused=IS_PAUSED,
    quick=IS_QUICK,
    loop=IS_LOOP,
    has_unread=HAS_UNREAD,
)


def record(outcomes: Sequence[ReplyOutcome]) -> dict[Claim, RecordedReply]:
    """End claims; the caller queues what is to be sent in the same transaction.

    Returns what was made of those that were still held: of all others nothing may be sent. Those
    that are pending are held still.
    """
    recorded = fetch_bulk_as(RecordedReply, RECORD_OUTCOMES, outcomes, stale=STALE)
    return {one.key: one for one in recorded}


def pause_loops(conversation_ids: Iterable[str]) -> None:
    """Pause conversations of two machines, in the caller's transaction."""
    occasions = [
        Occasion.now(id_, PausedBy.LOOP_GUARD, LOOP_PAUSE_MINUTES) for id_ in conversation_ids
    ]
    pause.begin_by_themselves(occasions)
