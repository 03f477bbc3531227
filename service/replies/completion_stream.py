"""Pure: a completion that comes as a stream of server-sent events, although none was asked for."""

import re
from collections.abc import Iterator
from typing import Any

from service.replies.reply_failure import NoReply
from service.runtime.strict_json import NotJSON, parse_object
from service.runtime.untrusted import as_dict, list_of_dicts

# How such a stream begins: with a field, or with a comment that keeps the connection open.
BEGINNING = re.compile(rb'\s{0,99}(?:data|event|id|retry)?:')
END = '[DONE]'
LINE_END = re.compile('\r\n|\r|\n')  # of the events, not of what JSON may hold


def is_stream(body: bytes) -> bool:
    """Whether a body is one, whatever its Content-Type says."""
    return BEGINNING.match(body) is not None


def join(body: bytes) -> dict[str, Any]:
    """The whole completion that the chunks make; one that tells of an error as it is.

    Raises NoReply when the stream was broken off.
    """
    chunks: list[dict[str, Any]] = []
    is_ended = False
    for data in _events(body.decode(errors='replace')):
        if data == END:
            is_ended = True
            break
        chunks.append(_chunk(data))
        if chunks[-1].get('error'):
            return chunks[-1]
    choice = _join_choices([_first_choice(chunk) for chunk in chunks])
    if chunks and not (is_ended or choice['finish_reason']):
        raise NoReply('the AI broke its answer off')
    usage = [chunk['usage'] for chunk in chunks if chunk.get('usage')]
    model = [chunk['model'] for chunk in chunks if chunk.get('model')]
    return {
        'choices': [choice],
        'usage': usage[-1] if usage else None,
        'model': model[-1] if model else None,
    }


def _events(text: str) -> Iterator[str]:
    """The data of each event; an event may have several lines of it."""
    lines: list[str] = []
    for line in [*LINE_END.split(text), '']:
        name, _, value = line.partition(':')
        if name == 'data':
            lines.append(value.removeprefix(' '))
        elif not line and lines:
            if data := '\n'.join(lines).strip():
                yield data
            lines = []


def _chunk(data: str) -> dict[str, Any]:
    try:
        return parse_object(data)
    except NotJSON:
        raise NoReply('the AI streamed something that is no chat completion') from None


def _first_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    """The choice of index 0; {} in a chunk of something else, usage for one."""
    choices = list_of_dicts(chunk.get('choices'))
    return next((one for one in choices if one.get('index', 0) == 0), {})


def _join_choices(choices: list[dict[str, Any]]) -> dict[str, Any]:
    """One choice of all. A `message` is whole, and counts unless there were pieces of it."""
    deltas = [as_dict(choice.get('delta')) for choice in choices]
    if not any(deltas):
        deltas = [as_dict(choice['message']) for choice in choices if choice.get('message')][-1:]
    content: list[Any] = []
    for delta in deltas:
        piece = delta.get('content')
        content += piece if isinstance(piece, list) else [piece]
    refusals = [delta.get('refusal') for delta in deltas]
    message = {
        'content': content,
        'refusal': ''.join(one for one in refusals if isinstance(one, str)),
        'tool_calls': any(delta.get('tool_calls') for delta in deltas),
        'function_call': any(delta.get('function_call') for delta in deltas),
    }
    reasons = [choice['finish_reason'] for choice in choices if choice.get('finish_reason')]
    return {'message': message, 'finish_reason': reasons[-1] if reasons else None}
