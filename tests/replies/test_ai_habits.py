"""Chat-completions servers as they are: what they refuse, how they fail, and that customers read
the answer alone.
"""

import json
import time
from email.utils import formatdate

import pytest

from service.content import text_split
from tests.own_service import Platform
from tests.people import envelope, sql, text_message

THINKING = [
    '<think>\nThe policy is SECRET.\n</think>\n\nHello!',
    '<thinking>SECRET</thinking>Hello!',
    '<THINK>SECRET</THINK> Hello!',
    '<think>a <think>SECRET</think> SECRET</think>Hello!',
    'SECRET, from a prompt that ends with the tag</think>\nHello!',
    'Hello!<think>SECRET, and the tokens are used u',
    '<think type="deep">SECRET</think>Hello!',
    '< think >SECRET</ think >Hello!',
    '<thinking>SECRET</think>Hello!',
    '<reasoning>SECRET</reasoning>Hello!',
    '[THINK]SECRET[/THINK]Hello!',
    '◁think▷SECRET◁/think▷Hello!',
    '<think/>Hello!',
    '<seed:think>SECRET</seed:think>Hello!',
    '<antThinking>SECRET</antThinking>Hello!',
    '<thought_process>SECRET</thought_process>Hello!',
    '<chain_of_thought>SECRET</chain_of_thought>Hello!',
    '<scratchpad>SECRET</scratchpad>Hello!',
    '[thinking]SECRET[/thinking]Hello!',
    '<|begin_of_thought|>SECRET<|end_of_thought|><|begin_of_solution|>Hello!<|end_of_solution|>',
    '<|START_THINKING|>SECRET<|END_THINKING|><|START_RESPONSE|>Hello!<|END_RESPONSE|>',
    '<|think|>SECRET<|/think|>Hello!',
    '<think>SECRET</think><answer>Hello!</answer>',
    '<s>Hello!</s>',
    'Hello!<end_of_turn>',
    '<think>SECRET</think>Hello!<｜end▁of▁sentence｜>',
    '<think>SECRET</think>Hello!<think>SECRET</think>',
    '<|channel|>analysis<|message|>SECRET<|end|><|start|>assistant<|channel|>final<|message|>Hello!<|return|>',
    [
        {'type': 'thinking', 'thinking': [{'type': 'text', 'text': 'SECRET'}]},
        {'type': 'text', 'text': 'Hello!'},
    ],
    [{'type': 'reasoning', 'text': 'SECRET'}, {'type': 'output_text', 'text': 'Hello!'}],
    [{'type': 'text', 'text': '<think>SEC'}, {'type': 'text', 'text': 'RET</think>Hello!'}],
    ['Hel', 'lo!'],
    [{'type': 'refusal', 'refusal': 'Hello!'}],
    [{'text': 'Hello!'}, {'type': 'image_url', 'image_url': {'url': 'https://e.example'}}, None, 5],
]


@pytest.fixture
def platform():
    with Platform() as platform:
        yield platform


@pytest.fixture
def ai(backend, platform):
    """An account whose AI is the platform, with a key."""
    responder = {
        'kind': 'openai',
        'base_url': platform.url,
        'api_key': 'sk-5ecretKey',
        'model': 'm',
    }
    backend.account(responder=responder)
    return platform


@pytest.fixture
def hear(meta, workers):
    def post(*texts):
        for text in texts:
            meta.webhook(envelope([text_message(text, wamid=f'wamid.{time.time_ns()}')]))
        workers.incoming()

    return post


def completion(content=None, **message):
    return {
        'choices': [
            {
                'message': {'role': 'assistant', 'content': content, **message},
                'finish_reason': 'stop',
            }
        ]
    }


def said(backend):
    return [message['content']['body'] for message in backend.messages(direction='outbound')][::-1]


def reply(backend):
    """(seconds until the next ask or None, attempts, error) of the only conversation."""
    rows = sql(
        'SELECT extract(epoch FROM reply_due_at - now())::float, reply_attempts, reply_error '
        'FROM conversation'
    )
    assert len(rows) == 1
    return rows[0]


def make_due():
    sql('UPDATE conversation SET reply_due_at = now() WHERE reply_due_at IS NOT NULL')


# ---- what it is asked


def roles(platform):
    return [(one['role'], one['content']) for one in platform.asks[-1]['body']['messages']]


def test_two_messages_in_a_row_are_one_turn(backend, ai, hear):
    ai.answer(200, completion('Hello!'))
    hear('One', 'Two')
    assert roles(ai) == [('user', 'One\nTwo')]
    hear('Three')
    assert roles(ai) == [('user', 'One\nTwo'), ('assistant', 'Hello!'), ('user', 'Three')]


def test_what_the_business_wrote_first_goes_to_the_system_prompt(backend, ai, hear, workers):
    ai.answer(200, completion('Hello!'))
    backend.send(text='Our new kayaks are here')
    backend.send(text='Shall we keep you one?')
    hear('Yes')
    (system, first), *others = roles(ai)
    assert (system, others) == ('system', [('user', 'Yes')])
    assert first.endswith('\nOur new kayaks are here\nShall we keep you one?')


def test_what_was_written_after_the_customer_goes_there_too(backend, ai, meta, hear, setting):
    setting('REPLY_QUIET_SECONDS', 60)
    ai.answer(200, completion('Hello!'))
    hear('Yes')
    backend.send(text='Done.')
    make_due()
    hear()
    (system, first), *others = roles(ai)
    assert (system, others) == ('system', [('user', 'Yes')])
    assert first.endswith('\nDone.')


def test_an_account_without_a_model_names_none(backend, ai, hear):
    ai.answer(200, completion('Hello!'))
    backend.account(responder={'kind': 'openai', 'base_url': ai.url})
    hear('One')
    assert list(ai.asks[0]['body']) == ['messages']


# ---- what it answers


@pytest.mark.parametrize(
    'text', ['A <ThinkPad> for 300', 'It is <s>20</s> 10', 'analysis: [1] think <3', 'a <|> b']
)
def test_what_is_no_thinking_stays(backend, ai, hear, text):
    ai.answer(200, completion(text))
    hear('One')
    assert said(backend) == [text]


@pytest.mark.parametrize('content', THINKING, ids=lambda content: str(content)[:40])
def test_the_customer_reads_the_answer_alone(backend, ai, hear, content):
    ai.answer(
        200, completion(content, reasoning='SECRET', reasoning_content='SECRET', thinking='SECRET')
    )
    hear('One')
    assert said(backend) == ['Hello!']


ONLY_THOUGHT = [
    '<think>SECRET',
    '<think>a<think>SECRET</think> b',
    'SECRET</think>',
    '<think\nSECRET',
    None,
    '',
    [],
    '<|channel|>analysis<|message|>SECRET',
    [{'type': 'thinking', 'thinking': 'SECRET'}],
]


@pytest.mark.parametrize('content', ONLY_THOUGHT, ids=str)
def test_thinking_alone_is_no_answer(backend, ai, hear, content):
    ai.answer(200, completion(content, reasoning_content='SECRET'))
    hear('One')
    assert said(backend) == []
    assert reply(backend)[2] == {'title': 'the AI answered nothing', 'attempts': 1, 'final': False}


def test_a_refusal_is_what_the_model_says(backend, ai, hear):
    ai.answer(200, completion(None, refusal="I can't help with that."))
    hear('One')
    assert said(backend) == ["I can't help with that."]


def test_a_refusal_shows_no_thinking_either(backend, ai, hear):
    ai.answer(200, completion(None, refusal="<think>SECRET</think>I can't help with that."))
    hear('One')
    assert said(backend) == ["I can't help with that."]


@pytest.mark.parametrize(
    ('answer', 'title'),
    [
        (completion(None, tool_calls=[{'id': '1', 'function': {'name': 'f'}}]), 'called a tool'),
        (completion('', function_call={'name': 'f'}), 'called a tool'),
        (
            {'choices': [{'message': {'content': ''}, 'finish_reason': 'content_filter'}]},
            'held the answer back',
        ),
    ],
)
def test_what_would_be_the_same_again_is_not_asked_for_again(backend, ai, hear, answer, title):
    ai.answer(200, answer)
    hear('One')
    due_in, attempts, error = reply(backend)
    assert (due_in, attempts, error['final']) == (None, 1, True)
    assert title in error['title']


def test_markdown_becomes_whatsapps_formatting(backend, ai, hear):
    ai.answer(200, completion('# Prices\n**Kayak**: [our page](https://e.example/k)\n* ~~20~~ 10'))
    hear('One')
    assert said(backend) == ['*Prices*\n*Kayak*: our page: https://e.example/k\n- ~20~ 10']


def test_a_long_answer_is_several_messages_but_no_more_than_twenty(backend, ai, hear):
    ai.answer(200, completion('word ' * 1500))
    hear('One')
    assert [len(text) <= text_split.TEXT_LIMIT for text in said(backend)] == [True, True]
    ai.answer(200, completion('word ' * 20000))
    hear('Two')
    assert len(said(backend)) == 2
    assert '20 at most' in reply(backend)[2]['title']


# ---- how it fails


@pytest.mark.parametrize('status', [400, 401, 403, 404, 422])
def test_a_refusal_that_stays_is_not_repeated_and_said_in_the_servers_words(
    backend, ai, hear, status
):
    ai.answer(status, {'error': {'message': 'The model `m` does not exist.', 'type': 'x'}})
    hear('One')
    due_in, attempts, error = reply(backend)
    assert (due_in, attempts) == (None, 1)
    assert error == {
        'title': f'the responder answered HTTP {status}',
        'details': 'The model `m` does not exist.',
        'attempts': 1,
        'final': True,
    }
    assert len(ai.asks) == 1


@pytest.mark.parametrize(
    'body',
    [
        {'error': 'Roles must alternate.'},
        {'message': 'Roles must alternate.'},
        {'detail': 'Roles must alternate.'},
        {'detail': {'message': 'Roles must alternate.'}},
        {'error': {'message': ' Roles\n must \x00\u202ealternate.\ud800 '}},
    ],
)
def test_the_sentence_is_found_wherever_it_stands(backend, ai, hear, body):
    ai.answer(400, body)
    hear('One')
    assert reply(backend)[2]['details'] == 'Roles must alternate.'


@pytest.mark.parametrize(
    'body',
    [b'', b'<html>SECRET', b'[1]', {'error': {'code': 5}}, {'error': ['SECRET']}, {'x': 'SECRET'}],
)
def test_what_is_no_sentence_is_not_shown(backend, ai, hear, body):
    ai.answer(400, body)
    hear('One')
    assert 'details' not in reply(backend)[2]


def test_the_sentence_gives_no_key_and_no_message_away(backend, ai, hear):
    ask = 'my card is 4111 1111 1111 1111, please hurry'
    said = (
        f'Wrong key sk-5ecretKey (also 5ecretK) for "{ask}" or {ask[:22]}: '
        f'token eyJhbGciOiJIUzI1NiIsInR5cCI6 of +12025550143. ' + 'x ' * 1000
    )
    ai.answer(401, {'error': {'message': said}})
    hear('kayak', ask)
    shown = reply(backend)[2]['details']
    assert shown.startswith('Wrong key …')
    for secret in ('5ecret', '4111', 'card', 'hurry', 'eyJ', '2025550143'):
        assert secret not in shown
    assert len(shown) <= 300
    assert '5ecret' not in json.dumps(backend.conversations())


@pytest.mark.parametrize('status', [408, 409, 429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again(backend, ai, hear, status):
    ai.answer(status, {'error': {'message': 'Overloaded'}})
    hear('One')
    due_in, attempts, error = reply(backend)
    assert (0 < due_in <= 2, attempts, error['final'], error['details']) == (
        True,
        1,
        False,
        'Overloaded',
    )


@pytest.mark.parametrize('kind', ['openai', 'http'])
@pytest.mark.parametrize('status', [429, 503])
def test_a_server_that_asks_for_time_gets_it_and_loses_no_attempt(
    backend, platform, hear, kind, status
):
    where = {'url': platform.url} if kind == 'http' else {'base_url': platform.url}
    backend.account(responder={'kind': kind, **where})
    platform.answer(status, {}, **{'Retry-After': '20'})
    hear('One')
    for _ in range(6):
        due_in, attempts, error = reply(backend)
        assert (18 < due_in <= 20, attempts, error['attempts'], error['final']) == (
            True,
            0,
            0,
            False,
        )
        make_due()
        hear()
    answer = (
        completion('Hello!') if kind == 'openai' else {'messages': [{'text': {'body': 'Hello!'}}]}
    )
    platform.answer(200, answer)
    make_due()
    hear()
    assert said(backend) == ['Hello!']
    assert reply(backend) == (None, 0, None)


def test_nobody_waits_for_more_than_ten_minutes_because_a_server_asks_for_time(backend, ai, hear):
    ai.answer(429, {}, **{'Retry-After': '20'})
    hear('One')
    sql("UPDATE conversation SET last_inbound_at = now() - interval '11 minutes'")
    for attempt in range(1, 4):
        make_due()
        hear()
        due_in, attempts, _ = reply(backend)
        assert (18 < due_in <= 20, attempts) == (True, attempt)
    make_due()
    hear()
    due_in, attempts, error = reply(backend)
    assert (due_in, attempts, error['final']) == (None, 4, True)


@pytest.mark.parametrize(
    ('headers', 'least', 'most'),
    [
        ({'Retry-After': '1000000'}, 598, 600),
        ({'Retry-After': formatdate(time.time() + 1e6)}, 598, 600),
        ({'retry-after-ms': '20000', 'Retry-After': '1'}, 18, 20),
        ({'Retry-After': '2.5'}, 1, 2.5),
    ],
)
def test_what_a_server_asks_for_is_bounded(backend, ai, hear, headers, least, most):
    ai.answer(429, {}, **headers)
    hear('One')
    assert least < reply(backend)[0] <= most
    assert reply(backend)[1] == 0


@pytest.mark.parametrize(
    'value', ['soon', 'nan', 'inf', '-', '', '9' * 400, '\u0662'.encode().decode('latin-1')]
)
def test_what_is_no_time_is_as_if_nothing_was_asked_for(backend, ai, hear, value):
    ai.answer(503, {}, **{'Retry-After': value})
    hear('One')
    due_in, attempts, _ = reply(backend)
    assert (0 < due_in <= 2, attempts) == (True, 1)


def test_an_error_that_comes_with_200_is_a_failure_in_the_servers_words(backend, ai, hear):
    ai.answer(200, {'error': {'message': 'Provider returned error', 'code': 502}})
    hear('One')
    error = reply(backend)[2]
    assert error['title'] == 'the AI answered something that is no chat completion'
    assert error['details'] == 'Provider returned error'
