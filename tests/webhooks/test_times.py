"""Times that Meta does not give, or gives in another unit: then the time of receipt counts."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.people import (
    CHATBOT,
    CUSTOMER,
    PAYLOADS,
    WABA,
    Customers,
    envelope,
    sql,
    status_of,
    text_message,
)

NOW = int(time.time())
MISSING = object()
ODD = [
    MISSING,
    None,
    '',
    ' ',
    '0',
    0,
    1,
    '1',
    -1,
    '-1790000000',
    NOW * 1000,
    f'{NOW}000',
    NOW * 10**6,
    f'{NOW}000000',
    NOW + 0.5,
    f'{NOW}.5',
    f'{NOW}.0',
    'soon',
    '2026-11-27T18:00:00Z',
    '1_790_000_000',
    '١٧٩٠٠٠٠٠٠٠',
    f' {NOW} ',
    f'+{NOW}',
    True,
    [NOW],
    {'seconds': NOW},
    4000000000,
    '253402300799',
    10**20,
    '9' * 5000,
    float(2**70),
]
LONG_AGO = NOW - 5 * 24 * 3600


def name_of(value):
    """The same in every process that collects these tests, whenever it does."""
    return 'missing' if value is MISSING else repr(value).replace(str(NOW), 'now')


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'}, waba_id=WABA)
    return backend


@pytest.fixture
def people(acme, meta, workers):
    return Customers(meta, workers)


def timed(data, value, name='timestamp'):
    """The same with another time."""
    return {key: one for key, one in data.items() if key != name} | (
        {} if value is MISSING else {name: value}
    )


def is_now(moment):
    return abs(datetime.fromisoformat(moment) - datetime.now(UTC)) < timedelta(minutes=2)


@pytest.mark.parametrize('value', ODD, ids=name_of)
def test_a_message_opens_the_window_now(acme, people, value):
    people.tell(envelope([text_message('Hi', at=LONG_AGO)]))
    people.tell(envelope([timed(text_message('Hello', 'wamid.B'), value)]))
    (conversation,) = acme.conversations()
    assert conversation['window_open'] is True
    assert is_now(conversation['last_inbound_at'])
    assert is_now(conversation['last_message_at'])
    body = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'text': {'body': 'Hi'}}
    assert acme.post('/send', body).status_code == 202


@pytest.mark.parametrize(
    'value', [str(LONG_AGO), LONG_AGO, float(LONG_AGO)], ids=['text', 'number', 'float']
)
def test_a_time_that_makes_sense_counts(acme, people, value):
    people.tell(envelope([timed(text_message('Hi'), value)]))
    (conversation,) = acme.conversations()
    assert conversation['window_open'] is False
    assert datetime.fromisoformat(conversation['last_inbound_at']).timestamp() == LONG_AGO


def test_the_time_of_receipt_is_the_webhooks_not_the_workers(acme, people):
    """It waited for two days, or is replayed: they did not write just now."""
    people.meta.webhook(envelope([timed(text_message('Hi'), '0')]))
    sql("UPDATE webhook_event SET received_at = now() - interval '2 days'")
    people.workers.incoming()
    (conversation,) = acme.conversations()
    assert conversation['window_open'] is False
    assert not is_now(conversation['last_message_at'])


@pytest.mark.parametrize('value', ODD, ids=name_of)
def test_a_call_opens_it_too(acme, people, value):
    people.tell(envelope([text_message('Hi', at=LONG_AGO)]))
    call = {
        'id': 'wacid.1',
        'from': CUSTOMER,
        'event': 'connect',
        'direction': 'USER_INITIATED',
        'timestamp': '0',
    }
    people.field('calls', calls=[timed(call, value)])
    assert acme.conversations()[0]['window_open'] is True


@pytest.mark.parametrize('value', ODD, ids=name_of)
def test_a_status_and_its_echo_have_the_time_of_receipt(acme, people, value):
    echo = {
        'from': '15550104477',
        'to': CUSTOMER,
        'id': 'wamid.E',
        'type': 'text',
        'text': {'body': 'x'},
    }
    people.field('smb_message_echoes', message_echoes=[timed(echo, value)])
    people.tell(
        envelope(
            statuses=[timed(status_of('wamid.E', name), value) for name in ('read', 'delivered')]
        )
    )
    (message,) = acme.messages()
    assert message['status'] == 'read'
    assert [one['status'] for one in message['statuses']] == ['sent', 'delivered', 'read']
    assert all(is_now(one['timestamp']) for one in message['statuses'])
    assert is_now(acme.conversations()[0]['last_message_at'])


@pytest.mark.parametrize('value', ODD, ids=name_of)
def test_a_wish_counts_from_its_receipt(acme, people, value):
    people.write('Hi', ago=100)
    people.write('start', ago=50)
    people.field(
        'user_preferences',
        user_preferences=[
            timed(
                {
                    'wa_id': CUSTOMER,
                    'detail': 'x',
                    'category': 'marketing_messages',
                    'value': 'stop',
                    'timestamp': 0,
                },
                value,
            )
        ],
    )
    (contact,) = acme.get('/contacts', query_string={'phone': CUSTOMER}).json['data']
    assert contact['marketing']['opted_out'] is True
    assert is_now(contact['marketing']['since'])


def test_a_wish_without_a_time_that_is_replayed_does_not_undo_a_newer_one(acme, people, workers):
    told = {'wa_id': CUSTOMER, 'category': 'marketing_messages', 'value': 'stop', 'timestamp': '0'}
    people.field('user_preferences', user_preferences=[told])
    sql("UPDATE webhook_event SET received_at = now() - interval '1 hour'")
    sql('DELETE FROM contact_event')
    ((event_id,),) = sql('SELECT id FROM webhook_event')
    people.write('start')
    assert acme.post(f'/webhook-events/{event_id}/replay').status_code == 202
    workers.incoming()
    (contact,) = acme.get('/contacts', query_string={'phone': CUSTOMER}).json['data']
    assert contact['marketing']['opted_out'] is False


@pytest.mark.parametrize('value', ODD, ids=name_of)
def test_a_stop_word_counts_from_its_receipt(acme, people, value):
    people.write('start', ago=50)
    people.tell(envelope([timed(text_message('STOP', 'wamid.stop'), value)]))
    (contact,) = acme.get('/contacts', query_string={'phone': CUSTOMER}).json['data']
    assert contact['marketing']['opted_out'] is True


def changed(field, value, at):
    entry = {'id': WABA, 'changes': [{'field': field, 'value': value}]}
    return {'object': 'whatsapp_business_account', 'entry': [timed(entry, at, 'time')]}


@pytest.mark.parametrize('value', ODD, ids=name_of)
def test_news_of_an_account_and_of_a_template_have_the_time_of_receipt(acme, people, value):
    people.tell(
        changed(
            'account_alerts', {'alert_type': 'X', 'entity_type': 'WABA', 'entity_id': WABA}, value
        )
    )
    stopped = {
        'event': 'PAUSED',
        'message_template_name': 'sale',
        'message_template_language': 'en_US',
    }
    people.tell(changed('message_template_status_update', stopped, value))
    (event,) = acme.get(f'/account/{CHATBOT}/health').json['data']
    assert is_now(event['at'])
    assert sql("SELECT status FROM template WHERE name = 'sale'") == [('PAUSED',)]


@pytest.mark.parametrize('value', ODD, ids=name_of)
def test_history_and_what_nobody_reads_break_nothing(acme, people, value):
    body = (PAYLOADS / 'f_history_media.json').read_text().replace('"1790000000"', '"TIME"')
    assert people.meta.webhook(body.replace('"TIME"', '"0"').encode()).status_code == 200
    people.tell(changed('history', {'history': [timed({'id': 'x'}, value)]}, value))
    assert {outcome for _, outcome in acme.outcomes()} <= {'stored', 'refused', 'ignored'}
