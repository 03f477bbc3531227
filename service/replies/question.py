"""What responders are asked about, read for all claimed replies at once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from service.accounts.account import Account
from service.conversations.conversation import Conversation
from service.conversations.reply_queue import ClaimedReply
from service.messages import view
from service.messages.message import Message
from service.messages.view import Shown
from service.runtime.db import fetch_dicts
from service.runtime.model import columns_of
from service.runtime.prepared import Prepared

HISTORY = 20  # the last messages that the responder sees
# An edit or a deletion is shown in the message that it is about.
FIND_HISTORIES = Prepared(
    """
SELECT {columns}
FROM unnest(%(conversation_ids)s::uuid[]) AS n (id) CROSS JOIN LATERAL (
  SELECT * FROM message m WHERE m.conversation_id = n.id AND m.type NOT IN ('edit', 'revoke')
  ORDER BY m.id DESC LIMIT %(limit)s) m
ORDER BY m.id
""",
    columns=columns_of(Message, 'm'),
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a responder is asked about."""

    account: Account
    conversation: Conversation
    history: list[Shown]  # messages as callers see them, the oldest first


def read_questions(replies: Sequence[ClaimedReply]) -> list[Question]:
    """What to ask for each of the claimed replies, in their order."""
    accounts = Account.find_all(reply.chatbot_id for reply in replies)
    histories = _read_histories([reply.id for reply in replies])
    return [
        Question(accounts[reply.chatbot_id], reply.conversation, histories[reply.id])
        for reply in replies
    ]


def _read_histories(conversation_ids: list[str]) -> dict[str, list[Shown]]:
    """The last messages of conversations; without what was edited away or deleted."""
    parameters = {'conversation_ids': conversation_ids, 'limit': HISTORY}
    messages = [Message(**row) for row in fetch_dicts(FIND_HISTORIES, parameters)]
    histories: defaultdict[str, list[Shown]] = defaultdict(list)
    for message in view.serialize(messages):
        message['revisions'] = []
        histories[message['conversation_id']].append(message)
    return histories
