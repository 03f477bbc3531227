"""`python -m tests.bench crashes`: PostgreSQL is killed while whole turns flow.

All its processes get SIGKILL, at random moments, fifty times. Afterwards nothing that was answered
for may be lost, nobody may have been answered twice, and the ids that a responder was told are
those of the database.
"""

import asyncio
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from tests.gateway import Http
from tests.people import Backend
from tests.stack import PHONE_NUMBER_ID, wait_until

from . import report
from .crash_ledger import KNOWN, CrashLedger
from .crash_load import ASKED, CALLED, MOMENTS, Told, open_world
from .fault_ledger import MESSAGES, UNSETTLED, Row
from .meter import machine
from .stand import CHATBOT, Stand
from .turn_load import STATUSES

ENVIRON = {
    'REPLY_QUIET_SECONDS': '0',
    'GRAPH_TIMEOUT': '2',
    'UNKNOWN_GRACE_SECONDS': '8',
    'SEND_RATE': '1000',
    'LOG_LEVEL': 'INFO',
}
PROCESSES = {'web': 1, 'worker_incoming': 2, 'worker_send': 2, 'clock': 1}
# What is waited for before each kill, and whether in a silence: then no commit of another turn
# makes this one's durable. Each kind of commit that somebody outside relies on has its moment.
PLAN = (
    *((moment, True) for moment in MOMENTS),
    *((moment, False) for moment in MOMENTS),
    (None, True),
    (None, False),
)
# Who asked or called is gone, too: what nobody remembers has to be in the database.
DIES_TOO = {ASKED: 'worker_incoming', CALLED: 'worker_send'}
FORGETFUL = {'PGOPTIONS': '-c synchronous_commit=off'}
FLOW_WITHIN = 60  # seconds after PostgreSQL's return until answers flow again
SOON = 2  # seconds from a text to its answer
MOMENT_WITHIN = 20  # seconds that a moment is waited for; then it is killed all the same
SETTLE_WITHIN = 180  # seconds after the last message: leases, and the grace of what is unknown
SHOWN = 5  # cases of each finding


def run(options):
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    report.title(f'crashes: PostgreSQL killed {options.kills} times, seed {seed}')
    with Stand(None, **ENVIRON) as stand:
        report.note(machine(stand))
        broken = tell(asyncio.run(Run(stand, random.Random(seed), options).all()))
        if broken:
            kept = tempfile.mkdtemp(prefix='gateway-crashes-')
            shutil.copytree(stand.processes.directory, Path(kept) / 'logs')
            shutil.copy(stand.postgres.log, kept)
            raise SystemExit(f'{broken} promises were broken; the logs are in {kept}')


class Run:
    """Of one stand whose processes are not up yet."""

    def __init__(self, stand, dice, options):
        self.stand, self.dice = stand, dice
        self.rate, self.kills = options.rate, options.kills
        self.forgetful = PROCESSES if options.forgetful == [] else options.forgetful or ()
        self.complaints, self.killed_at = [], []

    async def all(self):
        """(what happened, the ledger's findings and what else must not be, what may be)"""
        self.prepare()
        self.world = await open_world(
            self.stand.graph_port, self.stand.web_port, self.stand.env['WHATSAPP_APP_SECRET']
        )
        flow = asyncio.create_task(self.world.flow(self.rate))
        await asyncio.to_thread(self.kill_again_and_again)
        flow.cancel()
        settled = await asyncio.to_thread(self.settle)
        self.world.hang_up()
        ledger = self.ledger()
        self.stop()
        self.count_recoveries()
        findings = ledger.findings() | {'processes, and what did not come to rest': self.complaints}
        return self.happened(settled), findings, ledger.allowed()

    def prepare(self):
        # What may be forgotten is forgotten: nobody writes the log but who needs it written.
        self.stand.sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
        self.stand.sql('SELECT pg_reload_conf()')
        for name in PROCESSES:
            self.start(name)
        self.stand.processes.wait_port(self.stand.web_port)
        self.stand.wait_log('worker_send', 'started', PROCESSES['worker_send'])
        self.stand.wait_log('worker_incoming', 'started', 3 * PROCESSES['worker_incoming'])
        door = Http(f'http://127.0.0.1:{self.stand.web_port}')
        service = f'http://127.0.0.1:{self.stand.graph_port}/responder'
        responder = {'kind': 'http', 'url': service}
        backend = Backend(door, self.stand.env['API_KEYS'])
        backend.account(CHATBOT, PHONE_NUMBER_ID, on_unknown='fail', responder=responder)

    def start(self, name):
        env = FORGETFUL if name in self.forgetful else {}
        self.stand.processes.start(name, PROCESSES[name], env)

    # ---- kills

    def kill_again_and_again(self):
        for number in range(self.kills):
            self.wait_for_turns(f'after {number} kills')
            time.sleep(self.dice.uniform(0, 1))
            moment, in_silence = PLAN[number % len(PLAN)]
            if in_silence:
                self.kill_in_silence(moment)
            else:
                self.kill_in_the_flow(moment)
        self.wait_for_turns('after the last kill')

    def kill_in_the_flow(self, moment):
        known = self.stand.postgres.processes()
        self.wait_for(moment)
        time.sleep(self.dice.choice((0, self.dice.uniform(0, 0.03))))
        self.crash(moment, known)

    def kill_in_silence(self, moment):
        """One turn alone. Afterwards there is no other sign of it until a second one is through:
        by then whoever has forgotten the first one does it again.
        """
        self.world.hush(MOMENT_WITHIN)
        known = self.stand.postgres.processes()
        self.wait_for(moment, self.world.one_writes)
        self.crash(moment, known)
        self.wait_for(CALLED, self.world.one_writes)
        self.world.speak()

    def wait_for(self, moment, begin=lambda: None):
        """Until it happens, at most MOMENT_WITHIN; None: for a moment that the dice draw."""
        self.world.expect(moment)
        begin()
        self.world.happened.wait(MOMENT_WITHIN if moment else self.dice.uniform(0, 0.3))

    def crash(self, moment, known):
        self.killed_at.append(time.monotonic())
        self.stand.postgres.kill(known)
        if name := DIES_TOO.get(moment):
            self.stand.processes.kill(name)
            self.stand.processes.children[name].clear()
            self.start(name)
        time.sleep(self.dice.uniform(0, 0.5))
        self.stand.postgres.start()

    def wait_for_turns(self, when):
        """Until those of a second are answered, and most of them soon: no pile is left to kill."""
        before = len(self.world.waited)

        def flow():
            waited = self.world.waited[before:][-self.rate :]
            return len(waited) == self.rate and statistics.median(waited) < SOON

        try:
            wait_until(flow, FLOW_WITHIN, 0.05)
        except AssertionError:
            self.complaints.append(f'{when} turns did not flow again within {FLOW_WITHIN} s')

    # ---- the end

    def settle(self):
        """Seconds until the books may be closed."""
        began = time.monotonic()
        try:
            wait_until(lambda: not self.unsettled(), SETTLE_WITHIN, 0.5)
        except AssertionError:
            self.complaints += self.unsettled()
        return time.monotonic() - began

    def unsettled(self):
        world = self.world
        to_come = len(world.sent) * len(STATUSES) - world.statuses
        outside = [('webhooks without a 200', world.unanswered), ('statuses to come', to_come)]
        return [one for one in outside if one[1]] + self.stand.sql(UNSETTLED)

    def ledger(self):
        return CrashLedger(
            written=list(self.world.written),
            asks=self.world.asks,
            calls=self.world.sent,
            rows=[Row(*row) for row in self.stand.sql(MESSAGES)],
            known=[Told(*row) for row in self.stand.sql(KNOWN)],
        )

    def stop(self):
        for name, codes in self.stand.processes.stop_all().items():
            if any(codes):
                self.complaints.append(f'{name} ended with {codes}')

    def count_recoveries(self):
        log = self.stand.postgres.log.read_text(errors='replace')
        if (count := log.count('automatic recovery in progress')) != self.kills:
            self.complaints.append(f'PostgreSQL recovered {count} times')

    def happened(self, settled):
        under_way = [self.world.turns_under_way(at) for at in self.killed_at]
        return {
            'PostgreSQL killed, and recovered': len(self.killed_at),
            'turns under way at a kill, on average': statistics.mean(under_way),
            'texts of customers': len(self.world.written),
            'asks of the responder': len(self.world.asks),
            'calls of the Graph API': len(self.world.sent),
            'statuses': self.world.statuses,
            'webhooks sent again for want of a 200': self.world.repeated,
            'seconds until all was at rest': settled,
        }


def tell(outcome):
    """How many promises were broken."""
    happened, findings, allowed = outcome
    rows = [(what, count, '') for what, count in happened.items()]
    rows += [(what, count, 'any') for what, count in allowed.items()]
    rows += [(what, len(cases), '0') for what, cases in findings.items()]
    report.table(('', 'times', 'allowed'), rows)
    for what, cases in findings.items():
        for case in cases[:SHOWN]:
            report.note(f'{what}: {case}')
    return sum(map(len, findings.values()))
