"""An endpoint that fails: when it is tried again, when it is paused, and what that costs others."""

import threading
import time

import pytest

from service.events import delivery, delivery_outcome, endpoint_client
from service.events.delivery_outcome import DELAYS
from service.runtime.db import connection, db
from tests.listeners import SECRET, Listener, deliveries, is_signed, make_due, new_endpoint
from tests.people import sql
from tests.stack import free_port, wait_until
from workers import send_events

OTHER = '12025550199'


def endpoint_row(endpoint_id):
    """(state, code of its reason, whether it fails)"""
    return sql(
        "SELECT state, state_reason ->> 'code', failing_since IS NOT NULL FROM endpoint"
        ' WHERE id = %s',
        endpoint_id,
    )[0]


def error_of(endpoint_id):
    return sql('SELECT error FROM event_delivery WHERE endpoint_id = %s', endpoint_id)[0][0]


def test_it_is_tried_again_at_the_promised_times_and_then_given_up(workers, writes, listener, told):
    listener.answer(500)
    writes('Hello')
    for attempts, delay in enumerate(DELAYS, 1):
        workers.events()
        ((status, tried, wait),) = deliveries(told)
        assert (status, tried) == ('waiting', attempts)
        assert delay - 5 < wait <= delay * 1.2
        make_due(told)
    workers.events()
    assert deliveries(told) == [('failed', len(DELAYS) + 1, None)]
    assert len({ask['raw'] for ask in listener.asks}) == 1
    assert DELAYS == (5, 30, 120, 600, 3600, 10800, 21600, 43200)


def test_what_stands_behind_one_that_is_given_up_goes_on(workers, writes, listener, told):
    listener.answer(500)
    writes('first', 'second')
    workers.events()
    sql('UPDATE event_delivery SET attempts = 8 WHERE attempts = 1')
    make_due(told)
    workers.events()
    make_due(told)
    listener.answer(204)
    workers.events()
    assert [status for status, _, _ in deliveries(told)] == ['failed', 'delivered']
    assert listener.texts()[-1] == 'second'


@pytest.mark.parametrize('status', [200, 201, 204, 299])
def test_any_2xx_counts(workers, writes, listener, told, status):
    listener.answer(status)
    writes('Hello')
    workers.events()
    assert deliveries(told) == [('delivered', 1, None)]


@pytest.mark.parametrize('status', [300, 301, 302, 307, 308, 400, 404, 429, 500])
def test_nothing_else_counts_and_no_redirect_is_followed(workers, writes, listener, told, status):
    with Listener() as elsewhere:
        listener.answer(status, Location=f'{elsewhere.url}/events')
        writes('Hello')
        workers.events()
        assert deliveries(told)[0][0] == 'waiting'
        assert error_of(told) == f'HTTP {status}'
        assert len(listener.heard) == 1
        assert elsewhere.heard == []


def test_of_an_answer_without_an_end_only_the_beginning_is_read(workers, writes, listener, told):
    listener.answer(200, b'x' * 5_000_000)
    writes('Hello')
    workers.events()
    writes('again')
    workers.events()
    assert deliveries(told) == [('delivered', 1, None)] * 2


def test_nobody_waits_for_longer_than_the_time_limit(workers, writes, listener, told, monkeypatch):
    monkeypatch.setattr(endpoint_client, 'SECONDS', 0.3)
    listener.thinks()
    writes('Hello')
    workers.events()
    assert deliveries(told)[0][:2] == ('waiting', 1)
    assert error_of(told) == 'no answer within 0.3 s'


def test_nobody_there_and_no_public_address_are_told_as_such(backend, workers, writes, setting):
    setting('ALLOW_PRIVATE_URLS', 'yes')
    backend.account(responder={'kind': 'none'})
    nobody = new_endpoint(backend, f'http://127.0.0.1:{free_port()}/')
    writes('Hello')
    workers.events()
    assert error_of(nobody) == 'no answer (NewConnectionError)'
    setting('ALLOW_PRIVATE_URLS', 'no')
    make_due(nobody)
    workers.events()
    assert error_of(nobody) == 'it has no public address'


def test_a_410_pauses_it_at_once_and_what_waits_goes_on_when_it_is_resumed(
    backend, workers, writes, listener, told
):
    listener.answer(410)
    writes('a1', 'a2')
    workers.events()
    assert endpoint_row(told) == ('paused', 'gone', True)
    writes('b', phone=OTHER)
    make_due(told)
    workers.events()
    assert len(listener.heard) == 1
    assert [status for status, _, _ in deliveries(told)] == ['waiting'] * 3
    listener.answer(204)
    assert backend.post(f'/endpoints/{told}/resume').status_code == 200
    workers.events()
    assert sorted(listener.texts()[1:]) == ['a1', 'a2', 'b']
    assert endpoint_row(told) == ('active', None, False)


def test_three_days_of_nothing_but_failures_pause_it(workers, writes, listener, told):
    listener.answer(503)
    writes('a')
    workers.events()
    assert endpoint_row(told) == ('active', None, True)
    sql("UPDATE endpoint SET failing_since = now() - interval '71 hours'")
    make_due(told)
    workers.events()
    assert endpoint_row(told)[0] == 'active'
    sql("UPDATE endpoint SET failing_since = now() - interval '73 hours'")
    make_due(told)
    workers.events()
    assert endpoint_row(told)[:2] == ('paused', 'failing')


def test_a_success_ends_the_failures_and_makes_due_what_waits(workers, writes, listener, told):
    listener.answer(503)
    writes('a1', 'a2')
    writes('b1', phone=OTHER)
    workers.events()
    sql("UPDATE event_delivery SET attempts = 7, due_at = now() + interval '6 hours'")
    sql("UPDATE endpoint SET failing_since = now() - interval '4 hours'")
    listener.answer(204)
    workers.events()
    assert len(listener.heard) == 2  # nothing is due
    writes('c1', phone='12025550177')
    workers.events()
    assert endpoint_row(told) == ('active', None, False)
    assert sorted(listener.texts()[2:]) == ['a1', 'a2', 'b1', 'c1']
    assert listener.texts().index('c1') == 2
    assert listener.texts().index('a2') > listener.texts().index('a1', 2)


def test_an_event_that_fails_alone_keeps_its_times(workers, writes, listener, told):
    """Else whatever else is delivered would use up its tries within minutes."""
    listener.answer(500)
    writes('poison')
    workers.events()
    sql("UPDATE event_delivery SET attempts = 5, due_at = now() + interval '1 hour'")
    sql("UPDATE endpoint SET failing_since = now() - interval '1 hour'")
    listener.answer(204)
    writes('fine', phone=OTHER)
    workers.events()
    assert listener.texts() == ['poison', 'fine']
    assert endpoint_row(told)[2] is False
    assert deliveries(told)[0][2] > 3000


def test_more_than_can_be_hurried_at_once_is_hurried_by_the_next_success(
    workers, writes, listener, told, monkeypatch
):
    monkeypatch.setattr(delivery_outcome, 'MAX_HURRIED', 1)
    listener.answer(503)
    for number in range(4):
        writes('hello', phone=f'120255502{number:02}')
    workers.events()
    sql("UPDATE endpoint SET failing_since = now() - interval '1 hour'")
    sql("UPDATE event_delivery SET due_at = now() + interval '1 hour'")
    listener.answer(204)
    writes('last')
    workers.events()
    assert listener.texts()[4:] == ['last', *['hello'] * 4]
    assert endpoint_row(told)[2] is False


# ---- others


def test_one_that_hangs_delays_no_other(backend, workers, writes, listener, told):
    with Listener() as quick:
        other = new_endpoint(backend, f'{quick.url}/events')
        listener.thinks()
        writes('first')
        writes('first of another', phone=OTHER)
        deliveries_of_process = send_events.deliveries_of_this_process()
        take_step(deliveries_of_process)
        wait_until(lambda: len(listener.asks) == 2 and len(quick.heard) == 2, 10)
        writes('second')
        wait_until(lambda: take_step(deliveries_of_process) or len(quick.heard) == 3, 10)
        assert len(listener.asks) == 2
        listener.open.set()
        workers.events()
        assert [status for status, _, _ in deliveries(other)] == ['delivered'] * 3
        assert quick.texts()[-1] == 'second'


def take_step(deliveries_of_process):
    with connection():
        deliveries_of_process.step()


def test_one_that_fails_holds_two_threads_at_most(workers, writes, listener, told):
    listener.answer(503)
    writes('before')
    workers.events()
    listener.thinks()
    for number in range(12):
        writes('hello', phone=f'120255502{number:02}')
    process = send_events.deliveries_of_this_process()
    for _ in range(10):
        take_step(process)
    wait_until(lambda: listener.at_once == 2, 10)
    assert len(process.pool.in_flight()) == 2
    listener.open.set()
    listener.answer(204)
    workers.events()


def test_a_connection_that_was_closed_while_it_was_kept_costs_no_try(
    workers, writes, listener, told
):
    writes('first')
    workers.events()
    listener.drops = True
    writes('second')
    workers.events()
    assert not listener.drops
    assert deliveries(told) == [('delivered', 1, None)] * 2


def test_both_secrets_sign_for_a_day_after_a_rotation(backend, workers, writes, listener, told):
    writes('1')
    workers.events()
    answer = backend.post(f'/endpoints/{told}/rotate-secret')
    new = answer.json['secret']
    writes('2')
    workers.events()
    sql("UPDATE endpoint SET former_secret_until = now() - interval '1 s'")
    writes('3')
    workers.events()
    signed = [[is_signed(ask, secret) for secret in (SECRET, new)] for ask in listener.asks]
    assert signed == [[True, False], [True, True], [False, True]]
    now = time.time()
    assert all(abs(int(ask['headers']['webhook-timestamp']) - now) < 60 for ask in listener.asks)


def test_who_claims_looks_at_no_endpoint_of_which_somebody_else_is_claiming(
    workers, writes, listener, told
):
    """So that no two have events of one conversation in hand."""
    writes('1', '2')
    begun, ended = threading.Event(), threading.Event()
    claimed = []

    def claim():
        with connection(), db.atomic():
            claimed.append(delivery.claim(8, lambda *_: 8, []))
            begun.set()
            assert ended.wait(10)

    thread = threading.Thread(target=claim)
    thread.start()
    assert begun.wait(10)
    with connection(), db.atomic():
        assert delivery.claim(8, lambda *_: 8, []) == []
    ended.set()
    thread.join()
    assert [len(lane.deliveries) for lane in claimed[0]] == [2]
    with connection(), db.atomic():  # under way: not due
        assert delivery.claim(8, lambda *_: 8, []) == []


def test_what_a_dead_process_had_in_hand_is_told_when_its_lease_ends(
    workers, writes, listener, told
):
    writes('1', '2')
    with connection(), db.atomic():
        assert delivery.claim(8, lambda *_: 8, [])
    writes('3')
    workers.events()
    assert listener.heard == []
    assert 0 < deliveries(told)[0][2] <= delivery.LEASE
    make_due(told)
    workers.events()
    assert listener.texts() == ['1', '2', '3']
