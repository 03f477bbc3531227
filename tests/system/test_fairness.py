"""Who goes first: replies before single sends before bulk, and every account in its turn."""

import os
import threading
import time

import pytest

from service.accounts.account import Account
from service.conversations.identity import resolve
from service.conversations.identity_claim import IdentityClaim
from service.runtime.db import connection, db
from service.runtime.queues import SEND, wake
from service.sending import outbox
from service.sending.outbound_message import OutboundMessage
from service.sending.outbox import Priority, QueueOptions
from tests.people import CHATBOT, sql
from tests.stack import Processes, wait_until

pytestmark = pytest.mark.alone

OTHER_NUMBER = '300112233445567'
BULK = """
WITH people AS (
  INSERT INTO conversation (id, chatbot_id, wa_id)
  SELECT gen_random_uuid(), %s, (12025000000 + n)::text FROM generate_series(1,
    %s) AS n RETURNING id, wa_id)
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  recipient_to, content,
  priority, due_at)
SELECT gen_random_uuid(), a.chatbot_id, p.id, 'outbound', a.phone_number_id, 'text', 'queued',
  '+' || p.wa_id,
  '{"body": "bulk"}', 2, now()
FROM people p JOIN whatsapp_cloud_account a ON a.chatbot_id = %s
"""


def bulk(chatbot_id, count):
    """Rows as service/sending/recipients.py makes them, in one statement."""
    sql(BULK, chatbot_id, count, chatbot_id)
    sql('ANALYZE message')


def queue(chatbot_id, phone, priority, text='x'):
    """One message of a priority that the API does not give; its id."""
    with connection(), db.atomic():
        conversation = next(iter(resolve([IdentityClaim(chatbot_id, phone=phone)]).values()))
        message = {'to': f'+{phone}', 'type': 'text', 'text': {'body': text}}
        (stored,) = outbox.queue(
            Account.find(chatbot_id),
            [OutboundMessage(conversation, message, {})],
            QueueOptions(priority),
        )
    return stored.id


def texts(stand_in):
    return [call['body']['text']['body'] for call in stand_in.sends()]


@pytest.fixture
def back_room(database, stand_in, tmp_path):
    """One real send worker with the defaults."""
    where = {name: os.environ[name] for name in ('GRAPH_API_URL', 'DATABASE_URL', 'REDIS_URL')}
    processes = Processes(tmp_path, where)
    processes.start('worker_send')
    wait_until(lambda: 'started' in processes.logs('worker_send'), 20)
    yield processes
    assert processes.stop_all(20) == {'worker_send': [0]}


def left_after(stand_in, message_id, began):
    """Seconds until the message stood at the stand-in's door."""

    def arrived():
        index = max(0, stand_in.get('/sends', counts='brief')['calls'] - 400)
        return next(
            (
                call
                for call in stand_in.get('/sends', since=index)['data']
                if call['opaque'] == message_id
            ),
            None,
        )

    return wait_until(arrived, 10)['wall'] - began


def test_replies_overtake_a_bulk_of_ten_thousand(backend, stand_in, back_room):
    """On another account within a second, on the same one within two; several times, at any moment
    of the bulk.
    """
    stand_in.config(latency=0.2)
    backend.account()
    backend.account('other', OTHER_NUMBER)
    bulk(CHATBOT, 10000)
    first = time.monotonic()
    wake(SEND)
    wait_until(lambda: stand_in.get('/sends', counts='brief')['calls'] > 100, 10)
    for turn in range(4):
        for chatbot_id, most in (('other', 1), (CHATBOT, 2)):
            began = time.time()
            message_id = queue(chatbot_id, f'1202555020{turn}', Priority.REPLY)
            wake(SEND)
            assert left_after(stand_in, message_id, began) < most
    counts = stand_in.get('/sends', counts='brief')
    assert counts['accepted_more_than_once'] == 0
    # SEND_RATE, a burst of one second, and the replies of the other number
    assert counts['calls'] <= 80 * (1 + time.monotonic() - first) + 4
    assert sql("SELECT count(*) FROM message WHERE status = 'queued'")[0][0] > 8000


def test_replies_leave_before_single_sends_and_those_before_bulk(
    backend, workers, stand_in, setting
):
    setting('SEND_CONCURRENCY', 1)
    backend.account()
    for n, priority in enumerate((Priority.BULK, Priority.SINGLE, Priority.REPLY) * 3):
        queue(CHATBOT, f'1202555010{n}', priority, str(priority))
    workers.send()
    assert texts(stand_in) == ['0'] * 3 + ['1'] * 3 + ['2'] * 3


def test_a_send_of_the_api_is_single_and_a_reply_overtakes_it(backend, workers, stand_in, setting):
    setting('SEND_CONCURRENCY', 1)
    backend.account()
    backend.send('+12025550101', text='single')
    queue(CHATBOT, '12025550102', Priority.REPLY, 'reply')
    workers.send()
    assert texts(stand_in) == ['reply', 'single']


def accounts(backend, count):
    names = [f'account-{n:02}' for n in range(count)]
    for n, name in enumerate(names):
        backend.account(name, f'3002000000{n:02}')
    return names


def test_forty_accounts_take_turns_at_four_places(backend, workers, stand_in, setting):
    setting('SEND_CONCURRENCY', 4)
    names = accounts(backend, 40)
    for name in names:
        bulk(name, 4)
    workers.send()
    numbers = [call['phone_number_id'] for call in stand_in.sends()]
    assert len(numbers) == 160
    for begin in range(0, 160, 40):
        assert (
            len(set(numbers[begin : begin + 40])) >= 36
        )  # nobody twice before nearly all had theirs


def test_a_campaign_of_one_leaves_the_others_their_share(backend, workers, stand_in, setting):
    setting('SEND_CONCURRENCY', 4)
    loud, *quiet = accounts(backend, 4)
    bulk(loud, 60)
    for name in quiet:
        bulk(name, 3)
    workers.send()
    numbers = [call['phone_number_id'] for call in stand_in.sends()]
    last = max(index for index, number in enumerate(numbers) if number != '300200000000')
    assert last < 20


def test_accounts_whose_people_all_wait_take_nobodys_turn(backend, workers, stand_in, setting):
    """Their messages are due and cannot leave yet: the pair limit, or one before them is tried
    again.
    """
    setting('SEND_CONCURRENCY', 4)
    *blocked, free = accounts(backend, 9)
    for name in blocked:
        backend.send('+12025550143', chatbot_id=name)
    sql("UPDATE conversation SET send_after = now() + interval '1 hour'")
    backend.send('+12025550144', chatbot_id=free)
    thread = threading.Thread(target=lambda: [workers.send() for _ in range(10)])
    thread.start()
    wait_until(lambda: texts(stand_in), 5)
    thread.join()
