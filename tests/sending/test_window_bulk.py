"""The 24-hour window of the many that a bulk goes to, and what else than a message opens one."""

import json
import time
from functools import partial

import pytest

from service.runtime.db import db
from tests.people import CHATBOT, CUSTOMER, envelope, sql, text_message
from tests.stack import PHONE_NUMBER_ID

FALLBACK = {'name': 'hello_world', 'language': {'code': 'en_US'}}
TEXT = {'type': 'text', 'text': {'body': 'Hello'}}
DAY = 24 * 3600


def phone(number):
    return f'1202555{number:04}'


@pytest.fixture
def acme(backend, stand_in):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture
def wrote(acme, meta, workers):
    """wrote({phone: seconds ago}): these customers wrote."""

    def write(ago):
        now = int(time.time())
        meta.webhook(
            envelope(
                [
                    text_message('Hi', f'wamid.{who}', who, at=now - then)
                    for who, then in ago.items()
                ]
            )
        )
        workers.incoming()

    return write


def bulk(backend, numbers, message=TEXT, **more):
    recipients = [f'+{phone(number)}' for number in numbers]
    return backend.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients, **more}
    )


def queued(backend, batch):
    return {one['to']: one['type'] for one in backend.messages(batch_id=batch['id'])}


def test_rows_whose_window_has_closed_are_dropped_by_line(acme, wrote):
    wrote({phone(1): DAY + 60, phone(2): 60, phone(3): DAY + 60})
    batch = bulk(acme, range(5)).json
    assert [
        batch[name] for name in ('recipients', 'rejected', 'duplicates', 'dropped', 'accepted')
    ] == [5, 0, 0, 2, 3]
    assert [row['line'] for row in batch['dropped_rows']] == [2, 4]
    assert 'closed at 20' in batch['dropped_rows'][0]['errors']['to'][0]
    assert queued(acme, batch).keys() == {f'+{phone(number)}' for number in (0, 2, 4)}
    shown = acme.get(f'/batches/{batch["id"]}').json
    assert (shown['dropped'], shown['accepted'], shown['progress']) == (2, 3, 0)


def test_with_a_fallback_template_they_get_that(acme, wrote):
    wrote({phone(1): DAY + 60, phone(2): 60})
    name = {'type': 'body', 'parameters': [{'type': 'text', 'text': '{{name}}'}]}
    message = {**TEXT, 'fallback_template': {**FALLBACK, 'components': [name]}}
    people = [
        {'to': f'+{phone(number)}', 'parameters': {'name': f'N{number}'}} for number in (1, 2)
    ]
    answer = acme.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': message, 'recipients': people}
    )
    assert (answer.status_code, answer.json['dropped']) == (202, 0)
    found = {one['to']: one for one in acme.messages(batch_id=answer.json['id'])}
    late, good = found[f'+{phone(1)}'], found[f'+{phone(2)}']
    assert (late['type'], late['content']['components'][0]['parameters'][0]['text']) == (
        'template',
        'N1',
    )
    assert late['replaced'] == {'type': 'text', 'content': {'body': 'Hello'}}
    assert (good['type'], good['fallback_template']['components'][0]['parameters'][0]['text']) == (
        'text',
        'N2',
    )


def test_with_force_all_go_and_a_template_goes_anyway(acme, wrote):
    wrote({phone(1): DAY + 60})
    for message in ({**TEXT, 'force': True}, {'type': 'template', 'template': FALLBACK}):
        batch = bulk(acme, [1], message).json
        assert (batch['dropped'], batch['accepted']) == (0, 1)


def test_when_nobody_is_left_nothing_is_stored(acme, wrote):
    wrote({phone(1): DAY + 60})
    answer = bulk(acme, [1])
    assert (answer.status_code, answer.json['dropped']) == (409, 1)
    assert answer.json['dropped_rows'][0]['line'] == 1
    assert sql('SELECT count(*) FROM batch') == [(0,)]


def test_one_person_gets_it_once_by_whichever_id(acme, wrote, meta, workers):
    meta.webhook(envelope([text_message(user='US.1')]))
    workers.incoming()
    recipients = [f'+{CUSTOMER}', {'recipient': 'US.1'}, '+5511999990001', '+551199990001']
    body = {'chatbot_id': CHATBOT, 'message': TEXT, 'recipients': recipients}
    batch = acme.post('/send/bulk', body).json
    assert (batch['recipients'], batch['duplicates'], batch['accepted']) == (4, 2, 2)
    assert sorted(queued(acme, batch)) == [f'+{CUSTOMER}', '+5511999990001']


def csv(backend, **query):
    body = f'to\n+{phone(1)}\n+{phone(2)}\n'
    query = {'chatbot_id': CHATBOT, **query}
    return backend.post('/send/bulk', query_string=query, data=body, content_type='text/csv')


def test_a_csv_file_drops_rows_and_takes_force(acme, wrote):
    wrote({phone(1): DAY + 60})
    batch = csv(acme, text='Hello').json
    assert (batch['dropped'], [row['line'] for row in batch['dropped_rows']]) == (1, [2])
    assert csv(acme, text='Hello', force='true').json['dropped'] == 0
    assert (
        csv(acme, message=json.dumps({**TEXT, 'fallback_template': FALLBACK})).json['dropped'] == 0
    )
    assert csv(acme, text='Hello', force='maybe').status_code == 422


def test_the_command_tells_of_dropped_rows(acme, wrote, application, tmp_path):
    wrote({phone(1): DAY + 60})
    file = tmp_path / 'people.csv'
    file.write_text(f'to\n+{phone(1)}\n+{phone(2)}\n')
    words = [
        'send-bulk',
        str(file),
        '--chatbot-id',
        CHATBOT,
        '--text',
        'Hello',
        '--yes',
        '--no-wait',
    ]
    result = application.test_cli_runner().invoke(args=words)
    assert (result.exit_code, '1 queued, 1 dropped' in result.output) == (0, True), result.output
    assert 'line 2: to: The 24-hour window' in result.output + result.stderr
    assert (
        '2 queued, 0 dropped'
        in application.test_cli_runner().invoke(args=[*words, '--force']).output
    )


def statements_of(monkeypatch, act):
    """How many statements it takes."""
    asked, ask = [], db.execute_sql

    def count(*given):
        asked.append(given)
        return ask(*given)

    with monkeypatch.context() as patch:
        patch.setattr(db, 'execute_sql', count)
        act()
    return len(asked)


def test_a_hundred_rows_cost_as_many_statements_as_ten(acme, wrote, monkeypatch):
    wrote({phone(number): DAY + 60 for number in range(0, 100, 2)})
    assert (
        bulk(acme, range(100), {**TEXT, 'force': True}).json['dropped'] == 0
    )  # from now on nobody is new
    few, many = (
        statements_of(monkeypatch, partial(bulk, acme, range(count))) for count in (10, 100)
    )
    assert few == many
    assert [batch['dropped'] for batch in acme.get('/batches').json['data']] == [50, 5, 0]


# ---- what opens a window


def changed(field, **value):
    metadata = {'display_phone_number': '15550104477', 'phone_number_id': PHONE_NUMBER_ID}
    change = {
        'field': field,
        'value': {'messaging_product': 'whatsapp', 'metadata': metadata, **value},
    }
    return {
        'object': 'whatsapp_business_account',
        'entry': [{'id': '880011223344556', 'changes': [change]}],
    }


CALLS = [
    ({}, 202),
    ({'event': 'terminate'}, 409),
    ({'from': phone(9)}, 409),
    ({'direction': 'BUSINESS_INITIATED'}, 409),
    ({'timestamp': '1700000000'}, 409),
]


@pytest.mark.parametrize(('change', 'code'), CALLS)
def test_a_call_of_the_customer_opens_the_window(acme, wrote, meta, workers, change, code):
    wrote({CUSTOMER: DAY + 60})
    call = {
        'id': 'wacid.1',
        'from': CUSTOMER,
        'to': '15550104477',
        'event': 'connect',
        'direction': 'USER_INITIATED',
        'timestamp': str(int(time.time())),
    }
    meta.webhook(changed('calls', calls=[call | change]))
    workers.incoming()
    assert (
        acme.post('/send', {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', **TEXT}).status_code
        == code
    )
    assert len(acme.conversations()) == 1, 'a call makes nobody known'


def test_a_call_from_the_future_opens_it_for_24_hours(acme, wrote, meta, workers):
    wrote({CUSTOMER: DAY + 60})
    call = {
        'id': 'wacid.1',
        'from': CUSTOMER,
        'event': 'connect',
        'direction': 'USER_INITIATED',
        'timestamp': '4000000000',
    }
    meta.webhook(changed('calls', calls=[call]))
    workers.incoming()
    assert sql('SELECT last_inbound_at <= now() FROM conversation') == [(True,)]


def test_a_system_message_does_not_open_the_window(acme, wrote, meta, workers):
    wrote({CUSTOMER: DAY + 60})
    told = text_message(
        '', 'wamid.system', type='system', system={'type': 'user_identity_changed', 'body': 'x'}
    )
    meta.webhook(envelope([told]))
    workers.incoming()
    assert (
        acme.post('/send', {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', **TEXT}).status_code == 409
    )
