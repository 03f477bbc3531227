"""The templates of a WABA are read from Meta: when, by whose token, and what that means for
messages.
"""

import time

import pytest
import requests

from service.runtime.db import connection
from service.sending import holds
from service.templates import template_sync
from service.templates.template_event import FIELDS
from tests.people import CHATBOT, sql

WABA, OTHER_NUMBER = '880011223344556', '300112233445567'
BODY = [{'type': 'BODY', 'text': 'Hello {{1}}'}]


@pytest.fixture
def acme(backend, stand_in):
    backend.account(waba_id=WABA)
    return backend


def create(stand_in, name, language='en_US', category='MARKETING', components=BODY, **more):
    body = {
        'name': name,
        'language': language,
        'category': category,
        'components': components,
        **more,
    }
    url = f'{stand_in.url}/v26.0/{WABA}/message_templates'
    assert requests.post(url, json=body, headers={'Authorization': 'Bearer t'}, timeout=10).ok


def calls(stand_in):
    """The readings: (WABA, the token's tail)."""
    found = stand_in.get('/templates')['calls']
    return [(call['waba_id'], call['token_tail']) for call in found if call['method'] == 'GET']


def due_in():
    """Seconds until the next reading."""
    return sql('SELECT extract(epoch FROM due_at - now())::float FROM template_sync')[0][0]


def make_due():
    sql("UPDATE template_sync SET due_at = now() - interval '1 s', lease_until = NULL")


def webhook(
    meta, event='APPROVED', name='sale', field='message_template_status_update', waba=WABA, **more
):
    value = {
        'event': event,
        'message_template_name': name,
        'message_template_language': 'en_US',
        **more,
    }
    change = {'field': field, 'value': value}
    meta.webhook(
        {
            'object': 'whatsapp_business_account',
            'entry': [{'id': waba, 'time': int(time.time()), 'changes': [change]}],
        }
    )


def test_a_new_account_has_its_templates_read(acme, workers, stand_in):
    create(
        stand_in,
        'sale',
        parameter_format='NAMED',
        components=[{'type': 'BODY', 'text': 'Hi {{name}}'}],
    )
    workers.errands()
    rows = sql(
        'SELECT waba_id, name, language, status, category, components, parameter_format FROM '
        'template '
        "WHERE name IN ('order_ready', 'sale') ORDER BY name"
    )
    assert rows == [
        (
            WABA,
            'order_ready',
            'en_US',
            'APPROVED',
            'utility',
            [{'type': 'BODY', 'text': 'Hello {{1}}, your order {{2}} is ready.'}],
            'POSITIONAL',
        ),
        (
            WABA,
            'sale',
            'en_US',
            'APPROVED',
            'marketing',
            [{'type': 'BODY', 'text': 'Hi {{name}}'}],
            'NAMED',
        ),
    ]
    assert calls(stand_in) == [(WABA, 'acme')]
    assert 24 * 3600 - 60 < due_in() < 25 * 3600


def test_all_pages_are_read_and_from_metas_own_address(acme, workers, stand_in):
    stand_in.config(template_page=2)
    for number in range(5):
        create(stand_in, f'more_{number}')
    workers.errands()
    assert sql('SELECT count(*) FROM template') == [(7,)]
    assert len(calls(stand_in)) == 4


def test_it_is_read_again_for_another_waba_or_another_token_and_for_nothing_else(
    acme, workers, stand_in
):
    workers.errands()
    acme.post('/account', {'chatbot_id': CHATBOT, 'name': 'Acme'})
    assert due_in() > 3600
    acme.post('/account', {'chatbot_id': CHATBOT, 'access_token': 'the-next'})
    assert due_in() < 31
    acme.post('/account', {'chatbot_id': CHATBOT, 'waba_id': '77'})
    workers.errands()
    assert calls(stand_in) == [(WABA, 'acme'), ('77', 'next')]


def test_many_webhooks_are_one_reading(acme, workers, meta, stand_in):
    workers.errands()
    sql("UPDATE template_sync SET synced_at = now() - interval '1 h'")
    for number in range(5):
        webhook(meta, name=f't{number}')
    webhook(meta, field='message_template_quality_update', new_quality_score='RED')
    webhook(meta, field='message_template_components_update')
    webhook(meta, field='template_category_update', new_category='UTILITY')
    workers.incoming()
    workers.errands()
    assert len(calls(stand_in)) == 2
    webhook(meta)  # a moment later: not more than two in a minute, of Meta's 200 an hour
    workers.incoming()
    workers.errands()
    assert len(calls(stand_in)) == 2
    assert 20 < due_in() <= 30


def test_what_is_gone_is_forgotten_and_left_to_meta(acme, workers, stand_in):
    workers.errands()
    sql("UPDATE template SET name = 'gone' WHERE name = 'hello_world'")
    make_due()
    workers.errands()
    assert sql('SELECT name FROM template ORDER BY name') == [('hello_world',), ('order_ready',)]


def test_what_waits_for_a_template_that_is_gone_does_not_wait_for_ever(acme, workers, stand_in):
    workers.errands()
    sql("UPDATE template SET name = 'gone', status = 'PAUSED' WHERE name = 'hello_world'")
    content = {'name': 'gone', 'language': {'code': 'en_US'}}
    sent = acme.post(
        '/send',
        {'chatbot_id': CHATBOT, 'to': '+12025550143', 'type': 'template', 'template': content},
    )
    assert sent.json['hold_reason'] == 'template'
    make_due()
    workers.errands()
    found = acme.message(sent.json['id'])
    assert (found['status'], found['hold_reason'], found['error']) == ('queued', None, None)


def test_what_a_webhook_says_while_it_is_read_is_newer(acme, workers, stand_in):
    workers.errands()
    sql(
        "UPDATE template SET status = 'PAUSED', updated_at = now() + interval '1 min' WHERE name "
        "= 'order_ready'"
    )
    make_due()
    workers.errands()
    assert sql("SELECT status FROM template WHERE name = 'order_ready'") == [('PAUSED',)]


@pytest.mark.parametrize(('status', 'after'), [('PAUSED', 'held'), ('REJECTED', 'failed')])
def test_a_reading_stops_what_waits_and_lets_it_go_again(acme, workers, stand_in, status, after):
    create(stand_in, 'sale')
    template = {'name': 'sale', 'language': {'code': 'en_US'}, 'components': []}
    sent = acme.post(
        '/send',
        {
            'chatbot_id': CHATBOT,
            'to': '+12025550143',
            'type': 'template',
            'template': template,
            'validate': False,
        },
    ).json
    stand_in.post('/templates', {'name': 'sale', 'language': 'en_US', 'status': status})
    workers.errands()
    assert acme.message(sent['id'])['status'] == after
    stand_in.post('/templates', {'name': 'sale', 'language': 'en_US', 'status': 'REINSTATED'})
    make_due()
    workers.errands()
    assert acme.message(sent['id'])['status'] == ('queued' if after == 'held' else 'failed')


def test_a_passing_fault_is_tried_again_then_each_hour_and_holds_nobody(acme, workers, stand_in):
    stand_in.config(template_error=131016)
    for delay in (2, 4, 8, 3600):
        workers.errands()
        assert delay - 2 < due_in() <= delay
        make_due()
    assert sql('SELECT error FROM template_sync')[0][0]['code'] == 131016
    assert acme.get(f'/account/{CHATBOT}').json['send_state'] == 'ok'
    stand_in.config(template_error=0)
    workers.errands()
    assert sql('SELECT error, attempts FROM template_sync') == [(None, 0)]


@pytest.mark.parametrize('code', [4, 80008])
def test_metas_own_wait_is_kept_whoever_asks(acme, workers, meta, stand_in, code):
    stand_in.config(template_error=code, retry_after=600)
    workers.errands()
    assert 590 < due_in() <= 600
    webhook(meta)
    workers.incoming()
    workers.errands()
    assert len(calls(stand_in)) == 1


def test_a_token_that_may_not_read_does_not_hold_the_account_and_anothers_is_tried(
    acme, workers, stand_in
):
    acme.account('second', OTHER_NUMBER, waba_id=WABA, access_token='EXPIRED')
    workers.errands()
    assert calls(stand_in) == [
        (WABA, 'acme')
    ]  # those with a token that Meta does not know are not counted
    assert sql('SELECT error FROM template_sync') == [(None,)]
    assert sql('SELECT count(*) FROM template') == [(2,)]
    acme.account(access_token='EXPIRED-too')
    sql('UPDATE template_sync SET synced_at = NULL, due_at = now()')
    workers.errands()
    assert sql('SELECT error FROM template_sync')[0][0]['code'] == 190
    assert 3590 < due_in() <= 3600
    assert acme.get(f'/account/{CHATBOT}').json['send_state'] == 'ok'


def test_without_an_active_account_it_rests_until_there_is_one(acme, workers, stand_in):
    acme.post(f'/account/{CHATBOT}/deactivate')
    workers.errands()
    assert sql('SELECT due_at, error ->> %s FROM template_sync', 'title') == [
        (None, 'No active account of this WABA has an access token')
    ]
    sql('UPDATE template_sync SET lease_until = NULL')
    acme.account()
    workers.errands()
    assert calls(stand_in) == [(WABA, 'acme')]


def test_a_worker_that_died_while_reading_costs_a_lease(acme, workers, stand_in):
    sql("UPDATE template_sync SET lease_until = now() + interval '1 min', attempts = 1")
    workers.errands()
    assert calls(stand_in) == []
    sql('UPDATE template_sync SET lease_until = now()')
    workers.errands()
    assert calls(stand_in) == [(WABA, 'acme')]


def test_an_account_that_learns_its_waba_from_a_webhook_has_its_templates_read(
    backend, workers, meta, stand_in
):
    backend.account()
    workers.errands()
    assert calls(stand_in) == []
    meta.webhook(meta.payload('in_text'))
    workers.incoming()
    workers.errands()
    assert calls(stand_in) == [(WABA, 'acme')]


def test_who_asks_while_it_is_read_gets_another_reading(acme, workers, stand_in):
    with connection():
        (row,) = template_sync.claim(1, 60)
        assert template_sync.claim(1, 60) == []
    assert acme.post('/templates/sync', {'chatbot_id': CHATBOT}).status_code == 202
    with connection():
        holds.apply_template_list(row, [], 86400)
    workers.errands()
    assert calls(stand_in) == [(WABA, 'acme')]
    with connection():
        holds.apply_template_list(row, [], 86400)  # a worker that comes too late changes nothing
    assert sql('SELECT count(*) FROM template') == [(2,)]


ODD = [
    {'name': 7},
    {'message_template_language': []},
    {'event': {'a': 1}},
    {'reason': [1]},
    {'name': 'a\0b'},
    {'rejection_info': 'no', 'other_info': [{}]},
    {'message_template_id': 1.5},
    {'message_template_category': 3},
]


@pytest.mark.parametrize('field', sorted(FIELDS))
def test_an_odd_webhook_about_a_template_costs_nobody_anything(acme, workers, meta, field):
    for more in ODD:
        webhook(meta, field=field, **more)
    webhook(meta, name='good')
    workers.incoming()
    outcomes = acme.outcomes()
    assert (outcomes.count(('change', 'invalid')), outcomes.count(('change', 'stored'))) == (
        2,
        len(ODD) - 1,
    )
    assert sql("SELECT status FROM template WHERE name = 'good'") == [('APPROVED',)]


def test_an_odd_list_of_templates_is_read_as_far_as_it_makes_sense(acme, workers, stand_in):
    odd = [
        {'name': 'half', 'components': 'none'},
        {
            'name': 'nul',
            'components': [{'type': 'BODY', 'text': '\0 {{1}} \ud800'}],
            'parameter_format': 5,
        },
    ]
    for one in odd:
        create(stand_in, **one)
    workers.errands()
    assert sql("SELECT name, components FROM template WHERE name IN ('half', 'nul') ORDER BY name")[
        0
    ] == ('half', None)
    assert (
        acme.get('/templates', query_string={'waba_id': WABA}).json['data'][2]['components']
        == odd[1]['components']
    )
