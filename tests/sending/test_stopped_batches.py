"""A message that was in a call when its batch was stopped, and comes back to `queued`: no worker
takes it, whichever way it came back.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from service.graph import outage
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.runtime.db import connection, db
from service.sending import batch, dispatch, holds, outage_probe, send_outcome
from service.sending.send_outcome import SendResult
from tests.people import CHATBOT, CUSTOMER, sql, status_of
from tests.stack import PHONE_NUMBER_ID

STOPPED = {'pause': ('held', 'batch'), 'cancel': ('cancelled', None)}
OUTAGE = """
INSERT INTO graph_outage
  (scope, phone_number_id, error, failures, since, failed_at, away_since, probe_at)
VALUES ('app', %s, '{}', 10, now(), now(), now(), now())
"""


class Bulk:
    """A batch of one message."""

    def __init__(self, backend, phone=CUSTOMER):
        self.backend = backend
        message, recipients = {'text': {'body': 'Hello'}}, [f'+{phone}']
        order = {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients}
        self.id = backend.post('/send/bulk', order).json['id']
        ((self.message_id,),) = sql('SELECT id FROM message WHERE batch_id = %s', self.id)

    def move(self, how):
        assert self.backend.post(f'/batches/{self.id}/{how}').status_code == 200

    def state(self):
        ((*state,),) = sql('SELECT status, hold_reason FROM message WHERE id = %s', self.message_id)
        return tuple(state)


@pytest.fixture
def bulk(backend):
    backend.account(responder={'kind': 'none'})
    return Bulk(backend)


def claim():
    """What a worker gets, once all times have come."""
    sql("UPDATE message SET due_at = now() WHERE status = 'queued'")
    sql('UPDATE conversation SET send_after = NULL, pair_free_at = NULL')
    with connection():
        return dispatch.claim({CHATBOT: 5}, 30)


def give_back(claimed, tell):
    """As at SIGTERM, or when Meta is away."""
    with connection():
        dispatch.release_claims(claimed)


def record(claimed, kind, **more):
    with connection():
        send_outcome.record(
            [SendResult(one, Outcome(kind, **more), datetime.now(UTC)) for one in claimed]
        )


def refuse_for_now(claimed, tell):
    record(claimed, OutcomeKind.RETRY, error=make_error('Something went wrong', code=131016))


def hold_the_account(claimed, tell):
    error = make_error('Access token expired', code=190)
    record(claimed, OutcomeKind.HELD, error=error)
    with connection():
        holds.hold_account(CHATBOT, error)


def refuse_bulks(claimed, tell):
    record(claimed, OutcomeKind.HELD, error=make_error('Spam', code=131048), scope='bulk')


def fail_later(claimed, tell):
    """Meta takes the message, and says afterwards that it failed for now."""
    record(claimed, OutcomeKind.ACCEPTED, wamid='wamid.1')
    errors = [{'code': 131016, 'title': 'Something went wrong'}]
    tell(status_of('wamid.1', 'failed', opaque=claimed[0].id, errors=errors))


WAYS = pytest.mark.parametrize('come_back', [give_back, refuse_for_now, fail_later])


@pytest.fixture
def comes_back(bulk, tell):
    """comes_back(how the batch is stopped, the way): while the message is in a call."""

    def stop(how, come_back):
        claimed = claim()
        assert [one.id for one in claimed] == [bulk.message_id]
        bulk.move(how)
        come_back(claimed, tell)
        assert bulk.state() == ('queued', None)

    return stop


@pytest.mark.parametrize('how', STOPPED)
@WAYS
def test_no_worker_takes_it_and_the_sweep_does_as_the_batch_says(
    bulk, comes_back, workers, how, come_back
):
    comes_back(how, come_back)
    assert claim() == []
    assert bulk.state() == ('queued', None)
    workers.sweep()
    assert bulk.state() == STOPPED[how]
    assert claim() == []


@pytest.mark.parametrize('is_swept', [True, False])
@WAYS
def test_it_goes_on_with_its_batch(bulk, comes_back, workers, is_swept, come_back):
    comes_back('pause', come_back)
    if is_swept:
        workers.sweep()
    bulk.move('resume')
    assert [one.id for one in claim()] == [bulk.message_id]


@pytest.mark.parametrize('how', STOPPED)
def test_nor_is_it_a_probe_when_meta_is_away(backend, bulk, comes_back, workers, how):
    comes_back(how, give_back)
    sql('UPDATE conversation SET send_after = NULL')
    sql(OUTAGE, PHONE_NUMBER_ID)
    other = Bulk(backend, '12025550144')
    with connection():
        assert outage_probe.claim('app', [CHATBOT], 30) == []
        workers.sweep()
        assert outage.probe_now(PHONE_NUMBER_ID)
        assert [one.id for one in outage_probe.claim('app', [CHATBOT], 30)] == [other.message_id]


def test_what_else_waits_for_its_person_goes_on(backend, bulk, comes_back, workers):
    """A single message at once, further bulks once it is swept."""
    comes_back('pause', give_back)
    single, other = backend.send(), Bulk(backend)
    assert [one.id for one in claim()] == [single['id']]
    sql("UPDATE message SET status = 'sent', due_at = NULL WHERE id = %s", single['id'])
    workers.sweep()
    assert [one.id for one in claim()] == [other.message_id]


@pytest.mark.parametrize(
    ('answer', 'reason'), [(hold_the_account, 'account'), (refuse_bulks, 'batch')]
)
def test_what_an_answer_holds_after_the_cancel_is_cancelled(bulk, workers, answer, reason):
    """Nobody would let it go: it would wait for ever."""
    claimed = claim()
    bulk.move('cancel')
    answer(claimed, None)
    assert bulk.state() == ('held', reason)
    workers.sweep()
    assert bulk.state() == ('cancelled', None)
    assert bulk.backend.get(f'/batches/{bulk.id}').json['progress'] == 1


def test_a_sweep_beside_a_resume_holds_nothing(bulk, comes_back, workers):
    """The resume has looked for what is held, and is not committed yet."""
    comes_back('pause', give_back)
    looked, over = threading.Event(), threading.Event()

    def resume():
        with connection(), db.atomic():
            batch.resume(bulk.id)
            looked.set()
            over.wait(60)

    with ThreadPoolExecutor(1) as pool:
        resumed = pool.submit(resume)
        assert looked.wait(60)
        workers.sweep()
        over.set()
        resumed.result(60)
    assert bulk.state() == ('queued', None)
    assert [one.id for one in claim()] == [bulk.message_id]
