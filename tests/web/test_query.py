"""The query string: a parameter that a route does not know is refused, and those that it knows are
named.
"""

import pytest

from tests.people import CHATBOT, WABA

ID = '01930000-0000-7000-8000-000000000000'
VALUES = {'chatbot_id': CHATBOT, 'name': 'sale'}
NOT_OURS = (
    '/healthz',
    '/whatsapp-cloud/webhook',
    '/whatsapp-cloud/webhook/<chatbot_id>',
)  # a probe's, Meta's
METAS = '<graph_version:version>'  # in a path: Meta judges the query, too


@pytest.fixture
def acme(backend):
    backend.account(waba_id=WABA)
    return backend


def routes(application):
    """(method, path) of everything that there is."""
    for rule in application.url_map.iter_rules():
        is_page = rule.endpoint.startswith('dashboard_')  # test_dashboard_doors.py
        if rule.rule not in NOT_OURS and METAS not in rule.rule and not is_page:
            path = rule.rule
            if rule.endpoint == 'documents.api_page_part':
                path = '/whatsapp-cloud/docs/page.css'
            for argument in rule.arguments:
                kind = 'uuid:' if f'<uuid:{argument}>' in path else ''
                path = path.replace(f'<{kind}{argument}>', VALUES.get(argument, ID))
            yield from ((method, path) for method in rule.methods - {'HEAD', 'OPTIONS'})


def test_every_route_refuses_what_it_does_not_know(acme, application):
    found = sorted(routes(application))
    assert len(found) >= 40
    for method, path in found:
        answer = acme.transport.open(
            f'{path}?nonsense=1&limitt=5', method=method, headers=acme.headers
        )
        assert answer.status_code == 422, (method, path, answer.status_code)
        assert sorted(answer.json['errors']) == ['limitt', 'nonsense'], (method, path)
        assert 'nown here' in answer.json['errors']['nonsense'][0]


LISTS = {
    '/messages': (
        'chatbot_id',
        'conversation_id',
        'batch_id',
        'direction',
        'status',
        'client_reference',
        'wamid',
        'to',
        'created_after',
        'created_before',
        'updated_since',
        'limit',
        'cursor',
    ),
    '/conversations': ('chatbot_id', 'limit', 'cursor'),
    '/contacts': ('chatbot_id', 'phone', 'user_id', 'username', 'opted_out', 'limit', 'cursor'),
    '/batches': ('chatbot_id', 'limit', 'cursor'),
    '/webhook-events': ('status', 'limit', 'cursor'),
    '/usage': ('chatbot_id', 'from', 'to', 'by', 'group'),
    f'/account/{CHATBOT}/health': ('field', 'limit', 'cursor'),
    '/templates': (
        'chatbot_id',
        'waba_id',
        'name',
        'status',
        'category',
        'language',
        'limit',
        'cursor',
    ),
    '/accounts': ('send_state', 'limit', 'cursor'),
}


@pytest.mark.parametrize('path', LISTS)
def test_those_that_exist_are_named_and_taken(acme, path):
    answer = acme.get(f'{path}?nonsense=1')
    for place in (answer.json['detail'], answer.json['errors']['nonsense'][0]):
        assert all(name in place for name in LISTS[path])
    for name in LISTS[path]:  # some value may not do, but the name does
        answer = acme.get(
            path,
            query_string={'chatbot_id': CHATBOT, name: ''} if 'chatbot_id' in LISTS[path] else {},
        )
        assert answer.status_code == 200 or 'Unknown' not in answer.text, (path, name)


@pytest.mark.parametrize(
    'query', ['status=queued&status=failed', 'chatbot_id=acme&chatbot_id=acme']
)
def test_a_parameter_that_is_given_twice_is_refused(acme, query):
    answer = acme.get(f'/messages?{query}')
    assert (answer.status_code, list(answer.json['errors'].values())) == (
        422,
        [['Given more than once.']],
    )


def test_a_csv_has_its_order_in_the_query_and_json_has_none(acme):
    csv = {'data': 'to\n+12025550143\n', 'headers': {'Content-Type': 'text/csv'}}
    assert acme.request('POST', '/send/bulk?chatbot_id=acme&text=Hi', **csv).status_code == 202
    answer = acme.request('POST', '/send/bulk?chatbot_id=acme&text=Hi&sendat=x', **csv)
    assert (answer.status_code, list(answer.json['errors'])) == (422, ['sendat'])
    assert all(
        name in answer.json['detail']
        for name in ('send_at', 'expires_at', 'template', 'language', 'message')
    )
    body = {
        'chatbot_id': CHATBOT,
        'message': {'text': {'body': 'Hi'}},
        'recipients': ['+12025550143'],
    }
    answer = acme.post('/send/bulk?send_at=2030-01-01T00:00:00Z', body)
    assert (answer.status_code, list(answer.json['errors'])) == (422, ['send_at'])


def test_a_stranger_learns_of_no_parameter(acme):
    answer = acme.transport.open('/whatsapp-cloud/messages?nonsense=1')
    assert (answer.status_code, 'wamid' in answer.text) == (401, False)


def test_odd_names_are_shown_in_short(acme):
    answer = acme.get(f'/messages?{"x" * 3000}=1&%00%ED%A0%80=1')
    assert answer.status_code == 422
    assert max(map(len, answer.json['errors'])) == 100


@pytest.mark.parametrize(
    'path',
    [
        '/whatsapp-cloud/webhook?hub.mode=subscribe&hub.verify_token=verify-me&'
        'hub.challenge=42&fbclid=x',
        '/healthz?_=1',
    ],
)
def test_meta_and_probes_may_say_more(acme, path):
    assert acme.transport.open(path).status_code == 200
