"""Pure: a conversation as chat-completions servers take it: `user` first and last, and the roles in
turns.

Many refuse anything else with a 400. Customers write twice, and a business writes first or in
between, all the time.
"""

from collections.abc import Iterable
from itertools import groupby

from service.runtime.strict_json import cleaned

ROLES = {'inbound': 'user', 'outbound': 'assistant'}
BEFORE = 'What was written to the customer before the conversation below:'
SINCE = 'What was written to the customer since their last message, by somebody else:'


def build(history: Iterable[dict], system_prompt: str | None) -> list[dict]:
    """The `messages` of an ask, [] when the customer said nothing.

    `history`: messages with direction and text, the oldest first. What stands before the customer's
    first and after their last one goes into the system's part.
    """
    turns = _turns(history)
    users = [at for at, (role, _) in enumerate(turns) if role == 'user']
    if not users:
        return []
    first, last = users[0], users[-1]
    system = [cleaned(system_prompt or '')]
    system += [f'{BEFORE}\n{text}' for _, text in turns[:first]]
    system += [f'{SINCE}\n{text}' for _, text in turns[last + 1 :]]
    system = '\n\n'.join(filter(None, system))
    messages = [{'role': 'system', 'content': system}] if system else []
    return messages + [{'role': role, 'content': text} for role, text in turns[first : last + 1]]


def _turns(history: Iterable[dict]) -> list[tuple[str, str]]:
    """(role, text), neighbours of one role joined."""
    said = [(ROLES[one['direction']], cleaned(one['text'] or '')) for one in history]
    said = [(role, text) for role, text in said if text.strip()]
    return [
        (role, '\n'.join(text for _, text in group))
        for role, group in groupby(said, key=lambda one: one[0])
    ]
