"""When an answer fits no more, and what keeps a conversation from costing without an end."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from service.runtime.db import connection
from service.sending import timers
from tests.own_service import Platform
from tests.people import CUSTOMER, envelope, sql, text_message
from tests.stack import wait_until
from workers import incoming, replies, reply_results

LATE = 'the customer wrote longer ago than reply_ttl_seconds'


@pytest.fixture
def platform():
    with Platform() as platform:
        platform.says('Hi!')
        yield platform


@pytest.fixture
def account(backend, platform):
    """account(field=…): the account with this field, whose responder is the platform."""

    def save(**more):
        return backend.account(**{'responder': {'kind': 'http', 'url': platform.url}, **more})

    save()
    return save


@pytest.fixture
def write(meta, account):
    """write('text'): the customer writes and a worker hears it; it waits for no responder."""
    written = []

    def post(text, ago=0, phone=CUSTOMER):
        written.append(text)
        at = int(time.time()) - ago
        message = text_message(text, wamid=f'wamid.{len(written)}', phone=phone, at=at)
        assert meta.webhook(envelope([message])).status_code == 200
        step()

    return post


def begin_to_ask(platform, write):
    """The platform is asked about 'One', and thinks until `platform.open` is set."""
    platform.thinks()
    write('One')
    wait_until(lambda: platform.asks)


@pytest.fixture
def ask(write, workers):
    """ask('text'): the customer writes, and what comes of it is recorded."""

    def post(text, **more):
        write(text, **more)
        workers.incoming()

    return post


@pytest.fixture
def later(setting):
    """Replies are asked for in an hour: enough to see who waits for one."""
    setting('REPLY_QUIET_SECONDS', 3600)


def step():
    with connection():
        while incoming.step():
            pass


def make_due():
    sql('UPDATE conversation SET reply_due_at = now() WHERE reply_due_at IS NOT NULL')


def due_in():
    """Seconds until the responder is asked, None when it is not."""
    return sql('SELECT extract(epoch FROM reply_due_at - now())::float FROM conversation')[0][0]


def wanted_ago():
    """Seconds since the customer wrote what waits for a reply."""
    return sql('SELECT extract(epoch FROM now() - reply_wanted_at)::float FROM conversation')[0][0]


def said(backend):
    found = backend.messages(direction='outbound')
    return [message['content']['body'] for message in found][::-1]


def asked(platform):
    """What the customer had written, each time that the responder was asked."""
    return [
        [one['text'] for one in ask['body']['messages'] if one['direction'] == 'inbound']
        for ask in platform.asks
    ]


def conversation(backend):
    (found,) = backend.conversations()
    return found


# ---- the quiet time


@pytest.mark.parametrize(('quiet', 'seconds'), [(0, 0), (0.5, 0.5), (30, 30), (None, 3600)])
def test_the_quiet_time_is_the_accounts_own(account, write, later, quiet, seconds):
    account(quiet_seconds=quiet, responder={'kind': 'http', 'url': 'http://127.0.0.1:9'})
    write('One')
    if quiet == 0:
        assert replies.close(10)
        assert sql('SELECT reply_attempts FROM conversation') == [(1,)]
    else:
        assert seconds - 5 < due_in() <= seconds


def test_no_reply_is_due_in_a_pause_and_the_next_question_holds_what_came_in_it(
    backend, platform, ask
):
    ask('One')
    sql("UPDATE conversation SET paused_until = now() + interval '1 hour', paused_by = 'api'")
    ask('Two')
    ask('Three')
    assert due_in() is None
    sql("UPDATE conversation SET paused_until = now() - interval '1 second'")
    step()
    assert len(platform.asks) == 1
    ask('Four')
    assert asked(platform)[-1] == ['One', 'Two', 'Three', 'Four']
    assert said(backend) == ['Hi!', 'Hi!']


# ---- what comes too late


@pytest.mark.parametrize(
    ('ago', 'least', 'most'),
    [(0, -1, 20), (3600, 3599, 3630), (6 * 86400, 518399, 518430), (8 * 86400, -1, 20)],
)
def test_what_waits_has_waited_since_the_customer_wrote_by_metas_time(
    account, write, later, ago, least, most
):
    """Meta tries for seven days to deliver; what claims to be older has no time that helps."""
    account(reply_ttl_seconds=86400)
    write('One', ago=ago)
    assert least <= wanted_ago() <= most


def test_an_older_message_makes_a_wanted_reply_no_older(account, write, later):
    write('New')
    write('Late by a minute', ago=60)
    assert wanted_ago() < 30


def test_who_has_waited_too_long_is_not_asked_about(backend, account, platform, ask):
    account(reply_ttl_seconds=60, fallback_text='Sorry!', read_receipts='typing')
    ask('One', ago=61)
    assert platform.asks == []
    assert said(backend) == []
    shown = conversation(backend)
    assert shown['reply_error'] == {'title': LATE, 'attempts': 0, 'final': True}
    assert shown['reply_due_at'] is None
    assert sql('SELECT count(*) FROM read_receipt') == [(0,)]
    ask('Two')
    assert said(backend) == ['Hi!']
    assert conversation(backend)['reply_error'] is None


def test_an_answer_that_comes_too_late_is_not_sent(backend, account, platform, write, workers):
    account(reply_ttl_seconds=60, fallback_text='Sorry!')
    platform.thinks()
    write('One', ago=57)
    wait_until(lambda: platform.asks)
    wait_until(lambda: wanted_ago() > 60, 60)
    platform.open.set()
    assert replies.close(10)
    workers.incoming()
    assert said(backend) == []
    assert len(platform.asks) == 1
    assert conversation(backend)['reply_error'] == {'title': LATE, 'attempts': 1, 'final': True}
    assert sql('SELECT turns FROM conversation') == [(0,)]


@pytest.fixture
def unread(meta):
    """unread(phone): a customer's message that is answered with 200 and that nobody has read."""

    def post(phone=CUSTOMER):
        message = text_message('And?', wamid='wamid.unread', phone=phone)
        assert meta.webhook(envelope([message])).status_code == 200

    return post


@pytest.mark.parametrize('patient', [30, 0])
def test_an_answer_waits_a_moment_for_what_its_customer_has_written_meanwhile(
    backend, platform, write, unread, workers, monkeypatch, patient
):
    monkeypatch.setattr(reply_results, 'PATIENT_SECONDS', patient)
    begin_to_ask(platform, write)
    unread()
    platform.open.set()
    if patient:
        assert not replies.close(0.5)
        assert said(backend) == []
        workers.incoming()
        assert [ask['body']['messages'][-1]['text'] for ask in platform.asks] == ['One', 'And?']
    assert replies.close(10)
    assert said(backend) == ['Hi!']
    workers.incoming()
    assert said(backend) == ['Hi!'] * (1 if patient else 2)


def test_it_knows_its_customer_by_either_id(backend, meta, platform, write, workers, monkeypatch):
    monkeypatch.setattr(reply_results, 'PATIENT_SECONDS', 30)
    begin_to_ask(platform, write)
    sql("UPDATE conversation SET user_id = 'US.1349'")
    message = text_message('And?', wamid='wamid.unread') | {'from_user_id': 'US.1349'}
    del message['from']
    assert meta.webhook(envelope([message])).status_code == 200
    platform.open.set()
    assert not replies.close(0.2)
    assert said(backend) == []
    sql("UPDATE webhook_event SET status = 'processed', processed_at = now()")
    assert replies.close(10)
    assert said(backend) == ['Hi!']


def test_it_does_not_wait_for_others(backend, platform, write, unread, monkeypatch):
    monkeypatch.setattr(reply_results, 'PATIENT_SECONDS', 30)
    begin_to_ask(platform, write)
    unread('12025550144')
    platform.open.set()
    assert replies.close(10)
    assert said(backend) == ['Hi!']


def test_an_answer_that_waits_until_it_is_too_late_expires(
    backend, account, ask, workers, stand_in
):
    account(reply_ttl_seconds=60)
    ask('One', ago=30)
    (message,) = backend.messages(direction='outbound')
    left = datetime.fromisoformat(message['expires_at']) - datetime.now(UTC)
    assert timedelta(0) < left <= timedelta(seconds=30)
    sql("UPDATE message SET expires_at = expires_at - interval '30 s' WHERE direction = 'outbound'")
    workers.send()
    assert stand_in.sends() == []
    with connection():
        timers.expire()
    assert backend.message(message['id'])['status'] == 'expired'


def test_a_failed_reply_may_be_retried_by_a_person_however_late(backend, ask):
    ask('One')
    (message,) = backend.messages(direction='outbound')
    sql(
        "UPDATE message SET status = 'failed', due_at = NULL, expires_at = now() "
        "WHERE direction = 'outbound'"
    )
    retried = backend.post(f'/messages/{message["id"]}/retry')
    assert (retried.status_code, retried.json['status']) == (202, 'queued')
    assert retried.json['expires_at'] is None


def test_no_retry_is_made_that_would_come_too_late(backend, account, platform, ask):
    account(reply_ttl_seconds=60, fallback_text='Sorry!')
    platform.answer(500)
    ask('One')
    assert due_in() is not None
    # The next retry would be due in eight seconds.
    sql(
        'UPDATE conversation SET reply_attempts = 2, reply_due_at = now(), '
        "reply_wanted_at = now() - interval '54 s'"
    )
    step()
    assert replies.close(10)
    assert len(platform.asks) == 2
    assert due_in() is None
    assert conversation(backend)['reply_error']['final'] is True
    assert said(backend) == ['Sorry!']


# ---- what passes an answer by


def test_each_newer_message_overtakes_and_the_last_answer_counts(backend, platform, write, workers):
    begin_to_ask(platform, write)
    for text in ('Two', 'Three'):
        write(text)
    platform.open.set()
    assert replies.close(10)
    workers.incoming()
    assert asked(platform) == [['One'], ['One', 'Two', 'Three']]
    assert said(backend) == ['Hi!']
    assert sql('SELECT turns, reply_due_at, reply_claim FROM conversation') == [(1, None, None)]


def test_a_failure_that_is_overtaken_is_forgotten(backend, account, platform, write, workers):
    account(fallback_text='Sorry!', responder={'kind': 'openai', 'base_url': platform.url})
    platform.answer(400)
    begin_to_ask(platform, write)
    write('Two')
    platform.answer(200, {'choices': [{'message': {'content': 'Hi!'}}]})
    platform.open.set()
    assert replies.close(10)
    workers.incoming()
    assert said(backend) == ['Hi!']
    assert conversation(backend)['reply_error'] is None


@pytest.mark.parametrize('kind', ['reaction', 'edit'])
def test_what_wants_no_answer_overtakes_none(backend, platform, write, meta, kind):
    begin_to_ask(platform, write)
    message = text_message(wamid='wamid.X')
    del message['text']
    content = {
        'reaction': {'message_id': 'wamid.1', 'emoji': '👍'},
        'edit': {'original_message_id': 'wamid.1', 'message': {'type': 'text'}},
    }
    meta.webhook(envelope([{**message, 'type': kind, kind: content[kind]}]))
    step()
    platform.open.set()
    assert replies.close(10)
    assert said(backend) == ['Hi!']


# ---- limits


def test_after_max_turns_a_day_nobody_is_asked_until_the_next_day(
    backend, account, platform, ask, caplog
):
    account(max_turns_a_day=2)
    for text in ('One', 'Two', 'Three'):
        ask(text)
    assert said(backend) == ['Hi!', 'Hi!']
    assert due_in() is None
    error = conversation(backend)['reply_error']
    assert error['title'] == 'max_turns_a_day replies were sent today (UTC)'
    told = [record for record in caplog.records if record.message == 'no more replies today']
    assert [record.turns for record in told] == [2]
    sql('UPDATE conversation SET turns_on = turns_on - 1')
    step()
    assert len(platform.asks) == 2  # what was written yesterday stays unanswered
    ask('Four')
    assert said(backend) == ['Hi!'] * 3
    assert conversation(backend)['reply_error'] is None
    assert sql('SELECT turns, turns_on FROM conversation') == [(1, datetime.now(UTC).date())]


def test_a_limit_that_was_lowered_meanwhile_holds(backend, account, platform, ask, setting):
    ask('One')
    setting('REPLY_QUIET_SECONDS', 3600)
    ask('Two')
    account(max_turns_a_day=1, fallback_text='Sorry!')
    make_due()
    step()
    assert replies.close(10)
    assert len(platform.asks) == 1
    assert said(backend) == ['Hi!']
    assert conversation(backend)['reply_error']['final'] is True
    assert due_in() is None


def test_silence_is_no_turn(backend, account, platform, ask):
    platform.answer(204)
    ask('One')
    assert sql('SELECT turns, answered_at FROM conversation') == [(0, None)]


@pytest.mark.parametrize(('minutes', 'paused_for'), [(None, 720), (5, 5), (0, 60)])
def test_two_machines_that_answer_each_other_are_stopped_after_the_tenth_answer(
    backend, account, ask, caplog, minutes, paused_for
):
    if minutes is not None:
        account(pause_minutes=minutes)
    for n in range(13):
        ask(f'No. {n}')
    assert said(backend) == ['Hi!'] * 10
    assert {one['status'] for one in backend.messages(direction='outbound')} == {'queued'}
    shown = conversation(backend)
    assert shown['paused_by'] == 'loop_guard'
    ((left,),) = sql(
        'SELECT extract(epoch FROM paused_until - now())::float / 60 FROM conversation'
    )
    assert paused_for - 2 < left <= paused_for
    (told,) = [one for one in caplog.records if one.message == 'conversation paused']
    assert 'two machines' in told.reason


def test_the_last_answer_to_a_machine_leaves(backend, stand_in, ask, workers):
    for n in range(10):
        ask(f'No. {n}')
    assert conversation(backend)['paused_by'] == 'loop_guard'
    sql('UPDATE message SET due_at = now()')
    wait_until(lambda: workers.send() or len(stand_in.sends()) == 10)


@pytest.mark.parametrize(
    'pace',
    [
        "answered_at = answered_at - interval '6 s'",
        "quick_since = quick_since - interval '14 s'",
    ],
)
def test_a_person_may_write_as_often_as_they_like(backend, ask, pace):
    """Seconds after an answer, or for longer than two minutes."""
    for n in range(14):
        ask(f'No. {n}')
        sql(f'UPDATE conversation SET {pace}')
    assert said(backend) == ['Hi!'] * 14
    assert conversation(backend)['paused_by'] is None


# ---- typing


def test_typing_is_renewed_while_the_responder_thinks(account, platform, write, monkeypatch):
    account(read_receipts='typing')
    monkeypatch.setattr(replies, 'RENEW_TYPING', 0.2)
    monkeypatch.setattr(replies, 'LEASE', 2)
    platform.thinks()
    write('One')
    told = sql('SELECT typing_until FROM read_receipt')
    sql('UPDATE read_receipt SET told_at = now(), due_at = NULL')

    def is_renewed():
        step()
        return sql('SELECT typing_until FROM read_receipt WHERE due_at IS NOT NULL')

    wait_until(is_renewed)
    assert is_renewed() > told

    sql('UPDATE conversation SET reply_claim = NULL')  # as a pause does
    sql('UPDATE read_receipt SET told_at = now(), due_at = NULL')
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert not is_renewed()
    platform.open.set()
    assert replies.close(10)


@pytest.mark.parametrize('receipts', ['none', 'read'])
def test_no_typing_is_shown_that_the_account_does_not_want(
    account, platform, write, monkeypatch, receipts
):
    account(read_receipts=receipts)
    monkeypatch.setattr(replies, 'RENEW_TYPING', 0.2)
    monkeypatch.setattr(replies, 'LEASE', 2)
    begin_to_ask(platform, write)
    sql('UPDATE read_receipt SET told_at = now(), due_at = NULL')
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        step()
    asked_for = sql('SELECT typing_until, due_at FROM read_receipt')
    assert asked_for == ([(None, None)] if receipts == 'read' else [])
    platform.open.set()
    assert replies.close(10)
