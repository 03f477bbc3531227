"""Idempotency-Key: what was taken once is answered alike later, whatever time or a changed state
would refuse now.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.sending import outbox
from service.web import messages
from tests.people import CHATBOT, CUSTOMER, WABA, Backend, Customers, sql
from tests.stack import wait_until

TEMPLATE = {'type': 'template', 'template': {'name': 'sale', 'language': {'code': 'en_US'}}}
TEXT = {'text': {'body': 'Hello'}}
ROWS = f'to\n+{CUSTOMER}\n'


@pytest.fixture
def acme(backend, meta, workers):
    backend.account(responder={'kind': 'none'}, waba_id=WABA)
    sql(
        "INSERT INTO template (waba_id, name, language, status, category) VALUES (%s, 'sale', "
        "'en_US', 'APPROVED', "
        "'marketing')",
        WABA,
    )
    Customers(meta, workers).write('Hi')
    return backend


def send(backend, message, **more):
    return backend.post(
        '/send', {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', **message, **more}, headers=key()
    )


def bulk(backend, message, **more):
    body = {'chatbot_id': CHATBOT, 'message': message, 'recipients': [f'+{CUSTOMER}'], **more}
    return backend.post('/send/bulk', body, headers=key())


def csv(backend, message, rows=ROWS, **more):
    what = {'text': 'Hello'} if 'text' in message else {'template': 'sale', 'language': 'en_US'}
    query = {'chatbot_id': CHATBOT, **what, **more}
    headers = {'Content-Type': 'text/csv', **key()}
    return backend.request('POST', '/send/bulk', query_string=query, data=rows, headers=headers)


def key():
    return {'Idempotency-Key': 'k1'}


def soon():
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 5))


def deactivated(backend):
    backend.post(f'/account/{CHATBOT}/deactivate')


def held(backend):
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")


def window_closed(backend):
    sql("UPDATE conversation SET last_inbound_at = now() - interval '3 days'")


def opted_out(backend):
    sql("UPDATE conversation SET opted_out_at = now(), opted_out_by = 'keyword'")


def template_gone(backend):
    sql(
        'UPDATE template SET status = \'DELETED\', components = \'[{"type": "BODY", "text": "Hi '
        '{{1}}"}]\''
    )
    sql('UPDATE template_sync SET synced_at = now()')


def template_with_more_variables(backend):
    sql(
        'UPDATE template SET components = \'[{"type": "BODY", "text": "Hi {{1}}"}]\', synced_at '
        '= now()'
    )


CHANGES = [
    (TEXT, deactivated),
    (TEXT, held),
    (TEXT, window_closed),
    (TEMPLATE, opted_out),
    (TEMPLATE, template_gone),
    (TEMPLATE, template_with_more_variables),
]


@pytest.mark.parametrize('door', [send, bulk, csv])
@pytest.mark.parametrize(('message', 'change'), CHANGES)
def test_a_changed_state_does_not_change_the_answer(acme, door, message, change):
    first = door(acme, message)
    assert first.status_code == 202, first.text
    change(acme)
    again = door(acme, message)
    assert (again.status_code, again.json) == (202, first.json)
    assert again.headers['Idempotent-Replayed'] == 'true'
    assert len(acme.messages(direction='outbound')) == 1


@pytest.mark.parametrize('door', [send, bulk, csv])
def test_times_that_have_passed_do_not_change_the_answer(acme, door):
    expires_at = soon()
    first = door(acme, TEXT, expires_at=expires_at)
    assert first.status_code == 202, first.text
    wait_until(lambda: is_past(expires_at), 20)
    again = door(acme, TEXT, expires_at=expires_at)
    assert (again.status_code, again.json) == (202, first.json)
    assert (
        acme.post(
            '/send', {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', **TEXT, 'expires_at': expires_at}
        ).status_code
        == 422
    ), 'without the key it is refused'


def is_past(moment):
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - 1)) > moment


@pytest.mark.parametrize('door', [send, bulk, csv])
def test_a_full_queue_does_not_change_the_answer(acme, door, setting, monkeypatch):
    first = door(acme, TEXT)
    setting('MAX_QUEUED', 1)
    monkeypatch.setattr(outbox, '_counts', {})
    assert (
        acme.post('/send', {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', **TEXT}).status_code == 429
    )
    assert door(acme, TEXT).json == first.json


def test_a_file_that_is_gone_does_not_change_the_answer(acme):
    sql(
        'INSERT INTO media (id, chatbot_id, status, mime_type, storage_key) VALUES '
        "('01920000-0000-7000-8000-000000000001', %s, 'stored', 'image/png', 'x')",
        CHATBOT,
    )
    image = {'type': 'image', 'image': {'id': '01920000-0000-7000-8000-000000000001'}}
    first = send(acme, image)
    assert first.status_code == 202
    sql('DELETE FROM media')
    assert send(acme, image).json == first.json


@pytest.mark.parametrize('door', [send, bulk, csv])
def test_another_body_under_a_used_key_says_so_before_anything_else(acme, door):
    door(acme, TEXT)
    deactivated(acme)
    for more in ({'expires_at': '2020-01-01T00:00:00Z'}, {'send_at': 'soon'}):
        answer = door(acme, TEXT, **more)
        assert (answer.status_code, list(answer.json['errors'])) == (422, ['Idempotency-Key'])


def test_a_csv_is_compared_to_its_end(acme):
    first = csv(acme, TEXT)
    for rows in (ROWS + '+12025550188\n', ROWS[:-3]):
        answer = csv(acme, TEXT, rows)
        assert (answer.status_code, list(answer.json['errors'])) == (422, ['Idempotency-Key'])
    deactivated(acme)
    assert csv(acme, TEXT).json == first.json


@pytest.mark.parametrize(
    'chatbot_id', [None, 7, ['acme'], {}, '', 'a\x00', '\ud800', 'nobody', 'x' * 999]
)
def test_odd_chatbots_are_refused_as_ever(acme, chatbot_id):
    send(acme, TEXT)
    for path in ('/send', '/send/bulk'):
        body = {'chatbot_id': chatbot_id, 'to': f'+{CUSTOMER}', **TEXT}
        assert acme.post(path, body, headers=key()).status_code in (404, 422)


def test_a_refusal_after_an_equal_request_ended_gives_its_answer(acme, application, monkeypatch):
    """It began before the first had ended, and is refused for what happened after that."""
    find_active, first = messages.find_active_account, []

    def the_first():
        other = Backend(application.test_client())
        first.append(send(other, TEXT))
        deactivated(other)

    def late(chatbot_id):
        monkeypatch.undo()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(the_first).result(30)
        return find_active(chatbot_id)

    monkeypatch.setattr(messages, 'find_active_account', late)
    second = send(acme, TEXT)
    assert (second.status_code, second.json) == (202, first[0].json)
    assert len(acme.messages(direction='outbound')) == 1
