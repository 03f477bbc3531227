"""Bodies of every size and shape: each one that is signed is stored, and none holds up the next."""

import json

import pytest
import requests

from service.web.auth import sign
from service.webhooks.payload import READ_ONE_BY_ONE
from tests.people import APP_SECRET, Meta, envelope, text_message
from tests.stack import Processes, free_port

LIMIT = 4 * 1024 * 1024
GOOD = envelope([text_message(wamid='wamid.neighbour')])


def padded(size):
    """A webhook of exactly `size` bytes."""
    raw = json.dumps(envelope([text_message()])).encode()
    return raw + b' ' * (size - len(raw))


def nested(depth, inner='0'):
    return '[' * depth + inner + ']' * depth


@pytest.fixture(scope='module')
def web(schema, tmp_path_factory):
    """The real web process, for what a test client cannot send."""
    port = free_port()
    processes = Processes(
        tmp_path_factory.mktemp('web'), {'PORT': str(port), 'WEB_CONCURRENCY': '1'}
    )
    processes.start('web')
    processes.wait_port(port)
    yield f'http://127.0.0.1:{port}/whatsapp-cloud/webhook'
    processes.stop_all()


def post(url, body, secret=APP_SECRET, chunk=None):
    chunks = (body[at : at + chunk] for at in range(0, len(body), chunk)) if chunk else body
    return requests.post(
        url, data=chunks, headers={'X-Hub-Signature-256': sign(body, secret)}, timeout=20
    )


def test_a_body_of_four_mebibytes_is_taken_and_one_byte_more_is_not(meta, backend):
    assert meta.webhook(padded(LIMIT)).status_code == 200
    answer = meta.webhook(padded(LIMIT + 1))
    assert (answer.status_code, answer.content_type) == (413, 'application/problem+json')
    assert len(backend.events()) == 1


def test_a_chunked_body_is_taken_whole(web, backend):
    body = padded(300_000)
    assert post(web, body, chunk=7_000).status_code == 200
    assert post(web, body, chunk=7_000, secret='wrong').status_code == 400
    assert [event['size'] for event in backend.events()] == [300_000]


def test_a_chunked_body_that_is_too_long_is_refused(web, backend):
    try:
        status = post(web, padded(LIMIT + 100_000), chunk=65_536).status_code
    except requests.ConnectionError:  # the server hung up in the middle of it, as it may
        status = 413
    assert status == 413
    assert post(web, padded(1000)).status_code == 200  # and is there for the next one
    assert [event['size'] for event in backend.events()] == [1000]


UNUSABLE = {
    'empty': b'',
    'white space': b' \r\n\t',
    'no JSON': b'hello',
    'half': b'{"entry": [',
    'two': b'{} {}',
    'NUL': b'\x00',
    'not UTF-8': b'{"entry": "\xff\xfe\xfa"}',
    'gzip': b'\x1f\x8b\x08\x00',
    'an array': b'[]',
    'a full array': json.dumps([GOOD]).encode(),
    'a string': b'"entry"',
    'a number': b'17',
    'null': b'null',
    'a single NaN': b'NaN',
    'a NaN within': json.dumps(GOOD)[:-1].encode() + b', "a": NaN}',
    'an infinity within': json.dumps(GOOD)[:-1].encode() + b', "a": -Infinity}',
    'too deep': ('{"entry": ' + nested(200_000) + '}').encode(),
    'too deep and open': b'{"entry": ' + b'[' * 200_000,
    'too deep in objects': b'{"a":' * 100_000 + b'0' + b'}' * 100_000,
}


@pytest.mark.parametrize('body', UNUSABLE.values(), ids=UNUSABLE)
def test_a_signed_body_that_cannot_be_used_is_stored_and_quarantined(meta, backend, workers, body):
    backend.account()
    assert meta.webhook(body).status_code == 200
    assert meta.webhook(GOOD).status_code == 200
    workers.incoming()
    assert [event['status'] for event in backend.events()] == ['processed', 'quarantined']
    assert backend.outcomes() == [('message', 'stored')]
    (event,) = backend.events(status='quarantined')
    assert event['size'] == len(body)
    assert ('deep' in event['error']) == (body.count(b'[') > 1000 or body.count(b'{') > 1000), (
        event['error']
    )


@pytest.mark.parametrize('depth', [510, 700, 850])
def test_what_is_nested_so_deeply_that_nobody_can_write_it_again_is_invalid(
    meta, backend, workers, depth
):
    backend.account()
    deep = text_message(wamid='wamid.deep', odd='@')
    body = json.dumps(envelope([deep, text_message(wamid='wamid.neighbour')])).replace(
        '"@"', nested(depth)
    )
    assert meta.webhook(body.encode()).status_code == 200
    workers.incoming()
    assert backend.outcomes() == [('message', 'invalid'), ('message', 'stored')]
    assert [message['wamid'] for message in backend.messages()] == ['wamid.neighbour']


VALUE = envelope([text_message(wamid='wamid.neighbour')])['entry'][0]['changes'][0]['value']
OTHER_FIELDS = (
    'account_update',
    'message_template_status_update',
    'smb_message_echoes',
    'calls',
    'user_preferences',
    'user_id_update',
    'history',
    'not_known_yet',
)
DEEP_PLACES = {
    'a contact': {'contacts': [{'wa_id': '12025550143', 'profile': '@'}]},
    'a contact of nobody': {'contacts': [{'odd': '@'}]},
    'the metadata': {'metadata': VALUE['metadata'] | {'odd': '@'}},
    'a status': {'statuses': [{'id': 'wamid.S', 'status': 'sent', 'errors': ['@']}]},
    'an error': {'errors': [{'code': 130429, 'error_data': {'details': '@'}}]},
    'a list that nobody reads': {'user_actions': ['@']},
    'a value that nobody reads': {'odd': '@'},
}


def told_beside(body, meta, backend, workers, caplog):
    """What became of a deep body, whose neighbour is stored without a word about it."""
    backend.account()
    assert meta.webhook(body).status_code == 200
    workers.incoming()
    assert [event['status'] for event in backend.events()] == ['processed']
    assert [record.message for record in caplog.records if record.levelname == 'ERROR'] == []
    (message,) = backend.messages()
    assert message['wamid'] == 'wamid.neighbour'
    return backend.outcomes()


@pytest.mark.parametrize('depth', [510, 900])
@pytest.mark.parametrize('deep', DEEP_PLACES.values(), ids=DEEP_PLACES)
def test_deep_parts_of_a_value_cost_nobody_anything(meta, backend, workers, caplog, deep, depth):
    value = VALUE | deep
    change = {'field': 'messages', 'value': value}
    body = (
        json.dumps({'entry': [{'id': '1', 'changes': [change]}]})
        .replace('"@"', nested(depth))
        .encode()
    )
    told_beside(body, meta, backend, workers, caplog)


@pytest.mark.parametrize('field', OTHER_FIELDS)
@pytest.mark.parametrize('part', ['value', 'time'])
def test_a_deep_change_of_another_field_costs_no_other(meta, backend, workers, caplog, field, part):
    number = {'metadata': VALUE['metadata']}
    deep = {'field': field, 'value': number | ({'odd': '@'} if part == 'value' else {})}
    entry = {'id': '880011223344556', 'changes': [deep, {'field': 'messages', 'value': VALUE}]}
    entry |= {'time': {'odd': '@'}} if part == 'time' else {}
    body = json.dumps({'entry': [entry]}).replace('"@"', nested(900)).encode()
    outcomes = told_beside(body, meta, backend, workers, caplog)
    outcome = 'stored' if field in READ_ONE_BY_ONE else 'invalid'
    assert sorted(outcomes) == [('change', outcome), ('message', 'stored')]


def test_each_object_in_a_list_that_nobody_reads_has_an_item(meta, backend, workers):
    backend.account()
    value = VALUE | {
        'message_echoes': [text_message(wamid='wamid.1'), text_message(wamid='wamid.2')],
        'user_actions': [{'action': 'x'}],
        'tags': ['a', 'b'],
        'calls': [{'id': '1'}],
        'none': [],
    }
    entry = {
        'id': '1',
        'changes': [{'field': 'messages', 'value': value}],
        'messaging': [{'sender': {'id': '1'}}],
    }
    assert (
        meta.webhook(
            {'object': 'whatsapp_business_account', 'entry': [entry], 'more': [{}]}
        ).status_code
        == 200
    )
    workers.incoming()
    (event,) = backend.events()
    found = [(item['key'], item['outcome']) for item in event['items'] if item['kind'] == 'change']
    assert found == [
        ('more', 'ignored'),
        ('messages.message_echoes', 'ignored'),
        ('messages.message_echoes', 'ignored'),
        ('messages.user_actions', 'ignored'),
        ('messages.tags', 'ignored'),
        ('messages.calls', 'ignored'),
        ('entry.messaging', 'ignored'),
    ]
    assert [message['wamid'] for message in backend.messages()] == ['wamid.neighbour']


def test_a_list_that_nobody_reads_of_a_number_that_is_not_ours_is_refused(meta, backend, workers):
    value = VALUE | {'message_echoes': [text_message()], 'messages': []}
    assert (
        meta.webhook({'entry': [{'changes': [{'field': 'messages', 'value': value}]}]}).status_code
        == 200
    )
    workers.incoming()
    assert backend.outcomes() == [('change', 'refused')]


EMPTY = [
    '{}',
    '{"entry": null}',
    '{"entry": []}',
    '{"object": 1, "entry": [{}]}',
    '{"entry": [{"changes": []}]}',
]
ODD = [
    '{"entry": {}}',
    '{"entry": 5}',
    '{"entry": [null, 7, "x"]}',
    '{"entry": [{"changes": {"field": "messages"}}]}',
]


@pytest.mark.parametrize('body', EMPTY)
def test_an_envelope_without_items_is_processed(meta, backend, workers, body):
    assert meta.webhook(body.encode()).status_code == 200
    workers.incoming()
    assert [(event['status'], event['items']) for event in backend.events()] == [('processed', [])]


@pytest.mark.parametrize('body', ODD)
def test_parts_of_an_envelope_that_cannot_be_used_are_invalid_items(meta, backend, workers, body):
    assert meta.webhook(body.encode()).status_code == 200
    workers.incoming()
    assert set(backend.outcomes()) == {('change', 'invalid')}
    assert [event['status'] for event in backend.events()] == ['processed']


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32'])
def test_json_in_another_unicode_encoding_is_understood(meta, backend, workers, encoding):
    backend.account()
    assert meta.webhook(json.dumps(GOOD).encode(encoding)).status_code == 200
    workers.incoming()
    assert [event['status'] for event in backend.events()] == ['processed']
    assert backend.outcomes() == [('message', 'stored')]


def test_a_thousand_updates_in_three_megabytes_are_worked_off(meta: Meta, backend, workers):
    backend.account()
    messages = [
        text_message('x' * 2500, wamid=f'wamid.{n:04}', phone=f'1202555{n % 100:04}')
        for n in range(1000)
    ]
    body = json.dumps(envelope(messages)).encode()
    assert 2_600_000 < len(body) < LIMIT
    assert meta.webhook(body).status_code == 200
    workers.incoming()
    (event,) = backend.events()
    assert [item['outcome'] for item in event['items']] == ['stored'] * 1000
    assert len(backend.conversations()) == 100
