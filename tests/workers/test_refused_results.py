"""What PostgreSQL refuses to store, and counters that are full: only the row itself fails, and
nobody waits.
"""

import pytest

from service.runtime.db import connection, execute
from service.templates import template_sync
from service.templates.template import TemplateKey
from service.webhooks import process
from tests.files import at_meta, comes_in, media_message
from tests.listeners import Listener, new_endpoint
from tests.people import WABA, envelope, sql, text_message
from tests.stack import wait_until
from workers import background, incoming, replies

FULL = 32767  # what a smallint can count to


@pytest.fixture
def refuse(database):
    """refuse('message', 'UPDATE', "new.status = 'accepted'"): PostgreSQL takes no such row until
    the test ends.
    """
    tables = []

    def refusal(table, event, condition, code='22P02'):
        tables.append(table)
        sql(f"""CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF {condition} THEN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END IF; RETURN
            new; END $$""")
        sql(
            f'CREATE TRIGGER refuse BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION '
            f'refuse_{table}()'
        )

    yield refusal
    for table in tables:
        sql(f'DROP FUNCTION refuse_{table} CASCADE')


def customers_write(meta, *phones):
    for phone in phones:
        meta.webhook(envelope([text_message(wamid=f'wamid.{phone}', phone=phone)]))


def by_customer(backend):
    return {conversation['wa_id']: conversation for conversation in backend.conversations()}


ONE, TWO = '12025550101', '12025550102'

STRANGE = {
    'NaN': b'NaN',
    'an infinity': b'-Infinity',
    'a number beyond all floats': b'1e999',
    'a whole number without end': b'9' * 5000,
    'much too deep': b'[' * 100000 + b']' * 100000,
    'too deep to be shown again': b'[' * 600 + b']' * 600,
}


@pytest.mark.parametrize('value', STRANGE.values(), ids=STRANGE)
def test_what_no_caller_may_say_no_responder_may_either(backend, meta, workers, platform, value):
    poll = b'{"messages": [{"type": "poll", "poll": {"x": %s}, "validate": false}]}' % value
    platform.answer(200, poll)
    customers_write(meta, ONE)
    for _ in range(4):
        workers.incoming()
        sql('UPDATE conversation SET reply_due_at = now() WHERE reply_due_at IS NOT NULL')
    (conversation,) = backend.conversations()
    assert (conversation['reply_error']['attempts'], conversation['reply_error']['final']) == (
        4,
        True,
    )
    assert 'JSON' in conversation['reply_error']['title']
    assert conversation['reply_due_at'] is None
    assert backend.messages(direction='outbound') == []
    assert len(platform.asks) == 4


@pytest.mark.parametrize('code', ['22P02', '23514', '54000', '54001'])
def test_a_reply_that_cannot_be_stored_is_a_failed_reply(
    backend, meta, workers, platform, refuse, code
):
    refuse('message', 'INSERT', f"new.recipient_to = '+{ONE}'", code)
    customers_write(meta, ONE, TWO)
    for _ in range(4):
        workers.incoming()
        sql('UPDATE conversation SET reply_due_at = now() WHERE reply_due_at IS NOT NULL')
    refused, good = by_customer(backend)[ONE], by_customer(backend)[TWO]
    assert refused['reply_error']['title'].startswith('the result could not be stored')
    assert refused['reply_error']['final'] is True
    assert refused['reply_due_at'] is None
    assert good['reply_error'] is None
    assert [message['to'] for message in backend.messages(direction='outbound')] == [f'+{TWO}']
    assert len(platform.asks) == 5


def test_a_reply_of_which_nothing_can_be_stored_is_not_asked_for_for_ever(
    backend, meta, workers, platform, refuse
):
    refuse('conversation', 'UPDATE', 'old.reply_claim IS NOT NULL AND new.reply_claim IS NULL')
    customers_write(meta, ONE)
    for _ in range(15):
        workers.incoming()
        sql('UPDATE conversation SET reply_lease_until = now()')
    assert len(platform.asks) == replies.MAX_CLAIMS


def test_of_very_many_wrong_fields_the_first_are_shown(backend, meta, workers, platform):
    fields = {f'{n} ' + 'x' * 1000 + '\ud800': 1 for n in range(500)}
    platform.answer(200, {'messages': [{'text': {'body': 'Hi'}, **fields}]})
    customers_write(meta, ONE)
    workers.incoming()
    (conversation,) = backend.conversations()
    assert len(conversation['reply_error']['errors']) == 20
    assert len(str(conversation['reply_error'])) < 5000


@pytest.mark.parametrize('code', ['22P05', '54000'])
def test_a_send_whose_outcome_cannot_be_stored_has_failed_and_is_not_sent_again(
    backend, stand_in, workers, refuse, code
):
    backend.account()
    refuse('message', 'UPDATE', "new.status = 'accepted' AND new.client_reference = 'poison'", code)
    poison, good = backend.send(client_reference='poison'), backend.send(to='+12025550102')
    workers.send()
    assert backend.message(good['id'])['status'] == 'accepted'
    failed = backend.message(poison['id'])
    assert (failed['status'], failed['error']['title'][:31]) == (
        'failed',
        'the result could not be stored ',
    )
    assert failed['fix']
    assert len(stand_in.sends()) == 2


def test_people_of_whom_an_answer_tells_what_cannot_be_stored_do_not_fail_their_message(
    backend, stand_in, workers, monkeypatch
):
    backend.account()
    message = backend.send()
    told = []
    monkeypatch.setattr('workers.send_results.identity_claims.of_answer', lambda *result: result)
    monkeypatch.setattr(
        'workers.send_results.identity.link',
        lambda found, resolve_conflict: told.append(found) or execute('SELECT 1/0'),
    )
    workers.send()
    assert len(told) == 1
    assert (backend.message(message['id'])['status'], backend.message(message['id'])['error']) == (
        'accepted',
        None,
    )


def test_a_send_in_which_our_own_code_fails_is_unknown(backend, stand_in, workers, monkeypatch):
    backend.account()
    message = backend.send()
    monkeypatch.setattr('workers.send.graph_body', lambda row: 1 // 0)
    workers.send()
    shown = backend.message(message['id'])
    assert (shown['status'], shown['error']['title']) == (
        'unknown',
        'internal error (ZeroDivisionError)',
    )


def test_a_receipt_whose_outcome_cannot_be_stored_is_given_up(
    backend, meta, stand_in, workers, refuse
):
    backend.account(responder={'kind': 'none'})
    customers_write(meta, ONE, TWO)
    workers.incoming()
    refuse(
        'read_receipt',
        'UPDATE',
        f"""new.told_at IS NOT NULL AND new.message_id =
      (SELECT id FROM message WHERE wamid = 'wamid.{ONE}')""",
    )
    for message in backend.messages():
        assert backend.post(f'/messages/{message["id"]}/read').status_code == 202
    workers.errands()
    found = {
        message['wamid']: backend.message(message['id'])['read_receipt']
        for message in backend.messages()
    }
    assert found[f'wamid.{TWO}']['told_at']
    assert found[f'wamid.{ONE}']['error']['title'].startswith('the result could not be stored')
    assert sql('SELECT count(*) FROM read_receipt WHERE due_at IS NOT NULL') == [(0,)]


def test_a_receipt_in_which_our_own_code_fails_is_given_up_some_time(
    backend, meta, stand_in, workers, monkeypatch
):
    backend.account(responder={'kind': 'none'})
    customers_write(meta, ONE)
    workers.incoming()
    (message,) = backend.messages()
    backend.post(f'/messages/{message["id"]}/read')
    monkeypatch.setattr('workers.send_receipts.encryption.decrypt', lambda token: 1 // 0)
    for _ in range(20):
        workers.errands()
        sql('UPDATE read_receipt SET due_at = now() WHERE due_at IS NOT NULL')
    ((tried, due_at, error),) = sql('SELECT attempts, due_at, error FROM read_receipt')
    assert (3 < tried < 20, due_at, error['title']) == (
        True,
        None,
        'internal error (ZeroDivisionError)',
    )


@pytest.fixture
def acme(backend, stand_in):
    """An account of WABA's, without replies."""
    backend.account(responder={'kind': 'none'}, waba_id=WABA)
    return backend


def test_a_file_whose_row_cannot_be_stored_has_failed(acme, meta, stand_in, workers, refuse):
    ids = [at_meta(stand_in), at_meta(stand_in)]
    comes_in(meta, workers, *(media_message(one, wamid=f'wamid.{one}') for one in ids))
    refuse('media', 'UPDATE', f"new.status = 'stored' AND new.meta_id = '{ids[0]}'")
    for _ in range(5):
        workers.errands()
        sql("UPDATE media SET due_at = now() WHERE status = 'fetching'")
    found = dict(sql('SELECT meta_id, status FROM media'))
    assert found == {ids[0]: 'failed', ids[1]: 'stored'}
    assert sql("SELECT attempts FROM media WHERE status = 'failed'") == [(1,)]
    (message,) = [one for one in acme.messages() if one['media']['status'] == 'failed']
    assert message['media']['error']['title'].startswith('the result could not be stored')
    assert message['media']['fix']


def test_templates_that_cannot_be_stored_are_read_again_in_an_hour(acme, stand_in, workers, refuse):
    other = '990011223344557'
    acme.account('beta', '42', responder={'kind': 'none'}, waba_id=other)
    refuse('template_sync', 'UPDATE', f"new.synced_at IS NOT NULL AND new.waba_id = '{WABA}'")
    workers.errands()
    ((due_in, error),) = sql(
        'SELECT extract(epoch FROM due_at - now())::float, error FROM template_sync WHERE '
        'waba_id = %s',
        WABA,
    )
    assert 3500 < due_in <= 3600
    assert error['title'].startswith('the result could not be stored')
    assert sql('SELECT synced_at IS NOT NULL FROM template_sync WHERE waba_id = %s', other) == [
        (True,)
    ]


def test_an_odd_number_in_one_template_costs_only_its_components(acme, stand_in, workers):
    odd = {
        'name': 'odd',
        'language': 'en',
        'status': 'APPROVED',
        'components': [{'type': 'BODY', 'x': float('nan')}],
    }
    good = {
        'name': 'good',
        'language': 'en',
        'status': 'APPROVED',
        'components': [{'type': 'BODY', 'text': 'Hi'}],
    }
    with connection():
        assert template_sync.save_templates(WABA, [odd, good]) == [
            TemplateKey('good', 'en'),
            TemplateKey('odd', 'en'),
        ]
    assert sql('SELECT name, components FROM template ORDER BY name') == [
        ('good', good['components']),
        ('odd', None),
    ]


@pytest.mark.parametrize('code', ['54000', '54001', '22P05', '57014'])
def test_an_event_that_cannot_be_stored_stops_no_other(acme, meta, workers, refuse, code):
    """Limits and time-outs are OperationalErrors for Python, as is a server that is away."""
    refuse('message', 'INSERT', f"new.wamid = 'wamid.{ONE}'", code)
    customers_write(meta, ONE, TWO)
    workers.incoming()
    assert [message['wamid'] for message in acme.messages()] == [f'wamid.{TWO}']
    outcomes = dict(sql('SELECT id::text, status FROM webhook_event'))
    assert sorted(outcomes.values()) in (['processed', 'processed'], ['processed', 'received'])


def test_an_event_whose_rows_somebody_holds_lets_others_by_and_loses_no_attempt(
    acme, meta, workers, refuse
):
    refuse('message', 'INSERT', f"new.wamid = 'wamid.{ONE}'", '55P03')
    customers_write(meta, ONE, TWO)
    with connection():
        for _ in range(3):
            process.process_due()
    assert [message['wamid'] for message in acme.messages()] == [f'wamid.{TWO}']
    assert sql("SELECT attempts FROM webhook_event WHERE status = 'received'") == [(0,)]


def test_receipts_that_cannot_be_claimed_stop_no_files(acme, meta, stand_in, workers, refuse):
    comes_in(meta, workers, media_message(at_meta(stand_in), wamid='wamid.A'))
    (message,) = acme.messages()
    acme.post(f'/messages/{message["id"]}/read')
    refuse('read_receipt', 'UPDATE', 'true')
    with connection():
        background.jobs_of_this_process().step()
    wait_until(lambda: sql('SELECT status FROM media') == [('stored',)])


def test_events_that_cannot_be_claimed_stop_no_replies(backend, meta, workers, platform, refuse):
    customers_write(meta, ONE)
    with connection():
        while process.process_due():
            pass
    customers_write(meta, TWO)
    refuse('webhook_event', 'UPDATE', 'true')
    with connection():
        incoming.step()
    wait_until(
        lambda: [message['to'] for message in backend.messages(direction='outbound')] == [f'+{ONE}']
    )


def test_a_part_of_the_sweep_that_is_refused_stops_no_other(acme, stand_in, workers, refuse):
    one, two = acme.send(), acme.send(to='+12025550102')
    sql("UPDATE message SET status = 'sending', due_at = now() WHERE id = %s", one['id'])
    sql(
        "UPDATE message SET wamid = 'wamid.X', status = 'accepted', due_at = NULL WHERE id = %s",
        two['id'],
    )
    sql("""INSERT INTO message_status (chatbot_id, phone_number_id, wamid, status, timestamp)
      SELECT chatbot_id, phone_number_id, wamid, 'sent', now() FROM message WHERE wamid =
        'wamid.X'""")
    refuse('message', 'UPDATE', "new.status = 'unknown'")
    workers.sweep()
    assert acme.message(one['id'])['status'] == 'sending'
    assert acme.message(two['id'])['status'] == 'sent'


# ---- counters


def test_a_reply_that_was_claimed_very_often_stops_nobodys(backend, meta, workers, platform):
    customers_write(meta, ONE, TWO)
    with connection():
        while process.process_due():
            pass
    sql('UPDATE conversation SET reply_attempts = %s WHERE wa_id = %s', FULL, ONE)
    workers.incoming()
    assert [message['to'] for message in backend.messages(direction='outbound')] == [f'+{TWO}']
    assert by_customer(backend)[ONE]['reply_error']['final'] is True
    assert by_customer(backend)[ONE]['reply_due_at'] is None


@pytest.mark.parametrize('column', ['turns', 'quick_turns'])
def test_a_conversation_with_very_many_turns_stops_nobodys(
    column, backend, meta, workers, platform
):
    customers_write(meta, ONE, TWO)
    with connection():
        while process.process_due():
            pass
    sql(
        f"""UPDATE conversation SET {column} = %s, turns_on = (now() AT TIME ZONE 'UTC')::date,
          answered_at = now(), quick_since = now() WHERE wa_id = %s""",
        FULL,
        ONE,
    )
    workers.incoming()
    assert f'+{TWO}' in [message['to'] for message in backend.messages(direction='outbound')]
    assert by_customer(backend)[ONE]['reply_due_at'] is None


def test_a_message_that_was_claimed_very_often_stops_nobodys(acme, stand_in, workers):
    sent = [acme.send(), acme.send(to='+12025550102')]
    sql('UPDATE message SET attempts = %s WHERE id = %s', FULL, sent[0]['id'])
    workers.send()
    assert [acme.message(one['id'])['status'] for one in sent] == ['accepted', 'accepted']


def test_errands_that_were_claimed_very_often_stop_nobodys(acme, meta, stand_in, workers):
    comes_in(meta, workers, media_message(at_meta(stand_in), wamid='wamid.A'))
    (message,) = acme.messages()
    acme.post(f'/messages/{message["id"]}/read')
    for table in ('media', 'read_receipt', 'template_sync'):
        sql(f'UPDATE {table} SET attempts = {FULL}')
    workers.errands()
    assert sql('SELECT status FROM media') == [('stored',)]
    assert sql('SELECT told_at IS NOT NULL FROM read_receipt') == [(True,)]
    assert sql('SELECT attempts, synced_at IS NOT NULL FROM template_sync') == [(0, True)]


def test_a_delivery_that_was_tried_very_often_stops_no_other(acme, meta, workers):
    with Listener() as listener:
        new_endpoint(acme, listener.url, types=['message.received'])
        listener.answer(999)  # the highest that HTTP has room for
        comes_in(meta, workers, text_message(wamid='wamid.A'))
        sql(f'UPDATE event_delivery SET attempts = {FULL}')
        comes_in(meta, workers, text_message(wamid='wamid.B', phone='12025550144'))
        workers.events()
        rows = 'SELECT status, attempts, response_status FROM event_delivery ORDER BY event_id'
        assert sql(rows) == [('failed', FULL, 999), ('waiting', 1, 999)]


def test_every_counter_has_a_row_in_these_tests(database):
    """A new one needs a limit, and a line above."""
    columns = sql("""SELECT table_name || '.' || column_name FROM information_schema.columns
      WHERE table_schema = current_schema() AND data_type = 'smallint' ORDER BY 1""")
    assert [name for (name,) in columns] == [
        'budget_notice.percent',  # 80 or 100
        'conversation.quick_turns',
        'conversation.reply_attempts',
        'conversation.turns',
        'event_delivery.attempts',
        'event_delivery.response_status',
        'hourly_delta.reply_bucket',  # 1 to 46, by delay_bucket()
        'hourly_delta.send_bucket',
        'media.attempts',
        'media.channels',
        'message.attempts',
        'message.priority',
        'message.resends',
        'message_backfill.id',
        'read_receipt.attempts',
        'template_sync.attempts',
        'webhook_event.attempts',
    ]
