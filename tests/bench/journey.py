"""(c) The journey: from a customer's signed webhook to the reply's Graph call, all processes real,
the AI instant.
"""

import json
import os
import random
import statistics
import time
from http.client import HTTPConnection

from tests.stack import wait_until

from . import report
from .load import SAMPLE, WAMID, signature
from .meter import machine, quantile
from .profile import profiled
from .stand import Stand

COUNT, RATE = 200, 20
CUSTOMERS = 120  # each writes every six seconds: who is faster is taken for a machine
STAGES = """
WITH text AS (SELECT m.*, content ->> 'body' AS body FROM message m WHERE direction IN ('inbound',
  'outbound'))
SELECT i.body, extract(epoch FROM i.created_at)::float8, extract(epoch FROM o.created_at)::float8
FROM text i JOIN text o ON o.body = i.body AND o.direction = 'outbound' WHERE i.direction =
  'inbound'
"""


def run(options):
    with Stand(0.05, REPLY_QUIET_SECONDS='0') as stand:
        report.title(
            "(c) journey: from the customer's signed POST to the Graph call, instant AI, no "
            'quiet time'
        )
        report.note(machine(stand))
        for name in ('worker_incoming', 'worker_send', 'clock'):
            stand.entry(name)
        web = stand.entry('web', stand.web_port)
        meta = Meta(stand)
        paced(stand, meta, 10, lambda: 0.2)  # everybody awake, connections open
        rows = [
            (
                'one at a time',
                paced(stand, meta, COUNT, lambda: random.uniform(0.05, 0.3), wait=True),
            )
        ]
        with profiled(options.profile, web, 'web'):
            rows.append((f'{RATE} a second', paced(stand, meta, COUNT, lambda: 1 / RATE)))
        show(rows)


class Meta:
    """Posts one customer's text after the other on a keep-alive connection."""

    def __init__(self, stand):
        self.secret = stand.env['WHATSAPP_APP_SECRET'].split(',')[0].encode()
        self.connection = HTTPConnection('127.0.0.1', stand.web_port, timeout=30)
        self.run, self.number = os.urandom(4).hex(), 0

    def write(self):
        """(text, when the POST began, when the 200 came), on the wall clock."""
        self.number += 1
        text = f'bench {self.run} {self.number}'
        body = self.body(text, f'1202555{self.number % CUSTOMERS:04d}')
        headers = {
            'Content-Type': 'application/json',
            'X-Hub-Signature-256': signature(body, self.secret).decode(),
        }
        began = time.time()
        self.connection.request('POST', '/whatsapp-cloud/webhook', body, headers)
        answer = self.connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f'the webhook was answered with {answer.status}')
        return text, began, time.time()

    def body(self, text, phone):
        payload = json.loads(WAMID.sub(os.urandom(20).hex().encode(), SAMPLE.read_bytes()))
        value = payload['entry'][0]['changes'][0]['value']
        (contact,), (message,) = value['contacts'], value['messages']
        contact |= {'wa_id': phone, 'user_id': f'US.{phone}'}
        message |= {'from': phone, 'from_user_id': f'US.{phone}', 'text': {'body': text}}
        return json.dumps(payload).encode()


def paced(stand, meta, count, pause, wait=False):
    """Post `count` texts with pauses (and, with `wait`, the next only when the reply arrived); what
    each took.
    """
    stand.graph.reset()
    written, due = [], time.monotonic()
    for number in range(1, count + 1):
        written.append(meta.write())
        if wait:
            arrived(stand, number)
            due = time.monotonic()
        due += pause()
        time.sleep(max(0, due - time.monotonic()))
    arrived(stand, count)
    return taken(stand, written)


def arrived(stand, count):
    wait_until(
        lambda: stand.graph.count() >= count,
        20,
        0.01,
        lambda: f'{stand.graph.count()} of {count} replies',
    )


def taken(stand, written):
    """Milliseconds of each journey and of its parts."""
    arrivals = stand.graph.arrivals()
    stages = {text: times for text, *times in stand.sql(STAGES)}
    journeys = []
    for text, began, answered in written:
        stored, replied = stages[text]
        moments = (began, answered, stored, replied, arrivals[text])
        journeys.append([(later - began) * 1000 for later in moments[1:]])
    return journeys


def show(rows):
    heads = (
        'from the POST to … in ms',
        'the 200',
        'event claimed',
        'reply recorded',
        'Graph call',
        'p90',
        'p99',
        'worst',
    )
    table = []
    for name, journeys in rows:
        whole = [journey[-1] for journey in journeys]
        table.append(
            (
                name,
                *(statistics.median(part) for part in zip(*journeys, strict=True)),
                quantile(whole, 0.9),
                quantile(whole, 0.99),
                max(whole),
            )
        )
    report.table(heads, table)
    report.note(
        'goal: median of the Graph call under 150 ms. The first four columns are medians, the '
        'last the whole way.'
    )
