"""biz_opaque_callback_data: a caller's own is kept and shown, and Meta gets our id in its place."""

import pytest

from tests.people import CHATBOT, CUSTOMER

OWN = 'order 17 / {"é": "😀"}'
HELLO = {'type': 'text', 'text': {'body': 'Hello'}}


@pytest.fixture
def acme(backend, stand_in):
    backend.account()
    return backend


def test_a_callers_own_is_kept_and_meta_gets_our_id(acme, workers, stand_in):
    sent = acme.send(biz_opaque_callback_data=OWN)
    workers.send()
    (call,) = stand_in.sends()
    assert call['body']['biz_opaque_callback_data'] == sent['id']
    assert acme.message(sent['id'])['biz_opaque_callback_data'] == OWN
    assert [one['biz_opaque_callback_data'] for one in acme.messages()] == [OWN]
    assert sent['biz_opaque_callback_data'] == OWN


def test_without_one_nothing_is_shown(acme):
    assert acme.send()['biz_opaque_callback_data'] is None
    assert acme.send(biz_opaque_callback_data=None)['biz_opaque_callback_data'] is None


@pytest.mark.parametrize('value', ['x' * 513, 'a\x00b', '\ud83d', 17, {'a': 1}, ['x']])
def test_a_value_that_meta_would_not_take_is_refused(acme, value):
    body = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', **HELLO}
    answer = acme.post('/send', {**body, 'biz_opaque_callback_data': value})
    assert answer.status_code == 422
    assert list(answer.json['errors']) == ['biz_opaque_callback_data']
    recipients = [{'to': '+12025550144'}, {'to': '+12025550145', 'biz_opaque_callback_data': value}]
    batch = acme.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': HELLO, 'recipients': recipients}
    ).json
    assert [list(row['errors']) for row in batch['rejected_rows']] == [['biz_opaque_callback_data']]


def test_512_characters_and_none_at_all_are_taken(acme):
    for value in ('é' * 512, '', ' '):
        assert acme.send(biz_opaque_callback_data=value)['biz_opaque_callback_data'] == value


def test_each_part_of_a_long_text_has_it(acme):
    first = acme.send(text='word ' * 2000, split=True, biz_opaque_callback_data=OWN)
    assert len(first['parts']) == 3
    for id_ in first['parts']:
        assert acme.message(id_)['biz_opaque_callback_data'] == OWN


def test_a_bulk_gives_it_for_all_or_for_each(acme):
    message = {**HELLO, 'biz_opaque_callback_data': 'campaign {{n}}'}
    recipients = [
        {'to': '+12025550144', 'parameters': {'n': '1'}},
        {'to': '+12025550145', 'parameters': {'n': '2'}, 'biz_opaque_callback_data': OWN},
        {'to': '+12025550146', 'parameters': {'n': 'x' * 512}},
    ]
    order = {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients}
    batch = acme.post('/send/bulk', order).json
    assert [row['line'] for row in batch['rejected_rows']] == [3]
    assert kept(acme, batch) == {'+12025550144': 'campaign 1', '+12025550145': OWN}


def test_a_file_has_a_column_for_it(acme):
    data = 'to,biz_opaque_callback_data\n+12025550144,o-1\n+12025550145,\n'
    answer = acme.request(
        'POST',
        '/send/bulk',
        query_string={'chatbot_id': CHATBOT, 'text': 'Hello'},
        data=data,
        headers={'Content-Type': 'text/csv'},
    )
    assert answer.status_code == 202, answer.text
    assert kept(acme, answer.json) == {'+12025550144': 'o-1', '+12025550145': None}


def kept(acme, batch):
    messages = acme.messages(batch_id=batch['id'])
    return {one['to']: one['biz_opaque_callback_data'] for one in messages}
