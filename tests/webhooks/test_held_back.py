"""Who has to wait for a lock that somebody holds stops no neighbour, and is served in order once it
is free.
"""

import threading
from contextlib import closing, contextmanager

import pytest

from service.conversations.merge import LOCK_ACCOUNT
from service.runtime.db import connection
from service.webhooks import inbox, process
from service.webhooks.held_back import held_back
from tests.people import CHATBOT, CUSTOMER, envelope, sql, status_of, text_message
from tests.stack import PHONE_NUMBER_ID, wait_until

OTHER_CHATBOT, OTHER_NUMBER = 'bravo', '300112233445577'
SOON = 5  # seconds, half of what a statement waits for a lock elsewhere
ANA, BEN, EVE = '12025550101', '12025550102', '12025550103'
HOLD_CONVERSATION = """
SELECT 1 FROM conversation WHERE %s IN (wa_id, user_id) FOR NO KEY UPDATE
"""


@pytest.fixture
def tenants(backend):
    backend.account(responder={'kind': 'none'})
    backend.account(OTHER_CHATBOT, OTHER_NUMBER, responder={'kind': 'none'})


@pytest.fixture
def writes(tenants, meta):
    """writes(ANA, 'm1'): a webhook with a message, which is not worked off yet."""

    def write(phone, wamid, number=PHONE_NUMBER_ID, **more):
        meta.webhook(envelope([text_message(wamid=wamid, phone=phone, **more)], number=number))

    return write


@pytest.fixture
def held(postgres):
    """held(LOCK_ACCOUNT, CHATBOT): within the block somebody else holds this lock."""

    @contextmanager
    def hold(statement, *parameters):
        with closing(postgres.connect()) as other, other.cursor() as cursor:
            cursor.execute(statement, parameters)
            yield
            other.rollback()

    return hold


def step():
    with connection():
        return process.process_due()


def stored(*wamids):
    """Whether of all messages exactly these are stored; a step is taken before the look."""
    step()
    return wamids_in_order() == [*wamids]


def wamids_in_order():
    return [wamid for (wamid,) in sql("SELECT wamid FROM message WHERE wamid <> '' ORDER BY id")]


def work_off():
    while step():
        pass


def assert_all_processed():
    found = sql('SELECT status, attempts, error, count(*) FROM webhook_event GROUP BY 1, 2, 3')
    assert [row[:3] for row in found] == [('processed', 0, None)]


def test_nobody_waits_for_the_lock_of_another_tenants_account(writes, held):
    with held(LOCK_ACCOUNT, CHATBOT):
        writes(ANA, 'a1')
        writes(ANA, 'a2')
        writes(BEN, 'b1', OTHER_NUMBER)
        wait_until(lambda: stored('b1'), SOON)
        writes(EVE, 'b2', OTHER_NUMBER)
        writes(ANA, 'a3')
        wait_until(lambda: stored('b1', 'b2'), SOON)
    writes(ANA, 'a4')  # the lock is free, and those before it are held back for a moment still
    work_off()
    assert wamids_in_order() == ['b1', 'b2', 'a1', 'a2', 'a3', 'a4']
    assert_all_processed()


def test_known_customers_do_not_wait_for_their_accounts_lock(writes, held):
    writes(ANA, 'a1')
    work_off()
    with held(LOCK_ACCOUNT, CHATBOT):
        writes(BEN, 'b1')
        writes(ANA, 'a2')
        wait_until(lambda: stored('a1', 'a2'), SOON)
    work_off()
    assert wamids_in_order() == ['a1', 'a2', 'b1']
    assert_all_processed()


def test_a_conversation_that_somebody_holds_stops_no_other(writes, held):
    writes(ANA, 'a1', user='US.ANA')
    work_off()
    with held(HOLD_CONVERSATION, ANA):
        writes(ANA, 'a2')
        writes(BEN, 'b1')
        writes(EVE, 'c1', OTHER_NUMBER)
        wait_until(lambda: stored('a1', 'b1', 'c1'), SOON)
    writes(None, 'a3', user='US.ANA')  # another of her ids is hers as well
    work_off()
    assert wamids_in_order() == ['a1', 'b1', 'c1', 'a2', 'a3']
    assert_all_processed()


def test_two_conversations_that_cannot_be_merged_yet_stop_no_others(writes, held, backend):
    for wamid, phone, user in (('a1', ANA, None), ('a2', None, 'US.ANA'), ('b1', BEN, None)):
        writes(phone, wamid, user=user)
    writes(None, 'b2', user='US.BEN')
    work_off()
    with held(HOLD_CONVERSATION, 'US.ANA'):
        writes(ANA, 'a3', user='US.ANA')
        writes(None, 'a4', user='US.ANA')
        writes(BEN, 'b3', user='US.BEN')  # two become one in the same batch
        writes(EVE, 'c1', OTHER_NUMBER)
        wait_until(lambda: stored('a1', 'a2', 'b1', 'b2', 'b3', 'c1'), SOON)
    work_off()
    assert wamids_in_order()[6:] == ['a3', 'a4']
    assert len(backend.conversations()) == 2
    assert_all_processed()


def test_a_message_that_somebody_holds_stops_no_other(writes, held, meta, backend):
    message = backend.send(to=f'+{CUSTOMER}')
    sql("UPDATE message SET status = 'accepted', wamid = 'out', due_at = NULL")
    with held('SELECT 1 FROM message WHERE id = %s FOR UPDATE', message['id']):
        meta.webhook(envelope(statuses=[status_of('out', 'delivered')]))
        sql('UPDATE webhook_event SET due_at = now()')
        writes(CUSTOMER, 'a1')
        writes(ANA, 'b1')
        writes(BEN, 'c1', OTHER_NUMBER)
        wait_until(lambda: stored('out', 'b1', 'c1'), SOON)
    work_off()
    assert wamids_in_order() == ['out', 'b1', 'c1', 'a1']
    assert backend.message(message['id'])['status'] == 'delivered'
    assert_all_processed()


def test_many_that_are_held_back_hide_nobody_behind_them(writes, held, monkeypatch):
    monkeypatch.setattr(inbox.claim, '__defaults__', (2,))
    monkeypatch.setattr('service.webhooks.held_back.MAX_EVENTS', 2)
    with held(LOCK_ACCOUNT, CHATBOT):
        for n in range(7):
            writes(f'1202555020{n}', f'a{n}')
        writes(BEN, 'b1', OTHER_NUMBER)
        wait_until(lambda: stored('b1'), SOON)
    work_off()
    assert wamids_in_order() == ['b1', *(f'a{n}' for n in range(7))]
    assert_all_processed()


def test_what_one_worker_holds_back_another_may_process(writes, held):
    with held(LOCK_ACCOUNT, CHATBOT):
        writes(ANA, 'a1')
        wait_until(lambda: step() and held_back.is_waiting)
    another = threading.Thread(target=work_off)
    another.start()
    another.join()
    assert wamids_in_order() == ['a1']
    work_off()
    assert wamids_in_order() == ['a1']
    assert_all_processed()


def test_of_a_webhook_about_several_people_all_wait_with_the_one(writes, held, meta):
    writes(ANA, 'a1')
    writes(BEN, 'b1')
    work_off()
    with held(HOLD_CONVERSATION, ANA):
        both = [text_message(wamid='a2', phone=ANA), text_message(wamid='b2', phone=BEN)]
        meta.webhook(envelope(both))
        writes(BEN, 'b3')  # it does not overtake b2
        writes(EVE, 'c1')
        wait_until(lambda: stored('a1', 'b1', 'c1'), SOON)
    work_off()
    assert wamids_in_order()[3:] == ['a2', 'b2', 'b3']
    assert_all_processed()
