"""(a) Webhooks: our `web` entry against a bare gunicorn + Flask app, in turn on one durable
PostgreSQL.
"""

import json
import subprocess
import sys

from tests.stack import ROOT, free_port
from tests.stack.children import Child
from tests.stack.procfile import child_environ

from . import report
from .meter import Tree, Watch, machine
from .profile import profiled
from .stand import CHATBOT, Stand

BARE_TABLE = (
    'CREATE TABLE bare_event (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body '
    'bytea NOT NULL)'
)
COLUMNS = (
    'webhooks/s',
    'web ms',
    'postgres ms',
    'redis ms',
    'all ms',
    'p50 ms',
    'p99 ms',
    'generator ms',
)
NOTE = (
    'ours takes whole signed webhooks before WSGI (service/web/fast_webhook.py); "ours, by '
    'Flask" is what\n'
    'the unusual ones cost, through gunicorn and Flask like "bare", which is plain gthread '
    'with our workers,'
    ' threads and keep-alive.'
)
GOALS = (
    ('webhooks/s', 'webhooks a second', 'at least 1.0, towards 1.8'),
    ('web ms', 'CPU of the web processes a webhook', 'at most 1.0'),
    ('all ms', 'the same with PostgreSQL and Redis', ''),
)


def run(options):
    with Stand() as stand:
        report.title('(a) webhooks: our web process against bare gunicorn + Flask + INSERT')
        report.note(machine(stand))
        contestants = start(stand)
        rows = {name: [] for name in ('ours', 'bare')}
        for number in range(options.pairs):
            for name in rows:
                with profiled(
                    options.profile and name == 'ours' and number == 0, contestants[name][0], 'web'
                ):
                    rows[name].append(one_run(stand, *contestants[name]))
        for name in ('ours, own path', 'ours, by Flask', 'bare, sync', 'Flask, no INSERT'):
            rows[name] = [one_run(stand, *contestants[name])]
        show(rows, contestants['ours'][0])


def start(stand):
    """{name: (Tree, port, path, table)}; all stay up, one is under load at a time."""
    path = '/whatsapp-cloud/webhook'
    stand.sql(BARE_TABLE)
    bare, sync = free_port(), free_port()
    app = 'tests.bench.bare_web:app'
    like_ours = stand.entry(
        'bare', bare, f'gunicorn -c python:tests.bench.bare_gunicorn {app}', env={'PORT': str(bare)}
    )
    plain = stand.entry(
        'bare_sync', sync, f'gunicorn --no-control-socket --bind 127.0.0.1:{sync} {app}'
    )
    web = stand.entry('web', stand.web_port)
    return {
        'ours': (web, stand.web_port, path, 'webhook_event'),
        'ours, own path': (web, stand.web_port, f'{path}/{CHATBOT}', 'webhook_event'),
        'ours, by Flask': (
            web,
            stand.web_port,
            f'{path}?unusual',
            'webhook_event',
        ),  # a query goes the long way
        'bare': (like_ours, bare, path, 'bare_event'),
        'bare, sync': (plain, sync, path, 'bare_event'),
        'Flask, no INSERT': (like_ours, bare, '/nothing', None),
    }


def one_run(stand, tree, port, path, table):
    """Load on one server for a few seconds; its figures. Raises when rows and 200s differ."""
    if table:
        stand.sql(f'TRUNCATE {table}')
    stand.sql('CHECKPOINT')
    load = Child(
        [sys.executable, '-m', 'tests.bench.load', str(port), path],
        cwd=ROOT,
        env={**child_environ(), **stand.env},
        stdout=subprocess.PIPE,
        text=True,
    )
    watch = Watch({'web': tree, **stand.servers(), 'generator': Tree(load.pid)})
    try:
        started = heard(load, 'start')
        watch.start()
        ended = heard(load, 'end')
        span = watch.stop()
        done = heard(load, 'done')
    finally:
        load.stop()
    check(stand, table, done)
    return figures(span, ended['ok'] - started['ok'], ended['latency'])


def heard(load, moment):
    line = json.loads(load.process.stdout.readline() or '{}')
    if line.get('moment') != moment:
        raise RuntimeError(f'the load generator did not come to its {moment}')
    return line


def check(stand, table, done):
    stored = stand.sql(f'SELECT count(*) FROM {table}')[0][0] if table else done['ok']
    if done['bad'] or stored != done['ok']:
        raise RuntimeError(
            f'{done["ok"]} answers of 200, {done["bad"]} others, but {stored} rows in {table}'
        )


def figures(span, count, latency):
    cost = {name: span.per(name, count) for name in span.cpu}
    return {
        'webhooks/s': count / span.seconds,
        **{f'{name} ms': value for name, value in cost.items()},
        'all ms': cost['web'] + cost['postgres'] + cost['redis'],
        'p50 ms': latency['p50'],
        'p99 ms': latency['p99'],
    }


def show(rows, web):
    runs = [
        (f'{name} {i + 1}', *(row[c] for c in COLUMNS))
        for name in ('ours', 'bare')
        for i, row in enumerate(rows[name])
    ]
    middle = [
        (f'{name}, median', *report.medians(found, COLUMNS).values())
        for name, found in rows.items()
    ]
    report.table(('CPU in ms a webhook', *COLUMNS), runs + middle)
    report.compare(rows['ours'], rows['bare'], GOALS)
    report.note(NOTE)
    rss, pss = web.memory()
    report.note(
        f'web: RSS {rss:.0f} MiB, PSS {pss:.0f} MiB. Each run: as many rows committed as 200s '
        'counted.'
    )
