"""A responder that is given up on: what the customer gets, and what the account shows."""

import pytest

from service.runtime.db import connection
from service.runtime.logs import Formatter
from tests.own_service import Platform
from tests.people import CHATBOT, CUSTOMER, Customers, contact, envelope, sql, text_message
from tests.stack import wait_until
from workers import incoming, replies

SORRY = 'Somebody will write to you soon.'


@pytest.fixture
def ai():
    with Platform() as platform:
        yield platform


@pytest.fixture
def customer(meta, workers):
    return Customers(meta, workers)


@pytest.fixture
def account(backend, ai):
    def save(**more):
        responder = {'kind': 'openai', 'base_url': ai.url, 'model': 'm'}
        return backend.account(**{'fallback_text': SORRY, 'responder': responder, **more})

    save()
    return save


def completion(text):
    return {'choices': [{'message': {'role': 'assistant', 'content': text}}]}


def said(backend):
    found = backend.messages(direction='outbound', chatbot_id=CHATBOT)
    return [message['content']['body'] for message in found][::-1]


def state(backend):
    shown = backend.get(f'/account/{CHATBOT}').json
    reason = shown['responder_state_reason']
    return shown['responder_state'], reason and reason['title'], shown['responder_state_since']


# ---- the fallback


def test_the_fallback_is_sent_once_until_the_responder_has_answered(
    backend, account, ai, customer, stand_in, workers
):
    for status, text in ((400, 'One'), (400, 'Two'), (200, 'Three'), (400, 'Four'), (400, 'Five')):
        ai.answer(status, completion('Hi!') if status == 200 else {})
        customer.write(text)
    assert said(backend) == [SORRY, 'Hi!', SORRY]
    (first, *_) = backend.messages(direction='outbound')[::-1]
    assert (first['to'], first['status']) == (f'+{CUSTOMER}', 'queued')
    assert sql('SELECT DISTINCT priority FROM message WHERE direction = %s', 'outbound') == [(0,)]
    assert sql('SELECT turns FROM conversation') == [(1,)]
    workers.send()
    assert stand_in.sends()[0]['body']['text']['body'] == SORRY


def test_the_fallback_waits_until_the_responder_is_given_up_on(backend, account, ai, customer):
    ai.answer(500)
    customer.write('One')
    for _ in range(3):
        assert said(backend) == []
        sql('UPDATE conversation SET reply_due_at = now()')
        customer.workers.incoming()
    assert said(backend) == [SORRY]


@pytest.mark.parametrize('why', ['stale', 'paused', 'no text'])
def test_no_fallback_is_sent(backend, account, ai, customer, why):
    account(fallback_text=None if why == 'no text' else SORRY)
    ai.answer(500)
    customer.write('One')
    for _ in range(3):
        if why == 'stale':
            sql("UPDATE conversation SET reply_wanted_at = now() - interval '301 s'")
        if why == 'paused':
            (conversation,) = backend.conversations()
            assert backend.post(f'/conversations/{conversation["id"]}/pause', {}).status_code == 200
        sql('UPDATE conversation SET reply_due_at = now() WHERE reply_due_at IS NOT NULL')
        customer.workers.incoming()
    assert said(backend) == []


# ---- the account


@pytest.mark.parametrize('status', [401, 403, 404])
def test_an_ai_that_refuses_key_address_or_model_is_shown_until_it_answers(
    backend, account, ai, customer, status, caplog
):
    ai.answer(status, {'error': {'message': 'No such model, or a wrong key'}})
    customer.write('One')
    customer.write('Two')
    assert len(ai.asks) == 2
    title = f'the responder answered HTTP {status}'
    now, why, since = state(backend)
    assert (now, why) == ('misconfigured', title)
    assert since is not None
    ai.answer(200, completion('Hi!'))
    customer.write('Three')
    assert state(backend) == ('ok', None, None)
    told = [one.message for one in caplog.records if 'the responder' in one.message]
    assert told == ['the responder is misconfigured', 'the responder works again']


def test_a_saved_account_has_a_responder_that_nobody_has_tried(backend, account, ai, customer):
    ai.answer(401)
    customer.write('One')
    assert state(backend)[0] == 'misconfigured'
    account(name='Acme')
    assert state(backend) == ('ok', None, None)


def test_a_refusal_of_what_was_changed_meanwhile_says_nothing(backend, account, ai, meta):
    ai.answer(401)
    ai.thinks()
    meta.webhook(envelope([text_message()]))
    with connection():
        while incoming.step():
            pass
    wait_until(lambda: ai.asks)
    account(name='Acme')
    ai.open.set()
    assert replies.close(10)
    assert state(backend)[0] == 'ok'


def test_an_account_without_a_server_is_misconfigured(backend, account, customer):
    account(responder={'kind': 'openai', 'model': 'm'})
    customer.write('One')
    assert state(backend)[0] == 'misconfigured'
    assert said(backend) == [SORRY]


@pytest.mark.parametrize(
    ('kind', 'status'), [('openai', 400), ('openai', 413), ('openai', 422), ('http', 500)]
)
def test_what_one_question_is_refused_for_says_nothing_of_the_account(
    backend, account, ai, customer, kind, status
):
    where = {'url': ai.url} if kind == 'http' else {'base_url': ai.url}
    account(responder={'kind': kind, **where})
    ai.answer(status)
    customer.write('One')
    assert state(backend)[0] == 'ok'


def test_a_service_that_is_not_there_for_a_moment_is_asked_again(backend, account, ai, customer):
    account(responder={'kind': 'http', 'url': ai.url})
    ai.answer(404)
    customer.write('One')
    for _ in range(3):
        assert state(backend)[0] == 'ok'
        sql('UPDATE conversation SET reply_due_at = now()')
        customer.workers.incoming()
    assert len(ai.asks) == 4
    assert state(backend)[0] == 'misconfigured'


# ---- tenants and logs


def test_nothing_of_one_tenant_is_in_anothers_prompt(backend, meta, workers):
    """The same person writes to both, at the same moment and in one webhook."""
    with Platform() as one, Platform() as other:
        accounts = {'one': ('7001', one), 'other': ('7002', other)}
        for name, (number, ai) in accounts.items():
            ai.answer(200, completion(f'trap-answer-{name}'))
            responder = {'kind': 'openai', 'base_url': ai.url, 'api_key': f'trap-key-{name}'}
            responder |= {'model': f'trap-model-{name}', 'system_prompt': f'trap-prompt-{name}'}
            backend.account(name, number, responder=responder, name=f'trap-name-{name}')
        for round_ in range(3):
            entries = []
            for name, (number, _) in accounts.items():
                text = text_message(f'trap-text-{name}', wamid=f'wamid.{name}.{round_}')
                people = [contact(f'trap-person-{name}')]
                entries += envelope([text], contacts=people, number=number)['entry']
            meta.webhook({'object': 'whatsapp_business_account', 'entry': entries})
            workers.incoming()
        for name, theirs in (('one', 'other'), ('other', 'one')):
            asks = accounts[name][1].asks
            assert len(asks) == 3
            seen = ''.join(ask['raw'].decode() + str(ask['headers']) for ask in asks)
            assert f'trap-text-{name}' in seen
            assert f'trap-prompt-{name}' in seen
            assert f'trap-answer-{name}' in seen
            assert f'trap-key-{name}' in seen
            for what in ('text', 'prompt', 'answer', 'key', 'model', 'name', 'person'):
                assert f'trap-{what}-{theirs}' not in seen


WORDS = 'my iban is sentinel-words'


@pytest.mark.parametrize(
    ('kind', 'status', 'body'),
    [
        ('openai', 400, {'error': {'message': f'Refused: {WORDS}'}}),
        ('openai', 401, {'error': WORDS}),
        ('openai', 500, WORDS.encode()),
        ('openai', 200, completion(WORDS)),
        ('openai', 200, {'choices': [{'message': {'content': None, 'refusal': WORDS}}]}),
        ('openai', 200, {'choices': [{'finish_reason': WORDS, 'message': {'content': WORDS * 9}}]}),
        ('openai', 200, {WORDS: WORDS}),
        ('http', 200, {'messages': [{'type': WORDS, WORDS: {'body': WORDS}}]}),
        ('http', 200, {'messages': [{'type': 'text', 'text': {'body': WORDS, WORDS: WORDS}}]}),
        ('http', 200, {'messages': [{'text': {'body': WORDS}, 'context': {'message_id': WORDS}}]}),
        ('http', 200, WORDS.encode()),
        ('http', 418, WORDS.encode()),
    ],
)
def test_what_a_customer_wrote_never_reaches_the_log(
    backend, account, ai, customer, caplog, kind, status, body
):
    """Whatever a responder says of it, and though its answer has no place in the table."""
    where = {'url': ai.url} if kind == 'http' else {'base_url': ai.url}
    account(responder={'kind': kind, **where}, fallback_text='Sorry')
    ai.answer(status, body, **{'X-Echo': WORDS})
    caplog.set_level('DEBUG')
    customer.write(WORDS)
    for _ in range(4):
        sql('UPDATE conversation SET reply_due_at = now() WHERE reply_due_at IS NOT NULL')
        customer.workers.incoming()
    assert len(ai.asks) >= 1
    lines = [Formatter().format(record) for record in caplog.records]
    assert any('"reply"' in line for line in lines)
    assert not [line for line in lines if 'sentinel-words' in line]
