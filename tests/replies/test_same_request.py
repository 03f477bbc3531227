"""What a service is asked: the same bytes under the same signature at every try of one question,
and under two while its secret is changed.
"""

import base64
import hashlib
import hmac

import pytest

from service.replies import service_request
from service.runtime.db import connection
from tests.own_service import Platform
from tests.people import envelope, sql, status_of, text_message

KEYS = b'the first key of the service', b'the second key of the service', b'a third key of theirs'
FIRST, SECOND, THIRD = ('whsec_' + base64.b64encode(key).decode() for key in KEYS)
SIGNED = ('webhook-id', 'webhook-timestamp', 'webhook-signature')


@pytest.fixture
def platform(backend):
    with Platform() as platform:
        platform.says('Hi!')
        serve(backend, platform, FIRST)
        yield platform


@pytest.fixture
def hear(meta, workers):
    def post(*texts):
        for text in texts:
            meta.webhook(envelope([text_message(text, wamid=f'wamid.{text}')]))
        workers.incoming()

    return post


def serve(backend, platform, secret, path='/reply'):
    responder = {'kind': 'http', 'url': f'{platform.url}{path}', 'secret': secret}
    return backend.account(responder=responder)


def make_due():
    sql('UPDATE conversation SET reply_due_at = now() WHERE reply_due_at IS NOT NULL')


def signed_parts(ask):
    return [ask['raw'], *(ask['headers'][name] for name in SIGNED)]


def signatures(ask):
    """The secrets whose signatures an ask bears, by their number."""
    id_, at, given = (ask['headers'][name] for name in SIGNED)
    signed = f'{id_}.{at}.'.encode() + ask['raw']
    made = [
        'v1,' + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        for key in KEYS
    ]
    return [made.index(one) for one in given.split()]


BAD = {
    'HTTP 503': (503, b''),
    'no JSON': (200, b'<html>'),
    'a message that breaks a rule': (200, {'messages': [{'text': {}}]}),
}


@pytest.mark.parametrize('bad', BAD.values(), ids=BAD)
def test_every_try_of_a_question_is_the_same_whatever_happens_meanwhile(
    backend, meta, stand_in, platform, hear, workers, bad
):
    hear('One')
    workers.send()
    (sent,) = backend.messages(direction='outbound')
    platform.asks.clear()
    platform.answer(*bad)
    hear('Two')
    meta.webhook(envelope(statuses=[status_of(sent['wamid'], 'read')]))
    make_due()
    workers.incoming()
    sql("UPDATE reply_request SET asked_at = asked_at - interval '100 seconds'")  # as if so late
    make_due()
    workers.incoming()
    platform.says('Hi!')
    make_due()
    workers.incoming()
    first, second, third, fourth = map(signed_parts, platform.asks)
    assert (first, third) == (second, fourth)
    assert first[:2] == third[:2]  # the body and its id
    assert [signatures(ask) for ask in platform.asks] == [[0]] * 4


def test_a_new_message_is_a_new_question(platform, hear, workers):
    platform.answer(503)
    hear('One')
    hear('Two')
    make_due()
    workers.incoming()
    first, second, again = platform.asks
    assert first['body']['in_reply_to'] != second['body']['in_reply_to']
    assert [one['text'] for one in second['body']['messages']] == ['One', 'Two']
    assert second['raw'] == again['raw']


def test_after_a_pause_the_same_message_is_a_new_question_with_all_that_came_meanwhile(
    backend, meta, platform, hear, workers
):
    platform.answer(503)
    hear('One')
    (conversation,) = backend.conversations()
    backend.post(f'/conversations/{conversation["id"]}/pause', {'minutes': 5})
    changed = {'type': 'text', 'text': {'body': 'One kayak'}}
    edit = {'original_message_id': 'wamid.One', 'message': changed}
    message = text_message(wamid='wamid.E') | {'type': 'edit', 'edit': edit}
    del message['text']
    meta.webhook(envelope([message]))
    workers.incoming()
    platform.says('Hi!')
    backend.post(f'/conversations/{conversation["id"]}/resume', {'answer': True})
    workers.incoming()
    first, second = platform.asks
    assert first['body']['in_reply_to'] == second['body']['in_reply_to']
    assert [one['text'] for one in first['body']['messages']] == ['One']
    assert [one['text'] for one in second['body']['messages']] == ['One kayak']


def test_the_time_is_a_new_one_before_a_receiver_finds_it_too_old(platform, hear, workers):
    platform.answer(503)
    hear('One')
    sql("UPDATE reply_request SET asked_at = asked_at - interval '241 seconds'")
    make_due()
    workers.incoming()
    first, second = platform.asks
    assert first['raw'] == second['raw']
    times = [int(ask['headers']['webhook-timestamp']) for ask in platform.asks]
    assert times[0] <= times[1] < times[0] + 200
    assert signatures(second) == [0]


def test_what_was_asked_is_deleted_after_an_hour(platform, hear):
    hear('One')
    with connection():
        service_request.delete_old()
    assert sql('SELECT count(*) FROM reply_request') == [(1,)]
    sql("UPDATE reply_request SET asked_at = asked_at - interval '61 minutes'")
    with connection():
        service_request.delete_old()
    assert sql('SELECT count(*) FROM reply_request') == [(0,)]


def test_a_changed_secret_signs_beside_the_former_one_for_a_day(backend, platform, hear):
    serve(backend, platform, SECOND)
    shown = serve(backend, platform, SECOND, '/elsewhere')  # the same one again changes nothing
    assert SECOND not in str(shown)
    assert FIRST not in str(shown)
    hear('One')
    assert signatures(platform.asks[-1]) == [1, 0]
    serve(backend, platform, THIRD)
    hear('Two')
    assert signatures(platform.asks[-1]) == [2, 1]
    ((left,),) = sql(
        'SELECT extract(epoch FROM former_responder_secret_until - now())::float '
        'FROM whatsapp_cloud_account'
    )
    assert 86_300 < left <= 86_400
    sql('UPDATE whatsapp_cloud_account SET former_responder_secret_until = now()')
    hear('Three')
    assert signatures(platform.asks[-1]) == [2]


def test_a_key_of_an_ai_never_signs(backend, platform, hear):
    ai = {'kind': 'openai', 'base_url': platform.url, 'api_key': FIRST}
    backend.account(responder=ai)
    serve(backend, platform, SECOND)
    hear('One')
    assert signatures(platform.asks[-1]) == [1]
    backend.account(responder=ai)
    assert sql('SELECT former_responder_secret FROM whatsapp_cloud_account') == [(None,)]


def test_who_takes_the_secret_away_is_asked_without_a_signature(backend, platform, hear):
    backend.account(responder={'kind': 'http', 'url': platform.url})
    hear('One')
    assert platform.asks[-1]['headers']['webhook-signature'] is None


def test_an_account_is_saved_even_if_its_former_secret_cannot_be_read(backend, platform, hear):
    sql("UPDATE whatsapp_cloud_account SET responder_secret = 'of other keys'")
    serve(backend, platform, SECOND)
    hear('One')
    assert signatures(platform.asks[-1]) == [1]
