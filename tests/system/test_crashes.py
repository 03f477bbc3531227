"""PostgreSQL is killed in the middle of turns: what somebody outside was told stays true."""

import subprocess
import sys
from contextlib import closing

import pytest

from tests.stack import ROOT, Postgres

pytestmark = pytest.mark.alone


def test_a_killed_postgres_loses_nothing_doubles_nothing_and_changes_no_id():
    """The first kills of the big run: after a webhook's 200, an ask of the responder, a Graph
    call, each with no other commit to help it.
    """
    command = [sys.executable, '-m', 'tests.bench', 'crashes', '--kills', '3', '--rate', '5']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_a_kill_loses_what_no_commit_waited_for_and_that_alone(tmp_path):
    server = Postgres(tmp_path).start()
    try:
        run(server, "ALTER SYSTEM SET wal_writer_delay = '10s'")
        run(server, 'SELECT pg_reload_conf()')
        run(server, 'CREATE TABLE kept (how text)')
        run(server, "INSERT INTO kept VALUES ('waited for')")
        run(server, "SET synchronous_commit = off; INSERT INTO kept VALUES ('not waited for')")
        assert len(run(server, 'SELECT how FROM kept')) == 2
        server.kill(server.processes())
        server.start()
        assert run(server, 'SELECT how FROM kept') == [('waited for',)]
    finally:
        server.stop()


def run(server, statements):
    """On a connection of its own; the rows of the last one."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statements)
        return cursor.fetchall() if cursor.description is not None else []
