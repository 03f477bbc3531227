"""POST /send/bulk?dry_run=true: how many, and how much; nothing is stored or sent."""

import pytest

from tests.billing.rows import several
from tests.people import CHATBOT, WABA, sql

PEOPLE = ['+5511999990001', '+12025550143', '+14165550143', '+12025550143', 'nobody']
SALE = {'type': 'template', 'template': {'name': 'sale', 'language': {'code': 'en_US'}}}
STORED = ('conversation', 'conversation_identity', 'message', 'batch', 'idempotency_key', 'event')


@pytest.fixture
def acme(backend, stand_in):
    backend.account(waba_id=WABA)
    sql(
        "INSERT INTO template (waba_id, name, language, status, category) VALUES (%s, 'sale', "
        "'en_US', 'APPROVED', 'marketing')",
        WABA,
    )
    return backend


def estimate(backend, recipients, message=None, status=200, **more):
    body = {'chatbot_id': CHATBOT, 'message': message or {'text': {'body': 'Hello'}}}
    answer = backend.post('/send/bulk?dry_run=true', {**body, 'recipients': recipients}, **more)
    assert answer.status_code == status, answer.text
    return answer.json


def stored():
    return {table: sql(f'SELECT count(*) FROM {table}')[0][0] for table in STORED}


def test_it_says_how_many_and_how_much_and_stores_nothing(acme):
    before = stored()
    found = estimate(acme, PEOPLE, SALE, headers={'Idempotency-Key': 'sale-1'})
    assert stored() == before
    rows = found.pop('rejected_rows')
    assert [row['line'] for row in rows] == [5]
    assert found == {
        'dry_run': True,
        'chatbot_id': CHATBOT,
        'recipients': 5,
        'rejected': 1,
        'duplicates': 1,
        'dropped': 0,
        'accepted': 3,
        'unpriced': 0,
        'cost': 0.1125,
        'currency': 'USD',
        'costs': [
            {'category': 'marketing', 'country': 'BR', 'count': 1, 'cost': 0.0625},
            {'category': 'marketing', 'country': 'CA', 'count': 1, 'cost': 0.025},
            {'category': 'marketing', 'country': 'US', 'count': 1, 'cost': 0.025},
        ],
        'dropped_rows': [],
    }


def test_what_is_no_template_is_service_and_a_bsuid_has_no_price(acme):
    found = estimate(acme, ['+5511999990001', {'recipient': 'US.13491208655302741918'}])
    assert found['costs'] == [
        {'category': 'service', 'country': None, 'count': 1, 'cost': None},
        {'category': 'service', 'country': 'BR', 'count': 1, 'cost': 0.0068},
    ]
    assert (found['unpriced'], found['cost']) == (1, None)


def test_who_may_not_get_it_is_left_out_by_whichever_form_of_the_number(acme):
    acme.send('+551199990001')  # the same person as with the ninth digit
    sql("UPDATE conversation SET opted_out_at = now(), opted_out_by = 'keyword'")
    found = estimate(acme, ['+5511999990001', '+12025550143'], SALE)
    assert (found['dropped'], found['accepted'], found['cost']) == (1, 1, 0.025)
    assert found['dropped_rows'][0]['line'] == 1
    assert estimate(acme, ['+551199990001'], SALE, status=409)['code'] == 'nobody_left'


def test_the_tier_goes_on_where_the_month_stands(acme):
    several(2, category='service')
    sql(
        "INSERT INTO rate SELECT 'BR', 'service', f, t, '2026-01-01', NULL, 'USD', p, 'x' "
        'FROM (VALUES (1, 3, 1.0), (4, NULL, 0.5)) AS v (f, t, p)'
    )
    found = estimate(acme, ['+5511999990001', '+5511999990002', '+5511999990003'])
    assert found['cost'] == 1 + 2 * 0.5


def test_a_csv_is_estimated_too(acme):
    answer = acme.request(
        'POST',
        f'/send/bulk?dry_run=true&chatbot_id={CHATBOT}&text=Hello',
        data='to\n+5511999990001\n',
        headers={'Content-Type': 'text/csv'},
    )
    assert (answer.status_code, answer.json['cost']) == (200, 0.0068)
    assert stored()['message'] == 0


@pytest.mark.parametrize(('query', 'field'), [('dry_run=perhaps', 'dry_run'), ('text=x', 'text')])
def test_a_query_that_is_not_valid_is_422(acme, query, field):
    body = {'chatbot_id': CHATBOT, 'message': {'text': {'body': 'x'}}, 'recipients': PEOPLE}
    answer = acme.post(f'/send/bulk?{query}', body)
    assert (answer.status_code, [*answer.json['errors']]) == (422, [field])


def test_dry_run_false_is_no_dry_run(acme):
    body = {'chatbot_id': CHATBOT, 'message': {'text': {'body': 'x'}}, 'recipients': PEOPLE}
    assert acme.post('/send/bulk?dry_run=false', body).status_code == 202
