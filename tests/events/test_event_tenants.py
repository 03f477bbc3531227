"""Endpoints and events for keys that see one chatbot alone."""

import threading

import pytest

from service.web import events
from tests.events.published import event_ids, publish
from tests.people import CHATBOT, Backend, Customers, envelope, sql, text_message
from tests.stack import wait_until
from tests.web.tenants import backend_of

URL = 'https://platform.example/hook'
OTHER = 'other'


@pytest.fixture
def tenant(backend):
    """A backend whose key sees acme alone."""
    backend.account()
    backend.account(OTHER, '300155500044478')
    return backend_of(backend, CHATBOT)


def create(backend, chatbot_id, **more):
    answer = backend.post('/endpoints', {'url': URL, 'chatbot_id': chatbot_id, **more})
    assert answer.status_code == 201, answer.text
    return answer.json['id']


def test_a_key_names_endpoints_of_its_chatbots_alone(tenant):
    for body in ({'url': URL}, {'url': URL, 'chatbot_id': None}):
        answer = tenant.post('/endpoints', body)
        assert (answer.status_code, set(answer.json['errors'])) == (422, {'chatbot_id'})
    answer = tenant.post('/endpoints', {'url': URL, 'chatbot_id': OTHER})
    assert (answer.status_code, answer.json['code']) == (404, 'unknown_chatbot')
    create(tenant, CHATBOT)


def test_endpoints_of_others_and_of_all_are_not_seen(backend, tenant):
    own = create(backend, CHATBOT)
    hidden = [create(backend, OTHER), create(backend, None)]
    assert [one['id'] for one in tenant.get('/endpoints').json['data']] == [own]
    both = backend_of(backend, CHATBOT, OTHER)
    assert {one['id'] for one in both.get('/endpoints').json['data']} == {own, hidden[0]}
    assert len(backend.get('/endpoints').json['data']) == 3
    for endpoint_id in hidden:
        assert tenant.get(f'/endpoints/{endpoint_id}').status_code == 404
        assert tenant.post(f'/endpoints/{endpoint_id}/test').status_code == 404
        assert tenant.request('DELETE', f'/endpoints/{endpoint_id}').status_code == 404


def test_events_of_others_are_not_listed(backend, tenant):
    backend.get('/events')
    publish()
    publish(chatbot_id=OTHER)
    own, hidden = event_ids()
    assert [one['id'] for one in tenant.get('/events').json['data']] == [own]
    answer = tenant.get('/events', query_string={'chatbot_id': OTHER})
    assert (answer.status_code, answer.json['code']) == (404, 'unknown_chatbot')
    assert tenant.get(f'/events/{hidden}').status_code == 404
    assert tenant.post(f'/events/{hidden}/resend').status_code == 404
    both = backend_of(backend, OTHER, CHATBOT)
    page = both.get('/events', query_string={'limit': 1}).json
    rest = both.get('/events', query_string={'after': page['after']}).json
    assert [one['id'] for one in page['data'] + rest['data']] == [own, hidden]


def test_who_listens_for_a_chatbot_has_its_events_written_alone(tenant):
    tenant.get('/events')
    publish()
    publish(chatbot_id=OTHER)
    assert sql('SELECT chatbot_id FROM event') == [(CHATBOT,)]
    assert sql('SELECT chatbot_id FROM endpoint') == [(CHATBOT,)]


def test_a_key_for_a_chatbot_that_there_is_not_yet_hears_nothing(backend, tenant):
    early = backend_of(backend, 'to-come')
    page = early.get('/events').json
    assert (page['data'], page['next_cursor']) == ([], None)
    assert sql('SELECT count(*) FROM endpoint') == [(0,)]


def test_deliveries_to_endpoints_of_all_are_neither_shown_nor_repeated(backend, tenant):
    of_all = create(backend, None)
    own = create(backend, CHATBOT)
    publish()
    sql("UPDATE event_delivery SET status = 'delivered', due_at = NULL, attempts = 1")
    (event_id,) = event_ids()
    shown = tenant.get(f'/events/{event_id}').json['deliveries']
    assert [one['endpoint_id'] for one in shown] == [own]
    path = f'/events/{event_id}/resend'
    assert tenant.post(path, {'endpoint_id': of_all}).status_code == 404
    assert [one['endpoint_id'] for one in tenant.post(path).json['deliveries']] == [own]
    assert sql('SELECT endpoint_id, status FROM event_delivery ORDER BY endpoint_id') == [
        (of_all, 'delivered'),
        (own, 'waiting'),
    ]


@pytest.mark.parametrize(
    ('scope', 'method', 'path'),
    [
        ('read', 'POST', '/endpoints'),
        ('read', 'POST', '/endpoints/{endpoint}'),
        ('read', 'POST', '/endpoints/{endpoint}/replay'),
        ('read', 'POST', '/events/{event}/resend'),
        ('manage', 'GET', '/endpoints'),
        ('manage', 'GET', '/endpoints/{endpoint}/deliveries'),
        ('send', 'GET', '/events'),
    ],
)
def test_each_address_needs_its_scope(backend, tenant, scope, method, path):
    endpoint = create(backend, CHATBOT)
    publish()
    limited = backend_of(backend, CHATBOT, scopes=[scope])
    path = path.format(endpoint=endpoint, event=event_ids()[0])
    answer = limited.request(method, path, json={})
    assert (answer.status_code, answer.json['code']) == (403, 'scope_missing')


def test_a_key_that_is_deleted_while_its_caller_waits_hears_nothing_more(
    application, backend, tenant
):
    order = {'name': 'Short', 'chatbot_ids': [CHATBOT], 'scopes': ['read']}
    made = backend.post('/keys', order).json
    caller = Backend(application.test_client(), made['key'])
    answers = []

    def wait():
        answers.append(caller.get('/events', query_string={'after': 'now', 'wait': 20}))

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: events.waiters._value < events.MAX_WAITERS)
    assert backend.request('DELETE', f'/keys/{made["id"]}').status_code == 204
    publish()
    thread.join(10)
    (answer,) = answers
    assert answer.status_code == 401
    assert events.waiters._value == events.MAX_WAITERS


def test_a_number_that_was_anothers_tells_nothing_of_them(backend, tenant, meta, workers, stand_in):
    """Whoever has the number now hears of a reaction to what was said to the former chatbot."""
    customers = Customers(meta, workers)
    number = '300155500044478'
    customers.tell(envelope([text_message('Theirs', 'wamid.theirs')], number=number))
    backend.account(OTHER, '300155500044479')
    backend.account(CHATBOT, number)
    tenant.get('/events')
    reaction = {'message_id': 'wamid.theirs', 'emoji': '👍'}
    said = text_message(wamid='wamid.reaction') | {'type': 'reaction', 'reaction': reaction}
    customers.tell(envelope([said], number=number))
    (event,) = tenant.get('/events').json['data']
    assert (event['type'], event['data']['message']) == ('message.changed', None)
    assert event['data']['change']['type'] == 'reaction'
    receipt = {'status': 'read', 'message_id': 'wamid.theirs'}
    url, headers = f'/v26.0/{number}/messages', tenant.headers
    answer = tenant.transport.post(url, headers=headers, json=receipt)
    assert answer.json == {'success': True}  # Meta is asked, whoever it was
    assert sql('SELECT count(*) FROM read_receipt') == [(0,)]
