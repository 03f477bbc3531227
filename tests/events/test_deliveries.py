"""Events come to endpoints: signed, in order, again after a failure, and as GET shows things."""

import threading
import time
from collections import defaultdict
from datetime import UTC, datetime

from service.runtime import db, queues
from service.runtime.db import connection
from service.runtime.queues import EVENTS, RING_EVERY, client
from tests.listeners import deliveries, make_due, new_endpoint
from tests.people import CHATBOT, envelope, sql, status_of, text_message
from tests.stack import wait_until
from workers import clock, send_events


def test_a_customers_message_is_told_as_get_shows_it(backend, writes, workers, listener, told):
    writes('Olá')
    workers.events()
    (body,) = listener.heard
    (message,) = backend.messages()
    assert body['type'] == 'message.received'
    assert body['chatbot_id'] == CHATBOT
    assert body['data']['message'] == backend.message(message['id'])
    (conversation,) = backend.conversations()
    assert body['data']['conversation'] == conversation
    assert deliveries(told) == [('delivered', 1, None)]
    assert listener.asks[0]['raw'].isascii()


def test_a_sent_message_is_told_of_at_each_of_its_states(backend, workers, tell, listener, told):
    message = backend.send()
    workers.send()
    wamid = backend.message(message['id'])['wamid']
    for status in ('sent', 'delivered', 'read'):
        tell(status_of(wamid, status))
    workers.events()
    assert listener.states() == ['accepted', 'sent', 'delivered', 'read']
    previous = [body['data']['previous_status'] for body in listener.heard]
    assert previous == ['sending', 'accepted', 'sent', 'delivered']
    times = [body['timestamp'] for body in listener.heard]
    assert times == sorted(times)
    assert all(time.endswith('Z') for time in times)


def test_of_statuses_that_come_together_each_step_is_told(
    backend, workers, meta, tell, listener, told
):
    message = backend.send()
    workers.send()
    wamid = backend.message(message['id'])['wamid']
    together = [status_of(wamid, status) for status in ('read', 'failed', 'sent')]
    assert meta.webhook(envelope(statuses=together)).status_code == 200
    workers.incoming()
    workers.events()
    assert listener.states() == ['accepted', 'sent', 'read']
    faster = backend.send('+12025550144')  # than Meta's answer
    tell(status_of('wamid.faster', 'delivered', opaque=faster['id']))
    workers.events()
    steps = [
        (body['data']['previous_status'], body['data']['status']) for body in listener.heard[3:]
    ]
    assert steps == [('queued', 'accepted'), ('accepted', 'delivered')]
    times = [body['timestamp'] for body in listener.heard]
    assert times == sorted(times)


def test_what_nobody_wants_is_not_written(backend, writes, workers, listener):
    new_endpoint(backend, f'{listener.url}/events', types=['batch.done'])
    new_endpoint(backend, f'{listener.url}/events', chatbot_id=CHATBOT, types=['media.stored'])
    writes('Hello')
    assert sql('SELECT count(*) FROM event') == [(0,)]
    workers.events()
    assert listener.heard == []


def test_a_failed_delivery_comes_again_with_the_same_bytes_and_id(
    backend, writes, workers, listener, told
):
    listener.answer(503)
    writes('Hello')
    workers.events()
    ((status, attempts, wait),) = deliveries(told)
    assert (status, attempts) == ('waiting', 1)
    assert 4 < wait <= 6
    workers.events()
    assert len(listener.heard) == 1
    writes('More')  # which changes the conversation
    listener.answer(204)
    make_due(told)
    workers.events()
    first, again, more = listener.asks
    assert first['raw'] == again['raw']
    assert first['headers']['webhook-id'] == again['headers']['webhook-id'] == first['body']['id']
    assert more['body']['data']['message']['text'] == 'More'


def test_what_is_behind_a_failed_one_waits_for_it_and_other_conversations_do_not(
    backend, writes, workers, listener, told
):
    listener.answer(500)
    writes('a1', 'a2', 'a3')
    workers.events()
    assert listener.texts() == ['a1']
    listener.answer(204)
    writes('b1', phone='12025550199')
    workers.events()
    assert listener.texts()[:2] == ['a1', 'b1']
    make_due(told)
    workers.events()
    assert listener.texts() == ['a1', 'b1', 'a1', 'a2', 'a3']
    assert {status for status, _, _ in deliveries(told)} == {'delivered'}


def test_of_merged_conversations_what_waits_is_told_in_order(meta, workers, listener, told, writes):
    listener.answer(503)
    writes('By phone')
    meta.webhook(envelope([text_message('By BSUID', 'wamid.2', phone=None, user='US.1')]))
    workers.incoming()
    meta.webhook(envelope([text_message('Both', 'wamid.3', user='US.1')]))
    workers.incoming()
    lanes = sql("SELECT DISTINCT conversation_id FROM event_delivery WHERE status = 'waiting'")
    assert len(lanes) == 1
    make_due(told)
    listener.answer(204)
    workers.events()
    assert listener.texts()[-3:] == ['By phone', 'By BSUID', 'Both']
    both = [body for body in listener.heard if body['type'] == 'message.received'][-3:]
    assert len({body['data']['conversation']['id'] for body in both}) == 1


def test_of_merged_conversations_what_is_told_again_is_in_order(
    backend, meta, workers, listener, told, writes
):
    began = datetime.now(UTC).isoformat()
    writes('By phone')
    workers.events()
    meta.webhook(envelope([text_message('By BSUID', 'wamid.2', phone=None, user='US.1')]))
    workers.incoming()
    workers.events()
    writes('Alone')
    workers.events()
    meta.webhook(envelope([text_message('Both', 'wamid.3', user='US.1')]))
    workers.incoming()
    workers.events()
    assert listener.texts() == ['By phone', 'By BSUID', 'Alone', 'Both']
    sql('DELETE FROM event_delivery WHERE event_id = (SELECT min(id::text)::uuid FROM event)')
    backend.post(f'/endpoints/{told}/replay', {'since': began})
    lanes = sql('SELECT DISTINCT conversation_id FROM event_delivery')
    assert len(lanes) == 1
    workers.events()
    assert listener.texts()[4:] == ['By phone', 'By BSUID', 'Alone', 'Both']


def test_events_are_kept_for_thirty_days(writes, workers, listener, told):
    writes('old')
    workers.events()
    sql('UPDATE event SET id = %s', f'{OLD}-0000-7000-8000-000000000000')
    sql('UPDATE event_delivery SET event_id = %s', f'{OLD}-0000-7000-8000-000000000000')
    writes('new')
    with connection():
        clock.tidy()
    assert sql('SELECT count(*) FROM event') == [(1,)]
    assert sql('SELECT count(*) FROM event_delivery') == [(1,)]
    workers.events()
    assert listener.texts() == ['old', 'new']


OLD = f'{int((time.time() - 31 * 86400) * 1000) >> 16:08x}'  # how ids of 31 days ago begin


def test_a_commit_that_makes_events_wakes_who_tells_them(backend, workers, listener, told):
    bell = f'bell:{EVENTS}'
    wait_until(lambda: not queues._wakeup_thread._names)
    client().delete(bell)
    message = backend.send()
    threading.Event().wait(RING_EVERY)
    assert not client().exists(bell)  # `queued` is told to nobody
    workers.send()
    wait_until(lambda: client().exists(bell))
    workers.events()
    assert listener.heard[0]['data']['message']['id'] == message['id']


def test_many_events_of_many_conversations_come_in_order_from_several_processes(
    backend, writes, listener, told, database
):
    phones = [f'120255502{number:02}' for number in range(8)]
    for number in range(30):
        for phone in phones[number % 3 :: 3]:
            writes(f'{number}', phone=phone)
    tellers = [send_events.Deliveries() for _ in range(3)]

    def work(teller):
        while sql("SELECT 1 FROM event_delivery WHERE status = 'waiting' LIMIT 1"):
            with connection():
                teller.step()
            time.sleep(0.005)

    threads = [threading.Thread(target=work, args=(teller,)) for teller in tellers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for teller in tellers:
        assert teller.pool.close(10)
        teller.pool.dismiss()
    heard = defaultdict(list)
    for body in listener.heard:
        heard[body['data']['conversation']['id']].append(body['id'])
    assert len(heard) == 8
    assert all(ids == sorted(set(ids)) for ids in heard.values())
    assert sum(map(len, heard.values())) == len(deliveries(told)) == 80


def test_events_are_told_where_no_statement_can_be_prepared(
    workers, writes, listener, told, setting
):
    setting('DATABASE_PREPARE', 'no')
    db.db.close_idle()
    try:
        listener.answer(503)
        writes('1', '2')
        workers.events()
        make_due(told)
        listener.answer(204)
        workers.events()
    finally:
        db.db.close_idle()
    assert listener.texts() == ['1', '1', '2']
