"""Servers that stream although nobody asked them to."""

import json
import time

import pytest

from service.replies.responder_client import MAX_ANSWER
from tests.own_service import Platform
from tests.people import envelope, text_message

STREAM = {'Content-Type': 'text/event-stream; charset=utf-8'}
USAGE = {'prompt_tokens': 7, 'completion_tokens': 3}


@pytest.fixture
def ai(backend):
    with Platform() as platform:
        responder = {'kind': 'openai', 'base_url': platform.url, 'model': 'm'}
        backend.account(responder=responder)
        yield platform


@pytest.fixture
def hear(meta, workers):
    def post():
        meta.webhook(envelope([text_message(wamid=f'wamid.{time.time_ns()}')]))
        workers.incoming()

    return post


def said(backend):
    return [message['content']['body'] for message in backend.messages(direction='outbound')][::-1]


def error(backend):
    (conversation,) = backend.conversations()
    return conversation['reply_error']


def delta(finish_reason=None, index=0, **delta):
    choice = {'index': index, 'delta': delta, 'finish_reason': finish_reason}
    return {'object': 'chat.completion.chunk', 'model': 'm-2026', 'choices': [choice]}


def stream(*chunks, end=('[DONE]',), line_end='\n'):
    events = [*map(json.dumps, chunks), *end]
    return ''.join(f'data: {event}{line_end}{line_end}' for event in events).encode()


HELLO = [
    delta(role='assistant', content=''),
    delta(content='Hel'),
    delta(content='lo\n\u2028'),
    delta(content='*W*'),
    delta('stop'),
]
UNDERSTOOD = {
    'ends with [DONE]': stream(*HELLO),
    'ends with a reason alone': stream(*HELLO, end=()),
    'carriage returns': stream(*HELLO, line_end='\r\n'),
    'no blank, comments and names': b': PROCESSING\n\nevent: x\nid: 1\n'
    + stream(*HELLO).replace(b'data: ', b'data:'),
    'a chunk of something else first': stream({'choices': [], 'prompt_filter_results': []}, *HELLO),
    'usage at the end': stream(*HELLO, {'choices': [], 'usage': USAGE}),
    'thinking beside it': stream(delta(reasoning_content='SECRET', content=None), *HELLO),
    'thinking in it': stream(delta(content='<thi'), delta(content='nk>SECRET</think>'), *HELLO),
    'a list of parts': stream(
        delta(content=[{'type': 'thinking', 'thinking': 'SECRET'}]),
        *[delta(content=[{'type': 'text', 'text': text}]) for text in ('Hel', 'lo\n\u2028*W*')],
        delta('stop'),
    ),
    'a second choice beside it': stream(HELLO[0], delta(content='SECRET', index=1), *HELLO[1:]),
    'the whole at the end again': stream(
        *HELLO[:-1],
        {'choices': [{'message': {'content': 'Hello\n\u2028*W*'}, 'finish_reason': 'stop'}]},
    ),
    'one event with the whole': stream(
        {'choices': [{'message': {'content': 'Hello\n\u2028*W*'}, 'finish_reason': 'stop'}]}
    ),
    'an event of two lines': b'data: {"choices": [{"delta":\n'
    b'data: {"content": "Hello\\n\\u2028*W*"}, "finish_reason": "stop"}]}\n\n',
}


@pytest.mark.parametrize('body', UNDERSTOOD.values(), ids=UNDERSTOOD)
@pytest.mark.parametrize('headers', [STREAM, {'Content-Type': 'application/json'}])
def test_a_streamed_answer_is_an_answer(backend, ai, hear, body, headers):
    ai.answer(200, body, **headers)
    hear()
    assert said(backend) == ['Hello\n\u2028*W*']


def test_what_it_took_is_kept(backend, ai, hear):
    ai.answer(200, UNDERSTOOD['usage at the end'], **STREAM)
    hear()
    (message,) = backend.messages(direction='outbound')
    assert message['usage'] == {'model': 'm-2026', **USAGE}


def test_a_whole_answer_that_only_calls_itself_a_stream_is_one(backend, ai, hear):
    ai.answer(200, {'choices': [{'message': {'content': 'Hi'}}]}, **STREAM)
    hear()
    assert said(backend) == ['Hi']


FAILED = {
    'nothing': (b'', 'no chat completion', False),
    'nothing but its end': (stream(), 'answered nothing', False),
    'comments alone': (b': wait\n\n' * 9, 'answered nothing', False),
    'thinking alone': (stream(delta(reasoning='x'), delta('stop')), 'answered nothing', False),
    'broken off': (stream(*HELLO[:-1], end=()), 'broke its answer off', False),
    'cut in an event': (stream(*HELLO)[:-50], 'chat completion', False),
    'no JSON': (b'data: <html>\n\n', 'no chat completion', False),
    'a tool': (
        stream(delta(tool_calls=[{'index': 0, 'function': {'name': 'f'}}]), delta('tool_calls')),
        'called a tool',
        True,
    ),
    'held back': (stream(delta('content_filter')), 'held the answer back', True),
}


@pytest.mark.parametrize(('body', 'title', 'final'), FAILED.values(), ids=FAILED)
def test_what_is_no_answer_fails(backend, ai, hear, body, title, final):
    ai.answer(200, body, **STREAM)
    hear()
    assert said(backend) == []
    assert title in error(backend)['title']
    assert error(backend)['final'] is final


def test_an_error_in_the_middle_is_told_in_the_servers_words(backend, ai, hear):
    ai.answer(200, stream(*HELLO[:2], {'error': {'message': 'Overloaded'}}), **STREAM)
    hear()
    assert said(backend) == []
    assert error(backend)['details'] == 'Overloaded'


def test_a_streamed_refusal_is_what_the_model_says(backend, ai, hear):
    pieces = ['I', ' ', "can't", '\n', 'say.']
    ai.answer(200, stream(*(delta(refusal=one) for one in pieces), delta('stop')), **STREAM)
    hear()
    assert said(backend) == ["I can't\nsay."]


def test_the_frames_of_a_stream_may_have_more_than_a_megabyte(backend, ai, hear):
    frames = [delta(content='word ', pad='x' * 2000)] * 1000
    body = stream(*frames, delta('stop'))
    assert len(body) > 2 * MAX_ANSWER
    ai.answer(200, body, **STREAM)
    hear()
    assert [len(text) for text in said(backend)] == [4094, 904]
    ai.answer(200, b': ' + b'x' * 9 * MAX_ANSWER, **STREAM)
    hear()
    assert '8,388,608 bytes' in error(backend)['title']
