"""Whether the responder of an account can answer at all.

It is `misconfigured` when its server refuses key, address or model, until it answers or the account
is saved.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from service.runtime.rows import Json, fetch_bulk

# After a change of the account its responder may work: the next ask will tell.
UNTRIED = {
    'responder_state': 'ok',
    'responder_state_reason': None,
    'responder_state_since': None,
}


@dataclass(frozen=True, slots=True)
class ResponderNews:
    """What an ask told of the responder. `reason`: why it can answer nobody; None: it has answered.

    `saved_at`: when the account was changed last, before the ask.
    """

    chatbot_id: str
    saved_at: datetime
    reason: Json | None


# An account that was changed since then may have another responder: the next ask will tell.
SET_STATES = """
UPDATE whatsapp_cloud_account a SET responder_state = n.state, responder_state_reason = n.reason,
  responder_state_since = CASE n.state WHEN 'misconfigured' THEN now() END, updated_at = now()
FROM (
  SELECT n.*, CASE WHEN n.reason IS NULL THEN 'ok' ELSE 'misconfigured' END AS state
  FROM {rows} JOIN whatsapp_cloud_account a USING (chatbot_id)
  ORDER BY n.chatbot_id FOR NO KEY UPDATE OF a) n
WHERE a.chatbot_id = n.chatbot_id AND a.updated_at = n.saved_at AND a.responder_state <> n.state
RETURNING a.chatbot_id
"""


def record(news: Iterable[ResponderNews]) -> set[str]:
    """Keep the latest news of each account; returns the chatbots whose state has changed."""
    latest = {one.chatbot_id: one for one in news}
    return {chatbot_id for (chatbot_id,) in fetch_bulk(SET_STATES, list(latest.values()))}
