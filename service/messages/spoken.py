"""What was said in a conversation, as a model reads it: each message's side, type and text.

A model is told a twentieth of what callers see of a message (view.py), and it is asked all the
time: so no more is read of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.messages import relations
from service.messages.state_machine import UNSAID
from service.messages.view import Shown
from service.runtime.prepared import Prepared
from service.runtime.rows import Integer, Uuid, fetch_bulk_as


@dataclass(frozen=True, slots=True)
class WantedHistory:
    """So many of the last messages of a conversation."""

    id: Uuid
    most: Integer


@dataclass(frozen=True, slots=True)
class SpokenMessage:
    """What the text of a message depends on. `is_changed`: an edit or a revoke is about it."""

    id: str
    chatbot_id: str
    conversation_id: str
    direction: str
    phone_number_id: str
    type: str
    wamid: str | None
    sender: Any
    content: Any
    said_at: datetime
    is_changed: bool


# An edit or a deletion is shown in the message that it is about.
LAST_MESSAGES = """
SELECT {shown}
FROM {rows} CROSS JOIN LATERAL (
  SELECT * FROM message m WHERE m.conversation_id = n.id AND m.type NOT IN ('edit', 'revoke')
    AND {is_wanted}
  ORDER BY m.id DESC LIMIT n.most) m
ORDER BY m.id
"""
FIND_SPOKEN = Prepared.for_rows(WantedHistory)(
    LAST_MESSAGES,
    shown="""m.id, m.chatbot_id, m.conversation_id, m.direction, m.phone_number_id, m.type, m.wamid,
  m.sender, m.content, coalesce(m.timestamp, m.accepted_at, m.created_at) AS said_at, (
    SELECT true FROM message r
    WHERE r.phone_number_id = m.phone_number_id AND r.refers_to = m.wamid
      AND r.type <> 'reaction'
    LIMIT 1) IS NOT NULL AS is_changed""",
    is_wanted="m.status || '' NOT IN ({unsaid})",
    unsaid=', '.join(f"'{status}'" for status in sorted(UNSAID)),
)


def read(wanted: Sequence[WantedHistory]) -> list[Shown]:
    """The last messages of conversations that were said, the oldest first."""
    messages = fetch_bulk_as(SpokenMessage, FIND_SPOKEN, wanted)
    related = relations.find_related([one for one in messages if one.is_changed])
    templates = relations.find_templates(messages)
    return [
        {
            'id': one.id,
            'conversation_id': one.conversation_id,
            'direction': one.direction,
            'type': one.type,
            'text': relations.text_of(one, templates),
            'revoked_at': None,
            **relations.changes_by(relations.related_to(one, related), one),
        }
        for one in messages
    ]
