"""What a responder is asked, and what its answer becomes: chat completions, or the platform's own
service.
"""

import base64
import hashlib
import hmac
import json
import time
import uuid

import pytest

from tests.own_service import Platform
from tests.people import CUSTOMER, envelope, sql, text_message

SECRET = 'whsec_' + base64.b64encode(b'twenty-four bytes of key').decode()


@pytest.fixture
def platform():
    with Platform() as platform:
        yield platform


@pytest.fixture
def hear(meta, workers):
    """hear(message, …): customers' messages come in, and who waits for a reply gets it."""

    def post(*messages):
        for message in messages:
            assert meta.webhook(envelope([message])).status_code == 200
        workers.incoming()

    return post


def completion(text):
    return {'choices': [{'message': {'role': 'assistant', 'content': text}}]}


def outbound(backend):
    return backend.messages(direction='outbound')[::-1]


def reply_error(backend):
    (conversation,) = backend.conversations()
    return conversation['reply_error']


# ---- openai


def test_the_ai_of_the_environment_answers_accounts_without_a_responder(
    backend, stand_in, hear, workers
):
    backend.account()
    hear(text_message('What time is it?'))
    (message,) = outbound(backend)
    assert (message['type'], message['status'], message['to']) == ('text', 'queued', f'+{CUSTOMER}')
    assert message['content'] == {'body': 'You said: What time is it?'}
    (ask,) = stand_in.get('/ai')['data']
    assert ask['key_tail'] == '-key'
    assert ask['body'] == {
        'model': 'stand-in',
        'messages': [{'role': 'user', 'content': 'What time is it?'}],
    }
    workers.send()
    assert [send['body']['text']['body'] for send in stand_in.sends()] == [
        'You said: What time is it?'
    ]
    assert backend.message(message['id'])['status'] == 'accepted'


def test_the_ai_sees_the_last_messages_in_their_roles_after_the_system_prompt(
    backend, platform, hear
):
    platform.answer(200, completion('Certainly.'))
    responder = {
        'kind': 'openai',
        'base_url': f'{platform.url}/v1/',
        'model': 'm',
        'system_prompt': 'Be brief.',
    }
    backend.account(responder=responder)
    hear(text_message('First', wamid='wamid.0'))
    hear(text_message('Second', wamid='wamid.1'))
    assert platform.asks[-1]['body']['messages'] == [
        {'role': 'system', 'content': 'Be brief.'},
        {'role': 'user', 'content': 'First'},
        {'role': 'assistant', 'content': 'Certainly.'},
        {'role': 'user', 'content': 'Second'},
    ]
    for n in range(2, 15):
        sql("UPDATE conversation SET answered_at = answered_at - interval '10 s'")  # no machine
        hear(text_message(f'No. {n}', wamid=f'wamid.{n}'))
    system, *history = platform.asks[-1]['body']['messages']
    assert system['role'] == 'system'
    assert system['content'].startswith('Be brief.\n\n')
    assert system['content'].endswith(
        '\nCertainly.'
    )  # the first of the last 20, which is not the customer's
    assert [one['role'] for one in history] == ['user', *['assistant', 'user'] * 9]
    assert history[-1] == {'role': 'user', 'content': 'No. 14'}


def test_other_kinds_of_messages_are_told_in_words(backend, platform, hear):
    platform.answer(200, completion('Nice.'))
    backend.account(responder={'kind': 'openai', 'base_url': platform.url, 'model': 'm'})
    button = {'type': 'button_reply', 'button_reply': {'id': '1', 'title': 'Yes, please'}}
    for n, (kind, content) in enumerate(
        [
            ('image', {'id': '1', 'caption': 'My cat'}),
            ('audio', {'id': '2'}),
            ('interactive', button),
        ]
    ):
        hear({**text_message(wamid=f'wamid.{n}'), 'type': kind, kind: content})
    users = [
        one['content'] for one in platform.asks[-1]['body']['messages'] if one['role'] == 'user'
    ]
    assert users == ['[image] My cat', '[audio]', 'Yes, please']


def test_an_account_has_its_own_server_key_and_model(backend, platform, hear, setting):
    setting('AI_API_KEY', 'key-of-the-environment')
    setting('AI_MODEL', 'model-of-the-environment')
    platform.answer(200, completion('Yes.'))
    own = {
        'kind': 'openai',
        'base_url': f'{platform.url}/own/v1',
        'api_key': 'own-key',
        'model': 'own-model',
    }
    backend.account(responder=own)
    hear(text_message(wamid='wamid.1'))
    assert platform.asks[0]['headers']['Authorization'] == 'Bearer own-key'
    assert platform.asks[0]['body']['model'] == 'own-model'


def test_the_key_of_the_environment_goes_to_the_server_of_the_environment_alone(
    backend, platform, hear, setting
):
    setting('AI_API_KEY', 'key-of-the-environment')
    platform.answer(200, completion('Yes.'))
    backend.account(responder={'kind': 'openai', 'base_url': platform.url, 'model': 'm'})
    hear(text_message(wamid='wamid.1'))
    assert platform.asks[0]['headers']['Authorization'] is None
    setting('AI_BASE_URL', platform.url)
    backend.account(responder={'kind': 'openai', 'model': 'm', 'system_prompt': 'Be brief.'})
    hear(text_message(wamid='wamid.2'))
    assert platform.asks[1]['headers']['Authorization'] == 'Bearer key-of-the-environment'


@pytest.mark.parametrize(
    'answer',
    [
        b'<html>',
        b'',
        b'[]',
        {},
        {'choices': []},
        completion(None),
        completion(''),
        completion(' \n'),
        completion([]),
    ],
)
def test_an_answer_that_is_no_completion_is_a_failure_that_quotes_nothing(
    backend, platform, hear, answer
):
    platform.answer(200, answer)
    backend.account(responder={'kind': 'openai', 'base_url': platform.url, 'model': 'm'})
    hear(text_message())
    assert outbound(backend) == []
    assert reply_error(backend)['title'] in (
        'the AI answered something that is no chat completion',
        'the AI answered nothing',
    )


def test_a_long_answer_is_sent_in_parts_that_meta_takes(backend, platform, hear):
    words = ' '.join(f'word{n:05}' for n in range(900))
    platform.answer(200, completion(f' {words}\n'))
    backend.account(responder={'kind': 'openai', 'base_url': platform.url, 'model': 'm'})
    hear(text_message())
    parts = [message['content']['body'] for message in outbound(backend)]
    assert len(parts) == 3
    assert max(map(len, parts)) <= 4096
    assert ' '.join(parts) == words


def test_characters_that_servers_refuse_are_neither_asked_nor_sent(backend, platform, hear):
    """NUL, and half of an emoji: most servers answer either with a 400, and PostgreSQL refuses the
    first.
    """
    platform.answer(200, completion('a\x00b \ud83d 🎉'))
    backend.account(responder={'kind': 'openai', 'base_url': platform.url, 'model': 'm'})
    hear(text_message('c\x00d \ud83d'))
    assert platform.asks[0]['body']['messages'][-1]['content'] == 'c\ufffdd \ufffd'
    assert [message['content']['body'] for message in outbound(backend)] == ['a\ufffdb \ufffd 🎉']


# ---- http


@pytest.fixture
def own_service(backend, platform):
    platform.says('Hi!')
    return backend.account(
        responder={'kind': 'http', 'url': f'{platform.url}/reply', 'secret': SECRET}
    )


def test_the_platform_is_asked_as_standard_webhooks_says(backend, platform, own_service, hear):
    hear(text_message('Olá \ud83d', user='US.1'))
    (ask,) = platform.asks
    id_, timestamp = ask['headers']['webhook-id'], ask['headers']['webhook-timestamp']
    signed = f'{id_}.{timestamp}.'.encode() + ask['raw']
    digest = hmac.new(b'twenty-four bytes of key', signed, hashlib.sha256).digest()
    assert ask['headers']['webhook-signature'] == 'v1,' + base64.b64encode(digest).decode()
    assert abs(time.time() - int(timestamp)) < 30
    assert '.' not in id_
    assert ask['headers']['Content-Type'] == 'application/json'
    conversation, (message,) = ask['body']['conversation'], ask['body']['messages']
    assert (conversation['chatbot_id'], conversation['wa_id'], conversation['user_id']) == (
        'acme',
        CUSTOMER,
        'US.1',
    )
    assert (message['direction'], message['type'], message['content']) == (
        'inbound',
        'text',
        {'body': 'Olá \ud83d'},
    )
    assert SECRET not in json.dumps(ask['body'])


def test_the_webhook_id_stays_when_the_same_ask_is_repeated(
    backend, platform, own_service, hear, workers
):
    platform.answer(503)
    hear(text_message())
    sql('UPDATE conversation SET reply_due_at = now()')
    platform.says('Hi!')
    workers.incoming()
    hear(text_message(wamid='wamid.B'))
    first, again, other = [ask['headers']['webhook-id'] for ask in platform.asks]
    assert first == again != other


def test_204_means_no_reply(backend, platform, own_service, hear):
    platform.answer(204)
    hear(text_message())
    assert len(platform.asks) == 1
    assert outbound(backend) == []
    assert reply_error(backend) is None


def test_two_messages_leave_in_their_order(backend, platform, stand_in, own_service, hear, workers):
    platform.says('One', 'Two', 'Three')
    hear(text_message())
    workers.send()
    assert [send['body']['text']['body'] for send in stand_in.sends()] == ['One', 'Two', 'Three']


def test_any_of_metas_send_bodies_may_be_answered(backend, platform, own_service, hear):
    image = {
        'type': 'image',
        'image': {'link': 'https://example.com/a.png'},
        'context': {'message_id': 'wamid.A'},
    }
    platform.answer(200, {'messages': [image, {'text': {'body': 'Without a type'}}]})
    hear(text_message())
    first, second = outbound(backend)
    assert (first['type'], first['content'], first['context']) == (
        'image',
        image['image'],
        image['context'],
    )
    assert (second['type'], second['content']) == ('text', {'body': 'Without a type'})


@pytest.mark.parametrize('person', [{'user': 'US.1'}, {'user': 'US.1', 'phone': None}])
def test_a_reply_goes_to_who_is_answered_whomever_it_names(
    backend, platform, own_service, hear, person
):
    body = {
        'to': '+15550000000',
        'recipient': 'US.9',
        'messaging_product': 'whatsapp',
        'text': {'body': 'Hi'},
    }
    platform.answer(200, {'messages': [body]})
    hear(text_message(**person))
    (message,) = outbound(backend)
    wanted = (None, 'US.1') if 'phone' in person else (f'+{CUSTOMER}', None)
    assert (message['to'], message['recipient']) == wanted


def test_what_servers_refuse_is_not_sent_either(backend, platform, own_service, hear):
    place = {'latitude': 1, 'longitude': 2, 'name': 'a\x00b \ud83d'}
    platform.answer(
        200,
        {
            'messages': [
                {'text': {'body': 'a\x00b \ud83d'}},
                {'type': 'location', 'location': place},
            ]
        },
    )
    hear(text_message())
    text, location = [message['content'] for message in outbound(backend)]
    assert (text['body'], location['name']) == ('a\ufffdb \ufffd', 'a\ufffdb \ufffd')


def test_a_reply_that_names_a_group_goes_to_who_is_answered(
    backend, platform, stand_in, own_service, hear, workers
):
    platform.answer(
        200, {'messages': [{'recipient_type': 'group', 'to': 'g1', 'text': {'body': 'Hi'}}]}
    )
    hear(text_message())
    workers.send()
    (sent,) = stand_in.sends()
    assert (sent['body']['recipient_type'], sent['body']['to']) == ('individual', f'+{CUSTOMER}')


def test_nothing_is_sent_to_a_customer_of_whom_no_id_is_known(backend, platform, own_service, hear):
    platform.answer(503)
    hear(text_message())
    platform.says('Hi!')
    sql('UPDATE conversation SET wa_id = NULL, reply_due_at = now()')
    hear()
    assert len(platform.asks) == 2
    assert outbound(backend) == []
    assert (
        reply_error(backend)['title']
        == 'nothing is known of the customer that an answer could go to'
    )


def test_a_reply_may_name_our_ids_and_say_that_it_is_not_to_be_checked(
    backend, platform, own_service, hear
):
    platform.answer(204)
    hear(text_message(wamid='wamid.1'))
    asked = platform.asks[0]['body']['messages'][0]['id']
    reaction = {'type': 'reaction', 'reaction': {'message_id': asked, 'emoji': '👍'}}
    poll = {
        'type': 'poll',
        'poll': {'name': '?'},
        'validate': False,
        'context': {'message_id': asked},
    }
    platform.answer(200, {'messages': [reaction, poll]})
    hear(text_message(wamid='wamid.2'))
    first, second = outbound(backend)
    assert first['content'] == {'message_id': 'wamid.1', 'emoji': '👍'}
    assert (second['type'], second['context']) == ('poll', {'message_id': 'wamid.1'})


BAD_ANSWERS = {
    'a button too long': {
        'messages': [
            {
                'type': 'interactive',
                'interactive': {
                    'type': 'button',
                    'body': {'text': '?'},
                    'action': {
                        'buttons': [{'type': 'reply', 'reply': {'id': '1', 'title': 'x' * 21}}]
                    },
                },
            }
        ]
    },
    'an id of nobody': {
        'messages': [{'text': {'body': 'x'}, 'context': {'message_id': str(uuid.uuid4())}}]
    },
    'a text to be split': {'messages': [{'text': {'body': 'x'}, 'split': True}]},
    'not JSON': b'hello',
    'nothing': b'',
    'a list': [],
    'no messages': {'replies': []},
    'messages that are no list': {'messages': {'text': {'body': 'x'}}},
    'messages that are texts': {'messages': ['x']},
    'a text without a body': {'messages': [{'type': 'text', 'text': {}}]},
    'a text that is too long': {'messages': [{'text': {'body': 'x' * 4097}}]},
    'an unknown field': {'messages': [{'text': {'body': 'x'}, 'colour': 'red'}]},
    'one good, one bad': {'messages': [{'text': {'body': 'x'}}, {'type': 'image'}]},
    'nothing to send': {'messages': [{}]},
}


@pytest.mark.parametrize('answer', BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_an_answer_that_cannot_be_sent_is_a_failure(backend, platform, own_service, hear, answer):
    platform.answer(200, answer)
    hear(text_message())
    assert outbound(backend) == []
    error = reply_error(backend)
    assert (error['attempts'], error['final']) == (1, False)
    assert error['title']


def test_a_message_that_cannot_be_sent_is_named(backend, platform, own_service, hear):
    platform.answer(200, {'messages': [{'text': {'body': 'x'}, 'colour': 'red'}]})
    hear(text_message())
    assert list(reply_error(backend)['errors']) == ['colour']


def test_a_redirect_is_not_followed(backend, platform, own_service, hear):
    platform.answer(302, b'', Location=f'{platform.url}/elsewhere')
    hear(text_message())
    assert len(platform.asks) == 1
    assert reply_error(backend)['title'] == 'the responder answered HTTP 302'


def test_without_a_secret_the_ask_is_not_signed(backend, platform, hear):
    platform.says('Hi!')
    backend.account(responder={'kind': 'http', 'url': platform.url})
    hear(text_message())
    assert platform.asks[0]['headers']['webhook-signature'] is None
    assert platform.asks[0]['headers']['webhook-id']
