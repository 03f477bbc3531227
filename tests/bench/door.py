"""(f) The door: webhooks and the API beside 200 quiet and 200 slow connections."""

import asyncio
import json
import os
import time

from . import report
from .load import LENGTH, signed
from .meter import machine
from .stand import CHATBOT, Stand

QUIET = SLOW = 200
# webhooks a second, each on a new connection, half of them in two packets; a tenth as many API
# calls
RATE = 50
SECONDS = 20
COLUMNS = ('answered', 'p50 ms', 'p99 ms', 'most ms')


def run(options):
    with Stand(WEB_CONCURRENCY='2') as stand:
        report.title(
            f'(f) the door: beside {QUIET} quiet connections and {SLOW} that are slow in six ways'
        )
        report.note(machine(stand))
        stand.entry('web', stand.web_port)
        os.environ |= {name: stand.env[name] for name in ('API_KEYS', 'WHATSAPP_APP_SECRET')}
        rows = [
            (f'alone, {kind}', *figures)
            for kind, figures in asyncio.run(measure(stand.web_port)).items()
        ]
        command = f'python -m tests.bench.crowd {stand.web_port} {QUIET} {SLOW}'
        stand.processes.start('crowd', env=stand.env, command=command)
        time.sleep(5)  # by then all have connected, and the slow ones have begun
        crowded = asyncio.run(measure(stand.web_port))
        rows += [(f'in the crowd, {kind}', *figures) for kind, figures in crowded.items()]
        report.table(('', *COLUMNS), rows)
        report.note('Goal: webhooks within 250 ms (p99) in the crowd, and every API call answered.')


async def measure(port):
    """{kind: figures} of SECONDS."""
    found = {'webhooks': [], 'API': []}
    began, tasks = time.monotonic(), []
    for number in range(RATE * SECONDS):
        await asyncio.sleep(max(0, began + number / RATE - time.monotonic()))
        tasks.append(asyncio.create_task(timed(found['webhooks'], port, webhook(port), number % 2)))
        if number % 10 == 0:
            tasks.append(asyncio.create_task(timed(found['API'], port, order(number), False)))
    await asyncio.gather(*tasks)
    return {kind: figures(times) for kind, times in found.items()}


def webhook(port):
    body = json.dumps({'entry': [], 'x': os.urandom(8).hex()}).encode()
    return signed(
        port,
        b'/whatsapp-cloud/webhook',
        os.environ['WHATSAPP_APP_SECRET'].split(',')[0].encode(),
        body,
    )


def order(number):
    body = json.dumps(
        {'chatbot_id': CHATBOT, 'to': f'+1202555{number % 10000:04}', 'text': {'body': 'Hello'}}
    ).encode()
    key = os.environ['API_KEYS'].split(',')[0].encode()
    return (
        b'POST /whatsapp-cloud/send HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %b\r\n'
        b'Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b' % (key, len(body), body)
    )


async def timed(times, port, raw, in_two):
    """Add the seconds until the answer, None when it was no success."""
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        if in_two:
            writer.write(raw[: len(raw) // 2])
            await asyncio.sleep(0.005)
            raw = raw[len(raw) // 2 :]
        writer.write(raw)
        head = await asyncio.wait_for(reader.readuntil(b'\r\n\r\n'), 60)
        await reader.readexactly(int(LENGTH.search(head)[1]))
        writer.close()
        times.append(time.monotonic() - began if head[9:10] == b'2' else None)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        times.append(None)


def figures(times):
    good = sorted(1000 * one for one in times if one is not None) or [float('nan')]
    share = f'{sum(one is not None for one in times)} of {len(times)}'
    return share, good[len(good) // 2], good[int(0.99 * len(good))], good[-1]
