"""(k) Callers of the Graph door: what a hundred that wait cost others, and how long one waits."""

import asyncio
import json
import os
import time
from itertools import count

from tests.stack import PHONE_NUMBER_ID

from . import door, report
from .meter import machine
from .stand import Stand

WAITING = 100
LATENCY = 0.2  # seconds of the Graph stand-in
CALLS = 200
numbers = count()


def run(options):
    with Stand(LATENCY, WEB_CONCURRENCY='2', SEND_RATE='1000') as stand:
        report.title(
            f'(k) the Graph door: beside {WAITING} callers who wait, and how long one waits'
        )
        report.note(machine(stand))
        stand.entry('web', stand.web_port)
        os.environ |= {name: stand.env[name] for name in ('API_KEYS', 'WHATSAPP_APP_SECRET')}
        rows = rows_of('alone', asyncio.run(door.measure(stand.web_port)))
        rows += rows_of('beside them', asyncio.run(beside_waiting(stand.web_port)))
        stand.entry('worker_send')
        stand.wait_log('worker_send', 'started')
        times = asyncio.run(calls(stand.web_port, at_once=1))
        rows.append(('a call at a time', *door.figures(times)))
        times = asyncio.run(calls(stand.web_port, at_once=50))
        rows.append(('50 calls at a time', *door.figures(times)))
        report.table(('', *door.COLUMNS), rows)
        report.note(f'Meta takes {1000 * LATENCY:.0f} ms. Nobody sends while the others are timed.')


def rows_of(when, found):
    return [(f'{when}, {kind}', *figures) for kind, figures in found.items()]


async def beside_waiting(port):
    tasks = [asyncio.create_task(wait_for_ever(port)) for _ in range(WAITING)]
    await asyncio.sleep(5)
    found = await door.measure(port)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def wait_for_ever(port):
    while True:
        await door.timed([], port, call(), False)


async def calls(port, at_once):
    """The seconds of CALLS calls, so many at a time."""
    times = []
    left = iter(range(CALLS))

    async def caller():
        for _ in left:
            await door.timed(times, port, call(), False)

    began = time.monotonic()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    report.note(f'{CALLS} calls, {at_once} at a time: {time.monotonic() - began:.1f} s')
    return times


def call():
    """To a person of its own: to one person Meta takes a message in six seconds."""
    body = {'to': f'+1202556{next(numbers) % 10000:04}', 'text': {'body': 'Hello'}}
    raw = json.dumps({'messaging_product': 'whatsapp', 'type': 'text', **body}).encode()
    key = os.environ['API_KEYS'].split(',')[0].encode()
    return (
        b'POST /v26.0/%b/messages HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %b\r\n'
        b'Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b'
        % (PHONE_NUMBER_ID.encode(), key, len(raw), raw)
    )
