"""People take a conversation over and give it back: nothing of the bot leaves in between."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from service.conversations.pause import Occasion, PausedBy, begin_by_themselves
from service.runtime.db import connection
from tests.messages.test_echoes import echo, echoed
from tests.people import CUSTOMER, envelope, sql, status_of, text_message
from tests.stack import wait_until
from workers import incoming, replies, send

FOR_EVER = '9999-12-31T00:00:00.000000Z'
NOBODY = '0192a000-0000-7000-8000-000000000000'
SLOW = '19980008004'  # Meta answers after 800 ms


@pytest.fixture
def write(meta, workers):
    """write('text'): the customer writes, and a worker hears it, but waits for no responder."""
    written = []

    def post(text, phone=CUSTOMER, **more):
        written.append(text)
        message = text_message(text, wamid=f'wamid.{len(written)}', phone=phone, **more)
        assert meta.webhook(envelope([message])).status_code == 200
        step()

    return post


def step():
    with connection():
        while incoming.step():
            pass


@pytest.fixture
def on_phone(meta, workers):
    """on_phone('text', ago=0): somebody writes to the customer on the business's own phone."""
    written = []

    def post(text='On my way', ago=0, to=CUSTOMER):
        written.append(text)
        at = int(time.time()) - ago
        body = echoed(echo(text, f'wamid.E{len(written)}', to, at=at))
        assert meta.webhook(body).status_code == 200
        step()

    return post


def conversation_of(backend, phone=CUSTOMER):
    (found,) = [one for one in backend.conversations() if one['wa_id'] == phone]
    return found


def act(backend, verb, body=None, phone=CUSTOMER):
    """Pause or resume the conversation of a customer; the answer's JSON."""
    answer = backend.post(f'/conversations/{conversation_of(backend, phone)["id"]}/{verb}', body)
    assert answer.status_code == 200, answer.text
    return answer.json


def pause(backend, minutes=30, phone=CUSTOMER, **more):
    return act(backend, 'pause', {'minutes': minutes, **more}, phone)


def end_pause():
    """The time of the pause passes."""
    sql("UPDATE conversation SET paused_until = now() - interval '1 second'")


def said(backend):
    """What was queued for the customers, and its states."""
    return [
        (message['content']['body'], message['status'])
        for message in backend.messages(direction='outbound')[::-1]
    ]


def asked(platform):
    """What the customer had written, as the responder was asked each time."""
    return [
        [one['content']['body'] for one in ask['body']['messages'] if one['direction'] == 'inbound']
        for ask in platform.asks
    ]


# ---- what a caller says and sees


def test_a_pause_names_its_end_who_began_it_and_who_has_the_conversation(backend, platform, write):
    write('Hello')
    paused = pause(backend, assignee='maria')
    (seconds,) = sql('SELECT extract(epoch FROM paused_until - now())::float FROM conversation')[0]
    assert 1790 < seconds <= 1800
    assert (paused['paused_by'], paused['assignee']) == ('api', 'maria')
    assert paused == conversation_of(backend)


@pytest.mark.parametrize('body', [None, {}, {'minutes': None}])
def test_a_pause_without_minutes_lasts_until_somebody_resumes(backend, platform, write, body):
    write('Hello')
    assert act(backend, 'pause', body)['paused_until'] == FOR_EVER
    assert conversation_of(backend)['paused_until'] == FOR_EVER


def test_a_person_may_shorten_a_pause_and_stays_whose_it_is_until_said_otherwise(
    backend, platform, write
):
    write('Hello')
    pause(backend, None, assignee='maria')
    shorter = pause(backend, 10)
    assert shorter['paused_until'] < FOR_EVER
    assert shorter['assignee'] == 'maria'
    assert pause(backend, 10, assignee=None)['assignee'] is None
    pause(backend, 10, assignee='maria')
    end_pause()
    assert pause(backend, 10)['assignee'] is None


@pytest.mark.parametrize(
    ('verb', 'body', 'field'),
    [
        ('pause', {'minutes': 0}, 'minutes'),
        ('pause', {'minutes': -5}, 'minutes'),
        ('pause', {'minutes': '30'}, 'minutes'),
        ('pause', {'minutes': 1.5}, 'minutes'),
        ('pause', {'minutes': 525_601}, 'minutes'),
        ('pause', {'minutes': True}, 'minutes'),
        ('pause', {'assignee': ''}, 'assignee'),
        ('pause', {'assignee': 'm' * 256}, 'assignee'),
        ('pause', {'assignee': 'a\0b'}, 'assignee'),
        ('pause', {'minute': 30}, 'minute'),
        ('resume', {'answer': 'yes'}, 'answer'),
        ('resume', {'minutes': 1}, 'minutes'),
    ],
)
def test_what_is_wrong_is_named(backend, platform, write, verb, body, field):
    write('Hello')
    answer = backend.post(f'/conversations/{conversation_of(backend)["id"]}/{verb}', body)
    assert (answer.status_code, list(answer.json['errors'])) == (422, [field])
    assert conversation_of(backend)['paused_until'] is None


@pytest.mark.parametrize('verb', ['pause', 'resume'])
def test_nobody_can_be_paused_who_is_not_there(backend, verb):
    assert backend.post(f'/conversations/{NOBODY}/{verb}').status_code == 404


def test_resuming_gives_the_conversation_back_also_twice(backend, platform, write):
    write('Hello')
    pause(backend, None, assignee='maria')
    for _ in range(2):
        resumed = act(backend, 'resume')
        assert (resumed['paused_until'], resumed['paused_by'], resumed['assignee']) == (None,) * 3


# ---- nothing of the bot leaves


def test_what_was_due_is_not_asked_for(backend, platform, write, workers, setting):
    setting('REPLY_QUIET_SECONDS', 60)
    write('One')
    assert pause(backend)['reply_due_at'] is None
    sql('UPDATE conversation SET reply_due_at = now() WHERE reply_due_at IS NOT NULL')
    workers.incoming()
    end_pause()
    workers.incoming()
    assert platform.asks == []


def test_an_answer_in_the_making_is_dropped_for_good(backend, platform, write, workers):
    platform.thinks()
    write('One')
    wait_until(lambda: platform.asks)
    pause(backend)
    platform.open.set()
    assert replies.close(10)
    end_pause()
    workers.incoming()
    assert (said(backend), len(platform.asks)) == ([], 1)


def test_what_is_queued_is_cancelled_but_what_people_send_goes(
    backend, platform, write, workers, stand_in
):
    platform.says('First', 'Second')
    write('One')
    workers.incoming()
    backend.send(text='From the shop')
    pause(backend)
    workers.send()
    assert said(backend) == [
        ('First', 'cancelled'),
        ('Second', 'cancelled'),
        ('From the shop', 'accepted'),
    ]
    (first, *_) = backend.messages(direction='outbound')[::-1]
    assert (first['error']['title'], first['attempts']) == (
        'A person has taken the conversation over',
        0,
    )
    assert 'taken the conversation over' in first['explanation']


def test_others_are_answered_all_the_same(backend, platform, write, workers, stand_in):
    write('One')
    write('Two', phone='12025550144')
    pause(backend)
    workers.incoming()
    workers.send()
    assert [send['body']['to'] for send in stand_in.sends()] == ['+12025550144']


def test_what_is_in_a_call_may_leave_but_is_not_tried_again(
    backend, platform, write, workers, stand_in, setting
):
    """Meta refuses it for a while: it would be tried again in 2 s."""
    write('One')
    workers.incoming()
    setting('GRAPH_API_URL', 'http://127.0.0.1:9')
    workers.send()
    assert said(backend) == [('Hi!', 'queued')]
    sql("UPDATE conversation SET paused_until = now() + interval '1 hour', paused_by = 'api'")
    sql("UPDATE message SET due_at = now() WHERE status = 'queued'")
    sql('UPDATE conversation SET send_after = NULL')
    workers.send()
    assert said(backend) == [('Hi!', 'cancelled')]


def test_what_is_claimed_but_not_in_a_call_does_not_leave(
    backend, platform, write, workers, stand_in, setting
):
    """All six threads are in a call, and the seventh message waits in the worker's memory."""
    setting('SEND_CONCURRENCY', 6)
    for n in range(6):
        write('One', phone=f'{SLOW}{n}')
    workers.incoming()
    write('One')
    workers.incoming()
    with connection():
        assert send.sender().step() == 7
    pause(backend)
    wait_until(lambda: ('Hi!', 'sending') not in said(backend))
    workers.send()
    sql('UPDATE message SET due_at = now() WHERE due_at IS NOT NULL')
    sql('UPDATE conversation SET send_after = NULL')
    workers.send()
    assert f'+{CUSTOMER}' not in [call['body']['to'] for call in stand_in.sends()]
    assert sorted(said(backend)) == [('Hi!', 'accepted')] * 6 + [('Hi!', 'cancelled')]


def test_the_answer_comes_after_a_message_that_was_just_claimed_is_in_its_call(
    backend, platform, write, workers, stand_in
):
    write('One', phone=SLOW)
    workers.incoming()
    with connection():
        assert send.sender().step() == 1
    pause(backend, phone=SLOW)
    calls = len(stand_in.sends())
    workers.send()
    assert calls == len(stand_in.sends()) == 1
    assert said(backend) == [('Hi!', 'accepted')]


def test_a_pause_is_one_line_in_the_log_without_names(backend, platform, write, workers, caplog):
    caplog.set_level('INFO')
    write('One')
    workers.incoming()
    pause(backend, assignee='Maria de Souza')
    for _ in range(2):
        backend.send(text='I am Maria', from_human=True)
    (line,) = [one for one in caplog.records if one.message == 'conversation paused']
    assert (line.by, line.cancelled) == ('api', 1)
    assert line.conversation_id == conversation_of(backend)['id']
    assert 'Souza' not in str([one.__dict__ for one in caplog.records])


# ---- afterwards


def test_a_pause_that_ends_answers_nothing_and_the_next_message_is_answered_with_all(
    backend, platform, write, workers
):
    write('One')
    workers.incoming()
    pause(backend)
    write('Two')
    workers.incoming()
    end_pause()
    workers.incoming()
    assert len(platform.asks) == 1
    write('Three')
    workers.incoming()
    assert asked(platform) == [['One'], ['One', 'Two', 'Three']]


def test_resume_with_answer_answers_what_came_meanwhile(backend, platform, write, workers):
    pause_before_hello(backend, write)
    resumed = act(backend, 'resume', {'answer': True})
    assert resumed['reply_due_at'] is not None
    workers.incoming()
    assert asked(platform) == [['Hello']]
    assert said(backend) == [('Hi!', 'queued')]


def pause_before_hello(backend, write):
    backend.send()
    pause(backend)
    sql('DELETE FROM message')
    write('Hello')


def test_resume_without_answer_leaves_it_to_the_next_message(backend, platform, write, workers):
    pause_before_hello(backend, write)
    act(backend, 'resume')
    workers.incoming()
    assert platform.asks == []


def test_what_was_written_long_before_the_resume_is_not_too_late(backend, platform, write, workers):
    pause_before_hello(backend, write)
    sql("UPDATE conversation SET reply_wanted_at = now() - interval '1 day'")
    act(backend, 'resume', {'answer': True})
    ((age,),) = sql('SELECT extract(epoch FROM now() - reply_wanted_at)::float FROM conversation')
    assert 0 <= age < 60


@pytest.mark.parametrize(
    'why', ['answered by a send', 'answered by the bot', 'STOP', 'responder none', 'reaction']
)
def test_resume_with_answer_asks_nobody_when_nothing_waits(
    backend, platform, meta, write, workers, why
):
    if why == 'answered by the bot':
        write('Hello')
        workers.incoming()
    else:
        pause_before_hello(backend, write)
    if why == 'answered by a send':
        backend.send(text='Good morning')
    elif why == 'STOP':
        write('STOP')
    elif why == 'responder none':
        backend.account(responder={'kind': 'none'})
    elif why == 'reaction':
        backend.send(text='Good morning')
        reaction = text_message(wamid='wamid.R')
        del reaction['text']
        reaction |= {'type': 'reaction', 'reaction': {'message_id': 'wamid.1', 'emoji': '👍'}}
        meta.webhook(envelope([reaction]))
        workers.incoming()
    before = len(platform.asks)
    assert act(backend, 'resume', {'answer': True})['reply_due_at'] is None
    workers.incoming()
    assert len(platform.asks) == before


def test_a_cancelled_answer_leaves_the_customer_waiting(backend, platform, write, workers):
    write('One')
    workers.incoming()
    pause(backend)
    act(backend, 'resume', {'answer': True})
    workers.incoming()
    assert said(backend) == [('Hi!', 'cancelled'), ('Hi!', 'queued')]


def test_what_is_to_go_later_has_answered_nobody(backend, platform, write, workers):
    pause_before_hello(backend, write)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    backend.send(text='See you at eight', send_at=tomorrow.isoformat())
    act(backend, 'resume', {'answer': True})
    workers.incoming()
    assert said(backend) == [('See you at eight', 'scheduled'), ('Hi!', 'queued')]


# ---- people who write are people who take over


def seconds_left():
    return sql('SELECT extract(epoch FROM paused_until - now())::float FROM conversation')[0][0]


@pytest.mark.parametrize('by', ['business_app', 'human_send'])
def test_who_writes_takes_over(backend, platform, write, on_phone, workers, by):
    platform.says('First')
    write('One')
    workers.incoming()
    human(backend, on_phone, by)
    paused = conversation_of(backend)
    assert (paused['paused_by'], paused['assignee'], paused['reply_due_at']) == (by, None, None)
    assert 719 * 60 < seconds_left() <= 720 * 60
    assert said(backend)[0] == ('First', 'cancelled')
    assert said(backend)[1][1] == ('sent' if by == 'business_app' else 'queued')


def human(backend, on_phone, by, **more):
    if by == 'business_app':
        on_phone(**more)
    else:
        backend.send(text='I am Maria', from_human=True)


@pytest.mark.parametrize('by', ['business_app', 'human_send'])
def test_every_further_message_of_a_person_renews_the_pause(backend, platform, write, on_phone, by):
    write('One')
    human(backend, on_phone, by)
    sql("UPDATE conversation SET paused_until = now() + interval '1 minute', assignee = 'maria'")
    human(backend, on_phone, by)
    assert 719 * 60 < seconds_left() <= 720 * 60
    assert conversation_of(backend)['assignee'] == 'maria'


@pytest.mark.parametrize('by', ['business_app', 'human_send'])
def test_a_longer_pause_stays_as_it_is(backend, platform, write, on_phone, by):
    write('One')
    pause(backend, None, assignee='maria')
    human(backend, on_phone, by)
    paused = conversation_of(backend)
    assert (paused['paused_until'], paused['paused_by']) == (FOR_EVER, 'api')


@pytest.mark.parametrize('by', ['business_app', 'human_send'])
def test_an_account_may_want_no_pauses_by_themselves(
    backend, platform, write, on_phone, workers, by
):
    backend.account(pause_minutes=0)
    write('One')
    workers.incoming()
    human(backend, on_phone, by)
    assert conversation_of(backend)['paused_until'] is None
    assert said(backend)[0] == ('Hi!', 'queued')
    assert pause(backend, 5)['paused_by'] == 'api'


def test_a_message_on_the_phone_counts_from_its_own_time(backend, platform, write, on_phone):
    backend.account(pause_minutes=60)
    write('One')
    on_phone(ago=45 * 60)
    assert 14 * 60 < seconds_left() <= 15 * 60
    sql('UPDATE conversation SET paused_until = NULL, paused_by = NULL')
    on_phone(ago=3601)
    assert conversation_of(backend)['paused_until'] is None


def test_a_message_on_the_phone_that_comes_with_the_customers_stops_the_reply(
    backend, platform, meta, workers
):
    both = envelope([text_message('Hello')])
    both['entry'] += echoed(echo(at=int(time.time())))['entry']
    meta.webhook(both)
    workers.incoming()
    assert platform.asks == []
    assert conversation_of(backend)['paused_by'] == 'business_app'


def test_a_message_on_the_phone_that_is_told_again_renews_nothing(
    backend, platform, write, on_phone, meta
):
    write('One')
    body = echoed(echo(at=int(time.time())))
    meta.webhook(body)
    step()
    act(backend, 'resume')
    body['entry'][0]['id'] = '1'
    meta.webhook(body)
    step()
    assert conversation_of(backend)['paused_until'] is None


def test_the_bots_own_message_is_no_persons_also_if_meta_tells_it_like_one(
    backend, platform, write, on_phone, workers, stand_in
):
    """The echo is faster than Meta's answer."""
    write('One', phone=SLOW)
    workers.incoming()
    with connection():
        assert send.sender().step() == 1
    wait_until(stand_in.sends)
    on_phone('Hi!', to=SLOW)
    assert conversation_of(backend, SLOW)['paused_until'] is None
    on_phone('Hello, I am Maria', to=SLOW)
    assert conversation_of(backend, SLOW)['paused_by'] == 'business_app'


def test_a_send_of_a_person_is_known_as_one_and_goes_while_the_bot_pauses(
    backend, platform, write, workers, stand_in
):
    write('One')
    pause(backend)
    by_person = backend.send(text='I am Maria', from_human=True)
    by_backend = backend.send(text='Your order', from_human=False)
    workers.send()
    shown = [backend.message(one['id']) for one in (by_person, by_backend)]
    assert [(one['from_human'], one['status']) for one in shown] == [
        (True, 'accepted'),
        (False, 'accepted'),
    ]


def test_a_send_that_is_refused_takes_nothing_over(backend, platform, write):
    write('One', at=int(time.time()) - 90_000)
    sent = {'chatbot_id': 'acme', 'to': f'+{CUSTOMER}', 'text': {'body': 'Hi'}, 'from_human': True}
    assert backend.post('/send', sent).status_code == 409
    assert conversation_of(backend)['paused_until'] is None


def test_a_long_text_of_a_person_is_a_persons_in_all_its_parts(backend, platform, write):
    write('One')
    backend.send(text='word ' * 2000, split=True, from_human=True)
    sent = backend.messages(direction='outbound')
    parts = [one for one in sent if one['text'].startswith('word')]
    assert len(parts) > 1
    assert all(part['from_human'] for part in parts)


def test_what_a_person_sends_once_more_goes_though_the_bot_said_it(
    backend, platform, write, workers, stand_in
):
    write('One', phone='19991310260')  # Meta refuses
    workers.incoming()
    workers.send()
    (failed,) = backend.messages(direction='outbound')
    pause(backend, phone='19991310260')
    backend.post(f'/messages/{failed["id"]}/retry')
    workers.send()
    again = backend.message(failed['id'])
    assert (failed['status'], again['status'], len(again['tries'])) == ('failed', 'failed', 2)


def test_a_persons_answer_is_no_responders_answer(backend, platform, write):
    write('One')
    (message,) = backend.messages(direction='inbound')
    body = {'chatbot_id': 'acme', 'to': f'+{CUSTOMER}', 'text': {'body': 'Hi'}}
    answer = backend.post('/send', body | {'in_reply_to': message['id'], 'from_human': True})
    assert (answer.status_code, list(answer.json['errors'])) == (422, ['from_human'])


def test_what_two_machines_have_said_still_goes_until_a_person_takes_over(
    backend, platform, write, on_phone, workers, stand_in
):
    write('One')
    workers.incoming()
    by_loop_guard()
    workers.send()
    assert said(backend) == [('Hi!', 'accepted')]
    sql('UPDATE conversation SET paused_until = NULL')
    write('Two')
    workers.incoming()
    by_loop_guard()
    on_phone()
    assert said(backend)[1] == ('Hi!', 'cancelled')
    paused = conversation_of(backend)
    assert (paused['paused_by'], seconds_left() > 86_000) == ('business_app', True)


def by_loop_guard():
    """Two machines answered each other, and the pause is longer than a person's."""
    with connection():
        (id_,) = sql('SELECT id FROM conversation')[0]
        begin_by_themselves([Occasion.now(id_, PausedBy.LOOP_GUARD)])
    sql("UPDATE conversation SET paused_until = now() + interval '1 day'")


# ---- when something last went to the customer


def last_outbound():
    ((age,),) = sql('SELECT extract(epoch FROM now() - last_outbound_at)::float FROM conversation')
    return age


def test_what_meta_takes_is_the_last_that_went_to_the_customer(
    backend, platform, write, workers, stand_in
):
    write('One')
    backend.send()
    assert last_outbound() is None

    def is_sent():  # not while the answer to One is stored: its conversation is locked then
        workers.send()
        return last_outbound() is not None

    wait_until(is_sent)
    assert 0 <= last_outbound() < 60
    assert conversation_of(backend)['last_outbound_at'] is not None


def test_what_was_written_on_the_phone_counts_by_its_time(backend, platform, on_phone):
    on_phone(ago=100)
    assert 100 <= last_outbound() < 160
    on_phone(ago=1000)
    assert 100 <= last_outbound() < 160


def test_a_message_whose_answer_was_lost_counts_when_its_status_comes(
    backend, platform, write, workers, stand_in, tell
):
    write('One')
    sent = backend.send(to='+19980000001')
    workers.send()
    sql('UPDATE conversation SET last_outbound_at = NULL')
    assert backend.message(sent['id'])['status'] == 'unknown'
    tell(status_of('wamid.lost', 'sent', opaque=sent['id']))
    ((at,),) = sql(
        'SELECT last_outbound_at FROM conversation WHERE id = %s', sent['conversation_id']
    )
    assert at is not None


# ---- merges


@pytest.mark.parametrize('older_is_paused', [True, False])
def test_a_pause_of_either_half_holds_for_the_person(
    backend, platform, meta, workers, older_is_paused
):
    meta.webhook(envelope([text_message('By phone', 'wamid.1')]))
    meta.webhook(envelope([text_message('By BSUID', 'wamid.2', phone=None, user='US.1')]))
    workers.incoming()
    by_phone, by_user = sorted(backend.conversations(), key=lambda one: one['wa_id'] is None)
    paused, other = (by_phone, by_user) if older_is_paused else (by_user, by_phone)
    backend.post(f'/conversations/{paused["id"]}/pause', {'minutes': 30, 'assignee': 'maria'})
    today = "(now() AT TIME ZONE 'UTC')::date"
    sql(f'UPDATE conversation SET reply_due_at = now(), turns = 2, turns_on = {today}')
    meta.webhook(envelope([text_message('Both', 'wamid.3', user='US.1')]))
    workers.incoming()
    (merged,) = backend.conversations()
    assert (merged['paused_by'], merged['assignee']) == ('api', 'maria')
    assert sql('SELECT turns FROM conversation') == [(4,)]
    assert len(platform.asks) == 2
    assert [status for _, status in said(backend)].count('queued') <= 1
    for known in (paused['id'], other['id']):
        again = backend.post(f'/conversations/{known}/pause', {'minutes': 5, 'assignee': 'jo'})
        assert (again.json['id'], again.json['assignee']) == (merged['id'], 'jo')
        assert backend.post(f'/conversations/{known}/resume').json['paused_until'] is None
