"""Triggers that match rows before with rows after do not look at each pair of them.

PL/pgSQL plans their statements once for a connection, for as many rows as the first change moves:
mostly one. The plan is used again for thousands.
"""

import contextlib

import pytest

from service.runtime import db

# Before PostgreSQL 18 their plans count as so dear that each would be compiled.
MATCHING = """
SELECT proname, 'jit=off' = ANY(proconfig) FROM pg_proc WHERE prosrc LIKE '%JOIN old_rows%'
ORDER BY 1
"""
MOVE = "UPDATE message SET status = 'sent', accepted_at = now()"
SCAN, QUICK_JOINS = '{NAMEDTUPLESTORESCAN', ('{HASHJOIN', '{MERGEJOIN')


@pytest.fixture
def one_message(backend):
    """A message whose move somebody is told of."""
    backend.account()
    endpoint = {'kind': 'events', 'url': 'https://93.184.216.34/hook'}
    assert backend.post('/endpoints', endpoint).status_code == 201
    backend.send()


def plans_of(postgres, statement):
    """The plans that a new connection makes for a statement and its triggers, as PostgreSQL writes
    them.
    """
    with contextlib.closing(postgres.connect()) as connection:
        with connection.cursor() as cursor:
            cursor.execute('SET client_min_messages = log; SET debug_print_plan = on')
            cursor.execute(statement)
            assert cursor.rowcount == 1
        connection.rollback()
        return connection.notices


def test_rows_before_and_after_are_matched_by_their_ids(one_message, postgres):
    with db.connection():
        triggers = db.fetch(MATCHING)
    plans = [plan for plan in plans_of(postgres, MOVE) if plan.count(SCAN) == 2]
    assert triggers == [('count_messages', True), ('tell_moved_messages', True)]
    assert len(plans) == 2
    assert all(any(join in plan for join in QUICK_JOINS) for plan in plans)
