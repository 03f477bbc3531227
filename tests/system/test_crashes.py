"""PostgreSQL is killed in the middle of turns: what somebody outside was told stays true."""

from contextlib import closing

import pytest

from tests.stack import Postgres

pytestmark = pytest.mark.alone


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
        return cursor.fetchall() if cursor.description else []
