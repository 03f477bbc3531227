"""Pauses: a person has taken a conversation over, so that nobody asks its responder.

They begin by the API, or by themselves when a person writes, and end when they are over or resumed.
What the bot has queued is cancelled by sending/takeover.py.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from service.conversations.conversation import Conversation
from service.graph.outcome import make_error
from service.runtime.db import execute
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Uuid, fetch_bulk

# The error of the bot's messages that are cancelled for it.
PAUSED_ERROR = make_error('A person has taken the conversation over', cause='paused')
MAX_MINUTES = 525_600  # a year; without an end it is a pause until somebody resumes


class PausedBy(StrEnum):
    """What began a pause, as conversation.paused_by has it."""

    API = 'api'
    BUSINESS_APP = 'business_app'
    HUMAN_SEND = 'human_send'
    LOOP_GUARD = 'loop_guard'


@dataclass(slots=True)
class Occasion:
    """A reason why a conversation pauses by itself, for the account's pause_minutes from `at` on.

    `least_minutes`: as long when the account wants no such pauses; 0: then there is none.
    """

    id: Uuid  # of the conversation
    by: str  # PausedBy
    at: datetime
    least_minutes: float = 0

    @classmethod
    def now(cls, conversation_id: str, by: PausedBy, least_minutes: float = 0) -> Self:
        return cls(conversation_id, by, datetime.now(UTC), least_minutes)


# In SQL, of a conversation `c`: a person speaks in it. After the loop guard's last answer nobody
# does, and that one leaves.
IS_TAKEN_OVER = "(c.paused_until > now() AND c.paused_by IS DISTINCT FROM 'loop_guard')"
# In SQL, of a conversation `c`: no reply is wanted any more. Who asks for one now finds the claim
# gone.
DROP_REPLY = """
  reply_due_at = NULL, reply_wanted_at = NULL, reply_claim = NULL, reply_lease_until = NULL,
  reply_attempts = 0, updated_at = now()
"""
# A person's pause that lasts longer stays. A new one begins without an assignee.
PAUSE_BY_THEMSELVES = Prepared.for_rows(Occasion)(
    """
UPDATE conversation c SET {drop_reply},
  paused_by = CASE WHEN n.is_taken AND c.paused_until >= n.until THEN c.paused_by ELSE n.by END,
  paused_until = greatest(c.paused_until, n.until),
  assignee = CASE WHEN n.is_taken THEN c.assignee END
FROM (
  SELECT c.id, n.by, coalesce({taken_over}, false) AS is_taken,
    n.at + {minutes} * interval '1 minute' AS until
  FROM {rows}
    LEFT JOIN LATERAL (
      SELECT conversation_id FROM conversation_merged WHERE id = n.id OFFSET 0) m ON true
    JOIN conversation c ON c.id = coalesce(m.conversation_id, n.id)
    JOIN whatsapp_cloud_account a ON a.chatbot_id = c.chatbot_id
  WHERE {minutes} > 0 AND n.at + {minutes} * interval '1 minute' > now()
  ORDER BY c.id FOR NO KEY UPDATE OF c) n
WHERE c.id = n.id
RETURNING c.id, n.is_taken
""",
    drop_reply=DROP_REPLY,
    taken_over=IS_TAKEN_OVER,
    minutes='coalesce(nullif(a.pause_minutes, 0), n.least_minutes)',
)
PAUSE = fill(
    """
UPDATE conversation c SET {drop_reply}, paused_by = 'api',
  paused_until = coalesce(now() + %(minutes)s * interval '1 minute', '9999-12-31Z'),
  assignee = CASE WHEN NOT %(keeps_assignee)s THEN %(assignee)s
             WHEN paused_until > now() THEN assignee END
WHERE id = %(id)s
""",
    drop_reply=DROP_REPLY,
)
# Somebody who wants an answer to what was written long ago does not call it late.
RESUME = """
UPDATE conversation c SET paused_until = NULL, paused_by = NULL, assignee = NULL,
  quick_since = NULL, quick_turns = 0, updated_at = now(),
  reply_wanted_at = CASE WHEN %(answer)s AND (reply_due_at IS NULL OR paused_until > now())
                    THEN now() ELSE reply_wanted_at END,
  reply_due_at = CASE WHEN %(answer)s THEN coalesce(reply_due_at, now())
                 WHEN paused_until > now() THEN NULL ELSE reply_due_at END
WHERE id = %(id)s
"""


def begin_by_themselves(occasions: Collection[Occasion]) -> list[str]:
    """Pause conversations, in the caller's transaction; a pause under way is lengthened.

    Of one conversation the latest occasion counts. Returns those that no person had before.
    """
    latest = {one.id: one for one in sorted(occasions, key=lambda one: one.at)}
    paused = fetch_bulk(PAUSE_BY_THEMSELVES, [latest[id_] for id_ in sorted(latest)])
    return [id_ for id_, was_taken in paused if not was_taken]


def begin(
    conversation_id: str, minutes: int | None, assignee: str | None, *, keeps_assignee: bool = False
) -> str:
    """Pause a conversation because a person wants it; None minutes: until it is resumed.

    `assignee`: who has it now; `keeps_assignee`: who has it already, if it is paused. In the
    caller's transaction. Returns the conversation's id, which it may have from a merge. Raises
    NotFound.
    """
    values = {'minutes': minutes, 'assignee': assignee, 'keeps_assignee': keeps_assignee}
    return _write(PAUSE, conversation_id, values)


def end(conversation_id: str, *, answer: bool) -> str:
    """End the pause of a conversation; `answer`: its responder is to be asked now.

    Returns the conversation's id, which it may have from a merge. Raises NotFound.
    """
    return _write(RESUME, conversation_id, {'answer': answer})


def _write(statement: str, conversation_id: str, values: dict[str, Any]) -> str:
    """Run a statement of one conversation; once more when it was merged at that moment."""
    current: str = Conversation.find(conversation_id).id
    if not execute(statement, {**values, 'id': current}):
        current = Conversation.find(conversation_id).id
        execute(statement, {**values, 'id': current})
    return current
