"""Every prepared statement has a plan that reads no more rows than it has to, whatever the tables
held when it was made.

Among a million messages: `MESSAGES=1000000 python -m pytest -n 0 tests/system/test_plans.py`.
"""

import ast
import importlib
import os
import re

import psycopg2
import pytest

from service.runtime import migrate, rows
from service.runtime.migrate import PatientCursor
from service.runtime.prepared import Prepared
from service.runtime.session import Session
from tests.many_rows import fill
from tests.stack import ROOT
from tests.stack.postgres import GivenPostgres

MESSAGES = int(os.environ.get('MESSAGES', 100_000))
# Of a LIMIT that it is not told PostgreSQL believes that a tenth of the rows are read: of more than
# these, any walk would seem to be too long.
MANY_WAITING = min(MESSAGES // 10, 10_000)
# Tables that do not grow with messages; all of their rows may be read.
SMALL = {
    'whatsapp_cloud_account',
    'graph_outage',
    'template',
    'template_sync',
    'process',
    'endpoint',
    # How far the work on rows of a former version is, and what the clock takes out to add it up.
    'message_backfill',
    'usage_backlog',
    'hourly_backfill',
    'usage_delta',
    'hourly_delta',
}
# They hold only rows that wait: one may walk to the first of them, or ask how long all wait.
WAITING = {'webhook_event_due', 'conversation_reply_due', 'read_receipt_due'}
MOST_COST = 2500  # of one look into a table; a row costs two
FIRST_COLUMNS = """
SELECT c.relname, a.attname
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = 1
"""
MOVE_WAITING = """
UPDATE message SET status = '{status}' WHERE status IN ('queued', 'scheduled')
"""
END_WAITING = """
UPDATE message SET status = 'read', due_at = NULL, wamid = 'wamid.' || id
WHERE status IN ('queued', 'sending')
"""
PASSED = re.compile(r"\bwaiting = '\w+'")  # a condition that an index has not met
SCANS = {'Index Scan', 'Index Only Scan', 'Bitmap Index Scan'}


def prepared_in(path):
    """{constant: its statement, with {rows} filled in}."""
    module = importlib.import_module('.'.join(path.relative_to(ROOT).with_suffix('').parts))
    found = {}
    for constant, value in vars(module).items():
        values = value if isinstance(value, dict) else {'': value}
        for key, one in values.items():
            if isinstance(one, Prepared):
                found[f'{path.stem}.{constant} {key}'] = bound(one)
    return found


def bound(statement):
    return rows._text(statement, statement.row_type) if statement.row_type else statement


OURS = sorted([*(ROOT / 'service').rglob('*.py'), *(ROOT / 'workers').glob('*.py')])
STATEMENTS = {}
for path in OURS:
    if 'Prepared' in path.read_text():
        STATEMENTS |= prepared_in(path)


class Plans:
    """The plans of a direct connection of ours to a database."""

    def __init__(self, url):
        self.session = psycopg2.connect(
            url, connection_factory=Session, cursor_factory=PatientCursor
        )
        self.session.autocommit = True
        self.session.find_out()
        assert self.session.is_direct
        self.rows('SET statement_timeout = 0')  # a million rows may take their time
        self.first_columns = {}  # {index: column}

    def rows(self, sql):
        with self.session.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description is not None else []

    def fill(self, messages, waiting):
        with self.session.cursor() as cursor:
            fill(cursor, messages, waiting)
        self.rows('VACUUM')

    def wasteful(self, statement):
        """What is wrong with the plan of a statement."""
        self.rows('DEALLOCATE ALL')
        self.rows(statement.prepare)
        values = ', '.join(['NULL'] * len(set(re.findall(r'\$\d+', statement.prepare))))
        execute = f'EXECUTE {statement.name} ({values})' if values else statement.execute
        ((plan,),) = self.rows(f'EXPLAIN (FORMAT JSON) {execute}')
        return list(self.faults(plan[0]['Plan'], []))

    def faults(self, node, above):
        """Of a node and those below it. `above`: the types of the nodes that it hands rows to."""
        if fault := self.fault(node, above):
            yield f'{node.get("Index Name") or node["Relation Name"]}: {fault}'
        for below in node.get('Plans', []):
            is_apart = below.get('Parent Relationship') in ('InitPlan', 'SubPlan')
            yield from self.faults(below, [] if is_apart else [node['Node Type'], *above])

    def fault(self, node, above):
        kind = node['Node Type']
        if node.get('Relation Name') in SMALL:
            return None
        if kind == 'Seq Scan':
            return 'reads the whole table'
        if kind not in SCANS:
            return None
        before_limit = above[: above.index('Limit')] if 'Limit' in above else []
        if 'Sort' in before_limit:
            return 'reads all rows to sort them, though few are wanted'
        if passed := PASSED.search(node.get('Filter', '')):
            return f'passes what waits otherwise: {passed[0]}'
        if above[:1] == ['Limit'] and 'Filter' not in node:  # it reads as many as are wanted
            return None
        first = self.first_columns[node['Index Name']]
        if re.search(rf'\b{first}\b', node.get('Index Cond', '')):
            return f'costs {node["Total Cost"]:.0f}' if node['Total Cost'] > MOST_COST else None
        is_walk = node['Index Name'] in WAITING and ('Limit' in above or 'Aggregate' in above)
        return None if is_walk else f'does not begin at a {first}'


@pytest.fixture(scope='module')
def new_plans(postgres):
    """new_plans(): the plans of a database without rows."""
    databases, sessions = [], []

    def new():
        databases.append(GivenPostgres(postgres.url).start())
        plans = Plans(databases[-1].url)
        sessions.append(plans.session)
        for _, sql in migrate.sections():
            plans.rows(migrate.at_once(sql))
        plans.rows(migrate.at_once(migrate.retired()))
        plans.first_columns = dict(plans.rows(FIRST_COLUMNS))
        return plans

    yield new
    for session in sessions:
        session.close()
    for database in databases:
        database.stop()


def all_faults(plans):
    found = []
    for name, statement in STATEMENTS.items():
        found += [f'{name}: {fault}' for fault in plans.wasteful(statement)]
    return '\n'.join(found)


def test_every_prepared_statement_is_a_constant_of_its_room():
    """So that all are found, but for the copies that rows.py makes of them."""
    makers = set()
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and 'Prepared(' in ast.unparse(node):
                makers.add(f'{path.stem}.{node.name}')
    assert makers == {'rows._text', 'job_table._look', 'job_table._wait', 'chores.look'}
    assert len(STATEMENTS) > 40


@pytest.mark.parametrize('messages', [0, 500])
def test_no_plan_of_a_young_database_reads_too_much(new_plans, messages):
    plans = new_plans()
    assert not all_faults(plans)
    if messages:
        plans.fill(messages, waiting=messages // 10)
        assert not all_faults(plans)
        end_waiting(plans)
        assert not all_faults(plans)


def end_waiting(plans):
    plans.rows(END_WAITING)
    plans.rows('VACUUM ANALYZE')


def test_no_plan_among_many_messages_reads_too_much(new_plans):
    """With many that wait, and with none: many may wait a moment later."""
    plans = new_plans()
    plans.fill(MESSAGES, waiting=MANY_WAITING)
    assert not all_faults(plans)
    for status in ('scheduled', 'sending'):  # as most of them are, when plans are made
        plans.rows(MOVE_WAITING.format(status=status))
        plans.rows('VACUUM ANALYZE message')
        assert not all_faults(plans), status
    end_waiting(plans)
    assert not all_faults(plans)


READS_TOO_MUCH = {
    'SELECT id FROM message WHERE wamid = %s': 'reads the whole table',
    'SELECT id FROM message ORDER BY id': 'does not begin at a id',
    "SELECT id FROM message WHERE waiting = 'queued' AND id > %s": 'does not begin at a',
    "SELECT id FROM message WHERE chatbot_id > 'a'": 'costs',
    "SELECT id FROM message WHERE waiting = 'queued' AND due_at < %s ORDER BY wamid LIMIT 1": (
        'reads all rows to sort them'
    ),
    "SELECT id FROM message WHERE waiting = 'queued' AND due_at < %s ORDER BY due_at LIMIT 1": (
        "passes what waits otherwise: waiting = 'queued'"
    ),
    'SELECT id FROM message WHERE due_at > now() ORDER BY id LIMIT 1 FOR UPDATE': (
        'does not begin at a id'
    ),
    'SELECT id FROM message WHERE id = %s': None,
}


def test_a_plan_that_reads_too_much_would_be_found(new_plans):
    plans = new_plans()
    plans.fill(5_000, waiting=500)
    for text, expected in READS_TOO_MUCH.items():
        found = plans.wasteful(Prepared(text))
        assert len(found) == bool(expected), (text, found)
        assert expected is None or expected in found[0], (text, found)
