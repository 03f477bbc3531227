"""Whether a customer still waits for an answer, when a person gives the conversation back."""

from dataclasses import dataclass
from typing import Any

from service.accounts.account import Account
from service.conversations.conversation import Conversation
from service.conversations.opt_out_keywords import MarketingChoice, match_keyword
from service.messages.message import ANSWERED_TYPES
from service.messages.state_machine import UNSAID
from service.runtime.config import settings
from service.runtime.prepared import Prepared
from service.runtime.rows import fetch_as


@dataclass(frozen=True, slots=True)
class LastQuestion:
    """The last message of a customer that is worth a reply, and that nothing has followed."""

    type: str
    content: Any


# Our own messages follow what was stored before them. What was written on the business's phone has
# a time of Meta's, and may come here later than what it answers.
FIND_LAST_QUESTION = Prepared("""
WITH recent AS MATERIALIZED (
  SELECT id, direction, status, type, echo, content, coalesce(timestamp, created_at) AS at
  FROM message WHERE conversation_id = %(conversation)s ORDER BY id DESC LIMIT 100),
question AS (
  SELECT * FROM recent WHERE direction = 'inbound' AND type = ANY(%(types)s)
  ORDER BY id DESC LIMIT 1)
SELECT q.type, q.content FROM question q WHERE NOT EXISTS (
  SELECT 1 FROM recent o
  WHERE o.direction = 'outbound' AND o.status <> ALL(%(unsaid)s)
    AND CASE WHEN o.echo THEN (o.at, o.id) > (q.at, q.id) ELSE o.id > q.id END)
""")


def waits(conversation: Conversation) -> bool:
    """Whether the responder would have something to answer."""
    account = Account.find(conversation.chatbot_id)
    if conversation.group_id or not _has_responder(account):
        return False
    values = {
        'conversation': conversation.id,
        'types': sorted(ANSWERED_TYPES),
        'unsaid': sorted(UNSAID),
    }
    questions = fetch_as(LastQuestion, FIND_LAST_QUESTION, values)
    return any(not _is_stop(question, account) for question in questions)


def _has_responder(account: Account) -> bool:
    kind = (account.responder or {}).get('kind')
    return account.active and kind != 'none' and bool(kind or settings.AI_BASE_URL)


def _is_stop(question: LastQuestion, account: Account) -> bool:
    """Whether it is nothing but a STOP word: whoever wants to hear less gets no answer."""
    data = {'type': question.type, question.type: question.content}
    found = match_keyword(data, account.opt_out_words, account.opt_in_words)
    return found is not None and found.choice == MarketingChoice.OPT_OUT
