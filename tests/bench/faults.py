"""`python -m tests.bench faults`.

10,000 messages in, 10,000 out, and 100 random faults meanwhile.
"""

import json
import random
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from tests.gateway import Gateway
from tests.meta_away import Road
from tests.proxy import Proxy
from tests.stack import free_port, wait_until

from . import report
from .fault_kinds import ENTRIES, Faults, Host
from .fault_ledger import INBOUND, MESSAGES, UNSETTLED, WATCH, Ledger, Row, kinds_of
from .fault_traffic import NUMBERS, Traffic

A_SECOND = 35  # messages in, and as many out
ENVIRON = {
    'GRAPH_TIMEOUT': '2',
    'UNKNOWN_GRACE_SECONDS': '60',
    'SEND_RATE': '200',
    'LOG_LEVEL': 'INFO',
}
STATUSES = {
    'latency': 0.1,
    'status_delay': 0.3,
    'status_batch': 50,
    'status_shuffle': True,
    'status_double': True,
}
SETTLE_WITHIN = 300  # seconds after the last message: an outage's probes, leases and the grace
SHOWN = 5  # cases of each finding


def run(options):
    options.messages = options.messages or 10_000
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    directory = Path(tempfile.mkdtemp(prefix='gateway-faults-'))
    report.title(
        f'faults: {options.messages} in, {options.messages} out, {options.faults} faults, seed '
        f'{seed}'
    )
    with Road() as road:
        gateway = Gateway(directory, GRAPH_API_URL=road.url, **ENVIRON)
        with Proxy(gateway.postgres.port) as proxy:
            gateway.processes.env['DATABASE_URL'] = proxy.before(gateway.postgres.url)
            road.target = gateway.stand_in.port
            broken = Run(gateway, proxy, road, random.Random(seed), options).all()
    if broken:
        raise SystemExit(f'{broken} promises were broken; the logs are in {directory}')
    shutil.rmtree(directory)


class Run:
    """One run on a gateway that is not yet up."""

    def __init__(self, gateway, proxy, road, dice, options):
        self.gateway, self.complaints = gateway, []
        self.diary = (gateway.processes.directory / 'faults.txt').open(
            'w'
        )  # to be read beside the logs
        ports = [gateway.port, free_port()]
        self.urls = [f'http://127.0.0.1:{port}' for port in ports]
        self.host = Host(gateway.processes, ports)
        self.faults = Faults(gateway, self.host, proxy, road, dice)
        self.traffic = Traffic(self.urls, options.messages, A_SECOND)
        span = 2 * options.messages
        self.plan = sorted(
            (dice.uniform(0.02, 0.97) * span, self.faults.draw()) for _ in range(options.faults)
        )

    def all(self):
        began = time.monotonic()
        with self.gateway.entered_with(self.host.start):
            self._prepare()
            try:
                self._flow()
                flowed = time.monotonic() - began
                self._settle()
                ledger = self._ledger()
            finally:
                self.host.close()
        report.note(f'{flowed:.0f} s of traffic, {time.monotonic() - began:.0f} s in all')
        return self._report(ledger)

    def _prepare(self):
        for number, url in zip(NUMBERS, self.urls, strict=True):
            self.gateway.backend.account(
                number.chatbot_id,
                number.phone_number_id,
                on_unknown=number.on_unknown,
                responder=number.responder,
            )
            override = {number.phone_number_id: {'webhook_url': f'{url}/whatsapp-cloud/webhook'}}
            numbers = self.gateway.stand_in.get('/config')['numbers']
            self.gateway.stand_in.config(**STATUSES, numbers=numbers | override)
        self._sql(WATCH)

    def _flow(self):
        """Each fault comes when so many messages were taken, and beside those that are not over
        yet.
        """
        over = threading.Event()
        trouble = threading.Thread(target=self._trouble, args=(over,))
        trouble.start()
        try:
            self.traffic.run()
        finally:
            over.set()
            trouble.join()

    def _trouble(self, over):
        under_way = []
        for due, name in self.plan:
            while self.traffic.progress.count < due and not over.wait(0.05):
                pass
            print(
                f'{datetime.now(UTC):%H:%M:%S} after {due:.0f}: {name}', file=self.diary, flush=True
            )
            under_way.append(threading.Thread(target=self._happen, args=(name,)))
            under_way[-1].start()
        for fault in under_way:
            fault.join()

    def _happen(self, name):
        try:
            self.faults.happen(name)
        except Exception as error:
            self.complaints.append(f'{name}: {type(error).__name__}: {error}')

    def _settle(self):
        """Until the books are closed; what does not come to rest is shown by them."""
        try:
            wait_until(self._is_settled, SETTLE_WITHIN, 1)
        except AssertionError:
            self.complaints.append(f'not settled after {SETTLE_WITHIN} s: {self._sql(UNSETTLED)}')

    def _is_settled(self):
        pending = self.gateway.stand_in.get('/undelivered')
        return not pending['pending'] and not self._sql(UNSETTLED)

    def _ledger(self):
        return Ledger(
            self.traffic,
            self.gateway.stand_in.sends(),
            [Row(*row) for row in self._sql(MESSAGES)],
            self._sql(INBOUND),
            self._sql('SELECT message_id::text, before, after FROM bench_move ORDER BY id'),
            self._sql('SELECT count(*) FROM conversation')[0][0],
        )

    def _sql(self, statement):
        with (
            closing(self.gateway.postgres.connect()) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description is not None else []

    def _report(self, ledger):
        """How many promises were broken."""
        report.table(('fault', 'times'), sorted(Counter(name for _, name in self.plan).items()))
        out = ', '.join(f'{count} {kind}' for kind, count in sorted(kinds_of(ledger.rows).items()))
        report.note(
            f'in the database: {len(ledger.inbound)} in; out: {out}; {len(ledger.moves)} moves '
            'of their states'
        )
        found = ledger.findings() | {'processes and faults': self.complaints + self.host.complaints}
        report.table(
            ('must not be', 'cases'), [(what, len(cases)) for what, cases in found.items()]
        )
        report.table(('may be', 'times'), list(ledger.allowed().items()))
        for what, cases in found.items():
            for case in cases[:SHOWN]:
                report.note(f'{what}: {case}')
        self._report_logs()
        return sum(len(cases) for cases in found.values())

    def _report_logs(self):
        """The errors that the processes wrote, whatever came of them."""
        seen = Counter()
        for name in ENTRIES:
            for line in self.gateway.processes.logs(name).splitlines():
                if (
                    '"level": "ERROR"' in line
                    or '"level": "CRITICAL"' in line
                    or line.startswith('Traceback')
                ):
                    seen[name, shape(line)] += 1
        if seen:
            report.table(
                ('errors in the logs', 'of', 'times'),
                [(what, name, n) for (name, what), n in seen.items()],
            )


def shape(line):
    """A log line without what differs from one to the next."""
    try:
        entry = json.loads(line)
        line = f'{entry["message"]} {" ".join(entry.get("exception", [""])[:1])}'
    except ValueError:
        pass
    return re.sub(r'[0-9a-f-]{32,36}|\d+', 'N', line.splitlines()[0])[:100]
