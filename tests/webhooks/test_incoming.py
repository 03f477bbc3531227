"""Stored events become rows.

Every item gets its outcome, and a bad one never costs its neighbours.
"""

import json
from collections import Counter

import pytest

from service.webhooks import inbox
from tests.people import (
    CUSTOMER,
    MANIFEST,
    contact,
    envelope,
    sql,
    status_of,
    text_message,
    work_off_by,
)
from tests.stack import PHONE_NUMBER_ID

FILES = {entry['file']: entry['expect'] for entry in MANIFEST['files']}
NUMBERS = (PHONE_NUMBER_ID, '300112233445577', '300998877665544', '123456123')
LONG_AGO = 1_500_000_000


@pytest.fixture
def accounts(backend):
    for number in NUMBERS:
        backend.account(f'bot-{number}', number)


@pytest.fixture
def deliver(meta, workers):
    def post_and_work_off(*bodies):
        for body in bodies:
            assert meta.webhook(body).status_code == 200
        workers.incoming()

    return post_and_work_off


def rows():
    return sql(
        "SELECT (SELECT count(*) FROM message WHERE direction = 'inbound'), (SELECT count(*) "
        'FROM message_status)'
    )


@pytest.mark.parametrize('name', FILES)
def test_every_payload_posted_twice_gives_the_manifests_rows(
    meta, backend, accounts, deliver, name
):
    expected, raw = FILES[name], meta.payload(name)
    deliver(
        raw, raw, raw + b'\n'
    )  # equal bytes are one event; the same items in other bytes are two
    second, first = backend.events()
    keys = {item['key'] for item in first['items'] if item['kind'] in ('message', 'status')}
    assert len(keys) == expected['distinct_keys']
    assert keys == set(expected.get('keys', keys))
    messages, statuses = (sum(key.startswith(kind) for key in keys) for kind in ('m|', 's|'))
    assert rows() == [(messages, statuses)]
    outcomes = Counter((item['kind'], item['outcome']) for item in first['items'])
    assert outcomes['message', 'stored'] == messages
    assert outcomes['message', 'duplicate'] == expected['messages'] - messages
    assert outcomes['status', 'orphan'] == statuses
    assert outcomes['value_error', 'stored'] == expected['value_errors']
    assert outcomes['change', 'stored'] + outcomes['change', 'ignored'] == expected['other_changes']
    assert len(first['items']) == sum(outcomes.values()) == len(second['items'])
    assert {
        item['outcome'] for item in second['items'] if item['kind'] in ('message', 'status')
    } <= {'duplicate'}


def test_a_number_without_an_account_is_refused_for_messages_statuses_and_changes(backend, deliver):
    body = envelope(
        [text_message()], [status_of('wamid.B', 'sent')], errors=[{'code': 130429}], number='5'
    )
    body['entry'] += json.loads(
        json.dumps(body['entry']).replace('"messages", "value"', '"calls", "value"')
    )
    deliver(body)
    kinds = ['message', 'status', 'value_error', 'change']
    assert backend.outcomes() == [(kind, 'refused') for kind in kinds]


@pytest.mark.parametrize(
    ('name', 'outcome'),
    [
        ('f_history_media', 'stored'),
        ('f_standby_inbound', 'stored'),
        ('f_calls_status', 'stored'),
        ('f_message_template_status_update', 'stored'),
        ('f_unknown_field', 'ignored'),
        ('value_errors_130429', 'stored'),
        ('edge_empty_changes', None),
    ],
)
def test_what_is_no_message_never_becomes_one_and_nobody_waits_for_a_reply(
    meta, backend, accounts, deliver, setting, name, outcome
):
    setting('AI_BASE_URL', 'http://127.0.0.1:9/v1')
    setting('REPLY_QUIET_SECONDS', 3600)
    deliver(meta.payload(name))
    assert [found for _, found in backend.outcomes()] == ([outcome] if outcome else [])
    assert rows() == [(0, 0)]
    assert sql('SELECT count(*) FROM conversation') == [(0,)]


BAD_MESSAGES = {
    'no id': {'id': None},
    'an empty id': {'id': ''},
    'an id that is a number': {'id': 5},
    'an id of 600 characters': {'id': 'w' * 600},
    'an id of 512 emoji': {'id': '\U0001f389' * 512},
    'no sender': {'from': None},
    'a sender that is an object': {'from': {'wa_id': CUSTOMER}},
    'a sender of 300 digits': {'from': '1' * 300},
    'a sender with NUL': {'from': '1202\x005550143'},
    'a sender with letters': {'from': 'Ines'},
    'a sender of 4 digits': {'from': '1202'},
    'a sender of 16 digits': {'from': '1202555014312345'},
    'a sender that is a fraction': {'from': 12025550143.5},
    'a sender that is a list': {'from': [CUSTOMER]},
    'a BSUID in lower case': {'from': 'us.1001'},
}
ODD_MESSAGES = {
    'the number as a number': {'from': int(CUSTOMER)},
    'a time that is no time': {'timestamp': 'abc'},
    'a time far beyond': {'timestamp': 10**20},
    'a time in milliseconds': {'timestamp': '1790000000000'},
    'a time in the year 9999': {'timestamp': '253402300799'},
    'no time': {'timestamp': None},
    'a time that is a list': {'timestamp': [1]},
    'a negative time': {'timestamp': '-99999999999'},
    'no type': {'type': None},
    'a type that is a list': {'type': ['text']},
    'a type that is an object': {'type': {'text': 1}},
    'a type of 100 characters': {'type': 'x' * 100},
    'a type with NUL': {'type': 'te\x00xt'},
    'a type named like a common key': {'type': 'from'},
    'no content': {'text': None},
    'a content that is a number': {'text': 5},
    'a context that is text': {'context': 'x'},
    'an id of 512 characters': {'id': 'w' * 512},
    'an id with NUL and a surrogate': {'id': 'wamid.\x00\ud83d'},
    'a group that is an object': {'group_id': {'a': 1}},
    'a group of 300 characters': {'group_id': 'g' * 300},
    'a system message without its body': {'type': 'system', 'system': 'x'},
    'a parent BSUID that is a list': {'from_parent_user_id': []},
}


def between_good_ones(damage):
    messages = [
        text_message(wamid='good.1'),
        {**text_message(wamid='odd'), **damage},
        text_message(wamid='good.2'),
    ]
    return envelope(messages, [status_of('good.3', 'sent')])


@pytest.mark.parametrize('damage', BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_a_message_that_cannot_be_used_is_invalid_and_costs_no_neighbour(
    backend, accounts, deliver, damage
):
    deliver(between_good_ones(damage))
    assert [outcome for _, outcome in backend.outcomes()] == [
        'stored',
        'invalid',
        'stored',
        'orphan',
    ]
    assert [message['wamid'] for message in backend.messages()] == ['good.2', 'good.1']


@pytest.mark.parametrize('damage', ODD_MESSAGES.values(), ids=ODD_MESSAGES)
def test_an_odd_message_is_stored_and_can_be_looked_at(backend, accounts, deliver, damage):
    deliver(between_good_ones(damage))
    assert [outcome for _, outcome in backend.outcomes()] == [
        'stored',
        'stored',
        'stored',
        'orphan',
    ]
    assert len(backend.messages()) == 3
    assert len(backend.conversations('bot-' + PHONE_NUMBER_ID)) in (1, 2)


BAD_STATUSES = {
    'no id': {'id': None},
    'no status': {'status': None},
    'a status that is a list': {'status': ['sent']},
    'a status of 100 characters': {'status': 's' * 100},
    'an id of 600 characters': {'id': 'w' * 600},
}
ODD_STATUSES = {
    'a time that is no time': {'timestamp': 'abc'},
    'a time far beyond': {'timestamp': 10**20},
    'a status with NUL': {'status': 'se\x00nt'},
    'an opaque id that is a list': {'biz_opaque_callback_data': ['x']},
    'an opaque id that is nearly a UUID': {'biz_opaque_callback_data': '0-1-2-3-' + '4' * 28},
    'an opaque id with digits of elsewhere': {
        'biz_opaque_callback_data': '٠' * 8 + '-0000-0000-0000-' + '0' * 12
    },
    'an opaque id with NUL': {'biz_opaque_callback_data': '\x00'},
    'a long opaque id': {'biz_opaque_callback_data': 'x' * 5000},
    'errors that are no list': {'errors': {'code': 1}},
    'errors that are no objects': {'errors': ['x', None]},
    'an error full of objects': {
        'status': 'failed',
        'errors': [{'code': {}, 'title': [], 'error_data': 'x'}],
    },
    'pricing that is text': {'pricing': 'free'},
    'pricing of odd parts': {'pricing': {'category': '\x00', 'type': {}}},
    'a participant that is an object': {'recipient_participant_id': {}},
    'the longest ids that are let in': {
        'id': '\U0001f389' * 128,
        'recipient_participant_id': '\U0001f389' * 255,
    },
}


@pytest.mark.parametrize('damage', BAD_STATUSES.values(), ids=BAD_STATUSES)
def test_a_status_that_cannot_be_used_is_invalid_and_costs_no_neighbour(
    backend, accounts, deliver, damage
):
    deliver(
        envelope(
            statuses=[
                status_of('a', 'sent'),
                {**status_of('odd', 'sent'), **damage},
                status_of('b', 'read'),
            ]
        )
    )
    assert [outcome for _, outcome in backend.outcomes()] == ['orphan', 'invalid', 'orphan']


@pytest.mark.parametrize('damage', ODD_STATUSES.values(), ids=ODD_STATUSES)
def test_an_odd_status_is_kept(backend, accounts, deliver, damage):
    deliver(
        envelope(
            statuses=[
                status_of('a', 'sent'),
                {**status_of('odd', 'sent'), **damage},
                status_of('b', 'read'),
            ]
        )
    )
    assert [outcome for _, outcome in backend.outcomes()] == ['orphan'] * 3


@pytest.mark.parametrize(
    'contacts', [{'wa_id': CUSTOMER}, 'x', [None], [{'profile': 'x', 'wa_id': CUSTOMER}]]
)
def test_contacts_of_any_shape_cost_no_message(backend, accounts, deliver, contacts):
    body = envelope([text_message()])
    body['entry'][0]['changes'][0]['value']['contacts'] = contacts
    deliver(body)
    assert backend.outcomes() == [('message', 'stored')]


def test_names_that_no_column_holds_are_cleaned(backend, accounts, deliver):
    deliver(envelope([text_message()], contacts=[contact('I\x00nes \ud83d', username='u' * 400)]))
    (conversation,) = backend.conversations('bot-' + PHONE_NUMBER_ID)
    assert conversation['name'] == 'I\ufffdnes \ufffd'
    assert conversation['username'] == 'u' * 255


def test_nul_and_lone_surrogates_come_back_as_they_were_sent(meta, backend, accounts, deliver):
    deliver(
        meta.payload('edge_unicode_nul_and_surrogates'), meta.payload('in_text_escaped_unicode')
    )
    nice, raw = backend.messages()
    assert raw['content'] == {'body': 'a\x00b \ud83d end'}
    assert nice['content'] == {'body': 'Olá! Preço 50% <até> 10/10 @loja 🎉 日本'}
    assert backend.message(raw['id'])['content'] == raw['content']


def test_what_meta_adds_to_a_message_is_kept(meta, backend, accounts, deliver):
    referral = {
        'source_type': 'ad',
        'source_id': '1',
        'ctwa_clid': 'x',
        'welcome_message': {'text': 'Hi'},
    }
    errors = [{'code': 131051, 'title': 'Message type unknown'}]
    deliver(
        envelope(
            [
                text_message(
                    wamid='a',
                    user='US.1',
                    at=1790000000,
                    referral=referral,
                    context={'forwarded': True},
                ),
                {
                    **text_message(wamid='b'),
                    'type': 'unsupported',
                    'unsupported': {'type': 'poll'},
                    'errors': errors,
                },
            ]
        )
    )
    second, first = backend.messages()
    assert first['extra'] == {'referral': referral}
    assert (first['context'], first['from'], first['from_user_id']) == (
        {'forwarded': True},
        CUSTOMER,
        'US.1',
    )
    assert (first['timestamp'], first['status'], first['direction']) == (
        '2026-09-21T14:13:20.000000Z',
        'received',
        'inbound',
    )
    assert second['type'] == 'unsupported'
    assert second['content'] == {'type': 'poll'}
    assert second['extra'] == {'text': {'body': 'Hello'}, 'errors': errors}


def test_a_group_is_one_conversation_of_many_people(backend, accounts, deliver):
    messages = [
        text_message(wamid='a', phone='1', user='US.1', group_id='group'),
        text_message(wamid='b', phone='2', user='US.2', group_id='group'),
        text_message(wamid='c', phone='1', user='US.1'),
    ]
    deliver(envelope(messages, contacts=[contact('A', '1', 'US.1'), contact('B', '2', 'US.2')]))
    alone, second, first = backend.messages()
    assert first['conversation_id'] == second['conversation_id'] != alone['conversation_id']
    assert [(one['from'], one['group_id']) for one in (first, second, alone)] == [
        ('1', 'group'),
        ('2', 'group'),
        ('1', None),
    ]
    group = backend.get(f'/conversations/{first["conversation_id"]}').json
    assert (group['group_id'], group['wa_id'], group['user_id'], group['name']) == (
        'group',
        None,
        None,
        None,
    )


def test_received_messages_are_counted_once_for_billing(backend, accounts, deliver):
    deliver(envelope([text_message()]), envelope([text_message()], errors=[{'code': 1}]))
    usage = backend.get('/usage', query_string={'chatbot_id': f'bot-{PHONE_NUMBER_ID}'}).json[
        'data'
    ]
    assert [(row['direction'], row['category'], row['count']) for row in usage] == [
        ('inbound', None, 1)
    ]


def test_an_inactive_account_still_keeps_what_comes_in(backend, accounts, deliver):
    assert backend.post(f'/account/bot-{PHONE_NUMBER_ID}/deactivate').status_code == 200
    deliver(envelope([text_message()], [status_of('wamid.B', 'sent')]))
    assert backend.outcomes() == [('message', 'stored'), ('status', 'orphan')]


def test_many_workers_over_overlapping_events_lose_and_double_nothing(
    meta, backend, accounts, monkeypatch
):
    monkeypatch.setattr(
        inbox.claim, '__defaults__', (3,)
    )  # small batches, so that all workers have some
    for n in range(60):
        people = [(n * step) % 20 for step in (1, 3, 7, 11, 13)]
        messages = [
            text_message(
                wamid=f'wamid.{n // 2}.{who}',
                phone=f'1202555{who:04}',
                user=f'US.{who}' if n % 3 else None,
            )
            for who in people
        ]
        statuses = [
            status_of(f'wamid.out.{(n * 7 + k) % 40}', ('sent', 'read')[k % 2]) for k in range(6)
        ]
        assert (
            meta.webhook(envelope(messages[::-1] if n % 2 else messages, statuses)).status_code
            == 200
        )
    work_off_by(6)
    outcomes = backend.outcomes()
    assert len(outcomes) == 60 * 11
    wanted = {(n // 2, (n * step) % 20) for n in range(60) for step in (1, 3, 7, 11, 13)}
    assert outcomes.count(('message', 'stored')) == len(wanted)
    assert rows() == [(len(wanted), outcomes.count(('status', 'orphan')))]
    assert {outcome for _, outcome in outcomes} == {'stored', 'duplicate', 'orphan'}
    assert len(backend.conversations(f'bot-{PHONE_NUMBER_ID}')) == 20
