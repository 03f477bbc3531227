"""(h) The whole turn: a customer's webhook, the AI, the answer's Graph call, its three statuses.

All processes of the Procfile are real, PostgreSQL durable, the load open: customers write at a
rate, whether or not the gateway keeps up. With `--against PATH` the same is measured of another
checkout, in turn with ours, on servers of its own.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from functools import partial

import psutil

from tests.stack import ROOT

from . import report
from .meter import Tree, Watch, machine
from .stand import Stand

ENTRIES = ('web', 'worker_incoming', 'worker_send', 'clock')
SERVERS = ('postgres', 'redis')
RATES = (5, 80, 240)  # turns a second
WARM_UP, SECONDS, REST_SECONDS = 4, 12, 20
KNOWN_RATE, KNOWN_SECONDS = 50, 30  # how those become known who are known later
COUNTED_SECONDS = 3  # with every statement in PostgreSQL's log: never while CPU is measured
SLOW_MS = 500  # p50: where a rate is too much
FIRST_RATE, STEP, STEP_SECONDS = 50, 1.2, 6
COUNTERS = """
SELECT d.xact_commit, w.wal_bytes::float8,
  (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal')::float8
FROM pg_stat_database d, pg_stat_wal w WHERE d.datname = current_database()
"""


def run(options):
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(Side('ours', ROOT))]
        if options.against:
            sides.append(stack.enter_context(Side('theirs', options.against)))
        report.title('(h) a turn: message, AI, answer, three statuses')
        report.note(machine(sides[0].stand))
        for rate in options.rates or RATES:
            show_rate(rate, in_turn(sides, options.pairs, partial(Side.measure, rate=rate)))
        if not options.only:
            show_rest(in_turn(sides, options.pairs, Side.rest))
            show_saturation(in_turn(sides, options.pairs, Side.saturation))


def in_turn(sides, pairs, measure):
    """{side's name: [what was measured, once in each pair]}."""
    measured = {side.name: [] for side in sides}
    for pair in range(pairs):
        for side in sides if pair % 2 == 0 else reversed(sides):
            measured[side.name].append(measure(side))
    return measured


class Side:
    """One checkout's gateway with servers of its own; its processes run while it is measured."""

    def __init__(self, name, root):
        self.name = name
        self.stand = Stand(None, root, REPLY_QUIET_SECONDS='0', SEND_RATE='1000', LOG_LEVEL='INFO')
        self.trees = {}

    def __enter__(self):
        self.stand.__enter__()
        command = [sys.executable, '-m', 'tests.bench.turn_load']
        self.load = subprocess.Popen(
            [*command, str(self.stand.graph_port), str(self.stand.web_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self.stand.env,
        )
        self.stand.callback(self.load.kill)
        self.hear('ready')
        with self.processes():
            self.order(KNOWN_RATE, KNOWN_SECONDS, known=False)
            self.hear('start')
            self.hear('done')
        return self

    def __exit__(self, *error):
        return self.stand.__exit__(*error)

    # ---- what is measured

    def measure(self, rate):
        with self.processes():
            self.order(rate, SECONDS)
            self.hear('start')
            counted, watch = self.counters(), Watch(self.trees)
            busy = busy_seconds()
            watch.start()
            self.hear('end')
            span, busy = watch.stop(), busy_seconds() - busy
            done = self.hear('done')
            time.sleep(1.1)  # PostgreSQL's backends tell their counters once a second
            counters = [now - then for now, then in zip(self.counters(), counted, strict=True)]
            memory = sum(self.trees[name].memory()[1] for name in ENTRIES)
            statements = self.statements(rate)
        turns = done['turns']
        if done['refused'] or done['replied'] < turns:
            report.note(f'{self.name} at {rate}/s: {done}')
        names = (*ENTRIES, *SERVERS)
        return {
            **{name: span.per(name, turns) for name in (*names, 'load')},
            'all': sum(span.per(name, turns) for name in names),
            'foreign': 1 - sum(span.cpu.values()) / max(busy, sum(span.cpu.values())),
            'p50': done['p50'],
            'p99': done['p99'],
            # Counted to the end of the last turn, those of the warm-up's statuses included.
            'commits': counters[0] / turns,
            'wal_kb': counters[1] / 1000 / turns,
            'fsyncs': counters[2] / turns,
            'statements': statements,
            'memory': memory,
        }

    def rest(self):
        """CPU of everything while nobody writes, in per cent of a core."""
        with self.processes():
            time.sleep(5)
            watch = Watch(self.trees)
            watch.start()
            time.sleep(REST_SECONDS)
            span = watch.stop()
        names = (*ENTRIES, *SERVERS)
        return {name: span.cpu[name] / span.seconds * 100 for name in names} | {
            'all': sum(span.cpu[name] for name in names) / span.seconds * 100
        }

    def saturation(self):
        """The last rate at which half of the answers leave within SLOW_MS."""
        rate = good = FIRST_RATE
        with self.processes():
            while True:
                self.order(round(rate), STEP_SECONDS, warm_up=2)
                self.hear('end')
                done = self.hear('done')
                if done['p50'] is None or done['p50'] >= SLOW_MS:
                    return {'rate': good}
                if done['replied'] < 0.98 * done['turns']:
                    return {'rate': good}
                good, rate = round(rate), rate * STEP

    def statements(self, rate):
        """What PostgreSQL was asked a turn: its log's lines, of a run that is not measured."""
        self.log_statements('all')
        before = self.logged()
        self.order(rate, COUNTED_SECONDS, warm_up=1)
        self.hear('start')
        self.hear('done')
        self.log_statements('none')
        return (self.logged() - before) / (rate * (COUNTED_SECONDS + 1))

    # ---- its parts

    @contextlib.contextmanager
    def processes(self):
        trees = {
            name: self.stand.entry(name, self.stand.web_port if name == 'web' else None)
            for name in ENTRIES
        }
        self.trees = {**trees, **self.stand.servers(), 'load': Tree(self.load.pid)}
        time.sleep(1.5)  # what they do at their start is not measured
        try:
            yield
        finally:
            for name in ENTRIES:
                self.stand.processes.stop(name)
                self.stand.processes.children[name].clear()

    def order(self, rate, seconds, warm_up=WARM_UP, known=True):
        facts = {'rate': rate, 'seconds': seconds, 'warm_up': warm_up, 'known': known}
        self.load.stdin.write(json.dumps(facts) + '\n')
        self.load.stdin.flush()

    def hear(self, moment):
        """The load's next line of that moment."""
        for line in self.load.stdout:
            facts = json.loads(line)
            if facts['moment'] == moment:
                return facts
        raise RuntimeError(f'the load ended before {moment!r}')

    def counters(self):
        return self.stand.sql(COUNTERS)[0]

    def log_statements(self, which):
        self.stand.sql(f"ALTER SYSTEM SET log_statement = '{which}'")
        self.stand.sql('SELECT pg_reload_conf()')

    def logged(self):
        with self.stand.postgres.log.open(errors='replace') as log:
            return sum('LOG:  statement:' in line or 'LOG:  execute' in line for line in log)


def busy_seconds():
    """CPU seconds that this machine has worked since its start, for whomever."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


def show_rate(rate, measured):
    columns = {
        'CPU ms': 'all',
        'web': 'web',
        'incoming': 'worker_incoming',
        'send': 'worker_send',
        'clock': 'clock',
        'PostgreSQL': 'postgres',
        'Redis': 'redis',
        'load': 'load',
        'foreign': 'foreign',
        'statements': 'statements',
        'commits': 'commits',
        'fsyncs': 'fsyncs',
        'WAL kB': 'wal_kb',
        'p50 ms': 'p50',
        'p99 ms': 'p99',
        'PSS MiB': 'memory',
    }
    report.title(f'{rate} turns a second: CPU ms a turn, medians')
    rows = [
        (name, *(median(runs, column) for column in columns.values()))
        for name, runs in measured.items()
    ]
    report.table(('', *columns), rows)
    tell_ratio(measured, 'all')


def show_rest(measured):
    report.title('at rest: per cent of a core, medians')
    names = (*ENTRIES, *SERVERS, 'all')
    rows = [(side, *(median(runs, name) for name in names)) for side, runs in measured.items()]
    report.table(('', *names), rows)
    tell_ratio(measured, 'all')


def show_saturation(measured):
    report.title(f'saturation: turns a second with p50 under {SLOW_MS} ms')
    rows = [
        (side, median(runs, 'rate'), ' '.join(str(one['rate']) for one in runs))
        for side, runs in measured.items()
    ]
    report.table(('', 'median', 'each'), rows)
    tell_ratio(measured, 'rate')


def tell_ratio(measured, name):
    if len(measured) == 2:
        report.note(f'ours / theirs: {report.ratios(*measured.values(), name)}')


def median(runs, name):
    values = [run[name] for run in runs if run[name] is not None]
    return statistics.median(values) if values else None
