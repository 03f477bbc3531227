"""The 24-hour window: what is refused, what goes instead, what is left to Meta."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from service.runtime.db import connection, db, execute, fetch
from service.sending import send_policy
from service.sending.outbound_message import OutboundMessage
from tests.people import CHATBOT, CUSTOMER, envelope, sql, status_of, text_message

FALLBACK = {'name': 'hello_world', 'language': {'code': 'en_US'}}
DAY = 24 * 3600
OUTSIDE = 131047


@pytest.fixture
def acme(backend, stand_in):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture
def heard(acme, meta, workers):
    """heard(seconds_ago): a customer writes, by Meta's time; more keys are the message's."""

    def write(ago=0, phone=CUSTOMER, **more):
        wrote = text_message(
            wamid=f'wamid.{time.time_ns()}', phone=phone, at=int(time.time() - ago), **more
        )
        meta.webhook(envelope([wrote]))
        workers.incoming()

    return write


def post(backend, to=f'+{CUSTOMER}', key=None, **more):
    content = {} if 'type' in more else {'text': {'body': 'Hi'}}
    body = {'chatbot_id': CHATBOT, 'to': to, **content, **more}
    return backend.post('/send', body, headers={'Idempotency-Key': key} if key else None)


def since(ago):
    """The last message of every customer came so many seconds ago."""
    sql("UPDATE conversation SET last_inbound_at = now() - %s * interval '1 second'", ago)


def rfc(moment):
    return moment.astimezone(UTC).isoformat(timespec='microseconds').replace('+00:00', 'Z')


def test_a_free_form_message_after_the_window_is_refused_with_the_time_it_closed(acme, heard):
    heard(DAY + 60)
    answer = post(acme)
    assert (answer.status_code, answer.content_type) == (409, 'application/problem+json')
    (last,) = sql('SELECT last_inbound_at FROM conversation')[0]
    closed_at = rfc(last + timedelta(hours=24))
    assert (
        answer.json['window_closed_at'] == closed_at == acme.conversations()[0]['window_expires_at']
    )
    assert all(
        word in answer.json['detail']
        for word in (closed_at, 'template', 'fallback_template', 'force')
    )
    assert acme.messages(direction='outbound') == []


@pytest.mark.parametrize(('ago', 'code', 'is_open'), [(DAY - 5, 202, True), (DAY, 409, False)])
def test_the_window_closes_after_24_hours_exactly(acme, heard, ago, code, is_open):
    heard()
    since(ago)
    assert acme.conversations()[0]['window_open'] is is_open
    assert post(acme).status_code == code


@pytest.mark.parametrize(('age', 'closed'), [('23:59:59.999999', 0), ('24:00:00', 1)])
def test_the_last_microsecond_counts(acme, heard, age, closed):
    heard()
    with connection(), db.atomic():  # in which now() stands still
        execute('UPDATE conversation SET last_inbound_at = now() - %s::interval', (age,))
        ((conversation,),) = fetch('SELECT id FROM conversation')
        message = OutboundMessage(conversation, {'type': 'text', 'text': {'body': 'Hi'}}, {})
        assert len(send_policy.decide_all(message, [conversation])) == closed


CONTENTS = [
    {'type': 'image', 'image': {'link': 'https://example.com/a.png'}},
    {'type': 'location', 'location': {'latitude': 1.5, 'longitude': 2.5}},
    {'type': 'reaction', 'reaction': {'message_id': 'wamid.A', 'emoji': '👍'}},
]


@pytest.mark.parametrize('content', CONTENTS, ids=lambda content: content['type'])
def test_every_type_but_a_template_is_free_form(acme, heard, content):
    heard(DAY + 60)
    assert post(acme, **content).status_code == 409
    assert post(acme, type='template', template=FALLBACK).status_code == 202


def test_who_never_wrote_is_left_to_meta(acme):
    for _ in range(2):
        assert post(acme).status_code == 202
    assert acme.conversations()[0]['window_open'] is None


def test_a_group_has_no_window(acme, heard):
    heard(DAY + 60, group_id='group-1')
    assert post(acme, 'group-1', recipient_type='group').status_code == 202
    assert [one['window_open'] for one in acme.conversations()] == [None]


def test_force_leaves_it_to_meta(acme, heard, workers, stand_in):
    heard(DAY + 60)
    assert post(acme, force=True).status_code == 202
    assert post(acme, force=False).status_code == 409
    workers.send()
    assert [call['body']['type'] for call in stand_in.sends()] == ['text']


def test_the_fallback_template_goes_instead(acme, heard, workers, stand_in):
    heard(DAY + 60)
    answer = post(acme, fallback_template=FALLBACK, client_reference='r-1')
    assert answer.status_code == 202, answer.text
    message = answer.json
    assert (message['type'], message['content'], message['client_reference']) == (
        'template',
        FALLBACK,
        'r-1',
    )
    assert (message['replaced'], message['fallback_template']) == (
        {'type': 'text', 'content': {'body': 'Hi'}},
        None,
    )
    workers.send()
    assert [call['body']['template'] for call in stand_in.sends()] == [FALLBACK]
    assert acme.message(message['id'])['status'] == 'accepted'


def test_inside_the_window_the_message_itself_goes(acme, heard, workers, stand_in):
    heard()
    message = post(acme, fallback_template=FALLBACK).json
    assert (message['type'], message['fallback_template'], message['replaced']) == (
        'text',
        FALLBACK,
        None,
    )
    workers.send()
    assert [call['body']['type'] for call in stand_in.sends()] == ['text']


def test_a_refusal_does_not_use_the_key_up(acme, heard):
    heard(DAY + 60)
    assert [post(acme, key='k').status_code for _ in range(2)] == [409, 409]
    heard()
    answers = [post(acme, key='k') for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json['id'] for answer in answers}) == 1


# The database could not look into it: such a row would stop the claim of all others.
FLOW = {
    'type': 'button',
    'sub_type': 'flow',
    'index': '0',
    'parameters': [{'type': 'action', 'action': {'flow_action_data': {'\x00': 'x'}}}],
}
BAD = [
    ({'fallback_template': {'name': 'x'}}, 'fallback_template.language'),
    ({'fallback_template': 'x'}, 'fallback_template'),
    ({'fallback_template': {**FALLBACK, 'name': ''}}, 'fallback_template.name'),
    ({'fallback_template': FALLBACK, 'force': True}, 'force'),
    ({'force': 'perhaps'}, 'force'),
    ({'force': 'true'}, 'force'),
    (
        {'type': 'template', 'template': FALLBACK, 'fallback_template': FALLBACK},
        'fallback_template',
    ),
    ({'fallback_template': {**FALLBACK, 'components': [FLOW]}}, 'fallback_template'),
]


def test_a_fallback_template_is_checked_like_a_template(acme):
    for more, field in BAD:
        answer = post(acme, **more)
        assert (answer.status_code, list(answer.json['errors'])) == (422, [field]), more


@pytest.mark.parametrize('kind', ['reaction', 'unsupported', 'image', 'edit', 'button'])
def test_whatever_a_customer_does_opens_the_window(acme, heard, kind):
    heard(DAY + 60)
    heard(0, type=kind)
    assert post(acme).status_code == 202


def test_what_comes_late_does_not_open_it_longer(acme, heard):
    heard(60)
    heard(DAY + 60)
    assert post(acme).status_code == 202


def test_a_message_from_the_future_opens_it_for_24_hours(acme, heard):
    heard(-DAY)
    assert sql('SELECT last_inbound_at <= now() FROM conversation') == [(True,)]


# ---- what waits while the window closes


def show(backend, message):
    row = backend.message(message['id'])
    return row['status'], row['type'], row['attempts']


def test_a_scheduled_message_finds_its_window_closed(acme, heard, workers, stand_in):
    heard()
    later = rfc(datetime.now(UTC) + timedelta(hours=1))
    message = post(acme, fallback_template=FALLBACK, send_at=later).json
    alone = post(acme, send_at=later).json
    since(DAY)
    sql("UPDATE message SET due_at = now(), send_at = now() WHERE status = 'scheduled'")
    workers.promote()
    workers.send()
    assert show(acme, message) == ('accepted', 'template', 1)
    assert acme.message(message['id'])['replaced'] == {'type': 'text', 'content': {'body': 'Hi'}}
    assert show(acme, alone)[1] == 'text', 'without a fallback it is left to Meta'
    assert [call['body']['type'] for call in stand_in.sends()] == ['template', 'text']


def test_a_held_message_finds_its_window_closed(acme, heard, workers, stand_in):
    heard()
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")
    message = post(acme, fallback_template=FALLBACK).json
    assert message['status'] == 'held'
    since(DAY)
    acme.post(f'/account/{CHATBOT}/resume')
    workers.send()
    assert show(acme, message) == ('accepted', 'template', 1)


def test_the_message_itself_goes_when_the_customer_wrote_again(acme, heard, workers, stand_in):
    heard(DAY - 60)
    message = post(acme, fallback_template=FALLBACK).json
    since(DAY + 60)
    heard()
    workers.send()
    assert show(acme, message) == ('accepted', 'text', 1)


# ---- Meta says that it has closed


def test_meta_answers_that_it_has_closed_and_the_template_goes(acme, workers, stand_in):
    message = post(acme, '+19991310471', fallback_template=FALLBACK).json  # refused once
    workers.send()
    assert show(acme, message) == ('accepted', 'template', 1)
    row = acme.message(message['id'])
    assert (row['replaced'], row['error'], row['fallback_template']) == (
        {'type': 'text', 'content': {'body': 'Hi'}},
        None,
        None,
    )
    assert [(one['attempt'], one['code']) for one in row['tries']] == [(1, OUTSIDE)]
    assert [call['body']['type'] for call in stand_in.sends()] == ['text', 'template']


def test_without_a_fallback_meta_has_the_last_word(acme, workers):
    message = post(acme, '+19991310471').json
    workers.send()
    assert show(acme, message) == ('failed', 'text', 1)
    assert 'rare fault' in acme.message(message['id'])['fix']


def test_a_template_that_took_the_place_is_not_replaced_again(acme, workers, stand_in):
    message = post(acme, '+19991310470', fallback_template=FALLBACK).json  # always refused
    workers.send()
    assert show(acme, message) == ('failed', 'template', 1)
    assert len(stand_in.sends()) == 2


def failed(meta, workers, backend, message, at=None):
    wamid = backend.message(message['id'])['wamid']
    errors = [{'code': OUTSIDE, 'title': 'Re-engagement message'}]
    told = status_of(
        wamid, 'failed', at=at or int(time.time()), opaque=message['id'], errors=errors
    )
    meta.webhook(envelope(statuses=[told]))
    workers.incoming()
    return wamid


def test_a_failed_status_says_that_it_has_closed_and_the_template_goes(
    acme, meta, workers, stand_in
):
    message = post(acme, fallback_template=FALLBACK).json
    workers.send()
    first = failed(meta, workers, acme, message)
    assert show(acme, message) == ('queued', 'template', 0)
    workers.send()
    assert show(acme, message) == ('accepted', 'template', 1)
    meta.webhook(envelope(statuses=[status_of(first, 'delivered', opaque=message['id'])]))
    workers.incoming()
    assert show(acme, message) == ('accepted', 'template', 1), 'of the attempt that failed'
    assert [call['body']['type'] for call in stand_in.sends()] == ['text', 'template']


def test_without_a_fallback_a_failed_status_is_final(acme, meta, workers):
    message = post(acme).json
    workers.send()
    failed(meta, workers, acme, message)
    assert show(acme, message) == ('failed', 'text', 1)
