"""What became of deliveries, and what is delivered once more."""

from datetime import UTC, datetime, timedelta

import pytest

from service.events import redelivery
from service.events.event import time_of
from tests.events.published import event_ids, publish
from tests.listeners import Listener
from tests.people import CHATBOT, sql, status_of

URL = 'https://platform.example/hook'
UNKNOWN = '01930000-0000-7000-8000-000000000000'


@pytest.fixture(autouse=True)
def account(backend):
    backend.account()


@pytest.fixture
def endpoint(backend):
    """The path of an endpoint that wants everything."""
    return f'/endpoints/{create(backend)}'


def create(backend, **more):
    answer = backend.post('/endpoints', {'url': URL, **more})
    assert answer.status_code == 201, answer.text
    return answer.json['id']


def deliveries(backend, endpoint, **query):
    answer = backend.get(f'{endpoint}/deliveries', query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def statuses(backend, endpoint):
    """Of each event, the oldest first."""
    return [one['status'] for one in reversed(deliveries(backend, endpoint)['data'])]


def end(status, which=''):
    """Deliveries have been tried, and ended so."""
    sql(
        'UPDATE event_delivery SET status = %s, due_at = NULL, attempts = 9, response_status = 500,'
        f" milliseconds = 12, error = 'HTTP 500' {which}",
        status,
    )


def moment(event_id):
    return time_of(event_id).isoformat()


def test_deliveries_are_listed_newest_first_in_pages(backend, endpoint):
    publish(3)
    newest_first = event_ids()[::-1]
    page = deliveries(backend, endpoint, limit=2)
    rest = deliveries(backend, endpoint, cursor=page['next_cursor'])
    assert [one['event_id'] for one in page['data'] + rest['data']] == newest_first
    assert rest['next_cursor'] is None
    assert page['data'][0] | {'created_at': None, 'updated_at': None, 'next_attempt_at': None} == {
        'event_id': newest_first[0],
        'endpoint_id': endpoint.removeprefix('/endpoints/'),
        'type': 'batch.done',
        'chatbot_id': CHATBOT,
        'status': 'waiting',
        'attempts': 0,
        'response_status': None,
        'milliseconds': None,
        'error': None,
        'next_attempt_at': None,
        'created_at': None,
        'updated_at': None,
    }
    assert page['data'][0]['next_attempt_at'].endswith('Z')


def test_deliveries_are_found_by_what_became_of_them(backend, endpoint):
    publish(3)
    first, second, third = event_ids()
    end('delivered', f"WHERE event_id = '{first}'")
    end('failed', f"WHERE event_id = '{second}'")
    for status, event_id in (('delivered', first), ('failed', second), ('waiting', third)):
        (found,) = deliveries(backend, endpoint, status=status)['data']
        assert (found['event_id'], found['status']) == (event_id, status)
    (failed,) = deliveries(backend, endpoint, status='failed')['data']
    assert (failed['attempts'], failed['response_status'], failed['error']) == (9, 500, 'HTTP 500')
    assert failed['next_attempt_at'] is None
    answer = backend.get(f'{endpoint}/deliveries', query_string={'status': 'lost'})
    assert answer.status_code == 422


def test_a_delivery_under_way_shows_no_next_attempt(backend, endpoint):
    publish()
    sql('UPDATE event_delivery SET claim = gen_random_uuid()')
    (found,) = deliveries(backend, endpoint)['data']
    assert (found['status'], found['next_attempt_at']) == ('waiting', None)


def test_an_event_is_sent_again_to_all_that_want_it(backend, endpoint):
    publish()
    end('delivered')
    create(backend)  # it was not there when it happened
    create(backend, types=['message.received'])
    (event_id,) = event_ids()
    answer = backend.post(f'/events/{event_id}/resend')
    assert answer.status_code == 202, answer.text
    assert [one['status'] for one in answer.json['deliveries']] == ['waiting', 'waiting']
    assert [one['attempts'] for one in answer.json['deliveries']] == [0, 0]
    assert sql('SELECT count(*) FROM event_delivery WHERE due_at <= now()') == [(2,)]


def test_an_event_is_sent_again_to_one(backend, endpoint):
    other = create(backend)
    publish()
    end('failed')
    (event_id,) = event_ids()
    answer = backend.post(f'/events/{event_id}/resend', {'endpoint_id': other.upper()})
    assert answer.status_code == 202, answer.text
    assert {one['endpoint_id']: one['status'] for one in answer.json['deliveries']} == {
        other: 'waiting',
        endpoint.removeprefix('/endpoints/'): 'failed',
    }


def test_what_cannot_be_sent_again_is_refused(backend):
    backend.get('/events')
    publish()
    (event_id,) = event_ids()
    path = f'/events/{event_id}/resend'
    assert backend.post(path).status_code == 409
    assert backend.post(path, {'endpoint_id': UNKNOWN}).status_code == 404
    assert backend.post(path, {'endpoint_id': 'all'}).status_code == 422
    unwilling = create(backend, types=['message.received'])
    assert backend.post(path, {'endpoint_id': unwilling}).status_code == 409
    assert backend.post(f'/events/{UNKNOWN}/resend').status_code == 404
    assert sql('SELECT count(*) FROM event_delivery') == [(0,)]


def test_what_is_under_way_is_left_alone(backend, endpoint):
    publish()
    sql("UPDATE event_delivery SET claim = gen_random_uuid(), due_at = now() + interval '1 min'")
    rows = 'SELECT claim, due_at FROM event_delivery ORDER BY event_id'
    before = sql(rows)
    assert backend.post(f'/events/{event_ids()[0]}/resend').status_code == 202
    backend.post(f'{endpoint}/resume')
    assert sql(rows) == before


def test_a_time_is_replayed(backend, endpoint):
    publish(4)
    _, second, third, _ = event_ids()
    end('delivered')
    body = {'since': moment(second), 'until': moment(third)}
    answer = backend.post(f'{endpoint}/replay', body)
    assert answer.status_code == 202, answer.text
    assert answer.json['events'] == 2
    assert statuses(backend, endpoint) == ['delivered', 'waiting', 'waiting', 'delivered']
    assert backend.post(f'{endpoint}/replay', body).json['events'] == 0  # they wait already


def test_a_replay_tells_what_an_endpoint_wants_and_was_not_told(backend):
    backend.account('other', '300155500044478')
    backend.get('/events')
    began = datetime.now(UTC).isoformat()
    publish(2)
    publish(chatbot_id='other')
    publish(type_='batch.paused')
    sql("INSERT INTO event (type, chatbot_id) VALUES ('relay', %s)", CHATBOT)
    late = create(backend, chatbot_id=CHATBOT, types=['batch.done'])
    relay = create(backend, kind='relay', chatbot_id=CHATBOT)

    def replayed(endpoint_id):
        return backend.post(f'/endpoints/{endpoint_id}/replay', {'since': began}).json['events']

    assert replayed(late) == 2
    assert replayed(relay) == 1
    assert [status for (status,) in sql('SELECT status FROM event_delivery')] == ['waiting'] * 3


@pytest.mark.parametrize(
    'body',
    [
        {},
        {'since': '2026-11-28'},
        {'since': '2026-11-28T10:00:00Z', 'until': '2026-11-28T09:00:00Z'},
        {'since': '2999-11-28T10:00:00Z'},
        {'since': '2026-11-28T10:00:00Z', 'types': ['batch.done']},
    ],
)
def test_a_time_that_is_none_is_not_replayed(backend, endpoint, body):
    assert backend.post(f'{endpoint}/replay', body).status_code == 422


def test_more_than_a_replay_may_have_is_refused(backend, endpoint, monkeypatch):
    monkeypatch.setattr(redelivery, 'MAX_REPLAYED', 2)
    publish(3)
    end('delivered')
    answer = backend.post(f'{endpoint}/replay', {'since': '2026-11-01T00:00:00Z'})
    assert (answer.status_code, answer.json['code']) == (409, 'conflict')
    assert statuses(backend, endpoint) == ['delivered'] * 3


@pytest.mark.parametrize('change', [('/resume', None), ('', {'url': 'https://other.example/'})])
def test_an_endpoint_that_is_well_again_is_tried_at_once(backend, endpoint, change):
    publish(2)
    far = datetime.now(UTC) + timedelta(hours=12)
    sql('UPDATE event_delivery SET due_at = %s, attempts = 7', far)
    path, body = change
    backend.post(f'{endpoint}{path}', body)
    assert sql('SELECT DISTINCT due_at <= now(), attempts FROM event_delivery') == [(True, 7)]


def test_all_that_waits_is_tried_at_once_however_much_it_is(backend, endpoint, monkeypatch):
    monkeypatch.setattr(redelivery, 'MAX_HASTENED', 2)
    publish(5)
    sql('UPDATE event_delivery SET due_at = %s', datetime.now(UTC) + timedelta(hours=12))
    backend.post(f'{endpoint}/resume')
    assert sql('SELECT count(*) FROM event_delivery WHERE due_at > now()') == [(0,)]


def test_what_waits_behind_an_event_that_is_sent_again_follows_it(backend, workers):
    with Listener() as listener:
        create(backend, url=f'{listener.url}/hook')
        for number in range(3):
            sql(OF_A_CONVERSATION, CHATBOT, UNKNOWN, f'{{"batch_id": null, "n": {number}}}')
        sql('UPDATE event_delivery SET due_at = %s', datetime.now(UTC) + timedelta(hours=12))
        workers.events()
        assert listener.heard == []
        backend.post(f'/events/{event_ids()[0]}/resend')
        workers.events()
        assert [body['id'] for body in listener.heard] == event_ids()


OF_A_CONVERSATION = "SELECT publish('batch.done', %s, %s, NULL, %s)"


def test_a_change_that_is_no_other_address_hastens_nothing(backend, endpoint):
    publish()
    far = datetime.now(UTC) + timedelta(hours=12)
    sql('UPDATE event_delivery SET due_at = %s', far)
    backend.post(endpoint, {'url': URL, 'description': 'shop'})
    assert sql('SELECT due_at FROM event_delivery') == [(far,)]


def test_what_is_told_again_comes_with_its_id(backend, workers):
    with Listener() as listener:
        made = create(backend, url=f'{listener.url}/hook')
        publish(3)
        workers.events()
        assert sorted(body['id'] for body in listener.heard) == event_ids()
        body = {'since': moment(event_ids()[0])}
        assert backend.post(f'/endpoints/{made}/replay', body).json['events'] == 3
        workers.events()
        assert sorted(body['id'] for body in listener.heard[3:]) == event_ids()
        backend.post(f'/events/{event_ids()[1]}/resend')
        workers.events()
        (again,) = listener.asks[6:]
        assert again['body'] in listener.heard[:3]
        assert again['headers']['webhook-id'] == again['body']['id'] == event_ids()[1]


def test_a_conversation_is_told_in_its_order_when_an_endpoint_resumes(
    backend, workers, stand_in, tell
):
    with Listener() as listener:
        made = create(backend, url=f'{listener.url}/hook', types=['message.status'])
        backend.post(f'/endpoints/{made}/pause')
        message = backend.send()
        workers.send()
        wamid = backend.message(message['id'])['wamid']
        for status in ('sent', 'delivered', 'read'):
            tell(status_of(wamid, status))
        workers.events()
        assert listener.heard == []
        backend.post(f'/endpoints/{made}/resume')
        workers.events()
        assert listener.states() == ['accepted', 'sent', 'delivered', 'read']
        deleted = backend.request('DELETE', f'/endpoints/{made}')
        assert deleted.status_code == 204
        backend.send()
        workers.send()
        workers.events()
        assert len(listener.heard) == 4
