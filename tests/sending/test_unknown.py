"""Answers that were lost: what is sent again once, what never, and what a person may do."""

import pytest

from service.graph.error_codes import look_up
from tests.people import CHATBOT, envelope, sql, status_of

LOST, RESET, HTML, NO_ID = (f'+1998000001{kind}' for kind in (2, 3, 5, 6))
WABA = '880011223344556'
LOGIN = {'name': 'login', 'language': {'code': 'en_US'}}


@pytest.fixture
def acme(backend, stand_in):
    backend.account(waba_id=WABA)
    return backend


def body_with(text, **more):
    return {'type': 'body', 'parameters': [{'type': 'text', 'text': text, **more}]}


def button_with(text, sub_type='url', index='0'):
    return {
        'type': 'button',
        'sub_type': sub_type,
        'index': index,
        'parameters': [{'type': 'text', 'text': text}],
    }


def send_template(backend, to=LOST, validate=True, **template):
    body = {
        'chatbot_id': CHATBOT,
        'to': to,
        'type': 'template',
        'template': LOGIN | template,
        'validate': validate,
    }
    answer = backend.post('/send', body)
    assert answer.status_code == 202, answer.text
    return answer.json


def grace_is_over(workers):
    sql("UPDATE message SET due_at = now() WHERE status = 'unknown'")
    workers.sweep()
    workers.send()


def tell(meta, workers, field, waba=WABA, **value):
    value = {'message_template_name': 'login', 'message_template_language': 'en_US', **value}
    change = {'field': field, 'value': value}
    meta.webhook(
        {'object': 'whatsapp_business_account', 'entry': [{'id': waba, 'changes': [change]}]}
    )
    workers.incoming()


def calls(stand_in, message):
    return sum(call['opaque'] == message['id'] for call in stand_in.sends())


@pytest.mark.parametrize(('how', 'status'), [('pause', 'held'), ('cancel', 'cancelled')])
def test_what_a_batch_stops_is_not_sent_again(acme, workers, stand_in, how, status):
    """Though nothing else of it waited when the clock looked."""
    body = {'chatbot_id': CHATBOT, 'message': {'text': {'body': 'Hi'}}, 'recipients': [LOST]}
    batch = acme.post('/send/bulk', body).json
    workers.send()
    assert acme.post(f'/batches/{batch["id"]}/{how}').status_code == 200
    grace_is_over(workers)
    assert sql('SELECT status FROM message') == [(status,)]
    assert len(stand_in.sends()) == 1


@pytest.mark.parametrize(
    ('to', 'cause', 'title'),
    [
        (LOST, 'no_answer', 'No answer from Meta'),
        (RESET, 'no_answer', 'No answer from Meta'),
        (HTML, 'http_5xx', 'Meta answered HTTP 500'),
        (NO_ID, 'no_id', 'Meta answered without a message id'),
    ],
)
def test_the_reason_and_every_attempt_are_visible(acme, workers, stand_in, to, cause, title):
    sent = acme.send(to)
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['explanation']) == ('unknown', look_up(cause).sentence)
    assert message['error']['title'].startswith(title)
    grace_is_over(workers)
    message = acme.message(sent['id'])
    assert (message['status'], calls(stand_in, sent)) == ('unknown', 2)
    grace_is_over(workers)
    message = acme.message(sent['id'])
    assert (message['status'], message['fix'], calls(stand_in, sent)) == (
        'failed',
        look_up(cause).fix,
        2,
    )
    assert [(one['attempt'], one['outcome']) for one in message['tries']] == [
        (1, 'unknown'),
        (2, 'unknown'),
    ]
    assert all(
        one['title'].startswith(title) and one['at'].endswith('Z') for one in message['tries']
    )


def test_a_dead_workers_attempt_is_visible_like_any_other(acme, workers):
    sent = acme.send()
    sql("UPDATE message SET status = 'sending', attempts = 1, due_at = now() - interval '1 s'")
    workers.sweep()
    message = acme.message(sent['id'])
    assert (message['status'], message['explanation']) == (
        'unknown',
        look_up('worker_stopped').sentence,
    )
    assert [one.keys() for one in message['tries']] == [
        {'attempt', 'at', 'outcome', 'code', 'title'}
    ]
    assert message['tries'][0]['attempt'] == 1


def test_an_authentication_template_is_never_sent_again(acme, workers, meta, stand_in):
    tell(
        meta,
        workers,
        'message_template_status_update',
        event='APPROVED',
        message_template_category='AUTHENTICATION',
    )
    code, other_language = send_template(acme), send_template(acme, language={'code': 'pt_BR'})
    workers.send()
    workers.send()
    grace_is_over(workers)
    assert acme.message(code['id'])['status'] == 'failed'
    assert acme.message(code['id'])['explanation'] == look_up('no_answer').sentence
    grace_is_over(workers)
    assert (calls(stand_in, code), calls(stand_in, other_language)) == (1, 2)


def test_the_category_is_the_one_that_meta_told_last(acme, workers, meta, stand_in):
    tell(
        meta,
        workers,
        'message_template_status_update',
        event='APPROVED',
        message_template_category='UTILITY',
    )
    tell(
        meta,
        workers,
        'template_category_update',
        new_category='AUTHENTICATION',
        previous_category='UTILITY',
    )
    tell(meta, workers, 'message_template_status_update', event='APPROVED')
    tell(
        meta,
        workers,
        'template_category_update',
        new_category='UTILITY',
        correct_category='UTILITY',
    )  # impending
    tell(meta, workers, 'template_category_update', waba='1', new_category='MARKETING')
    code = send_template(acme)
    workers.send()
    grace_is_over(workers)
    assert (acme.message(code['id'])['status'], calls(stand_in, code)) == ('failed', 1)


@pytest.mark.parametrize(
    ('components', 'times'),
    [
        ([body_with('123456'), button_with('123456')], 1),
        ([body_with('123456'), button_with('123456', 'copy_code')], 1),
        ([body_with('123456', parameter_name='code'), button_with('123456')], 1),
        ([{**body_with('7'), 'type': 'BODY'}, {**button_with('7'), 'type': 'BUTTON'}], 1),
        ([body_with('Ines'), button_with('orders/17')], 2),
        ([body_with('123456')], 2),
        ([button_with('123456')], 2),
        ([], 2),
        ({'type': 'body'}, 2),
        (['body', 7, None, {'type': 'body', 'parameters': 'x'}], 2),
    ],
)
def test_what_looks_like_a_one_time_code_is_not_sent_again(
    acme, workers, stand_in, components, times
):
    sent = send_template(acme, components=components, validate=False)
    workers.send()
    grace_is_over(workers)
    grace_is_over(workers)
    assert (acme.message(sent['id'])['status'], calls(stand_in, sent)) == ('failed', times)


def test_a_status_within_the_grace_settles_a_one_time_code_too(acme, workers, meta, stand_in):
    sent = send_template(acme, components=[body_with('1'), button_with('1')])
    workers.send()
    meta.webhook(envelope(statuses=[status_of('wamid.found', 'delivered', opaque=sent['id'])]))
    workers.incoming()
    grace_is_over(workers)
    message = acme.message(sent['id'])
    assert (message['status'], message['wamid'], message['error']) == (
        'delivered',
        'wamid.found',
        None,
    )


def test_a_person_may_send_an_unknown_message_again_without_waiting(acme, workers, stand_in):
    sent = send_template(acme, components=[body_with('1'), button_with('1')])
    workers.send()
    answer = acme.post(f'/messages/{sent["id"]}/retry')
    assert (answer.status_code, answer.json['status'], answer.json['attempts']) == (
        202,
        'queued',
        0,
    )
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], calls(stand_in, sent), len(message['tries'])) == ('unknown', 2, 2)
    grace_is_over(workers)
    assert (acme.message(sent['id'])['status'], calls(stand_in, sent)) == ('failed', 2)


def test_a_person_cannot_cancel_what_may_have_been_sent(acme, workers):
    sent = acme.send(LOST)
    workers.send()
    answer = acme.post(f'/messages/{sent["id"]}/cancel')
    assert answer.status_code == 409
    assert 'unknown' in answer.json['detail']


def test_an_unknown_message_of_a_held_account_waits_for_it(acme, workers, stand_in):
    sent, refused = acme.send(LOST), acme.send('+19991310421')
    workers.send()
    grace_is_over(workers)
    assert [acme.message(one['id'])['status'] for one in (sent, refused)] == ['held', 'held']
    acme.post(f'/account/{CHATBOT}/resume')
    workers.send()
    assert (acme.message(sent['id'])['status'], calls(stand_in, sent)) == ('unknown', 2)
