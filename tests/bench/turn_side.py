"""One checkout's gateway, with servers of its own, under the load of tests/bench/turn_load.py."""

import contextlib
import json
import subprocess
import sys
import time
from itertools import count

from tests.many_rows import PER_CONVERSATION, fill
from tests.stack import PHONE_NUMBER_ID, ROOT

from .meter import Tree, Watch
from .stand import CHATBOT, Stand
from .waits import Waits

ENTRIES = ('web', 'worker_incoming', 'worker_send', 'clock')
WORKERS = ('worker_incoming', 'worker_send')
SERVERS = ('postgres', 'redis')
ALL = (*ENTRIES, *SERVERS)
WARM_UP, SECONDS = 4, 12
KNOWN_RATE, KNOWN_SECONDS = 50, 30  # how those become known who are known later
COUNTED_SECONDS = 3  # with every statement in PostgreSQL's log: never while CPU is measured
SLOW_MS = 500  # p50: where a rate is too much
FIRST_RATE, STEP, STEP_SECONDS, TRIES = 50, 1.2, 6, 2
COUNTERS = """
SELECT d.xact_commit, w.wal_bytes::float8,
  (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal')::float8
FROM pg_stat_database d, pg_stat_wal w WHERE d.datname = current_database()
"""
# The account that has nine of ten of the filled rows, and now sends.
BIG, BIG_NUMBER = 'bot0', '400000000000000'
LEND_TOKEN = """
UPDATE whatsapp_cloud_account SET access_token = (
  SELECT access_token FROM whatsapp_cloud_account WHERE chatbot_id = %s)
WHERE chatbot_id = %s
"""


class Side:
    """A gateway whose processes run while it is measured.

    `filled`: messages that its database holds before; `workers`: processes of each worker;
    `thinks`: seconds that its AI takes; `told`: whether an endpoint is told of everything.
    """

    def __init__(self, name, root, filled=0, workers=1, thinks=0, told=False):
        self.name, self.filled, self.workers, self.thinks = name, filled, workers, thinks
        self.told = told
        self.stand = Stand(None, root, REPLY_QUIET_SECONDS='0', SEND_RATE='1000', LOG_LEVEL='INFO')
        self.trees = {}

    def __enter__(self):
        self.stand.__enter__()
        if self.filled:
            self.fill()
        if self.told:
            self.stand.endpoint(f'http://127.0.0.1:{self.stand.graph_port}/hook')
        number = BIG_NUMBER if self.filled else PHONE_NUMBER_ID
        ports, known = (self.stand.graph_port, self.stand.web_port), self.filled // PER_CONVERSATION
        self.load = subprocess.Popen(
            [sys.executable, '-m', 'tests.bench.turn_load', *map(str, (*ports, number, known))],
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

    def fill(self):
        """Nobody's messages wait, and vacuum has been here: what follows is the load's alone."""
        connection = self.stand.postgres.connect()
        with contextlib.closing(connection), connection, connection.cursor() as cursor:
            fill(cursor, self.filled, 0, told=False)  # as in the young one
        self.stand.sql(LEND_TOKEN, (CHATBOT, BIG))
        self.stand.sql('VACUUM ANALYZE')
        self.stand.sql('CHECKPOINT')

    # ---- what is measured

    def measure(self, rate):
        with self.processes():
            self.order(rate, SECONDS, thinks=self.thinks)
            self.hear('start')
            counted, watch = self.counters(), Watch(self.trees)
            watch.start()
            self.hear('end')
            span = watch.stop()
            done = self.hear('done')
            time.sleep(1.1)  # PostgreSQL's backends tell their counters once a second
            counters = [now - then for now, then in zip(self.counters(), counted, strict=True)]
            memory = self.memory()
            incoming = self.trees['worker_incoming'].memory()[1]
            statements = self.statements(rate)
        turns = done['turns']
        return {
            **{name: span.per(name, turns) for name in (*ALL, 'load')},
            'all': sum(span.per(name, turns) for name in ALL),
            'foreign': span.foreign,
            'late': done['refused'] or done['replied'] < turns,
            'p50': done['p50'],
            'p99': done['p99'],
            # Counted to the end of the last turn, those of the warm-up's statuses included.
            'commits': counters[0] / turns,
            'wal_kb': counters[1] / 1000 / turns,
            'fsyncs': counters[2] / turns,
            'statements': statements,
            'memory': memory,
            'incoming_memory': incoming,
            'asks': done['asks'],
        }

    def rest(self, seconds):
        """CPU of everything while nobody writes, in per cent of a core."""
        with self.processes():
            time.sleep(5)
            watch = Watch(self.trees)
            watch.start()
            time.sleep(seconds)
            span = watch.stop()
        shares = {name: span.cpu[name] / span.seconds * 100 for name in ALL}
        return shares | {
            'all': sum(shares.values()),
            'others': (span.busy - sum(span.cpu.values())) / span.seconds * 100,
        }

    def saturation(self):
        """The last rate at which half of the answers leave within SLOW_MS, and what then waited."""
        with self.processes(), Waits(self.stand.postgres) as waits:
            good = 0
            for step in count():
                rate = round(FIRST_RATE * STEP**step)
                watch = Watch(self.trees)
                watch.start()
                waits.begin()
                if not any(self.bears(rate) for _ in range(TRIES)):
                    break
                good = rate
            span = watch.stop()
        return {'rate': good, 'foreign': span.foreign, 'waits': waits.told()}

    def bears(self, rate):
        self.order(rate, STEP_SECONDS, warm_up=2)
        self.hear('end')
        done = self.hear('done')
        is_quick = done['p50'] is not None and done['p50'] < SLOW_MS
        return is_quick and done['replied'] >= 0.98 * done['turns']

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
        self.trees = {name: self.start(name) for name in ENTRIES}
        self.stand.processes.wait_port(self.stand.web_port)
        self.trees |= {**self.stand.servers(), 'load': Tree(self.load.pid)}
        time.sleep(1.5)  # what they do at their start is not measured
        try:
            yield
        finally:
            for name in ENTRIES:
                self.stand.processes.stop(name)
                self.stand.processes.children[name].clear()

    def start(self, name):
        number = self.workers if name in WORKERS else 1
        return Tree(*(child.pid for child in self.stand.processes.start(name, number)))

    def memory(self):
        """MiB of the Procfile's processes, what they share counted once."""
        return sum(self.trees[name].memory()[1] for name in ENTRIES)

    def order(self, rate, seconds, warm_up=WARM_UP, **more):
        facts = {'rate': rate, 'seconds': seconds, 'warm_up': warm_up, **more}
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
