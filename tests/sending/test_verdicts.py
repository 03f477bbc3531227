"""The error table decides, for answers and `failed` statuses alike; test_retries.py has the delays
of answers.
"""

import json
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from service.graph.error_codes import look_up
from service.graph.outcome import Outcome
from service.runtime.db import connection
from service.sending import dispatch, send_outcome
from service.sending.send_outcome import SendResult
from tests.own_service import Platform
from tests.people import CHATBOT, envelope, sql, status_of, text_message
from tests.stack import PHONE_NUMBER_ID

OTHER_NUMBER = '300112233445567'


@pytest.fixture
def acme(backend, stand_in):
    backend.account()
    return backend


@pytest.fixture
def graph(setting):
    """A Graph API that answers what a test says, whatever is sent."""
    with Platform() as platform:
        setting('GRAPH_API_URL', platform.url)
        yield platform


def due_now():
    sql("UPDATE message SET due_at = now() WHERE status = 'queued'")
    sql('UPDATE conversation SET send_after = NULL')


def seconds_until_due(message_id):
    return sql(
        'SELECT extract(epoch FROM due_at - now())::float FROM message WHERE id = %s', message_id
    )[0][0]


class Told:
    """Meta tells of the latest attempt of a message."""

    def __init__(self, backend, meta, workers):
        self.backend, self.meta, self.workers = backend, meta, workers

    def __call__(self, message, name, wamid=None, **more):
        wamid = wamid or self.backend.message(message['id'])['wamid']
        self.meta.webhook(envelope(statuses=[status_of(wamid, name, opaque=message['id'], **more)]))
        self.workers.incoming()
        return self.backend.message(message['id'])

    def failed(self, message, code, **more):
        return self(message, 'failed', errors=[{'code': code, 'title': f'Error {code}'}], **more)


@pytest.fixture
def told(acme, meta, workers):
    return Told(acme, meta, workers)


@pytest.fixture
def accepted(acme, workers):
    """accepted(): a message that Meta took."""

    def send(to='+12025550143', **more):
        sent = acme.send(to, **more)
        workers.send()
        return acme.message(sent['id'])

    return send


STATUS_VERDICTS = [
    (131016, 'queued', 2),
    (130429, 'queued', 2),
    (131000, 'queued', 2),
    (131056, 'queued', 2),
    (4, 'queued', 2),
    (131057, 'queued', 60),
    (131049, 'queued', 86400),
    (133015, 'queued', 300),
    (131026, 'failed', None),
    (131047, 'failed', None),
    (131050, 'failed', None),
    (131053, 'failed', None),
    (999999, 'failed', None),
    (131042, 'held', None),
    (131031, 'held', None),
    (131048, 'held', None),
    (132015, 'held', None),
]


@pytest.mark.parametrize(('code', 'state', 'delay'), STATUS_VERDICTS)
def test_a_failed_status_is_judged_like_an_answer(accepted, told, code, state, delay):
    message = accepted()
    if code % 2:
        told(message, 'sent')  # or not: Meta leaves it out
    after = told.failed(message, code)
    assert (after['status'], after['error']['code']) == (state, code)
    assert (after['explanation'], after['fix']) == (look_up(code).sentence, look_up(code).fix)
    assert after['wamid'] == (message['wamid'] if state == 'failed' else None)
    assert [(one['attempt'], one['code']) for one in after['tries']] == [(1, code)]
    if delay:
        assert delay - 1.9 < seconds_until_due(message['id']) <= delay


def test_what_was_delivered_does_not_go_again(accepted, told):
    message = accepted()
    told(message, 'delivered')
    assert told.failed(message, 131016)['status'] == 'delivered'


def test_four_attempts_in_all_when_statuses_refuse_them(accepted, told, workers, stand_in):
    message = accepted()
    wamids = {message['wamid']}
    for delay in (2, 4, 8):
        assert told.failed(message, 131016)['status'] == 'queued'
        assert delay - 1.9 < seconds_until_due(message['id']) <= delay
        due_now()
        workers.send()
        wamids.add(told.backend.message(message['id'])['wamid'])
    message = told.failed(message, 131016)
    assert (message['status'], message['attempts'], len(wamids)) == ('failed', 4, 4)
    assert [one['attempt'] for one in message['tries']] == [1, 2, 3, 4]
    assert [one['status'] for one in message['statuses']].count('failed') == 4
    assert len(stand_in.sends()) == 4


def test_a_second_attempt_that_arrives_is_delivered(accepted, told, workers):
    message = accepted()
    told.failed(message, 131016)
    due_now()
    workers.send()
    message = told(message, 'delivered')
    assert (message['status'], message['error'], message['explanation']) == (
        'delivered',
        None,
        None,
    )
    assert message['attempts'] == 2


@pytest.mark.parametrize('moment', ['queued', 'accepted'])
def test_late_statuses_of_a_failed_attempt_say_nothing_of_the_next(accepted, told, workers, moment):
    message = accepted()
    told.failed(message, 131016)
    if moment == 'accepted':
        due_now()
        workers.send()
    before = told.backend.message(message['id'])
    after = told(message, 'sent', wamid=message['wamid'])
    assert (after['status'], after['wamid']) == (moment, before['wamid'])
    due_now()
    workers.send()
    assert told.backend.message(message['id'])['attempts'] == 2


def test_sent_and_failed_in_one_webhook_are_a_failure(acme, accepted, meta, workers):
    message = accepted()
    failed = status_of(message['wamid'], 'failed', errors=[{'code': 131016, 'title': 'x'}])
    meta.webhook(envelope(statuses=[status_of(message['wamid'], 'sent'), failed]))
    workers.incoming()
    assert acme.message(message['id'])['status'] == 'queued'


def test_a_failed_status_that_was_faster_than_the_answer_is_retried_too(
    acme, told, workers, stand_in
):
    """Between a worker's claim and its record."""
    sent = acme.send()
    with connection():
        (row,) = dispatch.claim({CHATBOT: 9}, 60)
    assert told.failed(sent, 131016, wamid='wamid.fast')['status'] == 'queued'
    with connection():
        outcome = Outcome('accepted', wamid='wamid.fast', wa_id='1')
        send_outcome.record([SendResult(row, outcome, datetime.now(UTC))])
    message = acme.message(sent['id'])
    assert (message['status'], message['wamid']) == ('queued', None)
    due_now()
    workers.send()
    assert (acme.message(sent['id'])['status'], len(stand_in.sends())) == ('accepted', 1)


@pytest.mark.parametrize('code', [131057, 131049, 133015])
def test_a_wait_of_its_own_does_not_hold_up_the_conversation(acme, workers, code):
    waiting, behind = acme.send(f'+1999{code:06}0', text='1'), None
    workers.send()
    sql("UPDATE conversation SET wa_id = '1'")
    behind = acme.send(f'+1999{code:06}0', text='2')
    workers.send()
    assert [acme.message(one['id'])['attempts'] for one in (waiting, behind)] == [1, 1]


@pytest.mark.parametrize('way', ['answer', 'status'])
@pytest.mark.parametrize('mended', ['token', 'resume'])
def test_an_account_that_meta_refuses_is_held_and_mended(
    acme, accepted, told, workers, meta, way, mended
):
    acme.account('other', OTHER_NUMBER)
    first = told.failed(accepted(), 131042) if way == 'status' else accepted('+19991310421')
    account = acme.get(f'/account/{CHATBOT}').json
    assert (first['status'], first['hold_reason']) == ('held', 'account')
    assert (account['send_state'], account['send_state_reason']['code']) == ('held', 131042)
    second, expiring, other = (
        acme.send('+12025550147'),
        acme.send('+12025550148'),
        acme.send(chatbot_id='other'),
    )
    sql("UPDATE message SET expires_at = now() + interval '0.01 s' WHERE id = %s", expiring['id'])
    meta.webhook(envelope([text_message('Anybody there?', phone='12025550149')]))
    workers.incoming()
    workers.send()
    (reply,) = [one for one in acme.messages(direction='outbound') if one['to'] == '+12025550149']
    states = [acme.message(one['id'])['status'] for one in (second, reply, other)]
    assert states == ['held', 'held', 'accepted']
    if mended == 'token':
        acme.account(access_token='fresh')
    else:
        assert acme.post(f'/account/{CHATBOT}/resume').status_code == 200
    workers.send()
    states = [acme.message(one['id'])['status'] for one in (first, second, reply)]
    assert states == ['accepted'] * 3
    assert acme.message(expiring['id'])['status'] in ('queued', 'expired')
    assert acme.get(f'/account/{CHATBOT}').json['send_state_reason'] is None


def test_a_deleted_number_is_mended_by_another_one(acme, accepted, workers, stand_in):
    message = accepted('+19990000331')
    acme.account(phone_number_id='300999')
    workers.send()
    assert acme.message(message['id'])['status'] == 'accepted'
    assert [call['phone_number_id'] for call in stand_in.sends()] == [PHONE_NUMBER_ID, '300999']


def test_a_wait_that_meta_asked_for_survives_a_hold_of_its_account(acme, accepted, workers):
    message = accepted('+19991310490')
    accepted('+19991310421')
    acme.post(f'/account/{CHATBOT}/resume')
    assert seconds_until_due(message['id']) > 86000


@contextmanager
def passing_time():
    """Rows that nobody writes to stay as they are, while their time comes."""
    sql('ALTER TABLE message DISABLE TRIGGER keep_message_marks')
    try:
        yield
    finally:
        sql('ALTER TABLE message ENABLE ALWAYS TRIGGER keep_message_marks')


def test_what_meta_wants_later_is_out_of_the_way_until_its_time(accepted, workers, stand_in):
    message = accepted('+19991310490')
    with passing_time():
        sql("UPDATE message SET due_at = now() - interval '1 second'")
    workers.send()
    assert len(stand_in.sends()) == 1  # the clock has not been there yet
    workers.promote()
    assert sql('SELECT status, deferred FROM message') == [('queued', False)]
    workers.send()
    assert len(stand_in.sends()) == 2
    assert seconds_until_due(message['id']) > 86000
    assert sql('SELECT deferred FROM message') == [(True,)]


def test_errors_of_our_own_are_explained_as_well(acme, workers, graph):
    graph.answer(200, {})
    sent = acme.send()
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['error']['code']) == ('unknown', None)
    assert message['error'].keys() == {'code', 'title', 'details', 'fbtrace_id'}
    assert message['explanation'] == look_up('no_id').sentence


ODD = [
    ('"190"', 'held', 190),
    ('" 131026"', 'failed', 131026),
    ('[190]', 'failed', None),
    ('{"a": 1}', 'failed', None),
    ('null', 'failed', None),
    ('true', 'failed', None),
    ('-1', 'failed', None),
    ('131026.0', 'failed', 131026),
    ('9' * 19, 'failed', int('9' * 19)),
    ('9' * 4000, 'failed', None),
    ('"\\u0000"', 'failed', None),
    ('1e400', 'failed', None),
    ('NaN', 'failed', None),
]


def test_odd_codes_in_an_answer_break_nothing(acme, workers, graph):
    for raw, state, code in ODD:
        graph.answer(
            400, b'{"error": {"message": "odd \\u0000 \\ud800", "code": %s}}' % raw.encode()
        )
        sent = acme.send()
        workers.send()
        message = acme.message(sent['id'])
        assert (raw, message['status'], message['error']['code']) == (raw, state, code)
        assert message['tries'][0]['code'] == code
        acme.post(f'/account/{CHATBOT}/resume')
        acme.post(f'/messages/{sent["id"]}/cancel')


def test_odd_codes_in_a_status_break_nothing(acme, accepted, meta, workers):
    odd = [one for one in ODD if one[0] != 'NaN']  # a webhook with it is no JSON
    messages = [accepted() for _ in odd]
    for (raw, *_), message in zip(odd, messages, strict=True):
        status = status_of(message['wamid'], 'failed', errors=[{'code': 'PLACE', 'title': 'odd'}])
        meta.webhook(json.dumps(envelope(statuses=[status])).replace('"PLACE"', raw).encode())
    workers.incoming()
    assert acme.outcomes() == [('status', 'stored')] * len(odd)
    for (raw, state, code), message in zip(odd, messages, strict=True):
        after = acme.message(message['id'])
        assert (raw, after['status'], after['error']['code']) == (raw, state, code)


@pytest.mark.parametrize(
    ('http_status', 'state'), [(400, 'failed'), (401, 'held'), (429, 'queued')]
)
def test_odd_bodies_are_judged_by_their_http_status(acme, workers, graph, http_status, state):
    bodies = (
        b'',
        b'[]',
        b'{"error": []}',
        b'{"error": {}}',
        b'{"error": "text"}',
        b'{"error": {"error_data": []}}',
    )
    for body in bodies:
        graph.answer(http_status, body)
        sent = acme.send()
        workers.send()
        assert (body, acme.message(sent['id'])['status']) == (body, state)
        acme.post(f'/account/{CHATBOT}/resume')
        acme.post(f'/messages/{sent["id"]}/cancel')
        sql('UPDATE conversation SET send_after = NULL')
