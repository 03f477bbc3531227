"""The one message that finds out whether Meta is back, of each scope that is away."""

from service.graph import outage
from service.graph.outcome import LOST
from service.runtime.db import db, fetch
from service.runtime.prepared import fill
from service.sending import dispatch
from service.sending.dispatch import ClaimedMessage

LOOKED_AT = 200  # messages of an account
# Of the first message of each conversation the one that was tried least recently, so that no
# message stands in the way of all others. A message that would not be sent again, should its answer
# be lost once more, comes last. The first of each account do: hundreds of thousands may wait.
FIND_PROBE = fill(
    """
SELECT m.chatbot_id, m.id FROM (
  SELECT DISTINCT ON (d.conversation_id) d.* FROM whatsapp_cloud_account a CROSS JOIN LATERAL (
      SELECT q.* FROM (
        SELECT chatbot_id, id, conversation_id, priority, resends, tries, due_at, expires_at
        FROM message WHERE chatbot_id = a.chatbot_id AND waiting = 'queued' AND NOT deferred
        ORDER BY priority, id OFFSET 0) q JOIN conversation c ON c.id = q.conversation_id
      WHERE q.due_at <= now() AND (q.expires_at IS NULL OR q.expires_at > now())
        AND (c.send_after IS NULL OR c.send_after <= now())
      ORDER BY q.priority, q.id LIMIT {looked_at}) d
  WHERE a.chatbot_id = ANY(%s) ORDER BY d.conversation_id, d.priority, d.id) m
ORDER BY m.resends > 0, m.tries -> -1 ->> 'at' NULLS FIRST, m.priority, m.id LIMIT 1
""",
    looked_at=LOOKED_AT,
)


def claim(scope: str, chatbots: list[str], lease: float) -> list[ClaimedMessage]:
    """Claim the one message that finds out whether Meta is back, if a probe is due.

    `ask_first` is set when answers were lost before: something harmless should be tried first.
    """
    with db.atomic():
        error = outage.lock_due_probe(scope)
        if error is None:
            return []
        claimed: list[ClaimedMessage] = []
        for chatbot_id, message_id in fetch(FIND_PROBE, (chatbots,)):
            claimed = dispatch.claim_one(chatbot_id, message_id, lease)
        outage.schedule_next_probe(scope, bool(claimed))
    for message in claimed:
        message.ask_first = error.get('cause') in LOST
    return claimed
