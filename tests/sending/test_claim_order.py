"""Two workers never turn around what goes to one person: the conversation is locked first, then its
first message.
"""

import itertools
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import pytest

from service.graph.outcome import Outcome
from service.runtime.db import connection, db
from service.sending import dispatch, timers
from service.sending.send_outcome import SendResult
from tests.people import CHATBOT, envelope, sql, text_message, work_off_by
from tests.stack import wait_until
from workers import send_results

LEASE = 30


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    return backend


def claim(count=100):
    """What one worker gets: ids in the order of the messages."""
    with connection():
        return sorted(row.id for row in dispatch.claim({CHATBOT: count}, LEASE))


@contextmanager
def held(act):
    """`act()` in a transaction of another connection, which stays open as long as the block, and is
    undone then.
    """
    done, over, errors = threading.Event(), threading.Event(), []

    def hold():
        try:
            with connection(), db.atomic() as transaction:
                act()
                done.set()
                over.wait(60)
                transaction.rollback()
        except Exception as error:
            errors.append(error)
            done.set()

    thread = threading.Thread(target=hold)
    thread.start()
    assert done.wait(60)
    try:
        yield
    finally:
        over.set()
        thread.join(60)
    assert errors == []


def lock(table):
    return lambda: db.execute_sql(f'SELECT 1 FROM {table} ORDER BY id LIMIT 1 FOR NO KEY UPDATE')
    # noqa: S608


def test_who_cannot_get_the_conversation_does_not_hold_its_first_message(acme):
    """The two steps of the fault, held apart: a webhook has the conversation while the first worker
    claims.
    """
    first, second = acme.send(text='1'), acme.send(text='2')
    got = []
    with ExitStack() as first_worker:
        with held(lock('conversation')):
            first_worker.enter_context(
                held(lambda: got.extend(dispatch.claim({CHATBOT: 100}, LEASE)))
            )
        assert got == [], 'the webhook had the conversation'
        assert claim() == [first['id']], (
            'the webhook is through, the first worker has not ended its transaction'
        )
    assert claim() == [], 'the second waits for the outcome of the first'
    assert acme.message(second['id'])['status'] == 'queued'


@pytest.mark.parametrize('count', [1, 100])
def test_who_cannot_get_the_first_message_does_not_take_the_second(acme, count):
    first, other = acme.send(text='1'), acme.send('+12025550144', text='other')
    acme.send(text='2')
    with held(
        lock('message')
    ):  # somebody changes it just now: cancels it, say, and thinks better of it
        assert set(claim(count)) <= {other['id']}
    assert first['id'] in claim()


def test_only_one_clock_starts_what_is_scheduled(acme, workers, monkeypatch):
    """Two of them would each take a part of it, and the later part might be queued first."""
    monkeypatch.setattr(
        timers, 'START_SCHEDULED', timers.START_SCHEDULED.replace('LIMIT 10000', 'LIMIT 1')
    )
    acme.send(text='1'), acme.send(text='2')
    sql("UPDATE message SET status = 'scheduled', due_at = now()")
    with held(timers.start_scheduled), connection():
        assert timers.start_scheduled() == 0
    monkeypatch.undo()
    workers.promote()
    assert [one['status'] for one in acme.messages()] == ['queued', 'queued']


PAIRS = 150


def test_pairs_under_two_workers_with_inbound_beside_are_never_reversed(acme, meta):
    phones = [f'1202556{n:04}' for n in range(PAIRS)]
    recipients = [f'+{phone}' for phone in phones]
    for text in ('1', '2'):
        body = {
            'chatbot_id': CHATBOT,
            'message': {'text': {'body': text}},
            'recipients': recipients,
        }
        assert acme.post('/send/bulk', body).status_code == 202
    claimed, wamids, errors = [], itertools.count(), []

    def work():
        try:
            while sql("SELECT 1 FROM message WHERE status IN ('queued', 'sending') LIMIT 1"):
                with connection():
                    rows = dispatch.claim({CHATBOT: 20}, LEASE)
                    claimed.extend((row.conversation_id, row.content['body']) for row in rows)
                    accepted = [Outcome('accepted', wamid=f'wamid.{next(wamids)}') for _ in rows]
                    if rows:
                        at = datetime.now(UTC)
                        send_results.record(
                            [
                                (row, SendResult(row, one, at, 1))
                                for row, one in zip(rows, accepted, strict=True)
                            ]
                        )
        except Exception as error:
            errors.append(error)

    for start in range(0, PAIRS, 10):
        told = [
            text_message('Hi', f'wamid.in.{phone}', phone) for phone in phones[start : start + 10]
        ]
        meta.webhook(envelope(told))
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    work_off_by(1)
    wait_until(lambda: not any(thread.is_alive() for thread in threads), 120)
    assert errors == []
    said = {}
    for conversation, text in claimed:
        said.setdefault(conversation, []).append(text)
    assert len(said) == PAIRS
    assert {tuple(texts) for texts in said.values()} == {('1', '2')}


def test_a_conversation_that_is_locked_for_moments_never_gives_its_second_message(acme):
    """Its lock is tried once in a claim: tried for each message, it may be free at the second."""
    sent = [acme.send()['id'] for _ in range(30)]
    over = threading.Event()

    def hold_for_moments():
        while not over.is_set():
            with connection(), db.atomic():
                lock('conversation')()

    threads = [threading.Thread(target=hold_for_moments) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        claimed = [rows for _ in range(300) if (rows := claim_and_give_back())]
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert claimed
    assert {tuple(rows) for rows in claimed} == {(sent[0],)}


def claim_and_give_back():
    claimed = claim()
    sql("UPDATE message SET status = 'queued', due_at = now() WHERE status = 'sending'")
    sql('UPDATE conversation SET send_after = NULL, pair_free_at = NULL')
    return claimed
