"""`python -m tests.bench events`: how soon endpoints are told, and what a bad one costs others.

All processes of the Procfile are real. Customers write at a rate, each message is an event for each
endpoint; from the event's own time to its arrival is what is measured.
"""

import asyncio
import statistics
import time
from collections import defaultdict
from datetime import datetime

from tests.gateway import Http
from tests.people import Backend
from tests.stack import PHONE_NUMBER_ID, free_port, wait_until

from . import report
from .event_listener import heard
from .meter import machine
from .stand import CHATBOT, Stand
from .turn_load import CONNECTIONS, World, quantile

ENTRIES = ('web', 'worker_incoming', 'clock')
RATE, SECONDS, WARM_UP = 100, 12, 3  # events a second for one endpoint
ENDPOINTS = 10
PEOPLE = 300
AWAY_EVENTS, AWAY_CONVERSATIONS, ANSWER_SECONDS = 10_000, 500, 0.02
AWAY_SECONDS = 20
BACK_WITHIN = 60
WAITING = "SELECT count(*) FROM event_delivery WHERE status = 'waiting'"
# Customers' messages, each with its event, as a restored database would hold them.
FILL = """
INSERT INTO conversation (id, chatbot_id, wa_id)
SELECT ('0192a000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, %(chatbot)s, '1303' || n
FROM generate_series(0, %(conversations)s - 1) n;
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  wamid, content)
SELECT ('0192b000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, %(chatbot)s,
  ('0192a000-0000-7000-8000-' || lpad(to_hex(n %% %(conversations)s), 12, '0'))::uuid,
  'inbound', %(number)s, 'text', 'received', 'wamid.away.' || n, '{"body": "Hello"}'
FROM generate_series(0, %(messages)s - 1) n
"""


def run(options):
    report.title('events: from the fact to the endpoint')
    with Stand(None, LOG_LEVEL='INFO') as stand:
        report.note(machine(stand))
        bench = Bench(stand)
        bench.start()
        one = [bench.one() for _ in range(options.pairs)]
        show(f'one endpoint, {RATE} events a second', one)
        pairs = [(bench.ten(hangs=False), bench.ten(hangs=True)) for _ in range(options.pairs)]
        show('ten endpoints', [well for well, _ in pairs])
        show('nine of ten, one hangs', [nine for _, nine in pairs])
        for name in ('p50', 'p99'):
            ratio = report.ratios([nine for _, nine in pairs], [well for well, _ in pairs], name)
            report.note(f'{name} of nine while one hangs / of ten: {ratio}')
        bench.away()


def show(title, runs):
    report.title(title)
    names = ('events', 'p50', 'p99', 'most')
    report.table(names, [[run[name] for name in names] for run in runs])


class Bench:
    """Of one stand whose processes are not up yet."""

    def __init__(self, stand):
        self.stand = stand
        self.secret = stand.env['WHATSAPP_APP_SECRET']

    def start(self):
        for name in ENTRIES:
            self.stand.processes.start(name)
        self.stand.processes.wait_port(self.stand.web_port)
        self.stand.wait_log('worker_incoming', 'started', 3)
        door = Http(f'http://127.0.0.1:{self.stand.web_port}')
        backend = Backend(door, self.stand.env['API_KEYS'].split(',')[0])
        backend.account(CHATBOT, PHONE_NUMBER_ID, responder={'kind': 'none'})
        self.write(20, 3)  # connections, plans, and what else is made at the first use

    def listener(self, latency=0, status=200, port=None):
        """(address, file) of a new one; it runs as `listener`."""
        port = port or free_port()
        file = self.stand.directory / f'heard.{port}'
        command = f'python -m tests.bench.event_listener {port} {file} {latency} {status}'
        self.stand.processes.start('listener', command=command)
        self.stand.processes.wait_port(port)
        return f'http://127.0.0.1:{port}', file

    def stop_listener(self):
        self.stand.processes.kill('listener')
        self.stand.processes.children['listener'].clear()

    def forget(self):
        for table in ('event_delivery', 'event', 'endpoint'):
            self.stand.sql(f'DELETE FROM {table}')
        self.stop_listener()

    def write(self, rate, seconds):
        asyncio.run(self._write(rate, seconds))

    async def _write(self, rate, seconds):
        world = World(self.stand.web_port, self.secret)
        for _ in range(CONNECTIONS):
            await world.connect()
        begin = world.loop.time()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0, begin + number / rate - world.loop.time()))
            world.write(f'1202{2_000_000 + number % PEOPLE:07d}')
        await asyncio.sleep(1)
        world.hang_up()

    # ---- what is measured

    def one(self):
        url, file = self.listener()
        self.stand.endpoint(f'{url}/0')
        self.write(RATE, WARM_UP + SECONDS)
        wait_until(lambda: self.stand.sql(WAITING) == [(0,)], 60)
        found = measured(heard(file))
        self.forget()
        return found

    def ten(self, hangs):
        """Of those that answer."""
        url, file = self.listener()
        for number in range(ENDPOINTS):
            path = 'hang' if hangs and number == 0 else number
            self.stand.endpoint(f'{url}/{path}')
        self.write(RATE / ENDPOINTS, WARM_UP + SECONDS)
        found = measured([one for one in heard(file) if not one[0].startswith('/hang')])
        self.forget()
        return found

    def away(self):
        """An endpoint is away while events are written, and comes back."""
        report.title(f'{AWAY_EVENTS} events to an endpoint that was away')
        port = free_port()
        self.stand.endpoint(f'http://127.0.0.1:{port}/')
        facts = {'chatbot': CHATBOT, 'number': PHONE_NUMBER_ID, 'messages': AWAY_EVENTS}
        self.stand.sql(FILL, facts | {'conversations': AWAY_CONVERSATIONS})
        time.sleep(AWAY_SECONDS)
        began = time.time()
        _, file = self.listener(ANSWER_SECONDS, port=port)
        wait_until(lambda: self.stand.sql(WAITING) == [(0,)], 3 * BACK_WITHIN, 0.2)
        told = heard(file)
        first = min(one[1] for one in told) - began
        report.note(f'first after {first:.1f} s, all after {told[-1][1] - began:.1f} s')
        report.note(f'told {len(told)}, of them different {len({one[2] for one in told})}')
        report.note(f'conversations out of order: {out_of_order(told)}')


def measured(told):
    """Milliseconds from the fact to the arrival, without those of the warm-up."""
    begin = min(datetime.fromisoformat(one[3]).timestamp() for one in told) + WARM_UP
    times = [(one[1], datetime.fromisoformat(one[3]).timestamp()) for one in told]
    taken = sorted((came - at) * 1000 for came, at in times if at >= begin)
    return {
        'events': len(taken),
        'p50': quantile(taken, 0.5),
        'p99': quantile(taken, 0.99),
        'most': taken[-1],
        'mean': statistics.mean(taken),
    }


def out_of_order(told):
    """How many conversations were told of an event before an earlier one, for the first time."""
    firsts = defaultdict(list)
    seen = set()
    for path, _, id_, _, conversation in told:
        if (path, id_) not in seen:
            seen.add((path, id_))
            firsts[path, conversation].append(id_)
    return sum(ids != sorted(ids) for ids in firsts.values())
