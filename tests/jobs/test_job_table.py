"""The table of due work.

Every kind has an owner, a worker and a queue, and the clock hears of it.
"""

import importlib
import re
from dataclasses import replace
from types import ModuleType

import pytest

from service.jobs import job_table
from service.jobs.job_table import JOBS
from service.runtime import db
from service.runtime.db import connection
from service.runtime.queues import DRAINS, ERRANDS
from tests.stack import ROOT
from workers import background

KINDS = [job.kind for job in JOBS]


@pytest.mark.parametrize('job', JOBS, ids=KINDS)
def test_a_kind_has_one_owner_with_claim_record_and_next_due(job):
    owner = importlib.import_module(job.claim.__module__)
    assert job.record
    packages = {function.__module__.rpartition('.')[0] for function in job.record}
    assert packages == {owner.__package__}
    assert job.next_due in [
        value for name, value in vars(owner).items() if name.startswith('NEXT_')
    ]
    assert owner.__name__.startswith('service.')


@pytest.mark.parametrize('job', JOBS, ids=KINDS)
def test_a_kind_has_a_worker_behind_its_queue_that_knows_its_owner(job):
    assert job.queue in DRAINS
    worker = importlib.import_module(job.worker)
    assert worker.__name__.startswith('workers.')
    near = [worker, *modules_in(worker)]
    assert job.claim.__module__ in {
        found.__name__ for module in near for found in modules_in(module)
    }


def modules_in(module):
    return [value for value in vars(module).values() if isinstance(value, ModuleType)]


def test_every_background_job_is_a_row_of_the_table():
    parts = [part.__name__ for part in background.PARTS]
    assert sorted(parts) == sorted(job.worker for job in JOBS if job.queue == ERRANDS)


FROM = {'events': 1}  # which FROM of its next_due names the rows: before it stand their endpoints
# The clock itself takes some of these at each sweep, and rings nobody.
SWEPT = {'message_backfill', 'file_deletion'}


def test_every_column_that_says_when_something_is_due_is_asked_by_a_kind():
    """A table with due rows that the clock does not know would wait for ever."""
    schema = (ROOT / 'schema.sql').read_text()
    asked = {re.findall(r'FROM (\w+)', job.next_due)[FROM.get(job.kind, 0)] for job in JOBS}
    assert asked | SWEPT == due_tables(schema)


def due_tables(schema):
    tables = re.findall(r'^CREATE TABLE (\w+) \((.*?)^\);', schema, re.MULTILINE | re.DOTALL)
    return {
        name
        for name, columns in tables
        if re.search(r'^ +(reply_)?due_at timestamptz', columns, re.MULTILINE)
    }


def test_the_tables_with_due_rows_are_found_in_the_schema():
    assert due_tables((ROOT / 'schema.sql').read_text()) >= {
        'webhook_event',
        'conversation',
        'message',
        'media',
    }


def test_the_clock_asks_for_all_kinds_in_one_statement(database, monkeypatch):
    asked = []
    monkeypatch.setattr(
        job_table, 'fetch_dicts', lambda sql: asked.append(sql) or db.fetch_dicts(sql)
    )
    with connection():
        assert job_table.next_due() == dict.fromkeys(KINDS)
    assert len(asked) == 1


def test_a_new_kind_costs_a_row(application, database, monkeypatch):
    """The clock rings for it, and /readyz tells of it, without another line."""
    new = replace(
        JOBS[0], kind='news', queue='new-queue', next_due="SELECT now() - interval '90 s'"
    )
    monkeypatch.setattr(job_table, 'JOBS', (*JOBS, new))
    monkeypatch.setattr(job_table, 'FIND_WAITS', job_table._wait(job_table.JOBS))
    oldest = application.test_client().get('/readyz?deep=1').json['oldest_due_seconds']
    assert list(oldest) == [*KINDS, 'news']
    assert 90 <= oldest['news'] < 120
    with connection():
        assert job_table.until_next_wakeup(job_table.next_due()) == {'new-queue': 0}
