"""What /metrics costs: the counting of a commit of webhooks, a heartbeat, a scrape."""

import os
import time
from statistics import median

from . import report
from .meter import machine
from .stand import CHATBOT, Stand

ROUNDS = 20_000
PROCESSES = 20
WAITING = 100_000
FILL_PROCESSES = (
    'INSERT INTO process (id, kind, host, pid, counts) '
    "SELECT gen_random_uuid(), 'send', 'h', n, %s FROM generate_series(1, %s) n"
)
FILL_MESSAGES = """
WITH c AS (INSERT INTO conversation (id, chatbot_id) VALUES (gen_random_uuid(), %s) RETURNING id)
INSERT INTO message (id, chatbot_id, phone_number_id, conversation_id, direction, type, status,
  due_at, content)
SELECT gen_random_uuid(), %s, '1', c.id, 'outbound', 'text', 'queued', now(), '{}'
FROM c, generate_series(1, %s)
"""


def run(options):
    with Stand(latency=None) as stand:
        report.title('(m) metrics')
        report.note(machine(stand))
        os.environ.update(stand.env)
        # The environment stands above.
        from service.runtime import db, heartbeat, metrics
        from service.web import fast_webhook, gauges

        db.configure()
        webhook = fast_webhook.STORED

        def count_commit():
            time.perf_counter()
            webhook.inc(8)
            metrics.webhook_commits.observe(time.perf_counter() - 0)

        cost = microseconds(count_commit, ROUNDS)
        request = microseconds(
            lambda: metrics.http_requests.labels('/whatsapp-cloud/send', '2xx').observe(0.01),
            ROUNDS,
        )
        heartbeat.BEAT_EVERY = 0
        beats = microseconds(lambda: heartbeat.beat('web'), 100)
        report.table(
            ('CPU in microseconds', 'each'),
            [
                ('counting a commit of webhooks, however many', cost),
                ('counting a request that goes through Flask', request),
                ('a heartbeat with its counts, every 10 s', beats),
            ],
        )
        with db.connection():
            counts = db.fetch('SELECT counts::text FROM process')[0][0]
        stand.sql(FILL_PROCESSES, (counts, PROCESSES))
        rows = [('of an idle gateway', scrape(gauges))]
        stand.sql(FILL_MESSAGES, (CHATBOT, CHATBOT, WAITING))
        stand.sql('VACUUM ANALYZE message')
        rows.append((f'{WAITING} messages queued', scrape(gauges)))
        report.table((f'a scrape of {PROCESSES} processes', 'ms'), rows)


def microseconds(do, rounds):
    began = time.thread_time()
    for _ in range(rounds):
        do()
    return (time.thread_time() - began) / rounds * 1e6


def scrape(gauges):
    from prometheus_client import generate_latest

    class Scrape:
        def collect(self):
            return gauges.collect()

    taken = []
    for _ in range(9):
        began = time.perf_counter()
        text = generate_latest(Scrape()).decode()
        taken.append((time.perf_counter() - began) * 1000)
    assert 'whatsapp_scrape_failed{part="messages"} 0.0' in text, text[-3000:]
    return median(taken)
