"""What Meta refuses in a variable of a template (132018) is 422 at the door, wherever a template
may stand.
"""

import pytest
import requests

from tests.own_service import Platform
from tests.people import CHATBOT, CUSTOMER, contact, envelope, sql, text_message

WABA = '880011223344556'
REFUSED = [
    'Ana\nMaria',
    'Ana\rMaria',
    'Ana\r\n',
    '\tAna',
    'Ana\x0bMaria',
    'Ana\u2028Maria',
    'Ana\x85',
    'Ana     Maria',
    '     Ana',
    'Ana\u00a0\u00a0\u00a0 \u00a0Maria',
    ' ',
    '    ',
    '\u200b',
    '\u2800',
    '\u3164\u200d',
    '\ufe0f',
    'x' * 32_769,
]
TAKEN = ['Ana    Maria', 'x' * 32_768, 'Ana  -  Maria', 'é', '👍🏽', '.', '0', '日本', '\u200eAna']
LANGUAGE = {'code': 'en_US'}


@pytest.fixture
def acme(backend):
    backend.account(waba_id=WABA)
    return backend


def template(*components, name='order_ready'):
    return {'name': name, 'language': LANGUAGE, 'components': list(components)}


def said(value):
    return {'type': 'text', 'text': value}


def part(kind, parameter, **more):
    return {'type': kind, 'parameters': [parameter], **more}


def send(acme, sent, **more):
    return acme.post(
        '/send',
        {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'type': 'template', 'template': sent, **more},
    )


PLACES = {
    'body': (lambda value: part('body', said(value)), '0.parameters.0.text'),
    'header': (lambda value: part('HEADER', said(value)), '0.parameters.0.text'),
    'by name': (
        lambda value: part('body', said(value) | {'parameter_name': 'who'}),
        '0.parameters.0.text',
    ),
    'currency': (
        lambda value: part(
            'body',
            {
                'type': 'currency',
                'currency': {'fallback_value': value, 'code': 'USD', 'amount_1000': 1},
            },
        ),
        '0.parameters.0.currency.fallback_value',
    ),
    'date': (
        lambda value: part('body', {'type': 'date_time', 'date_time': {'fallback_value': value}}),
        '0.parameters.0.date_time.fallback_value',
    ),
    'url': (
        lambda value: part('button', said(value), sub_type='url', index=0),
        '0.parameters.0.text',
    ),
    'code': (
        lambda value: part(
            'button', {'type': 'coupon_code', 'coupon_code': value}, sub_type='copy_code', index=0
        ),
        '0.parameters.0.coupon_code',
    ),
    'card': (
        lambda value: {
            'type': 'carousel',
            'cards': [{'card_index': 0, 'components': [part('body', said(value))]}],
        },
        '0.cards.0.components.0.parameters.0.text',
    ),
}


@pytest.mark.parametrize('place', PLACES)
def test_a_variable_that_meta_refuses_is_422_and_named_wherever_it_stands(acme, place):
    component, path = PLACES[place]
    for value in REFUSED:
        answer = send(acme, template(component(value)))
        assert (answer.status_code, list(answer.json['errors'])) == (
            422,
            [f'template.components.{path}'],
        ), repr(value)
    for value in TAKEN:
        assert send(acme, template(component(value))).status_code == 202, repr(value)
    assert len(acme.messages()) == len(TAKEN)


def test_a_payload_which_nobody_reads_may_have_any_blanks(acme):
    payload = {'type': 'payload', 'payload': '{\n\t"a":      1}'}
    assert (
        send(acme, template(part('button', payload, sub_type='quick_reply', index=0))).status_code
        == 202
    )


def test_what_is_not_to_be_checked_is_not(acme):
    assert send(acme, template(part('body', said('a\nb'))), validate=False).status_code == 202


def test_a_fallback_is_checked_like_a_template(acme):
    body = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'text': {'body': 'a\nb'}}
    answer = acme.post('/send', body | {'fallback_template': template(part('body', said('a\nb')))})
    assert list(answer.json['errors']) == ['fallback_template.components.0.parameters.0.text']
    assert (
        acme.post(
            '/send', body | {'fallback_template': template(part('body', said('a')))}
        ).status_code
        == 202
    )


# ---- bulks, row by row


def bulk(acme, message, *parameters):
    recipients = [
        {'to': f'+120255501{at:02}', 'parameters': one} for at, one in enumerate(parameters)
    ]
    return acme.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients}
    )


def rejected(batch):
    assert batch.status_code == 202, batch.text
    return {row['line']: list(row['errors']) for row in batch.json['rejected_rows']}


def test_a_template_that_takes_all_parameters_names_the_one_that_is_bad(acme):
    message = {'type': 'template', 'template': {'name': 'order_ready', 'language': LANGUAGE}}
    values = [{'1': 'Ana', '2': value} for value in REFUSED]
    batch = bulk(acme, message, {'1': 'Ana', '2': 'x'}, *values)
    assert rejected(batch) == {line: ['parameters.2'] for line in range(2, len(values) + 2)}


def test_a_placeholder_in_a_template_is_looked_at_with_what_stands_around_it(acme):
    message = {'type': 'template', 'template': template(part('body', said('Dear  {{who}}')))}
    path = 'template.components.0.parameters.0.text'
    batch = bulk(
        acme,
        message,
        {'who': 'Ana'},
        {'who': '  x'},
        {'who': '   x'},
        {'who': 'Ana\n'},
        {'who': ' '},
    )
    assert rejected(batch) == {3: [path], 4: [path]}


def test_a_bulks_fallback_is_filled_and_looked_at_too(acme):
    fallback = template(part('body', said('{{who}}')))
    message = {'text': {'body': 'Hello {{who}}'}, 'fallback_template': fallback}
    batch = bulk(acme, message, {'who': 'Ana'}, {'who': 'Ana\nMaria'})
    assert rejected(batch) == {2: ['fallback_template.components.0.parameters.0.text']}


def test_a_cell_of_a_csv_may_hold_a_line_end_and_its_row_is_rejected(acme):
    query = {'chatbot_id': CHATBOT, 'template': 'order_ready', 'language': 'en_US'}
    data = 'to,1,2\n+12025550143,Ana,x\n+12025550144,"Ana\nMaria",x\n+12025550145,Ana,"   "\n'
    batch = acme.request(
        'POST', '/send/bulk', query_string=query, data=data, headers={'Content-Type': 'text/csv'}
    )
    assert rejected(batch) == {3: ['parameters.1'], 5: ['parameters.2']}


def test_a_bulk_in_which_no_row_is_good_is_refused(acme):
    message = {'type': 'template', 'template': {'name': 'order_ready', 'language': LANGUAGE}}
    answer = bulk(acme, message, {'1': 'Ana\nMaria'})
    assert (answer.status_code, list(answer.json['errors'])) == (422, ['line 1, parameters.1'])


def test_what_a_responder_says_is_checked_too(acme, meta, workers):
    with Platform() as platform:
        acme.account(responder={'kind': 'http', 'url': platform.url})
        sent = template(part('body', said('a\nb')))
        platform.answer(200, {'messages': [{'type': 'template', 'template': sent}]})
        meta.webhook(envelope([text_message()], contacts=[contact()]))
        workers.incoming()
    ((error,),) = sql('SELECT reply_error FROM conversation')
    assert list(error['errors']) == ['template.components.0.parameters.0.text']


# ---- which templates there are


@pytest.fixture
def listed(acme, workers, stand_in):
    """The list of templates has been read: hello_world and order_ready, both in en_US."""
    workers.errands()
    return acme


UNKNOWN = [
    ({'name': 'order_redy'}, 'name', ['hello_world', 'order_ready']),
    ({'language': {'code': 'pt_BR'}}, 'language.code', ['en_US']),
    ({'language': {'code': 'en'}}, 'language.code', ['en_US']),
]


@pytest.mark.parametrize(('change', 'path', 'words'), UNKNOWN)
def test_a_template_that_does_not_exist_is_422_and_those_that_do_are_named(
    listed, change, path, words
):
    sent = template(part('body', said('a'))) | change
    answer = send(listed, sent)
    ((field, (sentence,)),) = answer.json['errors'].items()
    assert (answer.status_code, field) == (422, f'template.{path}')
    assert all(word in sentence for word in words)
    assert send(listed, sent, validate=False).status_code == 202


@pytest.mark.parametrize(('change', 'path', 'words'), UNKNOWN)
def test_so_is_a_fallback_and_the_template_of_a_bulk(listed, change, path, words):
    sent = template(part('body', said('a'))) | change
    body = {
        'chatbot_id': CHATBOT,
        'to': f'+{CUSTOMER}',
        'text': {'body': 'x'},
        'fallback_template': sent,
    }
    assert list(listed.post('/send', body).json['errors']) == [f'fallback_template.{path}']
    answer = bulk(listed, {'type': 'template', 'template': sent}, {})
    assert (answer.status_code, list(answer.json['errors'])) == (422, [f'message.template.{path}'])
    query = {'chatbot_id': CHATBOT, 'template': sent['name'], 'language': sent['language']['code']}
    answer = listed.request(
        'POST',
        '/send/bulk',
        query_string=query,
        data='to\n+12025550143\n',
        headers={'Content-Type': 'text/csv'},
    )
    assert list(answer.json['errors']) == [f'message.template.{path}']


def test_as_long_as_the_list_is_not_known_it_is_left_to_meta(acme):
    assert send(acme, template(name='anything')).status_code == 202
    acme.account(chatbot_id='other', phone_number_id='5')
    assert send(acme, template(name='anything'), chatbot_id='other').status_code == 202


def test_a_template_that_is_not_in_the_list_has_it_read_again(listed, workers, stand_in):
    made = {
        'name': 'brand_new',
        'language': 'en_US',
        'category': 'UTILITY',
        'components': [{'type': 'BODY', 'text': 'Hi'}],
    }
    where = f'{stand_in.url}/v26.0/{WABA}/message_templates'
    assert requests.post(
        where, json=made, headers={'Authorization': 'Bearer token-of-acme'}, timeout=10
    ).ok
    assert send(listed, template(name='brand_new')).status_code == 422
    sql("UPDATE template_sync SET due_at = due_at - interval '31 seconds'")
    workers.errands()
    assert send(listed, template(name='brand_new')).status_code == 202


def test_a_deleted_template_is_not_among_those_that_exist(listed):
    sql("UPDATE template SET status = 'DELETED' WHERE name = 'hello_world'")
    (sentence,) = send(listed, template(name='nothing')).json['errors']['template.name']
    assert 'order_ready' in sentence
    assert 'hello_world' not in sentence


def test_a_name_that_a_row_fills_in_is_left_to_meta(listed):
    message = {
        'type': 'template',
        'template': {'name': '{{which}}', 'language': LANGUAGE, 'components': []},
    }
    assert rejected(bulk(listed, message, {'which': 'hello_world'})) == {}
