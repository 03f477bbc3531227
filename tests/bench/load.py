"""Signed webhooks as fast as they are answered, cheaply, from a process of its own: `python -m
tests.bench.load PORT`.

Everything is built and signed before the clock starts. Each of CONNECTIONS waits for its answer
before it sends the next. Prints a JSON line at the end of the warm-up, one after SECONDS more, and
one when every answer has come.
"""

import asyncio
import hashlib
import hmac
import json
import os
import re
import sys
from pathlib import Path

CONNECTIONS = 48
WARM_UP, SECONDS = 1, 4
STOCK = 24000 * (WARM_UP + SECONDS)  # more than are ever sent
SAMPLE = Path(__file__).parent.parent / 'payloads' / 'in_text.json'
WAMID = re.compile(rb'wamid\.[\w=]+')
LENGTH = re.compile(rb'content-length: *(\d+)', re.IGNORECASE)


def requests(port, path, secret):
    """As many requests as the stock holds, each body with a wamid of its own."""
    sample = json.dumps(
        json.loads(SAMPLE.read_text()), separators=(',', ':')
    ).encode()  # Meta sends no spaces
    before, after = WAMID.split(sample)
    run = os.urandom(8).hex().encode()
    for number in range(STOCK):
        body = b'%bwamid.HBgLMTIwMjU1NTAxNDMVAgASG%b%08d=%b' % (before, run, number, after)
        yield signed(port, path, secret, body)


def signed(port, path, secret, body):
    """As Meta sends it and a host's router hands it on."""
    return (
        b'POST %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: facebookexternalua\r\nAccept: '
        b'*/*\r\n'
        b'X-Forwarded-For: 173.252.95.12\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: '
        b'443\r\nVia: 1.1 vegur\r\n'
        b'X-Request-Id: 8f1c2a34-0d7e-4b1c-9a55-3f6e1b2c7d90\r\nX-Request-Start: '
        b'1790000000000\r\nConnect-Time: 0\r\n'
        b'Content-Type: application/json\r\nX-Hub-Signature-256: %b\r\nContent-Length: %d\r\n\r\n%b'
        % (path, port, signature(body, secret), len(body), body)
    )


def signature(body, secret):
    return b'sha256=' + hmac.digest(secret, body, hashlib.sha256).hex().encode()


class Load:
    def __init__(self, port, stock):
        self.port, self.stock, self.loop = port, stock, asyncio.get_running_loop()
        self.ok = self.bad = self.open = 0
        self.stopping, self.latencies, self.finished = False, [], asyncio.Event()

    async def run(self):
        for _ in range(CONNECTIONS):
            await self.connect()
        await asyncio.sleep(WARM_UP)
        self.latencies.clear()
        say(moment='start', ok=self.ok)
        await asyncio.sleep(SECONDS)
        say(moment='end', ok=self.ok, bad=self.bad, latency=self.quantiles())
        self.stopping = True
        await asyncio.wait_for(self.finished.wait(), 20)
        say(moment='done', ok=self.ok, bad=self.bad)

    async def connect(self):
        self.open += 1
        await self.loop.create_connection(lambda: Caller(self), '127.0.0.1', self.port)

    def closed(self):
        self.open -= 1
        if self.stopping:
            self.open or self.finished.set()
        else:
            self.loop.create_task(self.connect())  # a server without keep-alive

    def quantiles(self):
        values = sorted(self.latencies) or [0]
        return {
            name: values[int(share * len(values))] * 1000
            for name, share in (('p50', 0.5), ('p99', 0.99))
        }


class Caller(asyncio.Protocol):
    def __init__(self, load):
        self.load, self.buffer = load, b''

    def connection_made(self, transport):
        self.transport = transport
        self.next()

    def next(self):
        if self.load.stopping:
            self.transport.close()
            return
        request = next(self.load.stock, None)
        if request is None:
            sys.exit('the stock of signed webhooks is used up: raise STOCK')
        self.transport.write(request)
        self.sent = self.load.loop.time()

    def data_received(self, data):
        self.buffer += data
        head, end, body = self.buffer.partition(b'\r\n\r\n')
        if not end or len(body) < int(LENGTH.search(head)[1]):
            return
        self.buffer = b''
        self.load.latencies.append(self.load.loop.time() - self.sent)
        if head.startswith(b'HTTP/1.1 200'):
            self.load.ok += 1
        else:
            self.load.bad += 1
        if b'onnection: close' not in head:
            self.next()

    def connection_lost(self, error):
        self.load.closed()


def say(**facts):
    print(json.dumps(facts), flush=True)


async def main(port, path):
    secret = os.environ['WHATSAPP_APP_SECRET'].split(',')[0].encode()
    await Load(port, iter(list(requests(port, path, secret)))).run()


if __name__ == '__main__':
    asyncio.run(
        main(
            int(sys.argv[1]),
            (sys.argv[2] if len(sys.argv) > 2 else '/whatsapp-cloud/webhook').encode(),
        )
    )
