"""Times at both ends of the calendar, in every query and body that takes one: never a 500."""

import pytest

from tests.people import CHATBOT, CUSTOMER

FIRST, LAST = '0001-01-01', '9999-12-31'
DAYS = (FIRST, LAST)
MOMENTS = (
    f'{FIRST}T00:00:00Z',
    f'{FIRST}T00:00:00%2B14:00',
    f'{LAST}T23:59:59.999999Z',
    f'{LAST}T23:59:59-12:00',
)
QUERIES = [
    *(f'/usage?chatbot_id={CHATBOT}&{name}={day}' for name in ('from', 'to') for day in DAYS),
    f'/usage?chatbot_id={CHATBOT}&by=month&from={FIRST}&to={LAST}',
    *(f'/stats?by=day&{name}={at}' for name in ('from', 'to') for at in (*DAYS, *MOMENTS)),
    *(
        f'/messages?{name}={at}'
        for name in ('created_after', 'created_before', 'updated_since')
        for at in MOMENTS
    ),
    *(f'/conversations?since={at}' for at in MOMENTS),
    '/events?after=ffffffff-ffff-ffff-ffff-ffffffffffff',
    '/events?after=00000000-0000-0000-0000-000000000000',
]


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    backend.send()
    return backend


@pytest.mark.parametrize('path', QUERIES)
def test_a_query_at_an_end_of_the_calendar_is_answered_or_refused(acme, path):
    assert acme.get(path).status_code in (200, 422)


@pytest.mark.parametrize('at', [one.replace('%2B', '+') for one in MOMENTS])
def test_a_body_with_a_time_at_an_end_of_the_calendar_is_refused(acme, at):
    text = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'type': 'text', 'text': {'body': 'Hi'}}
    for name in ('send_at', 'expires_at'):
        assert acme.post('/send', text | {name: at}).status_code == 422
    key = {'name': 'x', 'chatbot_ids': [CHATBOT], 'scopes': ['read'], 'expires_at': at}
    assert acme.post('/keys', key).status_code == 422
    endpoint = acme.post('/endpoints', {'url': 'http://127.0.0.1:9/'}).json
    replay = f'/endpoints/{endpoint["id"]}/replay'
    assert acme.post(replay, {'since': at}).status_code == 422
    until = {'since': '2026-01-01T00:00:00Z', 'until': at}
    assert acme.post(replay, until).status_code == 422


def test_the_longest_times_that_are_allowed_are_kept(acme):
    last = '9998-12-31T23:59:59.999999Z'
    assert acme.send(expires_at=last)['status'] == 'queued'
    endpoint = acme.post('/endpoints', {'url': 'http://127.0.0.1:9/'}).json
    answer = acme.post(
        f'/endpoints/{endpoint["id"]}/replay', {'since': '1970-01-01T00:00:00Z', 'until': last}
    )
    assert answer.status_code == 202
    key = {'name': 'x', 'chatbot_ids': [CHATBOT], 'scopes': ['read'], 'expires_at': last}
    assert acme.post('/keys', key).status_code == 201
