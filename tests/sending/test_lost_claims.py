"""A claim that is over is nobody's any more: what its worker does late changes nothing that another
one has begun.
"""

from datetime import UTC, datetime

import pytest
from peewee import OperationalError

from service.conversations import merge
from service.graph.outcome import Outcome
from service.runtime.db import connection, db, execute
from service.sending import dispatch, timers
from service.sending.send_outcome import SendResult
from tests.people import CHATBOT, sql
from workers import send, send_results

LEASE = 30


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def claim(lease=LEASE):
    with connection():
        return dispatch.claim({CHATBOT: 10}, lease)


def release(row):
    with connection():
        dispatch.release_claims([row])


def answered(row, kind, **outcome):
    result = SendResult(row, Outcome(kind, **outcome), datetime.now(UTC), 7)
    with connection():
        send_results.record([(row, result)])


def state(backend, message):
    found = backend.message(message['id'])
    return found['status'], found['attempts']


def test_what_has_waited_for_a_thread_for_too_long_is_given_back(acme, workers, stand_in):
    message = acme.send()
    (row,) = claim()
    row.begin_by = 0
    result = send.sender().call(row)
    assert (result.outcome.kind, stand_in.sends()) == ('postponed', [])
    answered(row, result.outcome.kind)
    assert state(acme, message) == ('queued', 0)


def test_a_second_release_does_not_take_it_from_who_has_it_by_now(acme):
    message = acme.send()
    (first,) = claim()
    release(first)
    (second,) = claim()
    assert first.attempts == second.attempts == 1
    release(first)
    assert state(acme, message) == ('sending', 1)
    assert claim() == []
    release(second)
    assert state(acme, message) == ('queued', 0)


@pytest.mark.parametrize('kind', ['retry', 'failed', 'unknown', 'held'])
def test_nor_does_an_outcome_that_is_written_twice(acme, kind):
    message = acme.send()
    (first,) = claim()
    release(first)
    claim()
    answered(first, kind, error={'code': 1, 'title': 'no', 'details': None, 'fbtrace_id': None})
    assert state(acme, message) == ('sending', 1)


def test_a_late_answer_lets_nobody_go_beside_the_message_that_is_under_way(acme):
    first, second, third = (acme.send(text=text) for text in ('1', '2', '3'))
    (late,) = claim(lease=0)
    with connection():
        assert timers.expire_leases() == 1
    (under_way,) = claim()
    assert (late.id, under_way.id) == (first['id'], second['id'])
    answered(late, 'accepted', wamid='wamid.1')
    assert state(acme, first) == ('accepted', 1)
    assert claim() == []
    answered(under_way, 'accepted', wamid='wamid.2')
    assert [row.id for row in claim()] == [third['id']]


def test_nor_does_a_late_release(acme):
    for text in ('1', '2', '3'):
        acme.send(text=text)
    (late,) = claim(lease=0)
    claim()
    release(late)
    release(late)
    assert claim() == []


@pytest.mark.parametrize('turn', [1, -1])
def test_two_of_people_who_are_one_by_then_let_the_next_one_go(acme, turn):
    acme.send(text='1')
    (first,) = claim()
    acme.send('+12025550144', text='2')
    (second,) = claim(LEASE + 1)
    source, target = [first, second][::turn]
    people = {'source': source.conversation_id, 'target': target.conversation_id}
    with connection(), db.atomic():
        for statement in merge.MERGE_CONVERSATIONS:
            execute(statement, people)
    at = datetime.now(UTC)
    results = [SendResult(row, Outcome('accepted', wamid=row.id), at, 7) for row in (first, second)]
    with connection():
        send_results.record([(result.message, result) for result in results])
    assert sql('SELECT coalesce(send_after <= now(), true) FROM conversation') == [(True,)]


def test_a_step_that_fails_after_its_claim_gives_it_back(acme, workers, stand_in, monkeypatch):
    message = acme.send()

    def fail(messages):
        raise OperationalError('a lock is not given')

    with monkeypatch.context() as patched, connection():
        patched.setattr(send.meta_upload, 'attach_files', fail)
        with pytest.raises(OperationalError):
            send.sender().step()
    assert state(acme, message) == ('queued', 0)
    workers.send()
    assert [call['recipient'] for call in stand_in.sends()] == ['12025550143']
