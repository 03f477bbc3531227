"""POST /send and the messages that came of it, at the front door."""

import uuid

import pytest

from tests.people import CHATBOT, envelope, sql, status_of, text_message

KEYS = {
    'id',
    'chatbot_id',
    'conversation_id',
    'direction',
    'type',
    'status',
    'to',
    'recipient',
    'wamid',
    'content',
    'client_reference',
    'attempts',
    'error',
    'created_at',
    'updated_at',
    'statuses',
}
TEXT = {'chatbot_id': CHATBOT, 'to': '+5511999990001', 'type': 'text', 'text': {'body': 'Hello'}}
BSUID = 'US.13491208655302741918'
UNSTORABLE = ['a\x00b', 'a\ud800b']


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def problem(answer, status):
    """The parsed problem document of an answer, with its form checked."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == 'application/problem+json'
    body = answer.json
    assert body['status'] == status
    assert all(body[name] for name in ('type', 'title', 'detail'))
    return body


def test_a_send_is_answered_with_the_queued_message(acme):
    answer = acme.post(
        '/send', TEXT | {'context': {'message_id': 'wamid.X'}, 'client_reference': 'order-17'}
    )
    assert answer.status_code == 202
    assert answer.content_type == 'application/json'
    body = answer.json
    assert body.keys() >= KEYS
    expected = {
        'chatbot_id': CHATBOT,
        'direction': 'outbound',
        'type': 'text',
        'status': 'queued',
        'to': '+5511999990001',
        'recipient': None,
        'wamid': None,
        'content': {'body': 'Hello'},
        'client_reference': 'order-17',
        'attempts': 0,
        'error': None,
    }
    assert {name: body[name] for name in expected} == expected
    assert body['statuses'] == [{'status': 'queued', 'timestamp': body['created_at']}]
    assert body['created_at'].endswith('Z')
    assert uuid.UUID(body['id']).version == 7
    assert uuid.UUID(body['conversation_id'])
    assert acme.message(body['id']) == body


def test_two_messages_to_one_number_are_one_conversation_however_it_is_written(acme):
    first, second = acme.send('+55 11 99999-0001'), acme.send('+5511999990001')
    assert first['conversation_id'] == second['conversation_id']
    assert first['to'] == second['to'] == '+5511999990001'


def test_a_message_to_a_bsuid_keeps_it_in_recipient(acme):
    body = {'chatbot_id': CHATBOT, 'recipient': BSUID, 'text': {'body': 'Hello'}}
    answer = acme.post('/send', body)
    assert answer.status_code == 202
    assert (answer.json['to'], answer.json['recipient']) == (None, BSUID)


def test_type_may_be_left_out_for_text(acme):
    body = {name: value for name, value in TEXT.items() if name != 'type'}
    assert acme.post('/send', body).json['type'] == 'text'


@pytest.mark.parametrize(
    ('kind', 'content'),
    [
        ('template', {'name': 'order_ready', 'language': {'code': 'en_US'}, 'components': []}),
        ('image', {'id': '123', 'caption': 'A shoe'}),
        ('location', {'latitude': 1.5, 'longitude': 2.5}),
        (
            'contacts',
            [
                {
                    'name': {'formatted_name': 'Ana', 'first_name': 'Ana'},
                    'phones': [{'phone': '+1', 'type': 'CELL'}],
                }
            ],
        ),
        ('reaction', {'message_id': 'wamid.X', 'emoji': ''}),
        (
            'interactive',
            {
                'type': 'request_contact_info',
                'body': {'text': 'Well?'},
                'action': {'name': 'request_contact_info'},
            },
        ),
        ('pin', {'type': 'pin', 'message_id': 'wamid.X', 'expiration_days': 7}),
    ],
)
def test_other_types_of_meta_pass_through_unchanged(acme, kind, content):
    answer = acme.post(
        '/send', {'chatbot_id': CHATBOT, 'to': '+5511999990001', 'type': kind, kind: content}
    )
    assert answer.status_code == 202, answer.text
    assert (answer.json['type'], answer.json['content']) == (kind, content)


def test_metas_own_body_works_unchanged(acme):
    answer = acme.post(
        '/send', TEXT | {'messaging_product': 'whatsapp', 'recipient_type': 'individual'}
    )
    assert answer.status_code == 202, answer.text


def test_a_message_to_a_group_goes_to_its_id(acme):
    answer = acme.post('/send', TEXT | {'recipient_type': 'group', 'to': 'Y2FwaV9ncm91cDox'})
    assert answer.status_code == 202, answer.text


def test_an_unknown_chatbot_is_404_and_an_inactive_one_400(acme):
    problem(acme.post('/send', TEXT | {'chatbot_id': 'nobody'}), 404)
    acme.post(f'/account/{CHATBOT}/deactivate')
    problem(acme.post('/send', TEXT), 400)
    assert acme.messages() == []


@pytest.mark.parametrize(
    ('changes', 'field'),
    [
        ({'chatbot_id': None}, 'chatbot_id'),
        ({'chatbot_id': ...}, 'chatbot_id'),
        ({'to': ...}, 'to'),
        ({'recipient': BSUID}, 'to'),
        ({'to': BSUID}, 'to'),
        ({'to': 'hello'}, 'to'),
        ({'to': ''}, 'to'),
        ({'to': 5511999990001}, 'to'),
        ({'to': ..., 'recipient': '+5511999990001'}, 'recipient'),
        ({'text': {'body': 'x' * 4097}}, 'text.body'),
        ({'text': {'body': ''}}, 'text.body'),
        ({'text': {}}, 'text.body'),
        ({'text': {'body': 'x', 'colour': 'red'}}, 'text.colour'),
        ({'text': 'Hello'}, 'text'),
        ({'text': ...}, 'text'),
        ({'colour': 'red'}, 'colour'),
        ({'image': {'id': '1'}}, 'image'),
        ({'type': 'image'}, 'image'),
        ({'type': 'Te xt'}, 'type'),
        ({'type': ['text']}, 'type'),
        ({'type': {'a': 1}}, 'type'),
        ({'type': 7}, 'type'),
        ({'type': 'to'}, 'type'),
        ({'context': {}}, 'context.message_id'),
        ({'context': 'wamid.X'}, 'context'),
        ({'client_reference': 'x' * 256}, 'client_reference'),
        ({'client_reference': ''}, 'client_reference'),
        ({'recipient_type': 'crowd'}, 'recipient_type'),
        ({'messaging_product': 'telegram'}, 'messaging_product'),
    ],
)
def test_what_is_not_valid_is_422_and_named(acme, changes, field):
    body = {name: value for name, value in (TEXT | changes).items() if value is not ...}
    errors = problem(acme.post('/send', body), 422)['errors']
    assert field in errors, errors
    assert all(isinstance(messages, list) and messages for messages in errors.values())
    assert acme.messages() == []


def test_a_text_of_4096_characters_is_taken(acme):
    assert len(acme.send(text='ä' * 4096)['content']['body']) == 4096


@pytest.mark.parametrize(
    'raw',
    [
        b'',
        b'{',
        b'[]',
        b'"text"',
        b'null',
        b'\xff\xfe\x00',
        b'{"a": ' + b'[' * 100_000,
        b'{"chatbot_id": "acme"',
    ],
)
def test_malformed_json_is_400(acme, raw):
    answer = problem(acme.post('/send', data=raw, content_type='application/json'), 400)
    assert answer['detail'].startswith('The body is n'), (
        answer
    )  # no valid JSON, no object, nested too deeply


def test_another_content_type_is_415_and_a_body_over_4_mib_413(acme):
    problem(
        acme.post(
            '/send', data='chatbot_id=acme', content_type='application/x-www-form-urlencoded'
        ),
        415,
    )
    problem(acme.post('/send', data=b'{}'), 415)
    big = b'{"chatbot_id": "' + b'x' * 4 * 1024 * 1024 + b'"}'
    problem(acme.post('/send', data=big, content_type='application/json'), 413)


def test_more_than_max_queued_is_429_with_retry_after_for_that_chatbot_alone(acme, setting):
    setting('MAX_QUEUED', 3)
    acme.account('other', '300112233445567')
    for _ in range(3):
        acme.send()
    refused = acme.post('/send', TEXT)
    problem(refused, 429)
    assert int(refused.headers['Retry-After']) > 0
    assert acme.send(chatbot_id='other')['status'] == 'queued'
    sql(
        "UPDATE message SET status = 'accepted', due_at = NULL WHERE id = %s",
        acme.messages(chatbot_id=CHATBOT)[0]['id'],
    )
    assert acme.send()['status'] == 'queued'


@pytest.mark.parametrize('bad', UNSTORABLE)
@pytest.mark.parametrize(
    'place',
    [
        'chatbot_id',
        'client_reference',
        'to',
        'recipient',
        'type',
        'group',
        'hash',
        'context',
        'body',
        'unknown',
    ],
)
def test_characters_that_no_text_column_holds_are_never_a_500(acme, place, bad):
    changes = {
        'group': {'recipient_type': 'group', 'to': bad},
        'hash': {'recipient_identity_key_hash': bad},
        'context': {'context': {'message_id': bad}},
        'body': {'text': {'body': bad}},
        'unknown': {bad: bad},
        'recipient': {'to': ..., 'recipient': bad},
    }.get(place, {place: bad})
    body = {name: value for name, value in (TEXT | changes).items() if value is not ...}
    answer = acme.post('/send', body)
    if place in ('body', 'hash', 'context'):  # they stay escapes in a json column
        assert answer.status_code == 202, answer.text
        assert acme.message(answer.json['id']) == answer.json
    else:
        problem(answer, 422)


def test_what_is_nested_too_deeply_to_be_shown_again_is_not_taken(acme):
    for levels in (400, 510, 900, 940):
        nested = b'{"a":' * levels + b'1' + b'}' * levels
        raw = (
            b'{"chatbot_id": "acme", "to": "+5511999990001", "type": "x", "validate": false, '
            b'"x": %s}' % nested
        )
        answer = acme.post('/send', data=raw, content_type='application/json')
        assert answer.status_code == (202 if levels == 400 else 400)
    assert len(acme.messages()) == 1


def test_numbers_that_json_does_not_know_are_never_a_500(acme):
    for literal in (b'NaN', b'Infinity', b'1e999'):
        raw = (
            b'{"chatbot_id": "acme", "to": "+5511999990001", "type": "location", "location": '
            b'{"latitude": %s}}' % literal
        )
        answer = acme.post('/send', data=raw, content_type='application/json')
        assert answer.status_code in (400, 422), answer.text


@pytest.mark.parametrize(
    'path',
    [
        '/messages/%00',
        '/messages/abc',
        '/messages/%ED%A0%80',
        '/messages/0192b000-0000-7000-8000-000000000000',
    ],
)
def test_a_message_that_is_not_there_is_404(acme, path):
    problem(acme.get(path), 404)


@pytest.mark.parametrize('path', ['/messages', '/conversations', '/webhook-events', '/usage'])
@pytest.mark.parametrize(
    'name', ['chatbot_id', 'cursor', 'status', 'conversation_id', 'limit', 'from']
)
def test_a_query_with_characters_that_no_column_holds_is_never_a_500(acme, path, name):
    for bad in ('%00', '%ED%A0%80', 'a%00b'):
        assert acme.get(f'{path}?{name}={bad}').status_code in (200, 404, 422)


def test_lists_are_newest_first_and_paging_has_no_gaps_and_no_repeats(acme):
    sent = [acme.send(f'+551199999{n:04}')['id'] for n in range(23)]
    seen, cursor = [], None
    while True:
        query = {'chatbot_id': CHATBOT, 'limit': 5, **({'cursor': cursor} if cursor else {})}
        page = acme.get('/messages', query_string=query).json
        seen += [message['id'] for message in page['data']]
        acme.send()  # what comes meanwhile is newer and disturbs nothing
        cursor = page['next_cursor']
        if cursor is None:
            break
    assert seen == sent[::-1]
    assert len(acme.get('/messages').json['data']) == 28


def test_a_list_has_50_unless_asked_and_a_cursor_only_when_there_is_more(acme):
    for _ in range(51):
        acme.send()
    assert len(acme.get('/messages').json['data']) == 50
    whole = acme.get('/messages?limit=51').json
    assert (len(whole['data']), whole['next_cursor']) == (51, None)


@pytest.mark.parametrize(
    ('query', 'field'),
    [
        ('limit=0', 'limit'),
        ('limit=201', 'limit'),
        ('limit=abc', 'limit'),
        ('limit=-1', 'limit'),
        ('limit=', 'limit'),
        ('limit=99999999999999999999', 'limit'),
        ('limit=%C2%B2', 'limit'),
        ('cursor=abc', 'cursor'),
        ('direction=up', 'direction'),
        ('status=lost', 'status'),
        ('conversation_id=abc', 'conversation_id'),
    ],
)
def test_a_list_query_that_is_not_valid_is_422_and_named(acme, query, field):
    assert field in problem(acme.get(f'/messages?{query}'), 422)['errors']


def test_lists_filter_by_chatbot_conversation_direction_and_status(acme, meta, workers):
    acme.account('other', '300112233445567')
    ours, others = acme.send(), acme.send(chatbot_id='other')
    meta.webhook(envelope(messages=[text_message()]))
    workers.incoming()
    (inbound,) = acme.messages(direction='inbound')
    assert inbound['status'] == 'received'
    assert [one['id'] for one in acme.messages(chatbot_id='other')] == [others['id']]
    assert [one['id'] for one in acme.messages(chatbot_id=CHATBOT, direction='outbound')] == [
        ours['id']
    ]
    assert {one['id'] for one in acme.messages(conversation_id=ours['conversation_id'])} == {
        ours['id'],
        inbound['id'],
    }
    assert {one['id'] for one in acme.messages(status='queued')} == {ours['id'], others['id']}
    assert acme.messages(status='failed') == []


def test_a_message_shows_every_status_with_metas_own_time(acme, meta, workers, stand_in):
    sent = acme.send()
    workers.send()
    wamid = acme.message(sent['id'])['wamid']
    pricing = {'billable': True, 'category': 'utility'}
    meta.webhook(
        envelope(
            statuses=[
                status_of(wamid, 'delivered', 1790000002),
                status_of(wamid, 'sent', 1790000001, pricing=pricing),
            ]
        )
    )
    workers.incoming()
    message = acme.message(sent['id'])
    assert message['status'] == 'delivered'
    assert [one['status'] for one in message['statuses']] == [
        'queued',
        'accepted',
        'sent',
        'delivered',
    ]
    assert message['statuses'][2]['timestamp'] == '2026-09-21T14:13:21.000000Z'
    assert acme.messages(status='delivered')[0]['statuses'] == message['statuses']
