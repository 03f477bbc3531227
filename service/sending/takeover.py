"""Takeovers: a person speaks in a conversation now, so nothing of the bot's leaves any more.

Its pause stands in conversations/pause.py; here is what follows for messages. What is queued is
cancelled at once. What is in a call may still leave; should it have to be tried again while the
pause lasts, the next claim cancels it (dispatch.CLAIM). And what a worker has claimed but not begun
to send? For a claim of the last FRESH_SECONDS the caller of a pause waits; before the call of an
older one the worker asks once more (is_taken_over).
"""

import logging
import time
from collections.abc import Sequence

from service.conversations import pause
from service.conversations.pause import Occasion, PausedBy
from service.runtime.db import connection, db, execute, fetch, no_connection, to_json
from service.runtime.prepared import Prepared
from service.sending.dispatch import ClaimedMessage
from service.sending.outbox import Priority

log = logging.getLogger(__name__)

FRESH_SECONDS = 0.2  # after its claim a message is sent without asking
# Longer than that: a thread that has asked, or need not, may take a moment to begin its call.
SETTLE_SECONDS = 0.5

# || '' keeps out the indexes of all that waits.
CANCEL_REPLIES = Prepared(
    """
UPDATE message m SET status = 'cancelled', hold_reason = NULL, due_at = NULL, updated_at = now(),
  error = %(error)s::json
FROM (
  SELECT id FROM message
  WHERE conversation_id = ANY(%(conversations)s::uuid[]) AND priority = {reply}
    AND status || '' IN ('scheduled', 'queued', 'held')
  ORDER BY id FOR NO KEY UPDATE) d
WHERE m.id = d.id AND m.status IN ('scheduled', 'queued', 'held')
""",
    reply=int(Priority.REPLY),
)
IS_BEING_SENT = Prepared(
    """
SELECT 1 FROM message WHERE conversation_id = %s AND priority = {reply} AND status || '' = 'sending'
LIMIT 1
""",
    reply=int(Priority.REPLY),
)
IS_PAUSED = Prepared(
    """
SELECT {taken_over} FROM message m JOIN conversation c ON c.id = m.conversation_id WHERE m.id = %s
""",
    taken_over=pause.IS_TAKEN_OVER,
)


def by_person(
    conversation_id: str, minutes: int | None, assignee: str | None, *, keeps_assignee: bool = False
) -> str:
    """Pause a conversation because somebody wants it (see pause.begin); returns its present id.

    When this returns, nothing of the bot leaves that is not in a call already. Raises NotFound.
    """
    with db.atomic():
        current = pause.begin(conversation_id, minutes, assignee, keeps_assignee=keeps_assignee)
        cancelled = cancel_replies([current])
    _log([current], PausedBy.API, cancelled)
    _await_claims(current)
    return current


def by_themselves(occasions: Sequence[Occasion]) -> None:
    """Pause conversations by themselves, all for one reason, in the caller's transaction."""
    if occasions:
        taken = pause.begin_by_themselves(occasions)
        _log(taken, occasions[0].by, cancel_replies(taken))


def cancel_replies(conversations: Sequence[str]) -> int:
    """Cancel what the bot has queued in conversations whose rows the caller holds; how many."""
    if not conversations:
        return 0
    values = {'conversations': list(conversations), 'error': to_json(pause.PAUSED_ERROR)}
    return execute(CANCEL_REPLIES, values)


def _log(conversations: Sequence[str], by: str, cancelled: int) -> None:
    for id_ in conversations:
        fields = {'conversation_id': id_, 'by': by, 'cancelled': cancelled}
        log.info('conversation paused', extra=fields)


def is_taken_over(message: ClaimedMessage) -> bool:
    """Whether a claimed message must not be sent any more; a look of FRESH_SECONDS is trusted."""
    age = time.monotonic() - message.claimed_at
    if message.priority != Priority.REPLY or age <= FRESH_SECONDS:
        return False
    with connection():
        return any(is_paused for (is_paused,) in fetch(IS_PAUSED, (message.id,)))


def _await_claims(conversation_id: str) -> None:
    """Wait until each of the bot's claimed messages is in its call, or will not be sent."""
    if fetch(IS_BEING_SENT, (conversation_id,)):
        with no_connection():
            time.sleep(SETTLE_SECONDS)
