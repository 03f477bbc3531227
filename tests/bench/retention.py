"""Old rows are emptied while webhooks come in: what each webhook waits for its commit, and for a
lock. RETENTION_ROWS: how many old messages, and as many old webhooks; 1000000.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection

from tests.many_rows import QUICK
from tests.stack import PHONE_NUMBER_ID

from . import report
from .load import signature
from .meter import machine
from .stand import CHATBOT, Stand

ROWS = int(os.environ.get('RETENTION_ROWS', '1000000'))
RATE = 50  # webhooks a second
QUIET_SECONDS = 20  # without retention, to compare with
OLD = """
INSERT INTO conversation (id, chatbot_id, wa_id)
VALUES ('01900000-0000-7000-8000-000000000000', %(chatbot)s, '12025550143');
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  wamid, sender, content)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, %(chatbot)s,
  '01900000-0000-7000-8000-000000000000', 'inbound', %(number)s, 'text', 'received', 'wamid.' || n,
  '{"from": "12025550143"}', json_build_object('body', 'Where is my order number ' || n || '?')
FROM generate_series(1, %(rows)s) n;
INSERT INTO message_search (message_id, search)
SELECT id, to_tsvector('simple', content ->> 'body') FROM message;
INSERT INTO webhook_event (id, status, digest, size, body, items, processed_at)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'processed',
  decode(md5(n::text), 'hex'), length(b), convert_to(b, 'UTF8'), '[]', now()
FROM generate_series(1, %(rows)s) n CROSS JOIN LATERAL (
  SELECT replace(%(body)s, 'NUMBER', n::text) AS b) body
"""
# Only who has to wait for somebody else's lock stands here.
WAITS = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start) * 1000), 0)::float8
FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%webhook_event%%'
"""


def run(options):
    with Stand() as stand:
        report.title(f'retention of {ROWS:,} messages and {ROWS:,} webhooks, {RATE} webhooks/s')
        report.note(machine(stand))
        fill(stand)
        stand.entry('web', stand.web_port)
        stand.entry('worker_incoming')
        rows = [measured(stand, 'nothing goes', lambda: time.sleep(QUIET_SECONDS))]
        stand.sql(
            'UPDATE whatsapp_cloud_account SET retention = %s', (json.dumps({'text_days': 7}),)
        )
        rows.append(measured(stand, 'what is old goes', lambda: let_go(stand)))
        report.table(
            ('', 'seconds', 'webhooks', 'p50 ms', 'p99 ms', 'max ms', 'longest lock ms'), rows
        )


def fill(stand):
    body = json.dumps(webhook('NUMBER'))
    values = {'chatbot': CHATBOT, 'number': PHONE_NUMBER_ID, 'rows': ROWS, 'body': body}
    stand.sql(f'{QUICK}; {OLD}', values)
    stand.sql('VACUUM ANALYZE')
    stand.sql('CHECKPOINT')


def let_go(stand):
    command = [sys.executable, '-m', 'flask', '--app', 'wsgi', 'retention', 'run']
    subprocess.run(command, env={**os.environ, **stand.env}, cwd=stand.root, check=True)


def webhook(number):
    message = {'from': '12025550143', 'id': f'wamid.{number}', 'timestamp': str(int(time.time()))}
    message |= {'type': 'text', 'text': {'body': f'Where is my order number {number}?'}}
    value = {'metadata': {'phone_number_id': PHONE_NUMBER_ID}, 'messages': [message]}
    change = {'field': 'messages', 'value': value}
    return {'object': 'whatsapp_business_account', 'entry': [{'id': '1', 'changes': [change]}]}


def measured(stand, name, act):
    """A row of the table: what webhooks waited for while `act` went on."""
    over = threading.Event()
    took, waits = [], [0.0]
    threads = [
        threading.Thread(target=post, args=(stand, name, over, took)),
        threading.Thread(target=watch, args=(stand, over, waits)),
    ]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    act()
    seconds = time.monotonic() - began
    over.set()
    for thread in threads:
        thread.join()
    percentiles = statistics.quantiles(took, n=100)
    return name, seconds, len(took), percentiles[49], percentiles[98], max(took), max(waits)


def post(stand, name, over, took):
    """Post a webhook each 1/RATE of a second; milliseconds until each was answered."""
    secret = stand.env['WHATSAPP_APP_SECRET'].encode()
    connection = HTTPConnection('127.0.0.1', stand.web_port, timeout=30)
    number = 0
    while not over.wait(1 / RATE):
        number += 1
        raw = json.dumps(webhook(f'{name}.{number}')).encode()
        headers = {'X-Hub-Signature-256': signature(raw, secret).decode()}
        began = time.perf_counter()
        connection.request('POST', '/whatsapp-cloud/webhook', raw, headers)
        answer = connection.getresponse()
        answer.read()
        took.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise RuntimeError(f'a webhook was answered with {answer.status}')


def watch(stand, over, waits):
    """Look each 5 ms how long a webhook's statement has waited for a lock."""
    with stand.postgres.connect() as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while not over.wait(0.005):
            cursor.execute(WAITS)
            waits.append(cursor.fetchone()[0])
