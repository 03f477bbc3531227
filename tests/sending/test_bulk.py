"""One message to many: placeholders, rows, and POST /send/bulk with JSON."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from service.runtime import queues
from service.runtime.errors import Invalid
from service.sending.recipient import read_list
from service.sending.recipients import Personalisation, RecipientList
from tests.people import CHATBOT, Backend, sql
from tests.stack import wait_until

HELLO = {'type': 'text', 'text': {'body': 'Hello {{name}}'}}
PLAIN = {'text': {'body': 'Hello'}}
TEMPLATE = {'type': 'template', 'template': {'name': 'sale', 'language': {'code': 'en_US'}}}


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def phone(number):
    return f'+1202555{number:04}'


def person(number, **parameters):
    return {'to': phone(number), 'parameters': parameters}


def bulk(backend, recipients, message=PLAIN, key=None, **more):
    body = {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients, **more}
    return backend.post('/send/bulk', body, headers={'Idempotency-Key': key} if key else None)


def bodies(backend, batch_id):
    return {message['to']: message['content'] for message in backend.messages(batch_id=batch_id)}


def nothing_stored():
    return (
        sql(
            'SELECT (SELECT count(*) FROM batch) + (SELECT count(*) FROM message) + (SELECT '
            'count(*) FROM '
            'conversation) + (SELECT count(*) FROM idempotency_key)'
        )[0][0]
        == 0
    )


# ---- pure: placeholders


def test_a_placeholder_is_filled_in_every_string_at_any_depth():
    personalisation = Personalisation(
        {
            'type': 'x',
            'x': {'a': ['{{n}}', {'b': 'to {{ n }} and {{city}}', 'c': 1}], 'd': None, 'e': True},
        }
    )
    filled = personalisation.fill({'n': 'Ana', 'city': 'Rio'})
    assert filled['x'] == {'a': ['Ana', {'b': 'to Ana and Rio', 'c': 1}], 'd': None, 'e': True}


def test_a_value_is_not_looked_through_for_placeholders():
    assert (
        Personalisation(HELLO).fill({'name': '{{name}} \\1'})['text']['body']
        == 'Hello {{name}} \\1'
    )


def test_parameters_named_1_2_3_are_positional_in_their_order():
    component = Personalisation(TEMPLATE).fill({'2': 'b', '1': 'a', '3': 'c'})['template'][
        'components'
    ]
    texts = [{'type': 'text', 'text': text} for text in 'abc']
    assert component == [{'type': 'body', 'parameters': texts}]


def test_parameters_with_other_names_are_named_in_the_order_given():
    (component,) = Personalisation(TEMPLATE).fill({'name': 'Ana', 'city': 'Rio'})['template'][
        'components'
    ]
    assert component['parameters'] == [
        {'type': 'text', 'parameter_name': 'name', 'text': 'Ana'},
        {'type': 'text', 'parameter_name': 'city', 'text': 'Rio'},
    ]


def test_a_template_without_parameters_stays_as_it_is():
    assert Personalisation(TEMPLATE).fill({}) == TEMPLATE


def test_a_template_with_components_takes_the_parameters_that_it_names_alone():
    message = {
        **TEMPLATE,
        'template': {**TEMPLATE['template'], 'components': [{'type': 'body', 'text': '{{a}}'}]},
    }
    assert Personalisation(message).problems({'b': 'x'}) == {
        'parameters.a': [
            'The message has a placeholder of this name, and there is no value for it.'
        ],
        'parameters.b': ['The message does not use this parameter.'],
    }


@pytest.mark.parametrize(
    ('value', 'sentence'),
    [
        ('', 'Has no value.'),
        (7, 'Must be a text.'),
        (None, 'Must be a text.'),
        (['a'], 'Must be a text.'),
        ('a\x00b', 'Holds a character that is not allowed (NUL or a lone surrogate).'),
        ('a\ud800', 'Holds a character that is not allowed (NUL or a lone surrogate).'),
    ],
)
def test_a_value_that_cannot_be_used_is_named(value, sentence):
    assert Personalisation(HELLO).problems({'name': value}) == {'parameters.name': [sentence]}


def test_the_10001st_row_is_refused_while_rows_still_come():
    def rows():
        yield from read_list([phone(0)] + [7] * 10_000)
        raise AssertionError('read on')

    with pytest.raises(Invalid, match='10,000'):
        RecipientList(CHATBOT, Personalisation(PLAIN)).add_rows(rows())


# ---- through the door


def test_everybody_gets_the_message_with_his_own_values(acme, workers, stand_in):
    recipients = [person(1, name='Ana') | {'client_reference': 'o-1'}, person(2, name='Bob')]
    answer = bulk(acme, recipients, HELLO)
    assert answer.status_code == 202, answer.text
    batch = answer.json
    assert (batch['status'], batch['recipients'], batch['accepted'], batch['rejected_rows']) == (
        'running',
        2,
        2,
        [],
    )
    assert batch['counts'] == {'queued': 2}
    workers.send()
    assert {call['body']['to']: call['body']['text'] for call in stand_in.sends()} == {
        phone(1): {'body': 'Hello Ana'},
        phone(2): {'body': 'Hello Bob'},
    }
    assert {message['client_reference'] for message in acme.messages(batch_id=batch['id'])} == {
        'o-1',
        None,
    }


def test_a_recipient_may_be_a_phone_number_alone_or_a_bsuid(acme):
    batch = bulk(acme, [phone(1), {'recipient': 'US.13491208655302741918'}]).json
    assert [(m['to'], m['recipient']) for m in acme.messages(batch_id=batch['id'])] == [
        (None, 'US.13491208655302741918'),
        (phone(1), None),
    ]
    assert len(acme.conversations()) == 2


def test_a_bulk_goes_to_groups_too(acme):
    batch = bulk(acme, [{'to': 'group-1'}], {**PLAIN, 'recipient_type': 'group'}).json
    assert acme.messages(batch_id=batch['id'])[0]['to'] == 'group-1'


def test_a_bulk_has_the_priority_of_a_bulk_and_rings_once(acme, redis_server):
    jobs = queues.queue(queues.SEND)
    queues.wake(queues.SEND)
    wait_until(
        lambda: jobs.count
    )  # this process rings one after the other: those of earlier tests are through now
    redis_server.flush()
    bulk(acme, [phone(n) for n in range(50)])
    assert sql('SELECT DISTINCT priority FROM message') == [(2,)]
    wait_until(lambda: jobs.count == 1)


def test_bad_rows_are_reported_by_line_and_the_others_sent(acme):
    recipients = [
        phone(1),
        'nobody',
        {'to': phone(2), 'recipient': 'US.13491208655302741918'},
        {},
        7,
        {'to': phone(3), 'x': 1},
        {'to': phone(4), 'parameters': []},
        {'to': phone(5), 'client_reference': ''},
        {'to': 'US.1349120865530274'},
        person(6, name='Ana'),
        None,
    ]
    batch = bulk(acme, recipients).json
    assert (batch['recipients'], batch['rejected'], batch['accepted']) == (11, 10, 1)
    found = {row['line']: row['errors'] for row in batch['rejected_rows']}
    assert {line: list(errors) for line, errors in found.items()} == {
        2: ['to'],
        3: ['to'],
        4: ['to'],
        5: ['recipients'],
        6: ['x'],
        7: ['parameters'],
        8: ['client_reference'],
        9: ['to'],
        10: ['parameters.name'],
        11: ['recipients'],
    }
    assert found[2]['to'] == ['A phone number has no letters.']


def test_a_text_is_measured_after_its_values_are_in_it(acme):
    fits, long = person(1, name='x' * (4096 - 6)), person(2, name='x' * (4096 - 5))
    batch = bulk(acme, [fits, long], HELLO).json
    assert [(row['line'], list(row['errors'])) for row in batch['rejected_rows']] == [
        (2, ['text.body'])
    ]


def test_equal_recipients_are_collapsed_to_the_first_good_one(acme):
    recipients = [
        person(1),
        person(1, name='Ana'),
        {'to': '1 (202) 555-0001', 'parameters': {'name': 'Bob'}},
    ]
    batch = bulk(acme, recipients, HELLO).json
    assert (batch['rejected'], batch['duplicates'], batch['accepted']) == (1, 1, 1)
    assert bodies(acme, batch['id']) == {phone(1): {'body': 'Hello Ana'}}


def test_of_many_bad_rows_1000_are_reported_and_all_counted(acme):
    batch = bulk(acme, [phone(1)] + ['nobody'] * 1500).json
    assert (len(batch['rejected_rows']), batch['rejected'], batch['recipients']) == (
        1000,
        1500,
        1501,
    )


def test_without_a_good_row_nothing_is_stored(acme):
    answer = bulk(acme, ['nobody', phone(1)], HELLO)
    assert answer.status_code == 422
    assert list(answer.json['errors']) == [
        'line 1, to',
        'line 1, parameters.name',
        'line 2, parameters.name',
    ]
    assert nothing_stored()


@pytest.mark.parametrize(
    ('change', 'field'),
    [
        ({'recipients': []}, 'recipients'),
        ({'recipients': 'x'}, 'recipients'),
        ({'recipients': None}, 'recipients'),
        ({'recipients': [phone(1)] * 10_001}, 'recipients'),
        ({'message': None}, 'message'),
        ({'message': []}, 'message'),
        ({'message': {**PLAIN, 'to': phone(1)}}, 'message.to'),
        ({'message': {**PLAIN, 'x': {}}}, 'message.x'),
        ({'message': {'text': {'body': ''}}}, 'message.text.body'),
        ({'message': {'type': 'image'}}, 'message.image'),
        ({'message': {'text': 'x'}}, 'message.text'),
        ({'more': 1}, 'more'),
        ({'chatbot_id': None}, 'chatbot_id'),
        ({'send_at': 'soon'}, 'send_at'),
        ({'expires_at': '2020-01-01T00:00:00Z'}, 'expires_at'),
    ],
)
def test_an_order_that_is_not_valid_is_422_and_stores_nothing(acme, change, field):
    answer = bulk(acme, **({'recipients': [phone(1)]} | change))
    assert answer.status_code == 422, answer.text
    assert field in answer.json['errors']
    assert nothing_stored()


def test_the_rules_of_an_account_are_those_of_send(acme, setting):
    assert bulk(acme, [phone(1)], chatbot_id='nobody').status_code == 404
    acme.post(f'/account/{CHATBOT}/deactivate')
    assert bulk(acme, [phone(1)]).status_code == 400
    acme.account()
    setting('MAX_QUEUED', 3)
    answer = bulk(acme, [phone(n) for n in range(4)])
    assert (answer.status_code, 'Retry-After' in answer.headers) == (429, True)
    assert nothing_stored()
    assert bulk(acme, [phone(n) for n in range(3)]).status_code == 202
    assert bulk(acme, [phone(9)]).status_code == 429


def test_a_bulk_may_be_scheduled_and_expire(acme):
    at = datetime.now(UTC) + timedelta(hours=1)
    times = {'send_at': at.isoformat(), 'expires_at': (at + timedelta(hours=1)).isoformat()}
    batch = bulk(acme, [phone(1)], **times).json
    assert (batch['status'], batch['counts'], batch['progress']) == ('running', {'scheduled': 1}, 0)
    assert datetime.fromisoformat(batch['estimated_end']) >= at
    (message,) = acme.messages(batch_id=batch['id'])
    assert datetime.fromisoformat(message['send_at']) == at


def test_the_same_key_gives_the_first_batch_again(acme):
    first, second = (bulk(acme, [phone(1), 'nobody'], key='k1') for _ in range(2))
    assert (first.json, second.headers['Idempotent-Replayed']) == (second.json, 'true')
    assert 'Idempotency-Key' in bulk(acme, [phone(2)], key='k1').json['errors']
    assert len(acme.messages()) == 1


def test_concurrent_bulks_of_one_key_are_one_batch(acme, application):
    recipients = [phone(n) for n in range(100)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda _: bulk(Backend(application.test_client()), recipients, key='k'), range(8)
            )
        )
    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.data for answer in answers}) == 1
    assert sql(
        'SELECT count(*), count(DISTINCT recipient_to), count(DISTINCT batch_id) FROM message'
    ) == [
        (100, 100, 1),
    ]


def test_concurrent_bulks_and_sends_to_the_same_people_disturb_nobody(acme, application):
    recipients = [phone(n) for n in range(300)]

    def act(number):
        caller = Backend(application.test_client())
        if number % 2:
            return caller.send(phone(number))['status'] == 'queued'
        return bulk(caller, recipients[:: -1 if number % 4 else 1]).status_code == 202

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(act, range(16)))
    assert len(sql('SELECT id FROM conversation')) == 300
