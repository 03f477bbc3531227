"""A conversation whose message has had its call: when its next one may go."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.runtime.prepared import Prepared
from service.runtime.rows import Uuid, execute_bulk
from service.sending.dispatch import PAIR_DEBT_SECONDS


@dataclass(slots=True)
class FreeConversation:
    """A conversation whose next message may go, in `delay` seconds if that is not None.

    `lease_ends`: of the message that it waited for; `accepted_at`: when Meta took that, None if it
    did not.
    """

    id: Uuid
    lease_ends: datetime
    delay: float | None = None
    accepted_at: datetime | None = None


# The conversation waits for the message that is tried again, or until the pair's burst allows one
# more. Where it waits for longer than our lease, another message is under way since that ended.
RELEASE_CONVERSATIONS = Prepared.for_rows(FreeConversation)(
    """
UPDATE conversation c SET last_outbound_at = greatest(c.last_outbound_at, n.accepted_at),
  send_after = CASE WHEN c.send_after > n.lease_ends THEN c.send_after
    ELSE greatest(now() + n.delay * interval '1 second',
      CASE WHEN c.pair_free_at > now() + interval '{pair_debt_seconds} s'
        THEN c.pair_free_at - interval '{pair_debt_seconds} s' END) END
FROM (
  SELECT f.* FROM (
    SELECT coalesce(m.conversation_id, n.id) AS id, max(n.lease_ends) AS lease_ends,
      max(n.delay) AS delay, max(n.accepted_at) AS accepted_at
    FROM {rows} LEFT JOIN LATERAL (
      SELECT conversation_id FROM conversation_merged WHERE id = n.id OFFSET 0) m ON true
    GROUP BY 1) f JOIN conversation c ON c.id = f.id
  ORDER BY c.id FOR NO KEY UPDATE OF c) n
WHERE c.id = n.id
""",
    pair_debt_seconds=PAIR_DEBT_SECONDS,
)


def release(conversations: Sequence[FreeConversation]) -> None:
    """Let the next message of each conversation go.

    A conversation that was merged while we waited for its row has another id by now: once more.
    """
    if execute_bulk(RELEASE_CONVERSATIONS, conversations) < len(conversations):
        execute_bulk(RELEASE_CONVERSATIONS, conversations)
