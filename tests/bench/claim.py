"""The claim among 1,000,000 messages of which 100,000 are due: its time and its plan."""

import statistics
import time

from . import report
from .stand import Stand

ROWS, DUE, CLAIMS, EACH = 1_000_000, 100_000, 20, 64
BIG, SMALL = (
    90_000,
    100,
)  # due messages of one account with a campaign, and of each of a hundred others
ACCOUNTS = """
INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, access_token)
SELECT 'bot' || n, (400000000000000 + n)::text, 'none' FROM generate_series(0, 100) n
"""
PEOPLE = """
INSERT INTO conversation (id, chatbot_id, wa_id)
SELECT ('0192a000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
  'bot' || CASE WHEN n < %(big)s THEN 0 ELSE 1 + n %% 100 END, '1202' || lpad(n::text, 7, '0')
FROM generate_series(0, %(due)s - 1) n
"""
MESSAGES = """
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  wamid, recipient_to,
  content, attempts, due_at, created_at)
SELECT ('0192b000-' || lpad(to_hex(n / 65536), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12,
  '0'))::uuid,
  c.chatbot_id, c.id, 'outbound', (400000000000000 + substr(c.chatbot_id, 4)::int)::text, 'text',
  CASE WHEN is_due THEN 'queued' ELSE 'delivered' END, CASE WHEN is_due THEN NULL ELSE 'wamid.' ||
    n END,
  '+' || c.wa_id, '{"body": "Hello, your order is on its way."}',
  CASE WHEN is_due THEN 0 ELSE 1 END, CASE WHEN is_due THEN now() END, now()
FROM generate_series(0, %(rows)s - 1) n CROSS JOIN LATERAL (SELECT n >= %(rows)s - %(due)s AS
  is_due) d
JOIN conversation c ON c.id = ('0192a000-0000-7000-8000-' || lpad(to_hex(n %% %(due)s), 12,
  '0'))::uuid
"""


def run(options):
    with Stand() as stand:
        report.title(
            f'the claim: {ROWS:,} rows in message, {DUE:,} due, {BIG:,} of them of one account'
        )
        fill(stand)
        house = House(stand.env)
        report.table(
            ('median and worst of 20, in ms', 'median', 'worst', 'rows'),
            [
                measured('accounts that may send', house, lambda found: house.accounts()),
                measured('claim 64 of one account', house, house.claim_big),
                measured('claim 64 over all accounts', house, house.claim),
            ],
        )
        for title, act in (
            ('accounts that may send', house.accounts),
            ('claim over all', lambda: house.claim(house.accounts())),
        ):
            house.explain(title, act)


def fill(stand):
    """In bulk: no foreign keys to check, nothing waits for the disk."""
    began = time.monotonic()
    numbers = {'rows': ROWS, 'due': DUE, 'big': BIG}
    quick = 'SET session_replication_role = replica; SET synchronous_commit = off; '
    for statement in (ACCOUNTS, PEOPLE, MESSAGES):
        stand.sql(quick + statement % numbers)
    stand.sql('VACUUM ANALYZE message')
    stand.sql('VACUUM ANALYZE conversation')
    stand.sql('VACUUM ANALYZE whatsapp_cloud_account')
    stand.sql('CHECKPOINT')
    report.note(f'filled in {time.monotonic() - began:.0f} s')


class House:
    """The core itself, on the bench's database; every claim is rolled back."""

    def __init__(self, env):
        import os

        os.environ.update(env)
        from service.runtime import db
        from service.sending import dispatch

        db.configure()
        self.db, self.dispatch = db.db, dispatch

    def accounts(self):
        return self.dispatch.sendable_accounts()

    def claim(self, found):
        share = -(-EACH // len(found))
        return self.dispatch.claim({account.chatbot_id: share for account in found}, 30)

    def claim_big(self, found):
        return self.claim([account for account in found if account.chatbot_id == 'bot0'])

    def explain(self, title, act):
        """Run it with every statement's plan printed."""
        execute = self.db.execute_sql

        def explained(sql, params=None, **more):
            if sql.lstrip().startswith(('SELECT', 'WITH', 'UPDATE')):
                report.note(f'\n{title}')
                for (line,) in execute(
                    'EXPLAIN (ANALYZE, BUFFERS, SUMMARY) ' + sql, params
                ).fetchall():
                    report.note(f'  {line}'[:160])
            return execute(sql, params, **more)

        with self.db.connection_context(), self.db.atomic() as transaction:
            self.db.execute_sql = explained
            try:
                act()
            finally:
                del self.db.execute_sql
                transaction.rollback()


def measured(title, house, act):
    """Twenty one after the other, as a worker does, then rolled back."""
    taken = []
    with house.db.connection_context(), house.db.atomic() as transaction:
        found = house.accounts()
        for _ in range(CLAIMS):
            began = time.perf_counter()
            rows = len(act(found))
            taken.append((time.perf_counter() - began) * 1000)
        transaction.rollback()
    return title, statistics.median(taken), max(taken), rows
