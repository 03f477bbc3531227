"""Which commits wait for the disk: those that somebody outside was told of, or will be."""

from collections import defaultdict

import pytest

from service.runtime import db
from service.runtime.durability import worked_out_again
from service.runtime.ids import new_id
from tests.own_service import Platform
from tests.people import CHATBOT, Customers, call_bus, envelope, sql, status_of, text_message
from workers import incoming, replies, responder

WAITS, WAITS_NOT = 'on', 'off'
NOTE = """
CREATE TABLE noted (what text, waits text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO noted VALUES (TG_TABLE_NAME, current_setting('synchronous_commit'));
  RETURN NULL;
END $$
"""
# Not `process`: a web process of other tests may beat at any moment.
TABLES = """
SELECT tablename FROM pg_tables
WHERE schemaname = 'public' AND tablename NOT IN ('noted', 'process')
"""
DATABASE = 'SELECT quote_ident(current_database())'


@pytest.fixture
def commits(way):
    """commits(do, …): {table: whether the commits of what is done to it wait}."""
    ((name,),) = sql(DATABASE)
    sql(f'ALTER DATABASE {name} SET synchronous_commit = on')  # the suite's own server has it off
    sql(NOTE)
    for (table,) in sql(TABLES):
        sql(
            f'CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON "{table}" '
            'FOR EACH ROW EXECUTE FUNCTION note()'
        )
    db.db.close_idle()  # for new sessions

    def of(do, *arguments):
        sql('DELETE FROM noted')
        do(*arguments)
        found = defaultdict(set)
        for what, waits in sql('SELECT what, waits FROM noted'):
            found[what].add(waits)
        assert all(len(both) == 1 for both in found.values()), found
        return {what: waits for what, (waits,) in found.items()}

    yield of
    sql('DROP FUNCTION note CASCADE')
    sql('DROP TABLE noted')
    sql(f'ALTER DATABASE {name} RESET synchronous_commit')
    db.db.close_idle()


def hear():
    with db.connection():
        assert incoming.process.process_due()


def claim():
    with db.connection():
        assert replies.replies_of_this_process().step()


def answer(platform):
    platform.open.set()
    assert replies.close(10)


def test_of_a_turn_only_what_is_worked_out_again_may_be_lost(
    commits, backend, meta, workers, stand_in
):
    with Platform() as platform:
        platform.says('Hi!')
        platform.thinks()
        responder = {'kind': 'http', 'url': platform.url}
        made = commits(lambda: backend.account(responder=responder, read_receipts='read'))
        assert made['whatsapp_cloud_account'] == WAITS
        assert set(made.values()) == {WAITS}
        written = envelope([text_message()])
        assert commits(meta.webhook, written) == {'webhook_event': WAITS}
        heard = commits(hear)
        assert {'webhook_event', 'conversation', 'message', 'usage_log'} <= set(heard)
        assert set(heard.values()) == {WAITS_NOT}
        claimed = {'conversation': WAITS, 'reply_request': WAITS, 'read_receipt': WAITS}
        assert commits(claim) == claimed
        answered = commits(answer, platform)
        assert {'conversation', 'message'} <= set(answered)
        assert set(answered.values()) == {WAITS_NOT}
    sent = commits(workers.send)
    assert {'conversation', 'message'} <= set(sent)
    assert set(sent.values()) == {WAITS}
    statuses = envelope(statuses=[status_of(stand_in.sends()[0]['wamid'], 'delivered')])
    assert commits(meta.webhook, statuses) == {'webhook_event': WAITS}
    call_bus()
    told = commits(hear)
    assert {'webhook_event', 'message', 'message_status'} <= set(told)
    assert set(told.values()) == {WAITS_NOT}
    assert commits(workers.errands) == {
        'read_receipt': WAITS_NOT,
        'template_sync': WAITS_NOT,
        'template': WAITS_NOT,
    }


def test_what_the_api_answers_to_is_kept(commits, backend, meta, workers, stand_in):
    backend.account(waba_id='880011223344556', responder={'kind': 'none'})
    Customers(meta, workers).write('Hello')
    (message,) = backend.messages()
    assert set(commits(backend.send).values()) == {WAITS}
    asked = commits(backend.post, f'/messages/{message["id"]}/read', {})
    assert asked == {'read_receipt': WAITS}
    read = commits(backend.post, '/templates/sync', {'chatbot_id': CHATBOT})
    assert read == {'template_sync': WAITS}
    meta.webhook(meta.payload('in_sticker'))
    hear()
    done = commits(workers.errands)
    assert {'read_receipt', 'template_sync', 'media'} <= set(done)
    assert set(done.values()) == {WAITS_NOT}


@pytest.mark.parametrize('fails_together', [False, True])
def test_what_a_responder_is_told_is_durable_before(
    commits, backend, meta, monkeypatch, fails_together
):
    """Also what others stored after the claim, with commits that wait for nothing."""
    seen, durable = [], []
    read, ask = replies.read_questions, responder.ask

    def read_while_others_write(claimed):
        if fails_together and not seen:
            seen.append(None)
            raise RuntimeError('together they cannot be read')
        worked_out_again()(lambda: db.execute("INSERT INTO noted VALUES ('seen', '')"))()
        seen.append(sql('SELECT pg_current_wal_insert_lsn()::text')[0][0])
        return read(claimed)

    def note(question):
        durable.append(sql('SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn', seen[-1])[0][0])
        return ask(question)

    monkeypatch.setattr(replies, 'read_questions', read_while_others_write)
    monkeypatch.setattr(responder, 'ask', note)
    with Platform() as platform:
        platform.says('Hi!')
        backend.account(responder={'kind': 'http', 'url': platform.url})
        meta.webhook(envelope([text_message()]))
        hear()
        claim()
        assert replies.close(10)
        assert len(platform.asks) == 1
    assert durable == [True]
    assert len(seen) == 1 + fails_together


@pytest.fixture
def waits(commits):
    """waits(do): whether the commit of what is done to the table `row_trace` waits."""
    return lambda do: commits(do)['row_trace']


def touch():
    db.execute("INSERT INTO row_trace (id, traceparent) VALUES (%s, '')", (new_id(),))


def test_who_has_begun_before_is_waited_for(waits):
    """The promise of the transaction outside holds, even if it has done nothing yet."""

    @worked_out_again()
    def within():
        with db.db.atomic():
            touch()

    def nested():
        with db.db.atomic():
            within()

    def then_one_that_waits():
        with worked_out_again():
            pass
        with db.db.atomic():
            touch()

    with db.connection():
        assert waits(within) == WAITS_NOT
        assert waits(nested) == WAITS
        assert waits(then_one_that_waits) == WAITS
        assert waits(worked_out_again()(touch)) == WAITS_NOT
        assert waits(touch) == WAITS
