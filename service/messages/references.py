"""Messages that a message points at: callers name them by our id, Meta wants the wamid."""

from collections.abc import Iterator
from typing import Any

from service.runtime.db import connection, fetch
from service.runtime.errors import Invalid
from service.runtime.ids import is_id

FIND_WAMIDS = 'SELECT id, wamid FROM message WHERE chatbot_id = %s AND id = ANY(%s::uuid[])'
POINTING = ('context', 'reaction', 'pin')  # keys of a message whose value has a `message_id`


def with_wamids(chatbot_id: str, message: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """The message with wamids in place of our ids; one query, and only if there are any ids.

    Raises Invalid.
    """
    named = dict(_ids_of_ours(message))
    if not named:
        return message
    with connection():
        wamids = dict(fetch(FIND_WAMIDS, (chatbot_id, list(named.values()))))
    problems = {}
    for name, id_ in named.items():
        if problem := _problem(wamids, id_):
            problems[f'{prefix}{name}.message_id'] = [problem]
    if problems:
        raise Invalid('A message that is pointed at cannot be found; see errors.', problems)
    for name, id_ in named.items():
        message = {**message, name: {**message[name], 'message_id': wamids[id_.lower()]}}
    return message


def _ids_of_ours(message: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, our id) of each part of a message that points at a message of ours."""
    for name in POINTING:
        part = message.get(name)
        if isinstance(part, dict) and is_id(part.get('message_id')):
            yield name, part['message_id']


def _problem(wamids: dict[str, str | None], id_: str) -> str | None:
    if id_.lower() not in wamids:
        return 'This chatbot has no message of this id.'
    if not wamids[id_.lower()]:
        return 'This message has no wamid yet: Meta has not accepted it.'
    return None
