"""Workers who meet over the same people: rows are taken in one order, and a merge in between costs
nothing.
"""

import threading
from contextlib import closing
from datetime import datetime

import pytest
from psycopg2.errors import LockNotAvailable

from tests.people import CHATBOT, CUSTOMER, WABA, Customers, envelope, sql, status_of, text_message
from tests.stack import PHONE_NUMBER_ID, wait_until

OTHER, REFUSED = '12025550144', '19991310500'  # the stand-in answers 131050 to the latter
SALE = {'type': 'template', 'template': {'name': 'sale', 'language': {'code': 'en_US'}}}
CALL = {
    'id': 'wacid.1',
    'from': CUSTOMER,
    'event': 'connect',
    'direction': 'USER_INITIATED',
    'timestamp': '1790000000',
}


@pytest.fixture
def acme(backend, stand_in):
    backend.account(responder={'kind': 'none'}, waba_id=WABA)
    return backend


@pytest.fixture
def people(acme, meta, workers):
    return Customers(meta, workers)


def told(what, message):
    """A change beside a message, in one body."""
    if what == 'call':
        metadata = {'phone_number_id': PHONE_NUMBER_ID}
        return {'field': 'calls', 'value': {'metadata': metadata, 'calls': [CALL]}}
    errors = [{'code': 131050, 'title': 'User stopped marketing'}]
    refusal = status_of(message['wamid'], 'failed', opaque=message['id'], errors=errors)
    return envelope(statuses=[refusal])['entry'][0]['changes'][0]


def assert_in_order(postgres, table, first, second, work):
    """While somebody holds the first row, whoever needs both waits and does not hold the second."""
    hold = f'SELECT 1 FROM {table} WHERE id = %s FOR NO KEY UPDATE NOWAIT'  # noqa: S608
    with closing(postgres.connect()) as one, one.cursor() as cursor:
        cursor.execute(hold, (first,))
        working = threading.Thread(target=work)
        working.start()
        wait_until(lambda: sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        try:
            cursor.execute(hold, (second,))
        except LockNotAvailable:
            pytest.fail('it holds the later one and waits for the earlier one')
        finally:
            one.rollback()
            working.join()


@pytest.mark.parametrize('what', ['call', 'refusal'])
def test_nobody_is_held_by_a_batch_that_waits_for_an_earlier_one(
    acme, people, workers, postgres, what
):
    message = acme.message(acme.send()['id'])
    workers.send()
    people.write('Hi', phone=OTHER)
    (first,), (second,) = sql('SELECT id FROM conversation ORDER BY id')
    body = envelope([text_message('Hi', 'wamid.2', OTHER)])
    body['entry'][0]['changes'].append(told(what, acme.message(message['id'])))
    people.meta.webhook(body)
    assert_in_order(postgres, 'conversation', first, second, workers.incoming)
    assert {outcome for _, outcome in acme.outcomes()} == {'stored'}


@pytest.mark.parametrize('move', ['deactivate', 'resume'])
def test_what_waits_is_held_and_freed_by_ascending_id(acme, postgres, move):
    first, second = acme.send()['id'], acme.send()['id']
    if move == 'resume':
        sql("UPDATE message SET status = 'held', hold_reason = 'account'")
    sql(
        'UPDATE message SET priority = 2 WHERE id = %s', first
    )  # in table and index it comes after the second now
    assert_in_order(
        postgres, 'message', first, second, lambda: acme.post(f'/account/{CHATBOT}/{move}')
    )
    assert {one['status'] for one in acme.messages()} == {
        'held' if move == 'deactivate' else 'queued'
    }


@pytest.mark.parametrize('move', ['pause', 'resume', 'cancel'])
def test_a_batch_is_held_and_freed_by_ascending_id(acme, postgres, move):
    message = {'type': 'text', 'text': {'body': 'Hi'}}
    recipients = [f'+{CUSTOMER}', f'+{OTHER}']
    batch = acme.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients}
    ).json
    if move == 'resume':
        acme.post(f'/batches/{batch["id"]}/pause')
    (first,), (second,) = sql('SELECT id FROM message ORDER BY id')
    sql('UPDATE message SET priority = 1 WHERE id = %s', first)
    assert_in_order(
        postgres, 'message', first, second, lambda: acme.post(f'/batches/{batch["id"]}/{move}')
    )
    states = {'pause': 'held', 'resume': 'queued', 'cancel': 'cancelled'}
    assert {one['status'] for one in acme.messages()} == {states[move]}


def test_a_person_who_turns_out_to_be_another_during_a_call_is_opted_out(
    acme, people, workers, stand_in
):
    people.write('Hi', phone=None, user='US.1')
    message = acme.post('/send', {'chatbot_id': CHATBOT, 'to': f'+{REFUSED}', **SALE}).json
    stand_in.config(latency=0.5)
    sending = threading.Thread(target=workers.send)
    sending.start()
    wait_until(lambda: acme.message(message['id'])['status'] == 'sending')
    people.write('It is me', phone=REFUSED, user='US.1')
    assert acme.message(message['id'])['conversation_id'] != message['conversation_id']
    sending.join()
    assert acme.message(message['id'])['status'] == 'failed'
    (contact,) = acme.get('/contacts').json['data']
    assert (contact['id'] != message['conversation_id'], contact['marketing']['by']) == (
        True,
        'meta',
    )


def test_a_stop_within_the_second_of_a_start_counts_though_meta_tells_no_fraction(acme, people):
    people.write('Hi')
    (contact,) = acme.get('/contacts').json['data']
    (start,) = acme.post(f'/contacts/{contact["id"]}/opt-in').json['history']
    second = int(datetime.fromisoformat(start['at']).timestamp())
    people.prefer('stop', timestamp=second - 1)
    assert acme.get(f'/contacts/{contact["id"]}').json['marketing']['opted_out'] is False
    people.prefer('stop', timestamp=second)
    assert acme.get(f'/contacts/{contact["id"]}').json['marketing']['opted_out'] is True
