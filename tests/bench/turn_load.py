"""Meta, her customers and an AI:
`python -m tests.bench.turn_load PORT WEB_PORT NUMBER KNOWN`.

NUMBER: the phone_number_id that they write to; KNOWN: how many of tests/many_rows.py the database
holds, of whom those who are known are then drawn.

Each line on stdin, {"rate", "seconds", "warm_up", "known", "thinks"}, is a run: customers write at
that rate, whether or not the gateway keeps up (open loop), 7 of 10 of them known. The AI thinks for
so many seconds, most often none. Each reply's call is answered after GRAPH_SECONDS and told of by
three webhooks: sent, delivered, read. A JSON line says when the measured part begins and when it
ends, one more how the run came out.
"""

import asyncio
import json
import os
import sys
import time
from functools import partial
from itertools import count

from tests.stack import PHONE_NUMBER_ID

from .graph import Connection, completion
from .load import LENGTH, signed

GRAPH_SECONDS = 0.05
STATUSES = (('sent', 0.2), ('delivered', 0.5), ('read', 1.2))  # seconds after the answer
CONNECTIONS = 32
KNOWN = 1500
PATIENCE = 30  # seconds for the last reply
VALUE = (
    '{"object":"whatsapp_business_account","entry":[{"id":"880011223344556","changes":[{"value":'
    '{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550104477",'
    '"phone_number_id":"300112233445566"},%s},"field":"messages"}]}]}'
)
MESSAGE = VALUE % (
    '"contacts":[{"profile":{"name":"Ines Okafor"},"wa_id":"%(phone)s","user_id":"US.%(phone)s"}],'
    '"messages":[{"from":"%(phone)s","from_user_id":"US.%(phone)s","id":"%(wamid)s",'
    '"timestamp":"%(now)d","type":"text","text":{"body":"%(text)s"}}]'
)
STATUS = VALUE % (
    '"statuses":[{"id":"%(wamid)s","status":"%(status)s","timestamp":"%(now)d",'
    '"recipient_id":"%(phone)s","recipient_user_id":"US.%(phone)s",'
    '"biz_opaque_callback_data":"%(opaque)s","pricing":{"billable":true,"pricing_model":"PMP",'
    '"type":"regular","category":"service"}}]'
)

ACCEPTED = (
    b'{"messaging_product":"whatsapp","contacts":[{"input":"+%b","wa_id":"%b"}],'
    b'"messages":[{"id":"%b"}]}'
)


class World:
    """Who wrote what and when, and which replies came."""

    def __init__(self, web_port, secret, number=PHONE_NUMBER_ID):
        self.web_port, self.secret, self.number = web_port, secret.encode(), number
        self.loop, self.run_id = asyncio.get_running_loop(), os.urandom(3).hex()
        self.numbers, self.callers, self.waiting = count(1), [], []
        self.written, self.replied, self.known = {}, {}, []
        self.calls = self.refused = self.statuses = self.asks_now = 0

    # ---- webhooks to the gateway

    async def connect(self):
        await self.loop.create_connection(lambda: Caller(self), '127.0.0.1', self.web_port)

    def hang_up(self):
        while self.callers:
            self.callers.pop().transport.close()

    def post(self, body):
        body = body.replace(PHONE_NUMBER_ID, self.number).encode()
        self.send(signed(self.web_port, b'/whatsapp-cloud/webhook', self.secret, body))

    def send(self, request):
        if self.callers:
            self.callers.pop().send(request)
        else:
            self.waiting.append(request)

    def free(self, caller):
        if self.waiting:
            caller.send(self.waiting.pop(0))
        else:
            self.callers.append(caller)

    def answered(self, request, is_stored):
        self.refused += not is_stored

    def cut_off(self, request, error):
        sys.exit(f'the gateway closed a connection: {error}')

    def write(self, phone):
        number = next(self.numbers)
        text = f'{self.run_id} {number} is the blue kayak still in stock?'
        self.written[text] = time.monotonic()
        self.post(
            MESSAGE
            % {
                'phone': phone,
                'wamid': f'wamid.in.{self.run_id}.{number}',
                'now': time.time(),
                'text': text,
            }
        )

    # ---- calls of the gateway

    def accepted(self, body):
        self.calls += 1
        text = body['text']['body']
        self.replied.setdefault(text, time.monotonic())
        phone = body['to'].lstrip('+')
        wamid = f'wamid.out.{self.run_id}.{self.calls}'
        for status, seconds in STATUSES:
            self.loop.call_later(
                GRAPH_SECONDS + seconds,
                self.tell,
                {
                    'phone': phone,
                    'wamid': wamid,
                    'status': status,
                    'opaque': body.get('biz_opaque_callback_data', ''),
                },
            )
        return ACCEPTED % (phone.encode(), phone.encode(), wamid.encode())

    def tell(self, facts):
        self.statuses += 1
        self.post(STATUS % {**facts, 'now': time.time()})

    def think(self, answer):
        """Have the AI's answer given when it has thought."""
        self.asks_now += 1
        self.most_asks = max(self.most_asks, self.asks_now)
        if self.ai_seconds:
            self.loop.call_later(self.ai_seconds, self.thought, answer)
        else:
            self.thought(answer)

    def thought(self, answer):
        self.asks_now -= 1
        answer()

    # ---- a run

    async def run(self, rate, seconds, warm_up, known=True, thinks=0):
        self.ai_seconds, self.most_asks = thinks, 0
        self.written.clear()
        self.replied.clear()
        begin, told = self.loop.time(), False
        first = None
        total = int(rate * (warm_up + seconds))
        for number in range(total):
            due = begin + number / rate
            if not told and due - begin >= warm_up:
                told, first = True, len(self.written)
                say(moment='start')
            if (pause := due - self.loop.time()) > 0:
                await asyncio.sleep(pause)
            self.write(self.customer(number, known))
        say(moment='end')
        texts = list(self.written)[first:]
        until = self.loop.time() + PATIENCE
        while self.loop.time() < until and (
            any(text not in self.replied for text in texts) or self.waiting
        ):
            await asyncio.sleep(0.1)
        await asyncio.sleep(STATUSES[-1][1] + 0.5)
        taken = sorted(
            (self.replied[text] - self.written[text]) * 1000
            for text in texts
            if text in self.replied
        )
        say(
            moment='done',
            turns=len(texts),
            asks=self.most_asks,
            replied=len(taken),
            refused=self.refused,
            p50=quantile(taken, 0.5),
            p99=quantile(taken, 0.99),
        )

    def customer(self, number, known):
        """Seven of ten are known: one of the first ones, each in its turn."""
        if known and self.known and number % 10 < 7:
            self.known.append(self.known.pop(0))
            return self.known[-1]
        phone = f'1202{next(self.numbers) + 2_000_000:07d}'
        if len(self.known) < KNOWN:
            self.known.append(phone)
        return phone


class Caller(asyncio.Protocol):
    """One keep-alive connection to the gateway; a request at a time."""

    def __init__(self, world):
        self.world, self.buffer, self.request = world, b'', None

    def connection_made(self, transport):
        self.transport = transport
        self.world.free(self)

    def send(self, request):
        self.request = request
        self.transport.write(request)

    def data_received(self, data):
        self.buffer += data
        head, end, body = self.buffer.partition(b'\r\n\r\n')
        if not end or len(body) < int(LENGTH.search(head)[1]):
            return
        self.buffer = b''
        request, self.request = self.request, None
        self.world.answered(request, head.startswith(b'HTTP/1.1 200'))
        self.world.free(self)

    def connection_lost(self, error):
        """An idle one is closed after a while; never one that waits for its answer."""
        if self.request:
            self.world.cut_off(self.request, error)
        if self in self.world.callers:
            self.world.callers.remove(self)
            self.world.loop.create_task(self.world.connect())


class Meta(Connection):
    """Meta's and the AI's side of the gateway's calls."""

    def __init__(self, world):
        super().__init__(None, GRAPH_SECONDS)
        self.world = world

    def answer(self, path, body):
        if path.endswith(b'/messages'):
            asked = json.loads(body)
            if 'text' in asked:
                self.later(self.world.accepted(asked))
            else:  # a read receipt
                self.write(b'{"success":true}')
        elif path.endswith(b'/chat/completions'):
            self.world.think(partial(self.write, completion(json.loads(body))))
        else:
            self.write(b'{}')


def quantile(values, share):
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


def customers_of(conversations):
    """KNOWN customers, from all over those that tests/many_rows.py gives to its first account."""
    step = max(1, conversations // KNOWN)
    return [f'1202{n // 10 * 10 + 1:07d}' for n in range(0, conversations, step)][:KNOWN]


def say(**facts):
    print(json.dumps(facts), flush=True)


async def main(port, web_port, number, known):
    world = World(web_port, os.environ['WHATSAPP_APP_SECRET'], number)
    world.known += customers_of(known)
    await world.loop.create_server(lambda: Meta(world), '127.0.0.1', port, backlog=1024)
    orders = asyncio.StreamReader()
    await world.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    say(moment='ready')
    while line := await orders.readline():
        for _ in range(CONNECTIONS):
            await world.connect()
        await world.run(**json.loads(line))
        world.hang_up()


if __name__ == '__main__':
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
