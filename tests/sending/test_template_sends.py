"""A send that does not give its template what it wants is refused at the door, row by row in a
bulk.
"""

import json

import pytest

from tests.own_service import Platform
from tests.people import CHATBOT, contact, envelope, sql, text_message

WABA = '880011223344556'
KNOWN = """
INSERT INTO template (waba_id, name, language, status, category, components)
VALUES (%s, %s, 'en_US', 'APPROVED', 'utility', %s)
"""
COMPONENTS = [
    {'type': 'HEADER', 'format': 'IMAGE'},
    {'type': 'BODY', 'text': 'Hello {{1}}'},
    {
        'type': 'BUTTONS',
        'buttons': [{'type': 'URL', 'url': 'https://example.org/{{1}}', 'text': 'Track'}],
    },
]


@pytest.fixture
def acme(backend, workers, stand_in):
    backend.account(waba_id=WABA)
    workers.errands()
    sql(KNOWN, WABA, 'rich', json.dumps(COMPONENTS))
    return backend


def texts(*values):
    return {'type': 'body', 'parameters': [{'type': 'text', 'text': value} for value in values]}


def body(*components, name='order_ready', **more):
    template = {'name': name, 'language': {'code': 'en_US'}, 'components': list(components)}
    return {
        'chatbot_id': CHATBOT,
        'to': '+12025550143',
        'type': 'template',
        'template': template,
        **more,
    }


def bulk(acme, message, *recipients):
    message = {'type': 'template', 'template': {'language': {'code': 'en_US'}, **message}}
    order = {'chatbot_id': CHATBOT, 'message': message, 'recipients': list(recipients)}
    return acme.post('/send/bulk', order)


def test_what_fits_is_queued_and_what_does_not_is_refused_by_its_path(acme):
    assert acme.post('/send', body(texts('Ana', '17'))).status_code == 202
    refused = acme.post('/send', body(texts('Ana')))
    assert (refused.status_code, refused.json['errors']) == (
        422,
        {
            'template.components.body.parameters': [
                'The template order_ready has 2 variables in its body, 1 was given.'
            ]
        },
    )
    refused = acme.post('/send', body(texts('Ana'), name='rich'))
    assert sorted(refused.json['errors']) == [
        'template.components.buttons.0',
        'template.components.header.parameters',
    ]
    assert sql('SELECT count(*) FROM message') == [(1,)]


def test_a_refused_send_leaves_its_idempotency_key_unused(acme):
    key = {'Idempotency-Key': 'k'}
    assert acme.post('/send', body(texts('Ana')), headers=key).status_code == 422
    assert acme.post('/send', body(texts('Ana', '17')), headers=key).status_code == 202


def test_without_the_check_it_is_left_to_meta(acme):
    assert acme.post('/send', body(texts('Ana'), validate=False)).status_code == 202


def test_a_template_whose_definition_is_not_known_is_left_to_meta(acme):
    sql('UPDATE template SET components = NULL')
    assert acme.post('/send', body(texts('Ana'))).status_code == 202


def test_a_fallback_is_checked_like_the_template_it_is(acme):
    fallback = body(texts('Ana'))['template']
    text = {
        'chatbot_id': CHATBOT,
        'to': '+12025550143',
        'text': {'body': 'Hi'},
        'fallback_template': fallback,
    }
    refused = acme.post('/send', text)
    assert list(refused.json['errors']) == ['fallback_template.components.body.parameters']


def test_in_a_bulk_each_row_is_checked_with_what_it_fills_in(acme):
    good = {'to': '+12025550143', 'parameters': {'1': 'Ana', '2': '17'}}
    bad = {'to': '+12025550144', 'parameters': {'1': 'Ben'}}
    batch = bulk(acme, {'name': 'order_ready'}, good, bad, '+12025550145').json
    assert (batch['accepted'], batch['rejected']) == (1, 2)
    path = 'template.components.body.parameters'
    assert [row['errors'] for row in batch['rejected_rows']] == [
        {path: [f'The template order_ready has 2 variables in its body, {how} given.']}
        for how in ('1 was', 'none was')
    ]


def test_a_bulk_whose_message_cannot_fit_is_refused_as_a_whole(acme):
    message = {'name': 'order_ready', 'components': [texts('always the same')]}
    refused = bulk(acme, message, '+12025550143', '+12025550144')
    assert refused.status_code == 422
    assert list(refused.json['errors']) == ['message.template.components.body.parameters']


def test_a_csv_is_checked_too(acme):
    query = {'chatbot_id': CHATBOT, 'template': 'order_ready', 'language': 'en_US'}
    answer = acme.request(
        'POST',
        '/send/bulk',
        query_string=query,
        data='to,1\n+12025550143,Ana\n',
        headers={'Content-Type': 'text/csv'},
    )
    assert answer.status_code == 422
    assert 'line 2, template.components.body.parameters' in answer.json['errors']


def test_a_responders_answer_that_does_not_fit_is_its_failed_reply(acme, workers, meta):
    with Platform() as platform:
        acme.account(responder={'kind': 'http', 'url': platform.url})
        template = body(texts('Ana'))['template']
        platform.answer(200, {'messages': [{'type': 'template', 'template': template}]})
        meta.webhook(envelope([text_message()], contacts=[contact()]))
        workers.incoming()
    ((error,),) = sql('SELECT reply_error FROM conversation')
    assert list(error['errors']) == ['template.components.body.parameters']
    assert acme.messages(direction='outbound') == []
