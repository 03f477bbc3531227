"""`python -m tests.bench bursts`: 500 customers write six messages each while workers are killed.

Each writes one burst. Of two incoming workers a random one gets SIGKILL every few seconds. A part
of the customers is paused by a person after the burst, another part wrote it too long ago. In the
end each text of a burst has been answered in exactly one message, nobody was answered twice, none
of the paused after the pause had its 200, and none of those who wrote too long ago.
"""

import json
import random
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.gateway import Http
from tests.people import Backend, Meta, envelope, text_message
from tests.stack import wait_until

from . import report
from .graph import completion
from .meter import machine
from .stand import Stand

CUSTOMERS, MESSAGES = 500, 6
WRITERS = 40  # customers who write at the same time
QUIET_SECONDS, MOST_GAP = 2, 0.4
THINKING = (0.1, 1.5)  # seconds
KILL_EVERY = (2, 4)  # seconds
PAUSED, STALE = 0.15, 0.1  # parts of the customers
STALE_SECONDS = 400  # the account's reply_ttl_seconds are 300
SETTLE_WITHIN = 120  # seconds
ENVIRON = {
    'REPLY_QUIET_SECONDS': str(QUIET_SECONDS),
    'SEND_RATE': '1000',
    'GRAPH_TIMEOUT': '5',
    'LOG_LEVEL': 'INFO',
}
PENDING = """
SELECT (SELECT count(*) FROM webhook_event WHERE status = 'received')
  + (SELECT count(*) FROM conversation WHERE reply_due_at IS NOT NULL)
  + (SELECT count(*) FROM message WHERE status IN ('queued', 'sending'))
"""


@dataclass
class Customer:
    """Who writes one burst. `fate`: answered, paused or stale."""

    phone: str
    fate: str
    texts: list[str] = field(default_factory=list)
    paused_at: float | None = None  # when the pause had its 200


class Outside(ThreadingHTTPServer):
    """The AI, which answers with what the customer wrote since the last answer, and Meta."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port, dice):
        super().__init__(('127.0.0.1', port), Handler)
        self.dice, self.asks, self.calls = dice, 0, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Say nothing: who has asked was killed."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        at = time.time()
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        if self.path.endswith('/chat/completions'):
            self.server.asks += 1
            time.sleep(self.server.dice.uniform(*THINKING))
            answer = completion(body)
        else:
            self.server.calls.append((at, body['to'].lstrip('+'), body['text']['body']))
            contacts = [{'input': body['to'], 'wa_id': body['to'].lstrip('+')}]
            messages = [{'id': f'wamid.{len(self.server.calls)}.{time.time_ns()}'}]
            answer = json.dumps({'contacts': contacts, 'messages': messages}).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


def run(options):
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    report.title(f'bursts: {CUSTOMERS} customers, {MESSAGES} messages each, seed {seed}')
    with Stand(None, **ENVIRON) as stand:
        report.note(machine(stand))
        broken = Run(stand, random.Random(seed)).all()
    if broken:
        raise SystemExit(f'{broken} promises were broken')


class Run:
    """Of one stand whose processes are not up yet."""

    def __init__(self, stand, dice):
        self.stand, self.dice = stand, dice
        self.http = Http(f'http://127.0.0.1:{stand.web_port}')
        self.backend = Backend(self.http, stand.env['API_KEYS'].split(',')[0])
        self.outside = Outside(stand.graph_port, dice)
        self.customers = [self.customer(number) for number in range(CUSTOMERS)]
        self.kills, self.is_over = 0, threading.Event()

    def customer(self, number):
        drawn = self.dice.random()
        fate = 'paused' if drawn < PAUSED else 'stale' if drawn < PAUSED + STALE else 'answered'
        return Customer(f'1202{2_000_000 + number:07}', fate)

    def all(self):
        processes = self.stand.processes
        processes.start('web')
        processes.wait_port(self.stand.web_port)
        processes.start('worker_incoming', 2)
        processes.start('worker_send')
        processes.start('clock')
        time.sleep(3)
        killer = threading.Thread(target=self.kill_some, daemon=True)
        killer.start()
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(self.write, self.customers))
        self.is_over.set()
        killer.join()
        wait_until(lambda: self.stand.sql(PENDING) == [(0,)], SETTLE_WITHIN)
        time.sleep(2)  # what would come too much
        return self.tell()

    def kill_some(self):
        while not self.is_over.wait(self.dice.uniform(*KILL_EVERY)):
            self.dice.choice(self.stand.processes.running('worker_incoming')).send(9)
            self.stand.processes.start('worker_incoming')
            self.kills += 1

    def write(self, customer):
        meta = Meta(self.http)
        ago = STALE_SECONDS if customer.fate == 'stale' else 0
        for number in range(MESSAGES):
            text = f'{customer.phone} {number}'
            at = int(time.time()) - ago
            message = text_message(text, f'wamid.{customer.phone}.{number}', customer.phone, at=at)
            secret = self.stand.env['WHATSAPP_APP_SECRET'].split(',')[0]
            assert meta.webhook(envelope([message]), secret=secret).status_code == 200
            customer.texts.append(text)
            time.sleep(self.dice.uniform(0, MOST_GAP))
        if customer.fate == 'paused':
            self.pause(customer)
        time.sleep(self.dice.uniform(QUIET_SECONDS, 2 * QUIET_SECONDS))

    def pause(self, customer):
        """At any time between the burst and its answer."""
        time.sleep(self.dice.uniform(0, QUIET_SECONDS + THINKING[1]))
        find = 'SELECT id FROM conversation WHERE wa_id = %s'
        wait_until(lambda: self.stand.sql(find, (customer.phone,)), 20)
        ((found,),) = self.stand.sql(find, (customer.phone,))
        answer = self.backend.post(f'/conversations/{found}/pause', {'minutes': None})
        assert answer.status_code == 200, answer.text
        customer.paused_at = time.time()

    def tell(self):
        """How it came out; returns how many promises were broken."""
        calls = defaultdict(list)
        for at, phone, text in self.outside.calls:
            calls[phone].append((at, text))
        found = Counter()
        for customer in self.customers:
            found += judged(customer, calls[customer.phone])
        fates = Counter(customer.fate for customer in self.customers)
        report.note(f'{fates}, {self.kills} kills, {self.outside.asks} asks')
        report.note(', '.join(f'{name} {count}' for name, count in sorted(found.items())))
        fine = ('answered once', 'a burst in two parts', 'not answered', 'answered before a pause')
        return sum(count for name, count in found.items() if name not in fine)


def judged(customer, calls):
    """What became of a customer: {what: 1}, more than one if something is wrong."""
    lines = Counter(line for _, text in calls for line in text.split('\n'))
    found = Counter()
    if any(count > 1 for count in lines.values()):
        found['ANSWERED TWICE'] += 1
    if set(lines) - set(customer.texts):
        found['ANSWERED WITH SOMETHING ELSE'] += 1
    if customer.fate == 'stale':
        found['STALE, BUT ANSWERED' if calls else 'not answered'] += 1
    elif customer.fate == 'paused':
        late = [at for at, _ in calls if at > customer.paused_at]
        found['PAUSED, BUT ANSWERED' if late else 'answered before a pause' if calls else
              'not answered'] += 1  # fmt: skip
    elif set(lines) != set(customer.texts):
        found['NOT ALL ANSWERED'] += 1
    else:
        found['answered once' if len(calls) == 1 else 'a burst in two parts'] += 1
    return found
