"""(e) Files: what 100 of them a second, of 100 KB, do to the texts that come in beside them."""

import json
import random
import statistics
import subprocess
import sys
import time

from tests.stack import ROOT, wait_until
from tests.stack.children import Child
from tests.stack.procfile import child_environ

from . import report
from .journey import Meta
from .meter import Watch, machine, quantile
from .stand import CHATBOT, Stand

TEXTS, FILES, SECONDS = 20, 100, 8  # a second; of one phase
PHASES = ('texts alone', 'and as many texts', 'and files')
COMMITTED = """
SELECT content ->> 'body', extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM message
WHERE type = 'text' AND content ->> 'body' = ANY(%s)
"""
COUNTS = (
    "SELECT count(*), count(*) FILTER (WHERE status = 'stored'), coalesce(max(attempts), 0) "
    'FROM media'
)


def run(options):
    with Stand(0.05) as stand:
        report.title(f'(e) media: {FILES} files of 100 KB a second beside {TEXTS} texts a second')
        report.note(machine(stand))
        trees = start(stand)
        beside(stand, Meta(stand), 'and files', 2)  # everybody awake, connections open
        rows = {phase: [] for phase in PHASES}
        for _ in range(options.pairs):
            for phase in random.sample(PHASES, len(PHASES)):
                rows[phase].append(one_phase(stand, trees, phase))
        show(stand, rows)


def start(stand):
    stand.sql(
        'ALTER SYSTEM SET track_commit_timestamp = on'
    )  # when a row can be seen, not when its statement began
    stand.postgres.restart()
    silent = (
        'UPDATE whatsapp_cloud_account SET responder = \'{"kind": "none"}\' WHERE chatbot_id = %s'
    )
    stand.sql(silent, (CHATBOT,))
    trees = {name: stand.entry(name) for name in ('worker_incoming', 'clock')}
    trees['web'] = stand.entry('web', stand.web_port)
    return {**trees, **stand.servers()}


def one_phase(stand, trees, phase):
    """Its texts' way in milliseconds, and what the processes took."""
    stand.sql('CHECKPOINT')
    watch = Watch(trees)
    watch.start()
    took = beside(stand, Meta(stand), phase, SECONDS)
    span = watch.stop()
    return {
        'median': statistics.median(took),
        'p90': quantile(took, 0.9),
        'p99': quantile(took, 0.99),
        **{name: seconds / span.seconds for name, seconds in span.cpu.items()},
    }


def beside(stand, meta, phase, seconds):
    """Write texts for a while, beside the phase's load.

    From each POST to its row, in milliseconds.
    """
    load = loaded(stand, phase, seconds)
    written, due = {}, time.monotonic()
    for _ in range(seconds * TEXTS):
        text, began, _ = meta.write()
        written[text] = began
        due += random.uniform(0.5, 1.5) / TEXTS
        time.sleep(max(0, due - time.monotonic()))
    if load and load.wait(30):
        raise RuntimeError('the load was not answered with 200')
    wait_until(lambda: idle(stand), 30, 0.1, 'events or files are left')
    rows = dict(stand.sql(COMMITTED, (list(written),)))
    return [(rows[text] - began) * 1000 for text, began in written.items()]


def loaded(stand, phase, seconds):
    if phase == 'texts alone':
        return None
    kind = 'image' if phase == 'and files' else 'text'
    command = [
        sys.executable,
        '-m',
        'tests.bench.media_load',
        str(stand.web_port),
        kind,
        str(FILES),
        str(seconds),
    ]
    return Child(command, cwd=ROOT, env={**child_environ(), **stand.env}, stdout=subprocess.DEVNULL)


def idle(stand):
    waiting = "SELECT (SELECT count(*) FROM webhook_event WHERE status = 'received') + "
    return stand.sql(waiting + "(SELECT count(*) FROM media WHERE status = 'fetching')") == [(0,)]


def show(stand, rows):
    columns = ('median', 'p90', 'p99', 'web', 'worker_incoming', 'postgres')
    heads = (
        'from the POST to the row',
        'median ms',
        'p90 ms',
        'p99 ms',
        *(f'{name} cores' for name in columns[3:]),
    )
    table = [
        (name if len(found) == 1 else f'{name} {number + 1}', *(row[column] for column in columns))
        for name, found in rows.items()
        for number, row in enumerate(found)
    ]
    table += [
        (f'{name}, median', *report.medians(found, columns).values())
        for name, found in rows.items()
    ]
    report.table(heads, table)
    goals = [
        (rows['texts alone'], 'and files / texts alone', 'at most 1.2'),
        (rows['and as many texts'], 'and files / and as many texts', ''),
    ]
    report.table(
        ('ratio of medians', 'median (phase by phase)', 'goal'),
        [
            (says, report.ratios(rows['and files'], base, 'median'), goal)
            for base, says, goal in goals
        ],
    )
    ((files, stored, attempts),) = stand.sql(COUNTS)
    report.note(json.dumps({'files': files, 'stored': stored, 'most attempts': attempts}))
