"""Who wants no marketing.

How they say it, what is refused and taken back, and how they come back.
"""

import threading
import time

import pytest

from tests.people import CHATBOT, CUSTOMER, WABA, Customers, envelope, sql, status_of, text_message

SALE = {'type': 'template', 'template': {'name': 'sale', 'language': {'code': 'en_US'}}}
READY = {'type': 'template', 'template': {'name': 'ready', 'language': {'code': 'en_US'}}}
OTHER = '12025550144'


@pytest.fixture
def acme(backend, stand_in):
    stand_in.config(strict=False)
    backend.account(responder={'kind': 'none'}, waba_id=WABA)
    for name, category in (('sale', 'marketing'), ('ready', 'utility')):
        sql(
            'INSERT INTO template (waba_id, name, language, status, category) VALUES (%s, %s, '
            "'en_US', 'APPROVED', %s)",
            WABA,
            name,
            category,
        )
    return backend


@pytest.fixture
def people(acme, meta, workers):
    return Customers(meta, workers)


def post(backend, message=SALE, to=f'+{CUSTOMER}', **more):
    return backend.post('/send', {'chatbot_id': CHATBOT, 'to': to, **message, **more})


def contact(backend, phone=CUSTOMER):
    (one,) = backend.get('/contacts', query_string={'phone': phone}).json['data']
    return backend.get(f'/contacts/{one["id"]}').json


def marketing(backend):
    shown = contact(backend)['marketing']
    return shown['opted_out'], shown['by']


def history(backend):
    """(kind, by) of what was said, the oldest first."""
    rows = reversed(contact(backend)['history'])
    return [(row['kind'], row['detail']['by']) for row in rows if row['kind'].startswith('opt_')]


def state(backend, message):
    return backend.message(message['id'])['status']


def test_after_stop_marketing_is_refused_and_all_else_goes(acme, people):
    assert post(acme).status_code == 202
    people.write('Stop!', ago=2)
    answer = post(acme)
    assert (answer.status_code, answer.content_type) == (409, 'application/problem+json')
    since = contact(acme)['marketing']['since']
    assert (answer.json['opted_out_at'], answer.json['opted_out_by']) == (since, 'keyword')
    assert since in answer.json['detail']
    assert 'STOP' in answer.json['detail']
    for message in (READY, {'text': {'body': 'Hi'}}):
        assert post(acme, message).status_code == 202
    assert post(acme, to=f'+{OTHER}').status_code == 202, 'somebody else'
    people.write('START')
    assert post(acme).status_code == 202
    assert contact(acme)['marketing'] == {'opted_out': False, 'since': None, 'by': None}
    assert history(acme) == [('opt_out', 'keyword'), ('opt_in', 'keyword')]
    assert contact(acme)['history'][0]['detail'] == {'by': 'keyword', 'word': 'start'}


def test_a_refused_bulk_row_is_dropped_and_reported(acme, people):
    people.write('stop')
    answer = acme.post(
        '/send/bulk',
        {
            'chatbot_id': CHATBOT,
            'message': SALE,
            'recipients': ['nobody', f'+{CUSTOMER}', f'+{OTHER}'],
        },
    )
    batch = answer.json
    assert (answer.status_code, batch['rejected'], batch['dropped'], batch['accepted']) == (
        202,
        1,
        1,
        1,
    )
    (row,) = batch['dropped_rows']
    assert (row['line'], list(row['errors'])) == (2, ['to'])
    assert [one['to'] for one in acme.messages(batch_id=batch['id'])] == [f'+{OTHER}']


def test_when_nobody_may_get_a_bulk_nothing_is_stored(acme, people):
    people.write('stop')
    body = {'chatbot_id': CHATBOT, 'message': SALE, 'recipients': [f'+{CUSTOMER}']}
    for _ in range(2):
        answer = acme.post('/send/bulk', body, headers={'Idempotency-Key': 'k'})
        assert (
            answer.status_code,
            answer.json['dropped'],
            answer.json['dropped_rows'][0]['line'],
        ) == (409, 1, 1)
    assert sql('SELECT count(*) FROM batch') == [(0,)]


@pytest.mark.parametrize('kind', ['queued', 'scheduled', 'held'])
def test_what_waits_is_taken_back_at_once(acme, people, workers, stand_in, kind):
    people.write('Hello')
    if kind == 'held':
        sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")
    later = {'send_at': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 3600))}
    wait = [
        post(acme, message, **(later if kind == 'scheduled' else {})).json
        for message in (SALE, READY)
    ]
    assert [state(acme, one) for one in wait] == [kind] * 2
    people.write('stop')
    assert [state(acme, one) for one in wait] == ['cancelled', kind]
    taken = acme.message(wait[0]['id'])
    assert (taken['hold_reason'], taken['explanation']) == (None, 'The person wants no marketing.')
    people.write('start')
    workers.send()
    assert state(acme, wait[0]) == 'cancelled', 'it does not come back'


def test_what_crosses_a_stop_is_caught_at_the_claim(acme, people, workers, stand_in):
    people.write('Hello')
    crossed, other = post(acme).json, post(acme, READY).json
    sql(
        "UPDATE conversation SET opted_out_at = now(), opted_out_by = 'keyword'"
    )  # read before, written after it
    workers.send()
    workers.send()
    assert [state(acme, one) for one in (crossed, other)] == ['cancelled', 'accepted']
    assert acme.message(crossed['id'])['attempts'] == 0
    assert [call['body']['template']['name'] for call in stand_in.sends()] == ['ready']


def test_a_stop_while_a_bulk_is_being_sent_is_kept(acme, people, workers, stand_in, setting):
    setting('SEND_CONCURRENCY', 4)
    stand_in.config(latency=0.2)
    recipients = [f'+1202555{number:04}' for number in range(60)]
    for number in range(30, 60):
        people.meta.webhook(
            envelope([text_message('Hi', f'wamid.hi{number}', f'1202555{number:04}')])
        )
    workers.incoming()
    batch = acme.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': SALE, 'recipients': recipients}
    ).json
    stops = [text_message('STOP', f'wamid.stop{n}', f'1202555{n:04}') for n in range(30, 60)]
    sending = threading.Thread(target=workers.send)
    sending.start()
    people.tell(envelope(stops))
    stopped = len(stand_in.sends())
    sending.join()
    found = acme.messages(batch_id=batch['id'])
    assert {one['status'] for one in found} == {'accepted', 'cancelled'}
    assert {one['to'] for one in found if one['status'] == 'cancelled'} <= set(recipients[30:])
    late = [
        call['recipient'] for call in stand_in.sends()[stopped + 8 :]
    ]  # in a call, or claimed, at that moment
    assert not set(late) & {one.removeprefix('+') for one in recipients[30:]}


# ---- by Meta


@pytest.mark.parametrize(
    ('value', 'is_out'), [('stop', True), ('resume', False), ('signup', False)]
)
def test_whatsapp_tells_of_a_wish(acme, people, value, is_out):
    people.write('start' if is_out else 'stop', ago=60)
    people.prefer(value)
    assert contact(acme)['marketing']['opted_out'] is is_out
    assert history(acme)[-1] == ('opt_out' if is_out else 'opt_in', 'user_preferences')


def test_a_wish_of_somebody_unknown_is_kept(acme, people):
    people.prefer('stop')
    assert marketing(acme) == (True, 'user_preferences')
    assert post(acme).status_code == 409


def test_the_newer_word_wins_whenever_it_comes(acme, people):
    people.write('stop', ago=100)
    people.prefer('resume', ago=300)
    people.prefer('resume', ago=120)
    assert marketing(acme) == (True, 'keyword')
    people.prefer('resume', ago=50)
    people.write('stop', ago=80)
    assert marketing(acme) == (False, None)


def test_what_comes_again_changes_nothing(acme, people):
    now = int(time.time())
    for turn in range(3):  # in other bytes each time: equal ones are one event
        people.write('stop', ago=100, wamid='wamid.stop')
        people.prefer('resume', timestamp=now - 50, detail=f'{turn}')
        people.prefer('stop', timestamp=now - 70, detail=f'{turn}')
    assert marketing(acme) == (False, None)
    assert len(history(acme)) == 3


ODD = [
    [],
    'x',
    [7],
    [{}],
    [{'value': 'stop'}],
    [{'wa_id': CUSTOMER, 'value': ['stop']}],
    [{'wa_id': CUSTOMER, 'value': 'stop', 'category': 'utility'}],
    [{'wa_id': {}, 'value': 'stop', 'category': 'marketing_messages'}],
]


def test_odd_wishes_and_calls_break_nothing(acme, people):
    for odd in ODD:
        people.field('user_preferences', user_preferences=odd)
        people.field('calls', calls=odd)
    people.prefer('stop\x00')
    people.prefer('stop', timestamp='soon', wa_id=OTHER, signup_id='\x00')
    assert set(acme.outcomes()) == {('change', 'stored')}
    assert contact(acme, OTHER)['marketing']['opted_out'] is True


def refusal(backend, message):
    """Meta's status of a message, of two seconds ago."""
    wamid = backend.message(message['id'])['wamid']
    errors = [{'code': 131050, 'title': 'User stopped marketing'}]
    return status_of(wamid, 'failed', int(time.time()) - 2, opaque=message['id'], errors=errors)


def test_meta_refuses_and_nothing_more_is_tried(acme, people, workers, stand_in):
    message = post(acme, to='+19991310500').json  # refused for ever
    waits = post(acme, to='+19991310500').json
    workers.send()
    assert [state(acme, one) for one in (message, waits)] == ['failed', 'cancelled']
    assert contact(acme, '19991310500')['marketing']['by'] == 'meta'
    assert post(acme, to='+19991310500').status_code == 409
    assert len(stand_in.sends()) == 1


def test_a_failed_status_says_it_too(acme, people, workers):
    message = post(acme).json
    workers.send()
    waits = post(acme).json
    told = refusal(acme, message)
    people.tell(envelope(statuses=[told]))
    assert [state(acme, one) for one in (message, waits)] == ['failed', 'cancelled']
    assert marketing(acme) == (True, 'meta')
    people.write('start')
    assert marketing(acme) == (False, None)
    people.tell(envelope(statuses=[told, told]))
    assert marketing(acme) == (False, None), 'the same status again'


@pytest.mark.parametrize(
    ('first', 'then', 'is_out'), [('stop', 'start', False), ('start', 'stop', True)]
)
def test_two_conversations_that_become_one_keep_the_newer_word(acme, people, first, then, is_out):
    people.write(first, ago=100)
    people.write(then, ago=50, phone=None, user='US.1')
    waits = [
        post(acme, to=f'+{CUSTOMER}'),
        acme.post('/send', {'chatbot_id': CHATBOT, 'recipient': 'US.1', **SALE}),
    ]
    people.write('It is me', user='US.1')
    assert len(acme.conversations()) == 1
    assert contact(acme)['marketing']['opted_out'] is is_out
    ((left,),) = sql(
        "SELECT count(*) FROM message WHERE direction = 'outbound' AND status = 'queued'"
    )
    assert (left, [one.status_code for one in waits].count(202)) == (0 if is_out else 1, 1)


# ---- words, groups, the platform


def test_words_of_the_account(acme, people):
    shown = acme.account(opt_out_words=['Halt', 'genug'], opt_in_words=[])
    assert (shown['opt_out_words'], shown['opt_in_words']) == (['Halt', 'genug'], [])
    people.write('stop')
    assert marketing(acme) == (False, None)
    people.write('HALT.')
    people.write('start')
    assert marketing(acme) == (True, 'keyword')
    assert acme.account(name='Acme')['opt_out_words'] == ['Halt', 'genug'], 'what is left out stays'
    assert acme.account(opt_out_words=None)['opt_out_words'] is None
    for bad in (['x'] * 51, ['x' * 65], [''], ['a\x00'], 'stop', [7]):
        answer = acme.post('/account', {'chatbot_id': CHATBOT, 'opt_out_words': bad})
        assert (answer.status_code, [name.split('.')[0] for name in answer.json['errors']]) == (
            422,
            ['opt_out_words'],
        )


def test_a_group_says_nothing_for_a_person(acme, people):
    people.write('Hi')
    people.write('stop', group_id='group-1')
    assert history(acme) == []
    assert sql('SELECT count(*) FROM conversation WHERE opted_out_at IS NOT NULL') == [(0,)]


def test_the_platform_says_it_for_somebody(acme, people):
    people.write('Hi')
    waits, path = post(acme).json, f'/contacts/{contact(acme)["id"]}'
    answer = acme.post(f'{path}/opt-out')
    assert (answer.status_code, answer.json['marketing']['by']) == (200, 'api')
    assert state(acme, waits) == 'cancelled'
    assert post(acme).status_code == 409
    found = acme.get('/contacts', query_string={'opted_out': 'true'}).json['data']
    assert [one['wa_id'] for one in found] == [CUSTOMER]
    assert acme.post(f'{path}/opt-in').json['marketing']['opted_out'] is False
    assert acme.get('/contacts', query_string={'opted_out': 'true'}).json['data'] == []
    assert acme.get('/contacts', query_string={'opted_out': 'x'}).status_code == 422
    assert acme.post('/contacts/01920000-0000-7000-8000-000000000000/opt-out').status_code == 404


# ---- with the 24-hour window


def test_a_marketing_fallback_is_not_for_who_wants_none(acme, people, workers, stand_in):
    people.write('stop')
    message = post(acme, {'text': {'body': 'Hi'}}, fallback_template=SALE['template']).json
    assert message['status'] == 'queued', 'the message itself is no marketing'
    sql("UPDATE conversation SET last_inbound_at = now() - interval '24 hours'")
    assert (
        post(acme, {'text': {'body': 'Hi'}}, fallback_template=SALE['template']).status_code == 409
    )
    assert (
        post(acme, {'text': {'body': 'Hi'}}, fallback_template=READY['template']).status_code == 202
    )
    workers.send()
    workers.send()
    assert state(acme, message) == 'cancelled'
    assert [call['body']['template']['name'] for call in stand_in.sends()] == ['ready']


def test_whose_window_nobody_knows_gets_the_message_itself(acme, people, workers, stand_in):
    people.prefer('stop')
    message = post(acme, {'text': {'body': 'Hi'}}, fallback_template=SALE['template']).json
    workers.send()
    assert state(acme, message) == 'accepted'
    assert [call['body']['type'] for call in stand_in.sends()] == ['text']
