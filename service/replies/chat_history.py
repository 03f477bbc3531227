"""Pure: a conversation as chat-completions servers take it: `user` first and last, roles in turns.

Many of them refuse anything else with a 400. But customers write twice in a row, and a business
writes first or in between, all the time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypedDict

from service.runtime.strict_json import cleaned

ROLES = {'inbound': 'user', 'outbound': 'assistant'}
BEFORE = 'What was written to the customer before the conversation below:'
SINCE = 'What was written to the customer since their last message, by somebody else:'

Part = dict[str, Any]  # of a content: {"type": "text", …} or {"type": "image_url", …}


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message of the conversation, as far as a model needs it."""

    direction: str
    text: str
    picture: str | None = None  # its data URL


class ChatMessage(TypedDict):
    """One of the `messages` of a chat-completions request."""

    role: str
    content: str | list[Part]


class Turn(NamedTuple):
    """What one side said before the other one spoke again."""

    role: str
    said: Sequence[PastMessage]

    @property
    def text(self) -> str:
        return '\n'.join(one.text for one in self.said)

    @property
    def content(self) -> str | list[Part]:
        """The text; with pictures a list of parts, each picture behind its own line of text."""
        if not any(one.picture for one in self.said):
            return self.text
        parts: list[Part] = []
        lines: list[str] = []
        for one in self.said:
            lines.append(one.text)
            if one.picture:
                parts.append(_text_part(lines))
                parts.append({'type': 'image_url', 'image_url': {'url': one.picture}})
                lines = []
        return [*parts, _text_part(lines)] if lines else parts


def _text_part(lines: list[str]) -> Part:
    return {'type': 'text', 'text': '\n'.join(lines)}


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
    return messages + [ChatMessage(role=turn.role, content=turn.content) for turn in spoken]


def texts(messages: Iterable[ChatMessage]) -> list[str]:
    """All that is written in messages."""
    written: list[str] = []
    for message in messages:
        content = message['content']
        if isinstance(content, str):
            written.append(content)
        else:
            written += [part['text'] for part in content if part['type'] == 'text']
    return written


def _turns(history: Iterable[PastMessage]) -> list[Turn]:
    said = [PastMessage(one.direction, cleaned(one.text), one.picture) for one in history]
    said = [one for one in said if one.text.strip()]
    sides = groupby(said, key=lambda one: one.direction)
    return [Turn(ROLES[direction], list(messages)) for direction, messages in sides]
