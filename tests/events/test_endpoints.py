"""Endpoints through the API: who hears of what, and with which secret."""

import base64

import pytest

from service.events.endpoint import MAX_ENDPOINTS, Endpoint
from service.events.event_types import TYPES
from service.runtime.db import connection
from tests.people import CHATBOT, sql

URL = 'https://platform.example/hook'
SECRET = 'whsec_' + base64.b64encode(b'a secret of the platform').decode()


@pytest.fixture(autouse=True)
def account(backend):
    backend.account()


def create(backend, **more):
    answer = backend.post('/endpoints', {'url': URL, **more})
    assert answer.status_code == 201, answer.text
    return answer.json


def errors_of(answer):
    assert answer.status_code == 422, answer.text
    return set(answer.json['errors'])


def secrets_of(endpoint_id):
    """Those that sign now."""
    with connection():
        return Endpoint.find(endpoint_id).secrets()


def test_an_endpoint_is_created_with_a_secret_that_is_shown_once(backend):
    made = create(backend)
    assert made['kind'] == 'events'
    assert made['state'] == 'active'
    assert made['chatbot_id'] is None
    assert made['types'] is None
    key = base64.b64decode(made['secret'].removeprefix('whsec_'), validate=True)
    assert len(key) == 32
    shown = backend.get(f'/endpoints/{made["id"]}').json
    assert shown == {name: value for name, value in made.items() if name != 'secret'}
    assert secrets_of(made['id']) == [made['secret']]
    ((stored,),) = sql('SELECT secret FROM endpoint')
    assert made['secret'] not in stored


def test_a_secret_that_is_given_is_not_shown(backend):
    made = create(backend, secret=f' {SECRET}\n')
    assert 'secret' not in made
    assert secrets_of(made['id']) == [SECRET]


def test_a_relay_has_a_secret_like_an_app_secret_of_metas(backend):
    made = create(backend, kind='relay')
    assert len(made['secret']) == 32
    assert int(made['secret'], 16)
    given = create(backend, kind='relay', secret='what Meta’s app has: 0123')
    assert secrets_of(given['id']) == ['what Meta’s app has: 0123']


@pytest.mark.parametrize(
    ('kind', 'secret'),
    [
        ('events', 'whsec_'),
        ('events', 'a secret of the platform'),
        ('events', 'whsec_' + base64.b64encode(b'x' * 23).decode()),
        ('events', 'whsec_' + base64.b64encode(b'x' * 65).decode()),
        ('events', SECRET + '!'),
        ('relay', 'fifteen letters'),
        ('relay', 'x' * 256),
        ('relay', 'sixteen\u200bletters of it'),
        ('relay', 'half of a pair: \ud83d'),
    ],
)
def test_a_secret_of_another_form_is_refused(backend, kind, secret):
    body = {'url': URL, 'kind': kind, 'secret': secret}
    assert errors_of(backend.post('/endpoints', body)) == {'secret'}
    made = create(backend, kind=kind)
    path = f'/endpoints/{made["id"]}'
    assert errors_of(backend.post(path, {'secret': secret})) == {'secret'}
    assert errors_of(backend.post(f'{path}/rotate-secret', {'secret': secret})) == {'secret'}
    assert secrets_of(made['id']) == [made['secret']]


@pytest.mark.parametrize(
    ('body', 'fields'),
    [
        ({}, {'url'}),
        ({'url': 'platform.example/hook'}, {'url'}),
        ({'url': 'ftp://platform.example/hook'}, {'url'}),
        ({'url': URL, 'kind': 'poll'}, {'kind'}),
        ({'url': URL, 'types': []}, {'types'}),
        ({'url': URL, 'types': ['message.received', 'relay']}, {'types.1'}),
        ({'url': URL, 'kind': 'relay', 'types': ['message.received']}, {'types'}),
        ({'url': URL, 'description': ''}, {'description'}),
        ({'url': URL, 'state': 'paused'}, {'state'}),
    ],
)
def test_what_makes_no_endpoint_is_refused_by_field(backend, body, fields):
    assert errors_of(backend.post('/endpoints', body)) == fields
    assert backend.get('/endpoints').json['data'] == []


def test_an_endpoint_of_a_chatbot_that_there_is_not_is_refused(backend):
    answer = backend.post('/endpoints', {'url': URL, 'chatbot_id': 'nobody'})
    assert (answer.status_code, answer.json['code']) == (404, 'unknown_chatbot')


def test_a_chatbot_has_at_most_so_many_endpoints(backend):
    sql(
        'INSERT INTO endpoint (id, kind, url, chatbot_id, secret) '
        "SELECT gen_random_uuid(), 'events', 'https://platform.example', %s, 'x' "
        'FROM generate_series(1, %s)',
        CHATBOT,
        MAX_ENDPOINTS,
    )
    answer = backend.post('/endpoints', {'url': URL, 'chatbot_id': CHATBOT})
    assert (answer.status_code, answer.json['code']) == (409, 'conflict')
    create(backend)


def test_endpoints_are_listed_newest_first_in_pages(backend):
    backend.account('other', '300155500044478')
    made = [
        create(backend, chatbot_id=CHATBOT, types=['message.received', 'batch.done']),
        create(backend, chatbot_id='other', kind='relay'),
        create(backend, description='all of it'),
    ]
    backend.get('/events')  # the row of a listener is no endpoint
    ids = [one['id'] for one in reversed(made)]
    first = backend.get('/endpoints', query_string={'limit': 2}).json
    rest = backend.get('/endpoints', query_string={'cursor': first['next_cursor']}).json
    assert [one['id'] for one in first['data'] + rest['data']] == ids
    assert rest['data'][0]['types'] == ['message.received', 'batch.done']
    assert rest['next_cursor'] is None

    def listed(**query):
        return [one['id'] for one in backend.get('/endpoints', query_string=query).json['data']]

    assert listed(chatbot_id='other') == listed(kind='relay') == [made[1]['id']]


def test_a_listener_is_no_endpoint(backend):
    backend.get('/events')
    ((listener,),) = sql("SELECT id FROM endpoint WHERE kind = 'poll'")
    for method in ('GET', 'POST', 'DELETE'):
        answer = backend.request(method, f'/endpoints/{listener}', json={'url': URL})
        assert answer.status_code == 404
    assert sql('SELECT count(*) FROM endpoint') == [(1,)]


def test_what_is_given_of_an_endpoint_changes_and_the_rest_stays(backend):
    made = create(backend, types=['message.received'], description='shop')
    path = f'/endpoints/{made["id"]}'
    changed = backend.post(path, {'url': 'https://other.example/', 'description': None}).json
    assert changed['url'] == 'https://other.example/'
    assert changed['description'] is None
    assert changed['types'] == ['message.received']
    assert backend.post(path, {'types': None}).json['types'] is None
    assert backend.post(path, {'kind': 'events', 'chatbot_id': None}).status_code == 200
    assert backend.get(path).json['url'] == 'https://other.example/'


def test_kind_and_chatbot_of_an_endpoint_stay(backend):
    path = f'/endpoints/{create(backend, chatbot_id=CHATBOT)["id"]}'
    assert errors_of(backend.post(path, {'kind': 'relay'})) == {'kind'}
    assert errors_of(backend.post(path, {'chatbot_id': None})) == {'chatbot_id'}
    relay = f'/endpoints/{create(backend, kind="relay")["id"]}'
    assert errors_of(backend.post(relay, {'types': list(TYPES)})) == {'types'}


def test_for_a_day_both_secrets_sign(backend):
    made = create(backend)
    path = f'/endpoints/{made["id"]}'
    rotated = backend.post(f'{path}/rotate-secret').json
    assert secrets_of(made['id']) == [rotated['secret'], made['secret']]
    assert rotated['former_secret_until'] > rotated['updated_at']
    assert 'secret' not in backend.post(f'{path}/rotate-secret', {'secret': SECRET}).json
    assert secrets_of(made['id']) == [SECRET, rotated['secret']]
    sql("UPDATE endpoint SET former_secret_until = now() - interval '1 second'")
    assert secrets_of(made['id']) == [SECRET]
    assert backend.get(path).json['former_secret_until'] is None


def test_a_secret_that_is_changed_is_rotated(backend):
    made = create(backend)
    changed = backend.post(f'/endpoints/{made["id"]}', {'secret': SECRET}).json
    assert 'secret' not in changed
    assert changed['former_secret_until']
    assert secrets_of(made['id']) == [SECRET, made['secret']]


def test_the_same_secret_once_more_is_no_rotation(backend):
    made = create(backend)
    path = f'/endpoints/{made["id"]}'
    backend.post(path, {'secret': SECRET})
    for again in (path, f'{path}/rotate-secret'):
        assert backend.post(again, {'secret': SECRET}).status_code == 200
    assert secrets_of(made['id']) == [SECRET, made['secret']]


def test_a_secret_that_cannot_be_read_is_replaced_for_good(backend):
    """Its encryption key is lost: what it signed would fail for a day."""
    made = create(backend)
    sql('UPDATE endpoint SET secret = %s', 'gAAAAABmade-with-a-key-that-is-lost')
    assert 'ENCRYPTION_KEYS' in backend.post(f'/endpoints/{made["id"]}/test').json['error']
    rotated = backend.post(f'/endpoints/{made["id"]}/rotate-secret').json
    assert secrets_of(made['id']) == [rotated['secret']]
    assert rotated['former_secret_until'] is None


def test_an_endpoint_pauses_and_resumes(backend):
    path = f'/endpoints/{create(backend)["id"]}'
    paused = backend.post(f'{path}/pause').json
    assert paused['state'] == 'paused'
    assert paused['state_reason']['code'] == 'paused'
    assert backend.post(f'{path}/pause').json['state_since'] == paused['state_since']
    sql("UPDATE endpoint SET failing_since = now() - interval '1 day'")
    resumed = backend.post(f'{path}/resume').json
    assert resumed['state'] == 'active'
    assert resumed['state_reason'] is None
    assert resumed['failing_since'] is None
    assert backend.post(f'{path}/resume').json['state_since'] == resumed['state_since']


def test_a_deleted_endpoint_is_gone_with_its_deliveries(backend):
    made, other = create(backend), create(backend)
    backend.send()
    sql("UPDATE message SET status = 'failed', due_at = NULL")
    assert sql('SELECT count(*) FROM event_delivery') == [(2,)]
    answer = backend.request('DELETE', f'/endpoints/{made["id"]}')
    assert (answer.status_code, answer.data) == (204, b'')
    assert backend.get(f'/endpoints/{made["id"]}').status_code == 404
    assert backend.request('DELETE', f'/endpoints/{made["id"]}').status_code == 404
    ((left,),) = sql('SELECT endpoint_id FROM event_delivery')
    assert left == other['id']
