"""When a message leaves, until when it may, and what a person can still change."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from service.messages.state_machine import OUTBOUND
from tests.people import CHATBOT, sql
from tests.stack import wait_until

pytestmark = pytest.mark.alone

REFUSED, TRANSIENT, LOST = '+19991310260', '+19991310160', '+19980000002'


@pytest.fixture
def acme(backend, stand_in):
    backend.account()
    return backend


def at(**ahead):
    return datetime.now(UTC) + timedelta(**ahead)


def written(moment):
    return moment.isoformat().replace('+00:00', 'Z')


def post(backend, **more):
    return backend.post(
        '/send', {'chatbot_id': CHATBOT, 'to': '+12025550143', 'text': {'body': 'x'}, **more}
    )


def state(backend, message):
    return backend.message(message['id'])['status']


def time_passes(*names):
    """These times of all messages have come."""
    for name in names:
        sql(f"UPDATE message SET {name} = now() - interval '0.001 s' WHERE {name} IS NOT NULL")  # noqa: S608


def test_a_scheduled_message_is_sent_at_its_time_and_an_expired_one_never(
    acme, back_room, stand_in
):
    back_room(SEND_CONCURRENCY='2')
    """In real time, through the clock and the worker."""
    moment = at(seconds=1.3)
    sent = acme.send(send_at=written(moment))
    soon = acme.send('+12025550144', send_at=written(at(seconds=0.6)))
    late = acme.send(
        '+12025550145', send_at=written(at(seconds=0.5)), expires_at=written(at(seconds=0.7))
    )
    sql(
        "UPDATE conversation SET send_after = now() + interval '1 hour' WHERE wa_id = '12025550145'"
    )
    assert [one['status'] for one in (sent, soon)] == ['scheduled'] * 2
    assert sent['send_at'] == moment.strftime('%Y-%m-%dT%H:%M:%S.%fZ')
    wait_until(lambda: state(acme, sent) == 'accepted', 4)
    calls = {call['opaque']: call['wall'] for call in stand_in.sends()}
    assert 0 <= calls[sent['id']] - moment.timestamp() < 0.6
    assert calls.keys() == {sent['id'], soon['id']}
    history = [one['status'] for one in acme.message(sent['id'])['statuses']]
    assert history == ['scheduled', 'accepted']
    assert state(acme, late) == 'expired'


def test_a_time_that_has_passed_means_at_once(acme, workers):
    sent = acme.send(send_at=written(at(hours=-1)))
    assert (sent['status'], sent['statuses'][0]['status']) == ('queued', 'queued')
    workers.send()
    assert state(acme, sent) == 'accepted'


@pytest.mark.parametrize(
    'offset',
    [
        timedelta(hours=-3),
        timedelta(hours=20),
        -timedelta(hours=23, minutes=59),
        timedelta(hours=5, microseconds=7),
    ],
)
def test_times_may_have_any_offset(acme, offset):
    """PostgreSQL itself takes none of 16 hours, and no parts of a second."""
    moment = at(hours=2).replace(microsecond=0)
    given, shown = (
        moment.astimezone(timezone(offset)).isoformat(),
        moment.strftime('%Y-%m-%dT%H:%M:%S.000000Z'),
    )
    assert acme.send(send_at=given, expires_at=written(at(hours=3)))['send_at'] == shown
    order = {'message': {'text': {'body': 'Hi'}}, 'recipients': ['+12025550144'], 'send_at': given}
    made = acme.post('/send/bulk', {'chatbot_id': CHATBOT, **order})
    assert made.status_code == 202
    assert [one['send_at'] for one in acme.messages(batch_id=made.json['id'])] == [shown]


BAD_TIMES = [
    ('send_at', '2027-01-01T12:00:00'),
    ('expires_at', '2027-01-01T12:00:00'),
    ('send_at', 'tomorrow'),
    ('send_at', 1790000000),
    ('send_at', '0001-01-01T00:00:00+14:00'),
    ('expires_at', '9999-12-31T23:59:59-12:00'),
    ('send_at', ''),
    ('send_at', '2027-13-01T12:00:00Z'),
    ('expires_at', '2020-01-01T00:00:00Z'),
    ('send_at', '2027-01-01'),
    ('send_at', ['2027-01-01T12:00:00Z']),
]


def test_a_bad_time_is_refused(acme):
    for name, value in BAD_TIMES:
        answer = post(acme, **{name: value})
        assert (value, answer.status_code) == (value, 422)
        assert answer.json['errors'].keys() == {name}
    assert acme.messages() == []


def test_more_than_35_days_ahead_and_an_end_before_the_beginning_are_refused(acme):
    assert post(acme, send_at=written(at(days=34, hours=23))).status_code == 202
    assert post(acme, send_at=written(at(days=35, minutes=1))).status_code == 422
    assert (
        post(acme, send_at=written(at(hours=2)), expires_at=written(at(hours=1))).status_code == 422
    )


def _held(backend, workers):
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")
    return backend.send(expires_at=written(at(hours=1)))


def _scheduled(backend, workers):
    return backend.send(send_at=written(at(minutes=1)), expires_at=written(at(hours=1)))


def _queued(backend, workers):
    return backend.send(expires_at=written(at(hours=1)))


def _retried(backend, workers):
    sent = backend.send(TRANSIENT, expires_at=written(at(hours=1)))
    workers.send()
    return sent


def _unknown(backend, workers):
    sent = backend.send(LOST, expires_at=written(at(hours=1)))
    workers.send()
    return sent


@pytest.mark.parametrize('make', [_held, _scheduled, _queued, _retried, _unknown])
def test_nothing_is_sent_after_its_expires_at(acme, workers, stand_in, make):
    sent = make(acme, workers)
    before = len(stand_in.sends())
    time_passes('expires_at', 'due_at', 'send_at')
    sql('UPDATE conversation SET send_after = NULL')
    acme.post(f'/account/{CHATBOT}/resume')
    workers.send()
    for _ in range(2):
        workers.sweep()
        workers.promote()
        workers.send()
    assert len(stand_in.sends()) == before
    message = acme.message(sent['id'])
    assert message['status'] == 'expired'
    assert message['statuses'][-1]['status'] == 'expired'
    assert acme.post(f'/messages/{sent["id"]}/retry').status_code == 409


def test_what_expires_in_the_workers_own_buffer_is_not_sent(acme, workers, stand_in, setting):
    setting('SEND_CONCURRENCY', 8)  # and one more waits for a thread
    stand_in.config(latency=0.5)
    for n in range(8):
        acme.send(f'+1202555015{n}')
    waits = acme.send('+12025550160', expires_at=written(at(seconds=0.45)))
    assert waits['status'] == 'queued'
    workers.send()
    message = acme.message(waits['id'])
    assert (message['status'], message['error'], len(stand_in.sends())) == ('expired', None, 8)
    assert message['tries'][0]['outcome'] == 'expired'


@pytest.mark.parametrize('make', [_held, _scheduled, _queued, _retried])
def test_a_message_can_be_cancelled_until_it_is_claimed(acme, workers, stand_in, make):
    sent = make(acme, workers)
    before = len(stand_in.sends())
    answer = acme.post(f'/messages/{sent["id"]}/cancel')
    assert (answer.status_code, answer.json['status'], answer.json['hold_reason']) == (
        200,
        'cancelled',
        None,
    )
    time_passes('due_at', 'send_at')
    sql('UPDATE conversation SET send_after = NULL')
    acme.post(f'/account/{CHATBOT}/resume')
    workers.promote()
    workers.sweep()
    workers.send()
    assert (state(acme, sent), len(stand_in.sends())) == ('cancelled', before)
    answer = acme.post(f'/messages/{sent["id"]}/cancel')
    assert (answer.status_code, answer.content_type) == (409, 'application/problem+json')
    assert 'cancelled' in answer.json['detail']


def test_a_claimed_message_cannot_be_cancelled(acme, workers, stand_in):
    sent = acme.send('+19980004004')  # 0.4 s
    sending = threading.Thread(target=workers.send)
    sending.start()
    wait_until(lambda: state(acme, sent) == 'sending')
    codes = [
        acme.post(f'/messages/{sent["id"]}/{move}').status_code for move in ('cancel', 'retry')
    ]
    sending.join()
    assert codes == [409, 409]
    assert state(acme, sent) == 'accepted'


def test_a_failed_message_goes_again_by_hand_with_all_its_attempts(acme, workers, stand_in):
    sent = acme.send('+19991310261')  # refused once, for good
    workers.send()
    assert state(acme, sent) == 'failed'
    answer = acme.post(f'/messages/{sent["id"]}/retry')
    assert (answer.status_code, answer.json['status'], answer.json['error']) == (
        202,
        'queued',
        None,
    )
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['attempts'], len(message['tries'])) == ('accepted', 1, 1)


def test_nothing_but_failed_and_unknown_is_retried(acme):
    sent = acme.send()
    for status in OUTBOUND:
        if status in ('failed', 'unknown'):
            continue
        sql(
            'UPDATE message SET status = %s, hold_reason = %s',
            status,
            'account' if status == 'held' else None,
        )
        answer = acme.post(f'/messages/{sent["id"]}/retry')
        assert (answer.status_code, state(acme, sent)) == (409, status)
        assert status in answer.json['detail']


def test_a_retry_of_a_held_account_waits_for_it(acme, workers):
    sent = acme.send(REFUSED)
    workers.send()
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")
    assert acme.post(f'/messages/{sent["id"]}/retry').json['status'] == 'held'


def test_moves_of_messages_that_are_not_there(acme, workers, meta):
    for move in ('cancel', 'retry'):
        assert (
            acme.post(f'/messages/01920000-0000-7000-8000-000000000000/{move}').status_code == 404
        )
        assert acme.post(f'/messages/nonsense/{move}').status_code == 404
        assert (
            acme.post(
                f'/messages/{acme.send()["id"]}/{move}', headers={'Authorization': 'Bearer x'}
            ).status_code
            == 401
        )


def test_the_list_filters_by_the_new_states(acme):
    sent = acme.send()
    for status in ('scheduled', 'cancelled', 'expired', 'held', 'unknown'):
        sql(
            'UPDATE message SET status = %s, hold_reason = %s',
            status,
            'account' if status == 'held' else None,
        )
        assert [one['id'] for one in acme.messages(status=status)] == [sent['id']]
        assert acme.messages(status='queued') == []
    answer = acme.get('/messages', query_string={'status': 'waiting'})
    assert answer.status_code == 422
    assert 'scheduled' in answer.json['errors']['status'][0]


def test_no_more_than_max_queued_may_wait(acme, workers, setting):
    setting('MAX_QUEUED', 3)
    acme.account('other', '300112233445567')
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held' WHERE chatbot_id = 'acme'")
    for _ in range(3):
        acme.send()
    answer = post(acme)
    assert (answer.status_code, 'Retry-After' in answer.headers) == (429, True)
    assert acme.send(chatbot_id='other')['status'] == 'queued'
    acme.post(f'/account/{CHATBOT}/resume')
    workers.send()
    assert post(acme).status_code == 202
