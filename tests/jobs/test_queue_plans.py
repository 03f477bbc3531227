"""Looking for due work walks an index of what waits, on tables that nobody has analysed yet.

A walk takes the entries of rows that are done out of the index. Any other plan reads them again at
each look, until the next vacuum: thousands after a minute of traffic.
"""

import json

import pytest

from service.conversations import reply_queue
from service.events import delivery
from service.jobs.job_table import JOBS
from service.media import inbound_file
from service.messages import read_receipt
from service.runtime.db import connection, db, execute, fetch
from service.sending import batch, dispatch, holds, strays
from service.webhooks import inbox
from workers import chores

# Where each kind's rows wait. (The templates of a WABA are a row in a table of a few.)
TABLES = {
    'webhooks': 'webhook_event',
    'replies': 'conversation',
    'send': 'message',
    'media': 'media',
    'receipts': 'read_receipt',
    'events': 'event_delivery',
}
CLAIMS = {
    'webhooks': lambda: inbox.claim(),
    'replies': lambda: reply_queue.claim(64, 12, {}, 16),
    'send': lambda: dispatch.claim({'acme': 80}, 30),
    'media': lambda: inbound_file.claim(8, 30),
    'receipts': lambda: read_receipt.claim(8, 30),
    'events': lambda: delivery.claim(8, lambda endpoint, is_failing: 8, []),
}
DONE = 3000
UUID = "lpad(to_hex(n), 32, '0')::uuid"
FILL = f"""
INSERT INTO webhook_event (id, status, digest, size, body)
SELECT {UUID}, 'processed', n::text::bytea, 800, repeat('x', 800)::bytea
FROM generate_series(1, {DONE}) n;
INSERT INTO conversation (id, chatbot_id) SELECT {UUID}, 'acme' FROM generate_series(1, {DONE}) n;
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  wamid, content)
SELECT {UUID}, 'acme', {UUID}, 'outbound', '3', 'text', 'read', n::text, '{{"body": "Hello"}}'
FROM generate_series(1, {DONE}) n;
INSERT INTO media (id, chatbot_id, message_id, status, storage_key)
SELECT {UUID}, 'acme', {UUID}, 'stored', n::text FROM generate_series(1, {DONE}) n;
INSERT INTO read_receipt (message_id, chatbot_id)
SELECT {UUID}, 'acme' FROM generate_series(1, {DONE}) n;
INSERT INTO event_delivery (endpoint_id, event_id, conversation_id, status, due_at)
SELECT lpad('1', 32, '0')::uuid, {UUID}, {UUID}, 'delivered', NULL FROM generate_series(1, {DONE}) n
"""


@pytest.fixture
def young_tables(database):
    """Tables with rows that are done and without statistics, in front of the real ones."""
    with connection(), db.atomic() as transaction:
        for table in (*TABLES.values(), 'batch'):
            execute(f'CREATE TEMP TABLE {table} (LIKE public.{table} INCLUDING ALL) ON COMMIT DROP')
        execute(FILL)
        yield
        transaction.rollback()


def statement_of(claim, monkeypatch):
    """The statement that a claim sends, and its parameters."""
    sent = []

    def execute_sql(statement, parameters=None):
        sent.append((statement, parameters))
        return type(db).execute_sql(db, statement, parameters)

    with monkeypatch.context() as patch:
        patch.setattr(db, 'execute_sql', execute_sql)
        claim()
    return next(one for one in sent if 'SKIP LOCKED' in one[0])


DEFER = """
UPDATE message SET status = 'queued', waiting = 'queued', deferred = true, wamid = NULL,
  due_at = now() + interval '1 day'
"""


def passed_by(statement, parameters):
    """How many rows a statement reads to leave them."""
    ((plan,),) = fetch(f'EXPLAIN (ANALYZE, FORMAT JSON) {statement}', parameters)
    left, passed = [(plan if isinstance(plan, list) else json.loads(plan))[0]['Plan']], 0
    while left:
        node = left.pop()
        left += node.get('Plans', [])
        passed += node.get('Rows Removed by Filter', 0) * node['Actual Loops']
    return passed


def bad_scans(statement, parameters, table):
    """What a plan reads of a table without a walk, but for look-ups by its key."""
    ((plan,),) = fetch(f'EXPLAIN (FORMAT JSON) {statement}', parameters)
    left = [(plan if isinstance(plan, list) else json.loads(plan))[0]['Plan']]
    found = []
    while left:
        node = left.pop()
        left += node.get('Plans', [])
        kind, index = node['Node Type'], node.get('Index Name', '')
        if kind == 'Bitmap Index Scan' and index.startswith(table):
            found += [] if index.endswith('_pkey') else [f'{kind} on {index}']
        elif kind == 'Seq Scan' and node['Relation Name'] == table:
            found.append(f'{kind} on {table}')
    return found


@pytest.mark.parametrize('kind', TABLES)
def test_the_next_due_row_is_found_by_a_walk(young_tables, kind):
    (job,) = (job for job in JOBS if job.kind == kind)
    assert bad_scans(job.next_due, None, TABLES[kind]) == []


@pytest.mark.parametrize('kind', TABLES)
def test_due_rows_are_claimed_by_a_walk(young_tables, kind, monkeypatch):
    statement, parameters = statement_of(CLAIMS[kind], monkeypatch)
    assert bad_scans(statement, parameters, TABLES[kind]) == []


def test_a_claim_reads_no_batch_but_those_of_its_messages(young_tables, monkeypatch):
    statement, parameters = statement_of(CLAIMS['send'], monkeypatch)
    assert bad_scans(statement, parameters, 'batch') == []


def test_accounts_with_due_messages_are_found_by_a_walk(young_tables):
    assert bad_scans(dispatch.FIND_SENDABLE_ACCOUNTS, None, 'message') == []


def test_what_meta_wants_to_be_sent_tomorrow_is_not_passed_by_claims(young_tables, monkeypatch):
    """Of a bulk of marketing Meta may want that of thousands (131049)."""
    execute(DEFER)
    claim = statement_of(CLAIMS['send'], monkeypatch)
    for statement, parameters in (claim, (dispatch.FIND_SENDABLE_ACCOUNTS, None)):
        assert passed_by(statement, parameters) == 0
    execute('UPDATE message SET deferred = false')
    assert passed_by(*claim) == DONE  # so a claim that passes them would be seen


PAUSE = """
INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, waba_id, access_token)
VALUES ('acme', '3', '5', 'none');
INSERT INTO batch (id, chatbot_id, status, recipients) VALUES
  (lpad('1', 32, '0')::uuid, 'acme', 'paused', 1), (lpad('2', 32, '0')::uuid, 'acme', 'running', 1);
UPDATE message SET status = 'held', waiting = 'held', hold_reason = 'batch', wamid = NULL,
  batch_id = lpad('1', 32, '0')::uuid;
ANALYZE message;
ANALYZE batch
"""


def test_a_batch_that_is_paused_is_not_passed_by_the_sweep(young_tables):
    """What an account holds is found by its reason, what a batch waits for by its batch."""
    execute(PAUSE)
    accounts = {'reasons': ['account'], 'chatbot': None}
    assert passed_by(holds.RELEASE_MESSAGES_OF_ACCOUNT, accounts) == 0
    assert passed_by(strays.HOLD_STRAYS_OF_BATCHES, None) <= 1  # the batch that runs
    assert passed_by(strays.CANCEL_STRAYS_OF_BATCHES, None) <= 2  # neither is cancelled
    assert passed_by(batch.END_BATCHES, None) <= 1  # the one that is paused


@pytest.mark.parametrize('look', [chores.LOOK_OFTEN, chores.LOOK_SWEEP], ids=['often', 'sweep'])
def test_the_clock_finds_its_chores_by_walks(young_tables, look):
    assert bad_scans(look, None, 'message') == []


def test_every_kind_is_looked_at():
    assert {job.kind for job in JOBS} - {*TABLES} == {'templates'}
