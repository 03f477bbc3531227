"""The answers of the stand-in AI, in every shape that servers have, as customers read them."""

import pytest

from tests.people import envelope, text_message

SAID = {
    'ai-parts': ['You said: ai-parts'],
    'ai-think': ['You said: ai-think'],
    'ai-stream': ['You said: ai-stream'],
    'ai-refusal': ["I can't help with that."],
    'ai-markdown': [
        '*Prices*\n*Kayak*: see our page: https://example.com/kayaks\n\n'
        '*Size* | *Price*\nS | 10\n\n```\nprice = 10 ** 2\n```'
    ],
}
FAILED = {
    'ai-empty': ('the AI answered nothing', False),
    'ai-nothing': ('the AI answered nothing', False),
    'ai-garbage': ('the AI answered something that is no chat completion', False),
    'ai-tool': ('the AI called a tool, of which it was offered none', True),
    'ai-huge': ('the responder answered more than 1,048,576 bytes', False),
    'ai-status 401': ('the responder answered HTTP 401', True),
    'ai-status 404': ('the responder answered HTTP 404', True),
    'ai-status 500': ('the responder answered HTTP 500', False),
}


@pytest.fixture
def hear(backend, stand_in, meta, workers):
    backend.account()

    def post(text):
        meta.webhook(envelope([text_message(text)]))
        workers.incoming()

    return post


def said(backend):
    return [message['content']['body'] for message in backend.messages(direction='outbound')][::-1]


@pytest.mark.parametrize('text', SAID)
def test_an_answer_of_any_shape_reaches_the_customer(backend, hear, text):
    hear(text)
    assert said(backend) == SAID[text]


@pytest.mark.parametrize('text', FAILED)
def test_what_is_no_answer_is_a_failure_with_its_reason(backend, hear, text):
    hear(text)
    (conversation,) = backend.conversations()
    error = conversation['reply_error']
    assert said(backend) == []
    assert (error['title'], error['final']) == FAILED[text]


def test_a_long_answer_is_split_between_its_paragraphs(backend, hear):
    hear('ai-long')
    paragraph = 'You said: ai-long' * 40
    parts = said(backend)
    assert [part.split('\n\n') for part in parts] == [[paragraph] * 6, [paragraph] * 2]
