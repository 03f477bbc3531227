"""What triggers that count cost who changes rows: PostgreSQL's CPU with them and without."""

import contextlib
import statistics
from dataclasses import dataclass
from functools import partial

import psutil

from . import report

ROWS = 4000
BATCHES = (1, 20)


@dataclass
class Counted:
    """A table, its triggers, and where they leave deltas.

    `new`: a statement that makes `batch` rows and returns their ids, under what it is shown as;
    `changes`: statements about rows with some ids.
    """

    table: str
    deltas: str
    triggers: tuple
    new: tuple
    changes: dict


def compare(stand, counted, pairs):
    """A table of microseconds a row, with the triggers and without, in turn."""
    found = {}
    for _ in range(pairs):
        for is_on in (False, True):
            for name in counted.triggers:
                word = 'ENABLE' if is_on else 'DISABLE'
                stand.sql(f'ALTER TABLE {counted.table} {word} TRIGGER {name}')
            for batch in BATCHES:
                for step, cost in _costs(stand, counted, batch).items():
                    found.setdefault((batch, step), {False: [], True: []})[is_on].append(cost)
    report.table(
        ('CPU of PostgreSQL, us a message', 'without', 'with', 'more'),
        [
            (f'{step}, {batch} in a statement', *map(statistics.median, both.values()), _more(both))
            for (batch, step), both in found.items()
        ],
    )
    for table in (counted.table, counted.deltas):
        stand.sql(f'DELETE FROM {table}')


def _more(both):
    return statistics.median(b - a for a, b in zip(both[False], both[True], strict=True))


def _costs(stand, counted, batch):
    """{step: microseconds a row}, each step for ROWS rows on one connection."""
    stand.sql(f'DELETE FROM {counted.table}')
    stand.sql(f'VACUUM {counted.table}, {counted.deltas}')
    connection = stand.postgres.connect()
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute('SET synchronous_commit = off')
        backend = psutil.Process(connection.get_backend_pid())
        ids = []

        def insert(statement, _):
            cursor.execute(statement, {'batch': batch})
            ids.extend(id_ for (id_,) in cursor.fetchall())

        def change(statement, at):
            cursor.execute(statement, (ids[at : at + batch],))

        name, statement = counted.new
        found = {name: _timed(backend, partial(insert, statement), batch)}
        for name, statement in counted.changes.items():
            found[name] = _timed(backend, partial(change, statement), batch)
    return found


def _timed(backend, act, batch):
    before = _cpu(backend)
    for at in range(0, ROWS, batch):
        act(at)
    return (_cpu(backend) - before) * 1e6 / ROWS


def _cpu(process):
    times = process.cpu_times()
    return times.user + times.system
