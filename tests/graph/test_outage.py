"""Outages of Meta's: nothing is failed for them, nothing but probes goes, and all goes on by
itself.
"""

import logging
import time

import pytest

from service.graph import outage
from service.graph.error_codes import explain
from service.runtime import db
from tests.meta_away import OVERLOADED, UNAVAILABLE, Road
from tests.people import CHATBOT, envelope, sql, text_message
from tests.stack import PHONE_NUMBER_ID, wait_until

OTHER, OTHER_NUMBER = 'other', '300112233445567'
T, REFUSED = 131016, 131026


@pytest.fixture
def road(stand_in, setting):
    with Road(stand_in.port) as there:
        setting('GRAPH_API_URL', there.url)
        setting('SEND_RATE', 1000)
        yield there


@pytest.fixture
def acme(backend, road):
    backend.account()
    return backend


def people(count, first=0):
    return [f'+1202555{n:04}' for n in range(first, first + count)]


def send_state(backend, chatbot_id=CHATBOT):
    return backend.get(f'/account/{chatbot_id}').json['send_state']


def due_now():
    sql("UPDATE message SET due_at = now() WHERE status = 'queued'")
    sql('UPDATE conversation SET send_after = NULL')


def probe_is_due(scope=None):
    sql(
        'UPDATE graph_outage SET probe_at = now() WHERE probe_at > now() AND scope = '
        'coalesce(%s, scope)',
        scope,
    )


def states(backend):
    return {message['status'] for message in backend.messages(direction='outbound')}


def all_sent(backend, workers):
    """After another round of what time does."""
    workers.send()
    workers.sweep()
    probe_is_due()
    return states(backend) == {'accepted'}


def arrived(stand_in):
    return [call['body']['text']['body'] for call in stand_in.sends() if call['wamid']]


def test_ten_in_a_row_make_a_number_away_and_nothing_but_probes_goes(acme, workers, road, stand_in):
    road.say(OVERLOADED)
    for to in people(9):
        acme.send(to)
    workers.send()
    assert send_state(acme) == 'ok'
    acme.send('+12025550200')
    workers.send()
    assert send_state(acme) == 'away'
    later = [acme.send(to) for to in people(5, 300)]
    due_now()
    workers.send()
    assert road.calls == 10
    assert {acme.message(one['id'])['status'] for one in later} == {'queued'}
    for probes in range(1, 4):
        probe_is_due()
        workers.send()
        assert road.calls == 10 + probes
    assert states(acme) == {'queued'}
    assert {message['attempts'] for message in acme.messages()} == {0}
    road.open()
    probe_is_due()
    workers.send()
    assert send_state(acme) == 'ok'
    assert states(acme) == {'accepted'}
    assert len(arrived(stand_in)) == 15
    assert sql('SELECT * FROM graph_outage') == []


@pytest.mark.parametrize('closed', ['refuse', 'say', 'hang'])
def test_whatever_the_outage_looks_like_nothing_fails(
    acme, workers, road, stand_in, setting, closed
):
    setting('GRAPH_TIMEOUT', 0.3)
    setting('UNKNOWN_GRACE_SECONDS', 0)
    {'refuse': road.refuse, 'say': lambda: road.say(UNAVAILABLE), 'hang': road.hang}[closed]()
    for n in range(3):
        for to in people(12):
            acme.send(to, f'{to} {n}')
    for _ in range(5):
        all_sent(acme, workers)
    assert states(acme) <= {'queued', 'unknown'}
    setting('GRAPH_TIMEOUT', 30)  # a busy machine is no outage
    road.open()
    wait_until(lambda: all_sent(acme, workers), 30, 0.3)
    assert states(acme) == {'accepted'}
    for to in people(12):
        assert [text for text in arrived(stand_in) if text.startswith(to)] == [
            f'{to} {n}' for n in range(3)
        ]


def test_single_failures_keep_the_retry_policy(acme, workers, stand_in):
    bad = [acme.send(f'+19991310160{n:02}') for n in range(4)]
    for _ in range(4):
        acme.send('+12025550143')
        workers.send()
        due_now()
    assert {acme.message(one['id'])['status'] for one in bad} == {'failed'}
    assert send_state(acme) == 'ok'


@pytest.mark.parametrize('code', [REFUSED, 190, 131047])
def test_an_answer_that_does_not_pass_by_ends_the_row_too(acme, workers, code):
    for n in range(9):
        acme.send(f'+1999{T:06}0{n:02}')
    workers.send()
    assert sql('SELECT failures FROM graph_outage ORDER BY scope') == [(9,), (9,)]
    acme.send(f'+1999{code:06}0')
    workers.send()
    assert sql('SELECT * FROM graph_outage') == []


def test_a_page_of_something_in_between_ends_no_outage(acme, workers, road):
    road.say(OVERLOADED)
    for to in people(12):
        acme.send(to)
    workers.send()
    road.say(b'HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<h1>No!</')
    probe_is_due()
    workers.send()
    assert send_state(acme) == 'away'
    assert sorted(message['status'] for message in acme.messages()) == ['failed'] + ['queued'] * 11


def test_one_numbers_trouble_is_not_the_others(acme, workers, stand_in):
    acme.account(OTHER, OTHER_NUMBER)
    for n in range(10):
        acme.send(f'+1999{T:06}0{n:02}')
    workers.send()
    assert [send_state(acme, chatbot_id) for chatbot_id in (CHATBOT, OTHER)] == ['away', 'ok']
    other = acme.send(chatbot_id=OTHER)
    workers.send()
    assert acme.message(other['id'])['status'] == 'accepted'
    assert send_state(acme) == 'away'
    assert [one['chatbot_id'] for one in acme.get('/accounts?send_state=away').json['data']] == [
        CHATBOT
    ]
    assert [one['chatbot_id'] for one in acme.get('/accounts?send_state=ok').json['data']] == [
        OTHER
    ]


def test_numbers_that_fail_together_are_away_together_and_back_together(
    acme, workers, road, stand_in
):
    acme.account(OTHER, OTHER_NUMBER)
    road.refuse()
    for to in people(10):
        acme.send(to)
    workers.send()
    quiet = acme.send(chatbot_id=OTHER)  # its first failure is the eleventh of all
    workers.send()
    assert [send_state(acme, chatbot_id) for chatbot_id in (CHATBOT, OTHER)] == ['away', 'away']
    assert acme.message(quiet['id'])['attempts'] == 0
    assert len(acme.get('/accounts?send_state=away').json['data']) == 2
    assert acme.get('/accounts?send_state=ok').json['data'] == []
    road.open()
    probe_is_due(outage.ALL)
    workers.send()
    assert [send_state(acme, chatbot_id) for chatbot_id in (CHATBOT, OTHER)] == ['ok', 'ok']
    due_now()  # what was recorded before Meta counted as away waits for its second attempt
    workers.send()
    assert states(acme) == {'accepted'}


def test_one_probe_for_all_numbers_however_many_workers_look(acme, road, workers):
    acme.account(OTHER, OTHER_NUMBER)
    road.say(OVERLOADED)
    for chatbot_id in (CHATBOT, OTHER):
        for to in people(10):
            acme.send(to, chatbot_id=chatbot_id)
    workers.send()
    calls = road.calls
    probe_is_due()
    workers.send()
    assert road.calls == calls + 1


def test_probes_grow_from_5_to_60_seconds(acme, workers, road):
    road.say(OVERLOADED)
    for to in people(10):
        acme.send(to)
    workers.send()
    for gap in (5, 10, 20, 40, 60, 60):
        (seconds,) = sql(
            'SELECT extract(epoch FROM probe_at - now())::float FROM graph_outage WHERE scope <> '
            "'app'"
        )[0]
        assert gap - 2 < seconds <= gap
        probe_is_due()
        workers.send()


def test_a_message_that_nobody_can_send_does_not_stand_in_the_way_of_the_others(
    acme, workers, stand_in
):
    for n in range(12):
        acme.send(f'+1999{T:06}0{n:02}')
    workers.send()
    assert send_state(acme) == 'away'
    good = acme.send('+12025550143')
    probe_is_due()
    workers.send()
    assert acme.message(good['id'])['status'] == 'accepted'


def test_attempts_that_failed_before_it_was_known_are_not_counted(acme, workers, road):
    road.say(OVERLOADED)
    first = [acme.send(to) for to in people(3)]
    for attempts in (1, 2, 3):
        workers.send()
        assert {acme.message(one['id'])['attempts'] for one in first} == {attempts}
        due_now()
    workers.send()
    assert send_state(acme) == 'away'
    assert {(m['status'], m['attempts']) for m in acme.messages()} == {('queued', 0)}


def test_expires_at_counts_while_meta_is_away(acme, workers, road):
    road.refuse()
    for to in people(10):
        acme.send(to)
    workers.send()
    sent = acme.send(expires_at='2099-01-01T00:00:00Z')
    sql('UPDATE message SET expires_at = now() WHERE id = %s', sent['id'])
    workers.promote()
    assert acme.message(sent['id'])['status'] == 'expired'


def test_it_is_told_in_the_account_and_in_two_log_lines(acme, workers, road, caplog):
    caplog.set_level(logging.INFO, 'service.graph.outage')
    road.refuse()
    for to in people(10):
        acme.send(to)
    workers.send()
    account = acme.get(f'/account/{CHATBOT}').json
    assert account['send_state_reason']['title'].startswith('Meta could not be reached')
    assert account['send_state_reason'] | explain('away') == account['send_state_reason']
    assert account['send_state_since'].endswith('Z')
    road.open()
    probe_is_due()
    workers.send()
    told = [
        (record.levelname, record.getMessage(), record.phone_number_id)
        for record in caplog.records
        if record.name == 'service.graph.outage'
    ]
    assert told == [
        ('WARNING', 'Meta is away', PHONE_NUMBER_ID),
        ('INFO', 'Meta is back', PHONE_NUMBER_ID),
    ]


def test_it_outlives_redis_and_every_worker(acme, workers, road, redis_server):
    road.say(OVERLOADED)
    for to in people(10):
        acme.send(to)
    workers.send()
    redis_server.flush()
    workers._forget()
    due_now()
    workers.send()
    assert (road.calls, send_state(acme)) == (10, 'away')


def test_complaints_of_going_too_fast_count_once_a_second(acme, workers, stand_in):
    for n in range(12):
        acme.send(f'+19991304290{n:02}')
    began = time.monotonic()
    workers.send()
    seconds = int(time.monotonic() - began)  # 0, but on a machine that is very busy
    ((scope, failures),) = sql('SELECT scope, failures FROM graph_outage')
    assert scope == f'number:{PHONE_NUMBER_ID}'
    assert failures <= 1 + seconds < 12


def test_one_persons_limit_is_not_the_numbers(acme, workers, stand_in):
    for n in range(12):
        acme.send(f'+19991310560{n:02}')
    workers.send()
    assert sql('SELECT * FROM graph_outage') == []


def test_a_lost_answer_keeps_the_next_messages_of_its_conversation_behind_it(
    acme, workers, road, setting
):
    setting('GRAPH_TIMEOUT', 0.3)
    road.hang()
    for to in people(12):
        acme.send(to, 'first')
        acme.send(to, 'second')
    workers.send()
    waits = sql(
        'SELECT min(extract(epoch FROM c.send_after - now())) FROM conversation c JOIN message m '
        "ON m.conversation_id = c.id WHERE m.status = 'unknown'"
    )
    assert waits[0][0] > 100


def test_a_resume_probes_at_once(acme, workers, road, stand_in):
    road.refuse()
    for to in people(10):
        acme.send(to)
    workers.send()
    road.open()
    due_now()
    workers.send()
    assert send_state(acme) == 'away'
    acme.post(f'/account/{CHATBOT}/resume')
    workers.send()
    assert (send_state(acme), states(acme)) == ('ok', {'accepted'})


def test_files_and_receipts_that_wait_go_on_when_meta_is_back(acme, workers, road, meta):
    acme.account(responder={'kind': 'none'})
    image = {'id': '77', 'mime_type': 'image/jpeg'}
    meta.webhook(envelope([text_message(wamid='wamid.I') | {'type': 'image', 'image': image}]))
    workers.incoming()
    road.refuse()
    acme.post(f'/messages/{acme.messages()[0]["id"]}/read')
    sql('UPDATE read_receipt SET attempts = 4')
    sql('UPDATE media SET attempts = 4')
    workers.errands()
    for table in ('media', 'read_receipt'):
        assert sql(f"SELECT due_at > now() + interval '50 s' FROM {table}") == [(True,)]
    for to in people(10):
        acme.send(to)
    workers.send()
    road.open()
    probe_is_due()
    workers.send()
    for table in ('media', 'read_receipt'):
        assert sql(f'SELECT due_at <= now() FROM {table}') == [(True,)]


def test_old_rows_are_forgotten(database):
    with db.connection():
        columns = 'scope, phone_number_id, failures, error, since, failed_at'
        db.execute(
            f"INSERT INTO graph_outage ({columns}) SELECT 'app', '1', 1, '{{}}', now(), now() - "
            "interval '25 hours'"
        )
        outage.delete_old()
    assert sql('SELECT * FROM graph_outage') == []
