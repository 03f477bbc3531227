"""What the platform's own service is asked: the same bytes at every try of one question."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.conversations.conversation import Conversation
from service.messages.message import ANSWERED_TYPES
from service.messages.view import Shown
from service.runtime.db import execute
from service.runtime.prepared import Prepared
from service.runtime.rows import Uuid, execute_bulk, fetch_as
from service.runtime.timestamps import to_rfc3339

HOURS = 1  # that a request is kept; the tries of one question end sooner


@dataclass(slots=True)
class ServiceRequest:
    """A request about one conversation.

    `wanted_at`: since when its reply is wanted; `asked_at`: when it was tried first.
    """

    conversation_id: Uuid
    in_reply_to: Uuid | None  # None: nothing of what is shown is the customer's
    wanted_at: datetime | None
    body: str
    asked_at: datetime

    @property
    def key(self) -> tuple[str, str | None, datetime | None]:
        """What makes it one question.

        Who gives a conversation back after a pause may ask about the same message anew.
        """
        return self.conversation_id, self.in_reply_to, self.wanted_at

    @property
    def webhook_id(self) -> str:
        """The same for each try, as Standard Webhooks wants it."""
        return self.in_reply_to or self.conversation_id


FIND_REQUESTS = Prepared("""
SELECT conversation_id, in_reply_to, wanted_at, body, asked_at FROM reply_request
WHERE conversation_id = ANY(%s::uuid[])
""")
# Not of a person who was erased since the question was read.
KEEP_REQUESTS = Prepared.for_rows(ServiceRequest)("""
INSERT INTO reply_request ({columns}) SELECT {columns} FROM {rows}
WHERE (SELECT 1 FROM conversation c WHERE c.id = n.conversation_id) IS NOT NULL
ORDER BY conversation_id
ON CONFLICT (conversation_id) DO UPDATE
SET in_reply_to = excluded.in_reply_to, wanted_at = excluded.wanted_at, body = excluded.body,
  asked_at = excluded.asked_at
""")
DELETE_OLD_REQUESTS = """
DELETE FROM reply_request WHERE asked_at < now() - %s * interval '1 hour'
"""


def new_request(conversation: Conversation, history: Sequence[Shown]) -> ServiceRequest:
    """The request about a conversation as it is now. `history`: the oldest message first."""
    asked = [
        message['id']
        for message in history
        if message['direction'] == 'inbound' and message['type'] in ANSWERED_TYPES
    ]
    in_reply_to = asked[-1] if asked else None
    event = {
        'type': 'reply.requested',
        'in_reply_to': in_reply_to,
        'conversation': conversation.to_dict(),
        'messages': history,
    }
    body = json.dumps(event, default=to_rfc3339)
    return ServiceRequest(
        conversation_id=conversation.id,
        in_reply_to=in_reply_to,
        wanted_at=conversation.reply_wanted_at,
        body=body,
        asked_at=datetime.now(UTC),
    )


def as_first_asked(requests: Sequence[ServiceRequest]) -> list[ServiceRequest]:
    """The same questions as they were first asked; those that are new are kept."""
    if not requests:
        return []
    ids = [request.conversation_id for request in requests]
    asked = {one.key: one for one in fetch_as(ServiceRequest, FIND_REQUESTS, (ids,))}
    new = [one for one in requests if one.in_reply_to and one.key not in asked]
    execute_bulk(KEEP_REQUESTS, new)
    return [asked.get(request.key, request) for request in requests]


def delete_old() -> None:
    execute(DELETE_OLD_REQUESTS, (HOURS,))
