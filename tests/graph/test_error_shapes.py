"""Meta's reason is kept in whatever shape it comes: in statuses, answers, value errors and
messages.
"""

import json

import pytest

from service.graph.error_shapes import code_in, details_in, error_in, errors_in, title_in
from tests.own_service import Platform
from tests.people import CUSTOMER, envelope, sql, status_of, text_message

CODE, TITLE, DETAILS = (
    131026,
    'Message undeliverable',
    'Receiver is incapable of receiving this message',
)
PLAIN = {'code': CODE, 'title': TITLE}
WHOLE = {
    'as documented': [PLAIN | {'error_data': {'details': DETAILS}}],
    'an object': PLAIN | {'error_data': {'details': DETAILS}},
    'objects by number': {'0': PLAIN | {'details': DETAILS}, '1': {'code': 1}},
    'details at the top': [PLAIN | {'details': DETAILS}],
    'error_data as text': [PLAIN | {'error_data': DETAILS}],
    'error_data as JSON text': [PLAIN | {'error_data': json.dumps({'details': DETAILS})}],
    'error_data as a list': [PLAIN | {'error_data': [DETAILS]}],
    'error_data as a list of objects': [
        PLAIN | {'error_data': [{'messaging_product': 'whatsapp', 'details': DETAILS}]}
    ],
    'details as objects': [PLAIN | {'error_data': {'details': [{'message': DETAILS}, 5, None]}}],
    'all in JSON text': json.dumps([PLAIN | {'details': DETAILS}]),
    'each in JSON text': [json.dumps(PLAIN | {'error_data': {'details': DETAILS}})],
    'below error': [{'error': PLAIN | {'error_data': {'details': DETAILS}}}],
    'below error as JSON text': {'error': json.dumps(PLAIN | {'details': DETAILS})},
    'the code as text': [{'code': str(CODE), 'message': TITLE, 'error_data': {'details': DETAILS}}],
    'the code as a float': [
        {'code': float(CODE), 'message': TITLE, 'error_data': {'details': DETAILS}}
    ],
    'for a user': [PLAIN | {'error_user_title': 'Oh', 'error_user_msg': DETAILS}],
}
ODD = [
    None,
    5,
    True,
    '',
    ' ',
    [],
    {},
    [None],
    [5],
    ['', {}],
    [[PLAIN]],
    {'a': 1},
    '{',
    '[' * 5000,
    {'error': 5},
]


def shown(error):
    return error and tuple(error[name] for name in ('code', 'title', 'details'))


@pytest.mark.parametrize('errors', WHOLE.values(), ids=WHOLE)
def test_a_status_keeps_the_reason(backend, meta, workers, stand_in, errors):
    backend.account()
    sent = backend.send()
    workers.send()
    wamid = backend.message(sent['id'])['wamid']
    meta.webhook(envelope(statuses=[status_of(wamid, 'failed', errors=errors)]))
    workers.incoming()
    message = backend.message(sent['id'])
    assert (message['status'], shown(message['error'])) == ('failed', (CODE, TITLE, DETAILS))
    assert message['statuses'][-1]['errors']


@pytest.mark.parametrize('errors', WHOLE.values(), ids=WHOLE)
def test_a_value_error_keeps_the_reason(backend, meta, workers, errors):
    backend.account()
    body = envelope()
    body['entry'][0]['changes'][0]['value']['errors'] = errors
    meta.webhook(body)
    workers.incoming()
    (event,) = backend.events()
    item = event['items'][0]
    assert (item['kind'], item['outcome'], item['detail']) == (
        'value_error',
        'stored',
        f'{TITLE}: {DETAILS}',
    )


@pytest.mark.parametrize('errors', WHOLE.values(), ids=WHOLE)
def test_a_message_that_meta_could_not_hand_on_says_why(backend, meta, workers, errors):
    backend.account(responder={'kind': 'none'})
    message = text_message() | {'type': 'unknown', 'errors': errors}
    del message['text']
    meta.webhook(envelope([message]))
    workers.incoming()
    assert shown(backend.messages()[0]['error']) == (CODE, TITLE, DETAILS)


@pytest.mark.parametrize('kind', WHOLE)
@pytest.mark.parametrize('where', ['error', 'errors'])
def test_an_answer_keeps_the_reason(backend, workers, setting, kind, where):
    with Platform() as graph:
        setting('GRAPH_API_URL', graph.url)
        backend.account()
        graph.answer(400, {where: WHOLE[kind]})
        sent = backend.send()
        workers.send()
    message = backend.message(sent['id'])
    assert (message['status'], shown(message['error'])) == ('failed', (CODE, TITLE, DETAILS))


@pytest.mark.parametrize(
    ('status', 'body', 'state', 'title', 'details'),
    [
        (
            400,
            {'error': 'invalid_request', 'error_description': 'No such number'},
            'failed',
            'invalid_request',
            'No such number',
        ),
        (400, {'message': 'Bad request'}, 'failed', 'Bad request', None),
        (400, {'error': 'It broke'}, 'failed', 'It broke', None),
        (400, {'error': ['It broke']}, 'failed', 'It broke', None),
        (400, {'anything': 'else'}, 'failed', 'Meta answered HTTP 400', None),
        (
            504,
            {'message': 'Endpoint request timed out'},
            'unknown',
            'Meta answered HTTP 504 without a Graph error',
            'Endpoint request timed out',
        ),
        (
            503,
            {'error': 'Try later'},
            'unknown',
            'Meta answered HTTP 503 without a Graph error',
            'Try later',
        ),
        (503, {'errors': {'code': 131016, 'title': 'Down'}}, 'queued', 'Down', None),
        (500, {'error': json.dumps({'code': 131016, 'message': 'Down'})}, 'queued', 'Down', None),
    ],
)
def test_words_in_place_of_an_error(backend, workers, setting, status, body, state, title, details):
    """Without a code a 5xx is a lost answer all the same, but what it says is kept."""
    with Platform() as graph:
        setting('GRAPH_API_URL', graph.url)
        backend.account()
        graph.answer(status, body)
        sent = backend.send()
        workers.send()
    message = backend.message(sent['id'])
    assert (message['status'], message['error']['title'], message['error']['details']) == (
        state,
        title,
        details,
    )


@pytest.mark.parametrize('error', ['It broke', {'message': 'It broke'}])
def test_a_status_may_say_it_in_the_singular(backend, meta, workers, stand_in, error):
    backend.account()
    sent = backend.send()
    workers.send()
    wamid = backend.message(sent['id'])['wamid']
    meta.webhook(envelope(statuses=[status_of(wamid, 'failed', error=error)]))
    workers.incoming()
    assert backend.message(sent['id'])['error']['title'] == 'It broke'


@pytest.mark.parametrize('errors', [[{'code': '131050'}], {'code': 131050}, '[{"code": 131050}]'])
def test_a_person_who_wants_no_marketing_is_believed_in_any_shape(
    backend, meta, workers, stand_in, errors
):
    backend.account()
    sent = backend.send()
    workers.send()
    wamid = backend.message(sent['id'])['wamid']
    meta.webhook(envelope(statuses=[status_of(wamid, 'failed', errors=errors)]))
    workers.incoming()
    assert sql('SELECT opted_out_by FROM conversation WHERE wa_id = %s', CUSTOMER) == [('meta',)]


@pytest.mark.parametrize('value', ODD, ids=lambda value: str(value)[:20])
def test_nothing_in_place_of_errors_raises(value):
    for error in errors_in(value):
        code_in(error), title_in(error), details_in(error)
    error_in({'error': value, 'errors': value})
    error_in({'errors': value})
    for name in ('code', 'title', 'message', 'details', 'error_data', 'error'):
        for error in errors_in([{name: value}]):
            code_in(error), title_in(error), details_in(error)


@pytest.mark.parametrize('value', ODD, ids=lambda value: str(value)[:20])
def test_an_odd_value_costs_neither_its_neighbours_nor_the_event(
    backend, meta, workers, stand_in, value
):
    backend.account()
    sent = backend.send()
    workers.send()
    wamid = backend.message(sent['id'])['wamid']
    body = envelope([text_message()], [status_of(wamid, 'failed', errors=value)])
    body['entry'][0]['changes'][0]['value']['errors'] = value
    meta.webhook(body)
    workers.incoming()
    (event,) = backend.events()
    assert event['status'] == 'processed'
    assert {item['outcome'] for item in event['items'] if item['kind'] != 'value_error'} == {
        'stored'
    }
    assert {item['outcome'] for item in event['items'] if item['kind'] == 'value_error'} <= {
        'invalid',
        'stored',
    }
    assert backend.message(sent['id'])['status'] == 'failed'
