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
LONG_AGO = 1_500_000_000


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
