"""Pure: a conversation as chat-completions servers take it: `user` first and last, roles in turns.

Many of them refuse anything else with a 400. But customers write twice in a row, and a business
writes first or in between, all the time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, TypedDict

from service.runtime.strict_json import cleaned

ROLES = {'inbound': 'user', 'outbound': 'assistant'}
BEFORE = 'What was written to the customer before the conversation below:'
SINCE = 'What was written to the customer since their last message, by somebody else:'


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message of the conversation, as far as a model needs it."""

    direction: str
    text: str


class ChatMessage(TypedDict):
    """One of the `messages` of a chat-completions request."""

    role: str
    content: str


class Turn(NamedTuple):
    """What one side said before the other one spoke again."""

    role: str
    text: str


def build_messages(history: Iterable[PastMessage], system_prompt: str | None) -> list[ChatMessage]:
    """The `messages` of a request, [] when the customer said nothing.

    `history`: the oldest message first. What the business wrote before the customer's first message
    and after their last one goes into the system message.
    """
    turns = _turns(history)
    customers = [at for at, turn in enumerate(turns) if turn.role == 'user']
    if not customers:
        return []
    first, last = customers[0], customers[-1]
    parts = [cleaned(system_prompt or '')]
    parts += [f'{BEFORE}\n{turn.text}' for turn in turns[:first]]
    parts += [f'{SINCE}\n{turn.text}' for turn in turns[last + 1 :]]
    system = '\n\n'.join(filter(None, parts))
    messages = [ChatMessage(role='system', content=system)] if system else []
    spoken = turns[first : last + 1]
    return messages + [ChatMessage(role=turn.role, content=turn.text) for turn in spoken]


def _turns(history: Iterable[PastMessage]) -> list[Turn]:
    said = [Turn(ROLES[one.direction], cleaned(one.text)) for one in history]
    said = [turn for turn in said if turn.text.strip()]
    return [_joined(group) for _, group in groupby(said, key=lambda turn: turn.role)]


def _joined(turns: Iterable[Turn]) -> Turn:
    first, *others = turns
    return Turn(first.role, '\n'.join([first.text, *(turn.text for turn in others)]))
