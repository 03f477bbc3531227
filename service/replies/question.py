"""What responders are asked about, read for all claimed replies at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.accounts.account import Account
from service.conversations.conversation import Conversation
from service.conversations.reply_queue import ClaimedReply
from service.messages import spoken, view
from service.messages.message import Message
from service.messages.spoken import LAST_MESSAGES, WantedHistory
from service.messages.view import Shown
from service.replies import pictures, service_request
from service.replies.pictures import Picture
from service.replies.service_request import ServiceRequest
from service.runtime.config import settings
from service.runtime.model import columns_of
from service.runtime.prepared import Prepared
from service.runtime.rows import fetch_bulk_dicts

HISTORY = 20  # the last messages that the responder sees; an account may choose another number


# For a service, which sees each message's status: also of those that never left.
FIND_HISTORIES = Prepared.for_rows(WantedHistory)(
    LAST_MESSAGES, shown=columns_of(Message, 'm'), is_wanted='true'
)


@dataclass(slots=True)
class Question:
    """What a responder is asked about.

    `pictures`: those of the customer, if the account's AI sees; `request`: if a service of the
    platform's own is asked.
    """

    account: Account
    conversation: Conversation
    history: list[Shown]  # messages, the oldest first: what each kind of responder is told of them
    pictures: Sequence[Picture] = ()
    request: ServiceRequest | None = field(default=None, repr=False)

    @property
    def responder(self) -> dict[str, Any]:
        """As the account has it; without one, the AI of the environment."""
        return self.account.responder or {'kind': 'openai'}

    @property
    def seconds(self) -> float:
        """The responder's time for its whole answer."""
        seconds: float = self.responder.get('timeout_seconds') or settings.RESPONDER_TIMEOUT
        return seconds


def read_questions(replies: Sequence[ClaimedReply]) -> list[Question]:
    """What to ask for each of the claimed replies, in their order."""
    accounts = Account.find_all(reply.chatbot_id for reply in replies)
    histories = _read_histories(replies, accounts)
    questions = [
        Question(accounts[reply.chatbot_id], reply.conversation, histories[reply.id])
        for reply in replies
    ]
    _add_pictures([one for one in questions if one.responder.get('images')])
    _add_requests([one for one in questions if one.responder['kind'] == 'http'])
    return questions


def _read_histories(
    replies: Sequence[ClaimedReply], accounts: Mapping[str, Account]
) -> dict[str, list[Shown]]:
    """The last messages of conversations; without what was edited away or deleted."""
    for_services: list[WantedHistory] = []
    for_models: list[WantedHistory] = []
    for reply in replies:
        responder = accounts[reply.chatbot_id].responder or {}
        wanted = for_services if responder.get('kind') == 'http' else for_models
        wanted.append(WantedHistory(reply.id, responder.get('history') or HISTORY))
    histories: defaultdict[str, list[Shown]] = defaultdict(list)
    for message in [*_read_whole(for_services), *spoken.read(for_models)]:
        histories[message['conversation_id']].append(message)
    return histories


def _read_whole(wanted: list[WantedHistory]) -> list[Shown]:
    """Messages as callers see them."""
    messages = [Message.of_row(row) for row in fetch_bulk_dicts(FIND_HISTORIES, wanted)]
    return [message | {'revisions': []} for message in view.serialize(messages)]


def _add_pictures(questions: list[Question]) -> None:
    if not questions:
        return
    wanted = [pictures.latest(question.history) for question in questions]
    found = pictures.find([message_id for ids in wanted for message_id in ids])
    for question, ids in zip(questions, wanted, strict=True):
        question.pictures = [found[message_id] for message_id in ids if message_id in found]


def _add_requests(questions: list[Question]) -> None:
    new = [service_request.new_request(one.conversation, one.history) for one in questions]
    for question, request in zip(questions, service_request.as_first_asked(new), strict=True):
        question.request = request
