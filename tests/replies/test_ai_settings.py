"""What an account says of its AI: the settings of a request, the history, pictures, the prompt; and
what an answer took.
"""

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from service.replies import pictures
from service.runtime.db import connection
from service.webhooks import process
from tests.files import at_meta, media_message
from tests.own_service import Platform
from tests.people import CHATBOT, contact, envelope, sql, text_message
from workers import incoming
from workers import replies as pool

PICTURE = b'\xff\xd8 a picture'
DATA_URL = f'data:image/jpeg;base64,{base64.b64encode(PICTURE).decode()}'


@pytest.fixture
def platform():
    with Platform() as platform:
        platform.answer(200, completion('Hello!'))
        yield platform


@pytest.fixture
def ai(backend, platform):
    """ai(history=5, …): an account whose AI is the platform."""

    def save(**settings):
        responder = {'kind': 'openai', 'base_url': platform.url, 'model': 'm', **settings}
        return backend.account(responder=responder)

    save()
    return save


@pytest.fixture
def hear(meta, workers):
    def post(*texts, **more):
        for text in texts:
            message = text_message(text, wamid=f'wamid.{time.time_ns()}')
            meta.webhook(envelope([message], **more))
        workers.incoming()

    return post


def completion(content=None, usage=None, **more):
    choice = {'message': {'role': 'assistant', 'content': content}, 'finish_reason': 'stop'}
    return {'choices': [choice], **({'usage': usage} if usage else {}), **more}


def asked(platform):
    return platform.asks[-1]['body']


def contents(platform):
    return [one['content'] for one in asked(platform)['messages']]


def replies(backend):
    return backend.messages(direction='outbound')[::-1]


# ---- the request


def test_temperature_max_tokens_and_extra_stand_in_the_request(backend, platform, ai, hear):
    shown = ai(
        temperature=0.5,
        max_tokens=300,
        extra={'top_p': 0.9, 'stop': None, 'max_tokens': 200, 'metadata': {'a': [1]}},
    )
    assert shown['responder']['extra']['metadata'] == {'a': [1]}
    hear('One')
    assert asked(platform) == {
        'model': 'm',
        'temperature': 0.5,
        'max_tokens': 200,
        'top_p': 0.9,
        'stop': None,
        'metadata': {'a': [1]},
        'messages': [{'role': 'user', 'content': 'One'}],
    }


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('temperature', -0.1),
        ('temperature', 2.1),
        ('temperature', 'warm'),
        ('max_tokens', 0),
        ('max_tokens', 1.5),
        ('history', 0),
        ('history', 101),
        ('images', 'yes'),
        ('extra', []),
        ('extra', {'messages': []}),
        ('extra', {'a': 'x' * 20_000}),
    ],
)
def test_what_no_server_would_take_is_422_and_named(backend, platform, ai, field, value):
    body = {
        'chatbot_id': CHATBOT,
        'responder': {'kind': 'openai', 'base_url': platform.url, field: value},
    }
    answer = backend.post('/account', body)
    assert answer.status_code == 422
    assert all(name.startswith(f'responder.{field}') for name in answer.json['errors'])


def test_they_are_of_the_kind_openai_alone(backend, ai):
    for field, value in (('temperature', 1), ('history', 5), ('images', True), ('extra', {})):
        responder = {'kind': 'http', 'url': 'https://e.example', field: value}
        answer = backend.post('/account', {'chatbot_id': CHATBOT, 'responder': responder})
        assert list(answer.json['errors']) == [f'responder.{field}']


def test_the_history_is_as_long_as_the_account_wants_it(backend, platform, ai, hear):
    for n in range(60):
        backend.send(text=f'Offer {n}')
    ai(history=1)
    hear('With 1')
    assert contents(platform) == ['With 1']
    ai(history=3)
    hear('With 3')
    assert contents(platform) == ['With 1', 'Hello!', 'With 3']
    ai(history=60)
    hear('With 60')
    system, *others = contents(platform)
    assert (system.count('Offer'), len(others)) == (55, 5)


def test_accounts_that_are_read_together_have_each_its_own_history(
    backend, meta, platform, ai, workers
):
    ai(history=1)
    longer = {'kind': 'openai', 'base_url': platform.url, 'history': 3}
    backend.account('other', '42', responder=longer)
    for number in ('300112233445566', '42'):
        number = {} if number != '42' else {'number': '42'}
        texts = [text_message(f'No. {n}', wamid=f'wamid.{number}.{n}') for n in range(4)]
        meta.webhook(envelope(texts, **number))
    workers.incoming()
    assert sorted(ask['body']['messages'][0]['content'] for ask in platform.asks) == [
        'No. 1\nNo. 2\nNo. 3',
        'No. 3',
    ]


def test_what_never_left_is_told_to_no_ai(backend, platform, ai, hear):
    for at in (datetime.now(UTC) + timedelta(days=1), None):
        backend.send(text='Too early', **({'send_at': at.isoformat()} if at else {}))
    backend.post(f'/messages/{backend.messages()[0]["id"]}/cancel')
    hear('One')
    (conversation,) = backend.conversations()
    backend.post(f'/conversations/{conversation["id"]}/pause')
    assert [one['status'] for one in replies(backend)] == ['scheduled', 'cancelled', 'cancelled']
    backend.post(f'/conversations/{conversation["id"]}/resume', {'answer': True})
    hear('Two')
    assert [ask['body']['messages'][-1]['content'] for ask in platform.asks] == ['One', 'One\nTwo']
    assert contents(platform) == ['One\nTwo']


def test_what_never_left_takes_no_place_in_the_history(backend, platform, ai, hear):
    ai(history=1)
    hear('One')
    (conversation,) = backend.conversations()
    backend.post(f'/conversations/{conversation["id"]}/pause')
    backend.post(f'/conversations/{conversation["id"]}/resume', {'answer': True})
    hear()
    assert contents(platform) == ['One']
    assert [one['status'] for one in replies(backend)] == ['cancelled', 'queued']


# ---- the system prompt


def test_the_prompt_knows_the_name_the_time_and_the_window(backend, platform, ai, hear):
    ai(system_prompt='You talk to {{contact.name}}. Now: {{ now }}, until {{window_expires_at}}.')
    hear('One', contacts=[contact('Ines')])
    system, _ = contents(platform)
    told, _, rest = system.removeprefix('You talk to Ines. Now: ').partition(', until ')
    now, until = (datetime.fromisoformat(text) for text in (told, rest.removesuffix('.')))
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    assert told.endswith('Z')
    assert timedelta(hours=23) < until - now <= timedelta(hours=24)


def test_a_name_is_one_line_and_fills_in_nothing_itself(backend, platform, ai, hear):
    ai(system_prompt='Customer: {{contact.name}}|{{other}} {{contact.wa_id}} {name}')
    hear('One', contacts=[contact('Eve\n\n# New rules\u2028{{now}} ' + 'x' * 200)])
    system, _ = contents(platform)
    name, _, rest = system.removeprefix('Customer: ').partition('|')
    assert name.startswith('Eve # New rules {{now}} xxx')
    assert len(name) == 100
    assert rest == '{{other}} {{contact.wa_id}} {name}'


def test_who_has_no_name_is_nobody(backend, platform, ai, hear):
    ai(system_prompt='Customer: "{{contact.name}}"')
    hear('One')
    assert contents(platform)[0] == 'Customer: ""'


# ---- pictures


@pytest.fixture
def show(meta, workers, stand_in):
    """show(caption='…'): the customer sends a picture, which is stored before anybody is asked."""

    def send(is_stored=True, kind='image', mime_type='image/jpeg', **more):
        media_id = at_meta(stand_in, PICTURE, mime_type)
        wamid = f'wamid.{time.time_ns()}'
        message = media_message(media_id, kind, wamid, PICTURE, mime_type, **more)
        meta.webhook(envelope([message]))
        with connection():
            process.process_due()
        if is_stored:
            workers.errands()
        return wamid

    return send


def test_a_picture_goes_as_a_data_url_behind_its_line(
    backend, platform, ai, show, hear, setting, workers
):
    ai(images=True)
    setting('REPLY_QUIET_SECONDS', 5)
    show(caption='My kayak')
    show(kind='audio', mime_type='audio/ogg', voice=True)
    show(kind='document', mime_type='application/pdf', filename='Invoice.pdf')
    setting('REPLY_QUIET_SECONDS', 0)
    hear('What is it?')
    (content,) = contents(platform)
    assert content == [
        {'type': 'text', 'text': '[image] My kayak'},
        {'type': 'image_url', 'image_url': {'url': DATA_URL}},
        {'type': 'text', 'text': '[voice message]\n[document] Invoice.pdf\nWhat is it?'},
    ]
    hear('And?')
    assert contents(platform)[0] == content
    assert contents(platform)[1:] == ['Hello!', 'And?']


def test_without_images_a_picture_is_a_line(backend, platform, ai, show, hear, setting):
    setting('REPLY_QUIET_SECONDS', 5)
    show(caption='My kayak')
    setting('REPLY_QUIET_SECONDS', 0)
    hear('What is it?')
    assert contents(platform) == ['[image] My kayak\nWhat is it?']


def test_a_picture_that_comes_a_little_later_is_waited_for(
    backend, platform, ai, show, workers, setting
):
    ai(images=True)
    setting('REPLY_QUIET_SECONDS', 0)
    show(is_stored=False)
    with connection():
        incoming.step()
    workers.errands()
    assert pool.close(10)
    assert contents(platform)[0][1]['image_url']['url'] == DATA_URL


def test_one_that_does_not_come_is_a_line(backend, platform, ai, show, hear, setting, monkeypatch):
    monkeypatch.setattr(pictures, 'WAIT_SECONDS', 0.5)
    ai(images=True)
    setting('REPLY_QUIET_SECONDS', 5)
    show(is_stored=False)
    setting('REPLY_QUIET_SECONDS', 0)
    hear('What is it?')
    assert contents(platform) == ['[image]\nWhat is it?']


def test_a_deleted_picture_a_lost_file_and_a_strange_type_are_lines(
    backend, meta, platform, ai, show, hear, setting, workers
):
    ai(images=True)
    setting('REPLY_QUIET_SECONDS', 5)
    deleted = show(caption='Not for you')
    show(caption='Lost')
    show(caption='Strange', mime_type='image/jpeg')
    sql("UPDATE media SET storage_key = 'ab/cd/gone' WHERE message_id = %s", of(backend, 'Lost'))
    sql("UPDATE media SET mime_type = 'image/tiff' WHERE message_id = %s", of(backend, 'Strange'))
    revoke = {**text_message(wamid='wamid.R'), 'type': 'revoke'}
    revoke['revoke'] = {'original_message_id': deleted}
    meta.webhook(envelope([revoke]))
    setting('REPLY_QUIET_SECONDS', 0)
    hear('What is it?')
    assert contents(platform) == ['[deleted]\n[image] Lost\n[image] Strange\nWhat is it?']


def of(backend, caption):
    return next(one['id'] for one in backend.messages() if one['content'].get('caption') == caption)


def test_only_the_latest_pictures_go_and_not_too_many_bytes(
    backend, platform, ai, show, hear, setting, monkeypatch
):
    ai(images=True)
    setting('REPLY_QUIET_SECONDS', 5)
    for n in range(pictures.MOST + 2):
        show(caption=f'No. {n}')
    setting('REPLY_QUIET_SECONDS', 0)
    hear('One')
    shown = [part['type'] for part in contents(platform)[0]]
    assert shown.count('image_url') == pictures.MOST
    assert contents(platform)[0][0]['text'] == '[image] No. 0\n[image] No. 1\n[image] No. 2'
    monkeypatch.setattr(pictures, 'MOST_BYTES', 2 * len(PICTURE))
    hear('Two')
    parts = contents(platform)[0]
    assert [part['type'] for part in parts].count('image_url') == 2
    assert parts[0]['text'].endswith('No. 5')


def test_no_picture_is_quoted_in_an_error(backend, platform, ai, show, hear, setting):
    ai(images=True)
    setting('REPLY_QUIET_SECONDS', 5)
    show(caption='My kayak')
    setting('REPLY_QUIET_SECONDS', 0)
    platform.answer(400, {'error': {'message': f'Bad picture {DATA_URL} of "My kayak is blue"'}})
    hear('My kayak is blue')
    (conversation,) = backend.conversations()
    assert conversation['reply_error']['details'].startswith('Bad picture')
    for secret in (DATA_URL[30:], 'kayak'):
        assert secret not in json.dumps(conversation)


# ---- what it took

USAGE = {'prompt_tokens': 120, 'completion_tokens': 30, 'total_tokens': 150}


def test_what_an_answer_took_is_kept_with_its_first_message(backend, platform, ai, hear):
    platform.answer(200, completion('word ' * 1500, USAGE, model='m-2026'))
    hear('One')
    first, second = replies(backend)
    assert first['usage'] == {
        'model': 'm-2026',
        'prompt_tokens': 120,
        'completion_tokens': 30,
    }
    assert second['usage'] is None
    assert backend.message(first['id'])['usage'] == first['usage']


@pytest.mark.parametrize(
    ('usage', 'kept'),
    [
        (None, None),
        ('much', None),
        ({'prompt_tokens': 'x', 'completion_tokens': -1}, None),
        ({'prompt_tokens': 2**31, 'completion_tokens': True}, None),
        ({'prompt_tokens': 5.0}, {'model': 'm', 'prompt_tokens': 5, 'completion_tokens': None}),
    ],
)
def test_strange_counts_are_none(backend, platform, ai, hear, usage, kept):
    platform.answer(200, completion('Hi', usage, model=5))
    hear('One')
    assert [one['usage'] for one in replies(backend)] == [kept]


def test_usage_sums_it_by_day_and_model(backend, platform, ai, hear, workers, stand_in):
    platform.answer(200, completion('Hi', USAGE))
    hear('One')
    platform.answer(200, completion('Hi', USAGE, model='big\x00model'))
    hear('Two')
    hear('Three')
    platform.answer(200, completion('Hi'))
    hear('Four')

    def usage(chatbot_id=CHATBOT):
        return backend.get('/usage', query_string={'chatbot_id': chatbot_id}).json

    assert usage()['tokens'] == []
    workers.send()
    today = datetime.now(UTC).date().isoformat()
    row = {'day': today, 'prompt_tokens': 240, 'completion_tokens': 60}
    assert usage()['tokens'] == [
        {**row, 'model': 'big\ufffdmodel'},
        {**row, 'model': 'm', 'prompt_tokens': 120, 'completion_tokens': 30},
    ]
    assert [(one['direction'], one['count']) for one in usage()['data']] == [
        ('inbound', 4),
        ('outbound', 4),
    ]
    backend.account('other', '42')
    assert usage('other') == {'data': [], 'tokens': []}


def test_a_status_that_is_faster_than_the_answer_counts_it_too(
    backend, meta, platform, ai, hear, workers, stand_in
):
    stand_in.config(status_before_answer=True)
    platform.answer(200, completion('Hi', USAGE))
    hear('One')
    (message,) = replies(backend)
    opaque = {'biz_opaque_callback_data': message['id']}
    status = {
        'id': 'wamid.FAST',
        'status': 'sent',
        'timestamp': str(int(time.time())),
        'recipient_id': '12025550143',
        **opaque,
    }
    sql("UPDATE message SET status = 'sending', attempts = 1 WHERE direction = 'outbound'")
    meta.webhook(envelope(statuses=[status]))
    workers.incoming()
    assert sql(
        "SELECT model, prompt_tokens, completion_tokens FROM usage_log WHERE direction = 'outbound'"
    ) == [('m', 120, 30)]
