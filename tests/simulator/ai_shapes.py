"""The shapes of a stand-in AI's answers: whole, in parts, refused, thought aloud, streamed."""

import json
import time

from aiohttp import web

USAGE = {'prompt_tokens': 1, 'completion_tokens': 1, 'total_tokens': 2}
MARKDOWN = """# Prices
**Kayak**: see [our page](https://example.com/kayaks)

| Size | Price |
|---|---|
| S | 10 |

```python
price = 10 ** 2
```"""


def answer(body: dict, said: str) -> web.Response:
    """The answer to what the user `said`, which may hold one of the SHAPES."""
    text = f'You said: {said}'
    if 'ai-stream' in said:
        return stream(body, text)
    if 'ai-nothing' in said:
        return stream(body, '')
    message, finish_reason = {'content': text}, 'stop'
    for word, (shape, reason) in SHAPES.items():
        if word in said:
            message, finish_reason = shape(text), reason
    return web.json_response(completion(body, message, finish_reason))


# By word: the message that it makes of the text, and why it ends.
SHAPES = {
    'ai-empty': (lambda text: {'content': ''}, 'stop'),
    'ai-parts': (lambda text: {'content': [{'type': 'text', 'text': text}]}, 'stop'),
    'ai-refusal': (lambda text: {'content': None, 'refusal': "I can't help with that."}, 'stop'),
    'ai-tool': (
        lambda text: {
            'content': None,
            'tool_calls': [{'id': '1', 'type': 'function', 'function': {'name': 'f'}}],
        },
        'tool_calls',
    ),
    'ai-think': (
        lambda text: {'content': f'<think>Hm.</think>{text}', 'reasoning_content': 'Hm.'},
        'stop',
    ),
    'ai-markdown': (lambda text: {'content': MARKDOWN}, 'stop'),
    'ai-long': (lambda text: {'content': '\n\n'.join([text * 40] * 8)}, 'length'),
    'ai-huge': (lambda text: {'content': text * 100_000}, 'length'),
}


def completion(body: dict, message: dict, finish_reason: str) -> dict:
    message = {'role': 'assistant', 'refusal': None} | message
    choice = {'index': 0, 'message': message, 'finish_reason': finish_reason}
    return head(body, 'chat.completion') | {'choices': [choice], 'usage': USAGE}


def stream(body: dict, text: str) -> web.Response:
    """Server-sent events with a word each; without a text nothing but their end."""
    words = [f'{word} ' for word in text.split()]
    choices = [{'index': 0, 'delta': {'content': word}} for word in words]
    if choices:
        choices.append({'index': 0, 'delta': {}, 'finish_reason': 'stop'})
    chunks = [head(body, 'chat.completion.chunk') | {'choices': [one]} for one in choices]
    events = [*map(json.dumps, chunks), '[DONE]']
    raw = ''.join(f'data: {event}\n\n' for event in events)
    return web.Response(text=raw, content_type='text/event-stream')


def head(body: dict, kind: str) -> dict:
    return {
        'id': f'chatcmpl-{time.monotonic_ns()}',
        'object': kind,
        'created': int(time.time()),
        'model': body.get('model', 'simulated'),
    }
