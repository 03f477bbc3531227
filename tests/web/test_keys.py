"""API keys: made by a root key, shown once, refused once they are deleted or have expired."""

import hashlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import requests
from peewee import OperationalError

from service.accounts import api_key
from service.web import events, known_keys
from service.web.known_keys import GUESSES, KnownKeys
from tests.people import CHATBOT, Backend, sql
from tests.stack import wait_until

ORDER = {'name': 'Shop', 'chatbot_ids': [CHATBOT], 'scopes': ['send', 'read']}
ID = '01930000-0000-7000-8000-000000000000'
SHOWN = {
    'id',
    'name',
    'last4',
    'chatbot_ids',
    'scopes',
    'expires_at',
    'last_used_at',
    'created_at',
}


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing is known of keys of other tests, and no guess is counted yet."""
    keys = KnownKeys()
    for user in ('auth', 'keys'):
        monkeypatch.setattr(f'service.web.{user}.known_keys', keys)


@pytest.fixture
def one_moment(monkeypatch):
    """No time passes in which guesses would be regained, however busy the machine is."""
    now = time.monotonic()
    monkeypatch.setattr(known_keys, 'time', SimpleNamespace(monotonic=lambda: now))


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


@pytest.fixture
def tenant(acme):
    """tenant(scopes=…): a backend with a new key; .key is what POST /keys has answered."""

    def make(**more):
        answer = acme.post('/keys', ORDER | more)
        assert answer.status_code == 201, answer.text
        made = Backend(acme.transport, answer.json['key'])
        made.key = answer.json
        return made

    return make


def test_a_key_is_shown_once_and_only_its_digest_is_stored(acme, tenant):
    key = tenant().key
    assert re.fullmatch('wak_[A-Za-z0-9]{43}', key['key'])
    assert key.keys() == {*SHOWN, 'key'}
    assert key['last4'] == key['key'][-4:]
    digest = hashlib.sha256(key['key'].encode()).digest()
    ((stored, row),) = sql('SELECT digest, k::text FROM api_key k')
    assert bytes(stored) == digest
    assert key['key'] not in row
    shown = acme.get(f'/keys/{key["id"]}').json
    assert shown == {name: key[name] for name in SHOWN}
    assert acme.get('/keys').json == {'data': [shown], 'next_cursor': None}


def test_keys_are_listed_in_pages_the_newest_first(acme, tenant):
    ids = [tenant(name=name).key['id'] for name in 'abc']
    page = acme.get('/keys?limit=2').json
    assert [one['id'] for one in page['data']] == [ids[2], ids[1]]
    rest = acme.get(f'/keys?limit=2&cursor={page["next_cursor"]}').json
    assert ([one['id'] for one in rest['data']], rest['next_cursor']) == ([ids[0]], None)


@pytest.mark.parametrize(
    ('change', 'field'),
    [
        ({'name': ''}, 'name'),
        ({'name': None}, 'name'),
        ({'name': 'x' * 256}, 'name'),
        ({'chatbot_ids': []}, 'chatbot_ids'),
        ({'chatbot_ids': CHATBOT}, 'chatbot_ids'),
        ({'chatbot_ids': ['a b']}, 'chatbot_ids.0'),
        ({'chatbot_ids': [f'bot{n}' for n in range(201)]}, 'chatbot_ids'),
        ({'chatbot_ids': None}, 'chatbot_ids'),
        ({'scopes': []}, 'scopes'),
        ({'scopes': ['root']}, 'scopes.0'),
        ({'scopes': ['read', 'write']}, 'scopes.1'),
        ({'expires_at': '2020-01-01T00:00:00Z'}, 'expires_at'),
        ({'expires_at': 'tomorrow'}, 'expires_at'),
        ({'key': 'wak_mine'}, 'key'),
    ],
)
def test_an_order_that_is_wrong_names_its_field(acme, change, field):
    answer = acme.post('/keys', ORDER | change)
    assert answer.status_code == 422
    assert [name for name in answer.json['errors'] if name.startswith(field)], answer.json
    assert acme.get('/keys').json['data'] == []


def test_scopes_and_chatbots_are_kept_once_each_in_their_order(tenant):
    key = tenant(scopes=['manage', 'send', 'manage'], chatbot_ids=['b', 'a', 'b']).key
    assert (key['scopes'], key['chatbot_ids']) == (['send', 'manage'], ['a', 'b'])


@pytest.mark.parametrize(
    ('scopes', 'method', 'path', 'missing'),
    [
        (['read'], 'POST', '/send', 'send'),
        (['read', 'manage'], 'POST', f'/messages/{ID}/cancel', 'send'),
        (['send'], 'GET', '/messages', 'read'),
        (['send', 'manage'], 'GET', f'/messages/{ID}', 'read'),
        (['send', 'read'], 'POST', '/account', 'manage'),
        (['send', 'read'], 'POST', f'/contacts/{ID}/opt-out', 'manage'),
        (['send', 'read', 'manage'], 'GET', '/webhook-events', 'root'),
        (['send', 'read', 'manage'], 'POST', f'/webhook-events/{ID}/replay', 'root'),
        (['send', 'read', 'manage'], 'POST', '/keys', 'root'),
        (['send', 'read', 'manage'], 'DELETE', f'/keys/{ID}', 'root'),
    ],
)
def test_a_missing_scope_is_named(tenant, scopes, method, path, missing):
    answer = tenant(scopes=scopes).request(method, path)
    assert answer.status_code == 403
    assert answer.content_type == 'application/problem+json'
    assert (answer.json['code'], answer.json['scope']) == ('scope_missing', missing)
    assert ('API_KEYS' if missing == 'root' else missing) in answer.json['detail']


def test_a_scope_lets_do_what_it_says(tenant, acme):
    shop = tenant()
    message = shop.send()
    assert shop.message(message['id'])['id'] == message['id']
    assert shop.post(f'/messages/{message["id"]}/cancel').status_code == 200
    manager = tenant(scopes=['manage'])
    answer = manager.post('/account', {'chatbot_id': CHATBOT, 'name': 'Shop'})
    assert (answer.status_code, answer.json['name']) == (200, 'Shop')


def test_a_key_connects_an_account_of_its_own(tenant):
    manager = tenant(scopes=['manage', 'read'], chatbot_ids=['new'])
    assert manager.get('/account/new').status_code == 404
    assert manager.account('new', '300112233445567')['chatbot_id'] == 'new'
    assert manager.get('/account/new').status_code == 200


@pytest.mark.parametrize(
    'change', [str.upper, lambda key: key[:-1], lambda key: key + 'a', lambda key: 'x' + key[1:]]
)
def test_another_key_is_refused(tenant, change):
    key = tenant().key['key']
    stranger = Backend(tenant().transport, change(key))
    answer = stranger.get('/messages')
    assert (answer.status_code, answer.json['code']) == (401, 'unauthorized')


def test_a_key_that_was_deleted_is_refused_at_once_here_and_soon_elsewhere(acme, tenant, web):
    shop = tenant()

    def elsewhere():
        return requests.get(
            f'{web.url}/whatsapp-cloud/messages', headers=shop.headers, timeout=10
        ).status_code

    assert (shop.get('/messages').status_code, elsewhere()) == (200, 200)
    answer = acme.request('DELETE', f'/keys/{shop.key["id"]}')
    assert (answer.status_code, answer.data) == (204, b'')
    deleted_at = time.monotonic()
    assert shop.get('/messages').status_code == 401
    wait_until(lambda: elsewhere() == 401, 20)
    assert time.monotonic() - deleted_at < 15
    assert acme.get(f'/keys/{shop.key["id"]}').status_code == 404
    assert acme.request('DELETE', f'/keys/{shop.key["id"]}').status_code == 404


def test_who_waits_with_a_key_that_is_deleted_is_refused_soon(acme, tenant, application):
    shop = tenant()
    with ThreadPoolExecutor(1) as pool:
        transport = application.test_client()
        waiting = pool.submit(Backend(transport, shop.key['key']).get, '/events?after=now&wait=20')
        wait_until(lambda: events.waiters._value < events.MAX_WAITERS, 10)
        asked_at = time.monotonic()
        acme.request('DELETE', f'/keys/{shop.key["id"]}')
        assert waiting.result(30).status_code == 401
    assert time.monotonic() - asked_at < 15


def test_a_key_expires(tenant):
    soon = datetime.now(UTC) + timedelta(seconds=4)
    shop = tenant(expires_at=soon.isoformat())
    assert shop.get('/messages').status_code == 200
    wait_until(lambda: datetime.now(UTC) > soon)
    assert shop.get('/messages').status_code == 401


def test_the_last_use_is_noted_to_the_hour_and_not_at_each_request(acme, tenant):
    shop = tenant()
    assert shop.key['last_used_at'] is None
    shop.get('/messages')
    used_at = acme.get(f'/keys/{shop.key["id"]}').json['last_used_at']
    assert used_at.endswith(':00:00.000000Z')
    assert datetime.fromisoformat(used_at) <= datetime.now(UTC)
    sql("UPDATE api_key SET last_used_at = '2020-01-01Z'")
    (version,) = sql('SELECT xmin::text FROM api_key')
    for _ in range(5):
        assert shop.get('/messages').status_code == 200
    assert sql('SELECT xmin::text FROM api_key') == [version]  # known: nothing was looked up


def test_an_old_use_is_noted_anew_when_the_key_is_looked_up(acme, tenant, monkeypatch):
    shop = tenant()
    sql("UPDATE api_key SET last_used_at = '2020-01-01Z'")
    shop.get('/messages')
    assert acme.get(f'/keys/{shop.key["id"]}').json['last_used_at'] > '2020-01-02'
    monkeypatch.setattr(known_keys, 'FRESH_SECONDS', 0)
    (version,) = sql('SELECT xmin::text FROM api_key')
    for _ in range(3):
        shop.get('/messages')
    assert sql('SELECT xmin::text FROM api_key')[0] == version  # of this hour already


@pytest.fixture
def statements(monkeypatch):
    """What is asked of PostgreSQL about keys, in short."""
    asked = []
    for name in ('look_up', 'digests'):
        whole = getattr(api_key, name)
        monkeypatch.setattr(
            api_key,
            name,
            lambda *given, name=name, whole=whole: asked.append(name) or whole(*given),
        )
    return asked


def guess(backend, count):
    for n in range(count):
        answer = Backend(backend.transport, f'wak_{n:043}').get('/messages')
        assert (answer.status_code, answer.json['code']) == (401, 'unauthorized')


def test_guesses_cost_little_and_keep_nobody_out(acme, tenant, one_moment, statements):
    known, new = tenant(), tenant()
    assert known.get('/messages').status_code == 200
    guess(acme, 5 * GUESSES)
    assert statements == ['look_up'] * GUESSES + ['digests']
    for backend in (known, new, acme):
        assert backend.get('/messages').status_code == 200


def test_the_list_of_keys_is_read_anew_while_guesses_come(acme, tenant, monkeypatch):
    monkeypatch.setattr(known_keys, 'GUESSES', 0)
    monkeypatch.setattr(known_keys, 'LIST_SECONDS', 0)
    guess(acme, 2)
    shop = tenant()
    assert shop.get('/messages').status_code == 200
    acme.request('DELETE', f'/keys/{shop.key["id"]}')
    assert shop.get('/messages').status_code == 401


def test_what_is_no_key_is_not_looked_up(acme, monkeypatch):
    monkeypatch.setattr(KnownKeys, '_look_up', None)  # a call would raise
    for text in ('', 'nonsense', 'wak_', 'wak_' + 'ä' * 43, 'WAK_' + 'a' * 43):
        answer = acme.transport.get(
            '/whatsapp-cloud/messages', headers={'Authorization': f'Bearer {text}'}
        )
        assert answer.status_code == 401


@pytest.mark.parametrize('path', ['/messages', '/nonsense', '/docs'])
def test_without_postgresql_a_root_key_is_known_and_another_is_asked_to_come_again(
    acme, tenant, monkeypatch, path
):
    shop = tenant()

    def away(*given):
        raise OperationalError('away')

    monkeypatch.setattr(api_key, 'look_up', away)
    answer = shop.get(path)
    assert (answer.status_code, answer.json['code']) == (503, 'database_away')
    assert acme.get('/nonsense').status_code == 404


def test_a_scoped_key_learns_that_an_address_is_unknown_a_stranger_does_not(acme, tenant):
    assert tenant().get('/nonsense').status_code == 404
    assert Backend(acme.transport, f'wak_{0:043}').get('/nonsense').status_code == 401
