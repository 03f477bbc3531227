"""What the dashboard costs: reading a year of messages, and counting them as they come.

`MESSAGES=10000000`: of a year, of a hundred chatbots, made by SQL.
"""

import contextlib
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection

import requests

from service.runtime.prepared import fill
from tests.many_rows import QUICK

from . import report
from .counting import Counted, compare
from .stand import Stand

MESSAGES = int(os.environ.get('MESSAGES', 10_000_000))
CHATBOTS = 100
CHUNK = 250_000
SOME_DAYS = 10
JOBS = 4  # connections that make them
READS = 21
KEY = 'bench-key'
PEOPLE = """
INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, access_token)
SELECT 'bot' || n, (400000000000000 + n)::text, 'none' FROM generate_series(0, {chatbots} - 1) n;
INSERT INTO conversation (id, chatbot_id)
SELECT ('0192a000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'bot' || n
FROM generate_series(0, {chatbots} - 1) n
"""
# A third comes from customers; half of all is the first chatbot's. Two of a hundred fail.
YEAR = """
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  wamid, content, error, created_at, accepted_at, reply_wanted_at, due_at)
SELECT overlay(least_event_id(at)::text placing lpad(to_hex(n), 12, '0') from 25)::uuid,
  'bot' || bot, ('0192a000-0000-7000-8000-' || lpad(to_hex(bot), 12, '0'))::uuid,
  CASE WHEN inbound THEN 'inbound' ELSE 'outbound' END, (400000000000000 + bot)::text, 'text',
  CASE WHEN inbound THEN 'received' WHEN n % 50 = 1 THEN 'failed'
    ELSE (ARRAY['sent', 'delivered', 'read', 'read'])[1 + n / 3 % 4] END,
  'wamid.' || n, '{"body": "Your order is on its way."}',
  CASE WHEN n % 50 = 1 AND NOT inbound
    THEN json_build_object('code', 131000 + n / 50 % 12, 'title', 'Refused') END,
  at, CASE WHEN NOT inbound THEN at + (random() * 3) * interval '1 second' END,
  CASE WHEN NOT inbound AND n % 2 = 0 THEN at - random() * interval '2 seconds' END, NULL
FROM generate_series({first}, {last} - 1) n CROSS JOIN LATERAL (
  SELECT CASE WHEN n % 2 = 0 THEN 0 ELSE 1 + n / 2 % ({chatbots} - 1) END AS bot,
    n % 3 = 0 AS inbound,
    timestamptz '{begin}' + n * 31536000.0 / {messages} * interval '1 second' AS at) d
"""
# What the same messages cost, in so many combinations a day.
USAGE = """
INSERT INTO usage_day
SELECT 'bot' || bot, %(begin)s::date + day, kind.*, 30, 25
FROM generate_series(0, %(chatbots)s - 1) bot, generate_series(0, 364) day, (VALUES
  ('inbound', '', 'BR', ''), ('outbound', 'service', 'BR', 'free_customer_service'),
  ('outbound', 'utility', 'BR', 'regular'), ('outbound', 'marketing', 'BR', 'regular'),
  ('outbound', 'marketing', 'US', 'regular')) AS kind
"""
# Indexes that nothing here reads: without them a year is made in a third of the time.
UNREAD = (
    'message_inbound', 'message_outbound', 'message_by_conversation', 'message_changed_in',
    'message_referring', 'message_by_reference', 'message_echo',
)  # fmt: skip
BEGIN = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=364)


def run(options):
    report.title(f'the dashboard: {MESSAGES:,} messages of a year, {CHATBOTS} chatbots')
    with Stand(latency=None, API_KEYS=KEY) as stand:
        if not options.only:
            count_cost(stand, options.pairs)
        make_year(stand)
        add_up(stand)
        stand.entry('web', port=stand.web_port)
        read(stand)


# ---- what counting costs who changes messages

MOVE = 'UPDATE message SET {change}, updated_at = now() WHERE id = ANY(%s::uuid[])'
MOVES = {
    'accepted': "status = 'accepted', accepted_at = now(), due_at = NULL",
    'sent': "status = 'sent'",
    'delivered': "status = 'delivered'",
    'sending (counts nothing)': 'attempts = attempts + 1',
}
INSERT = """
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  content, due_at)
SELECT gen_random_uuid(), 'bench', '0192a000-0000-7000-8000-ffffffffffff', 'outbound', '1', 'text',
  'queued', '{"body": "Your order is on its way."}', now() FROM generate_series(1, %(batch)s)
RETURNING id
"""
COUNTED = Counted(
    table='message',
    deltas='hourly_delta',
    triggers=('count_new_messages', 'count_moved_messages'),
    new=('inserted', INSERT),
    changes={name: fill(MOVE, change=change) for name, change in MOVES.items()},
)


def count_cost(stand, pairs):
    stand.sql(
        'INSERT INTO conversation (id, chatbot_id)'
        " VALUES ('0192a000-0000-7000-8000-ffffffffffff', 'bench')"
    )
    compare(stand, COUNTED, pairs)


# ---- reading


def make_year(stand):
    """In bulk: no foreign keys to check, no triggers, nothing waits for the disk."""
    began = time.monotonic()
    stand.sql(f'{QUICK}; {fill(PEOPLE, chatbots=CHATBOTS)}')
    for index in UNREAD:
        stand.sql(f'DROP INDEX {index}')
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(partial(make, stand), range(0, MESSAGES, CHUNK)))
    stand.sql('VACUUM ANALYZE message')
    report.note(f'messages made in {time.monotonic() - began:.0f} s')


def make(stand, first):
    """A chunk of the messages."""
    numbers = {'first': first, 'last': min(first + CHUNK, MESSAGES), 'messages': MESSAGES}
    stand.sql(f'{QUICK}; {fill(YEAR, **numbers, chatbots=CHATBOTS, begin=BEGIN)}')


SIZE = """
SELECT (SELECT count(*) FROM hourly), pg_size_pretty(sum(pg_total_relation_size(name::regclass)))
FROM unnest(ARRAY['hourly', 'hourly_failure', 'daily', 'daily_failure']) AS name
"""


def add_up(stand):
    """By the statement of the clock, from the messages themselves, a chunk at a time."""
    os.environ.update(stand.env)
    from service.stats import hourly

    counted = f"""
SELECT m.chatbot_id, c.* FROM message m, {hourly.COUNTS_OF_MESSAGE}
WHERE m.id >= least_event_id(%s) AND m.id < least_event_id(%s)"""
    began = time.monotonic()
    statement = "SET work_mem = '128MB'; " + hourly.add_up(counted)
    begins = [BEGIN + timedelta(days=day) for day in range(0, 366, SOME_DAYS)]

    def add(begin):
        stand.sql(statement, (begin, begin + timedelta(days=SOME_DAYS)))

    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(add, begins))
    for table in ('hourly', 'daily', 'hourly_failure', 'daily_failure', 'hourly_delta'):
        stand.sql(f'VACUUM ANALYZE {table}')
    ((rows, size),) = stand.sql(SIZE)
    took = time.monotonic() - began
    report.note(f'added up in {took:.0f} s: {rows:,} hours, {size} with failures and days')
    stand.sql(USAGE, {'chatbots': CHATBOTS, 'begin': BEGIN.date()})
    stand.sql('VACUUM ANALYZE usage_day')


def read(stand):
    """Milliseconds of GET /stats over HTTP."""
    keys = {count: scoped_key(stand, count) for count in (10, CHATBOTS)}
    year = f'from={BEGIN:%Y-%m-%d}'
    month = f'by=hour&from={BEGIN + timedelta(days=335):%Y-%m-%d}'
    asked = {
        'a year, all': (KEY, year),
        'a year, the largest chatbot': (KEY, f'{year}&chatbot_id=bot0'),
        'a year, one of the others': (KEY, f'{year}&chatbot_id=bot7'),
        'a year, a key of 10 chatbots': (keys[10], year),
        f'a year, a key of {CHATBOTS} chatbots': (keys[CHATBOTS], year),
        '30 days by the hour, all': (KEY, month),
        '30 days by the hour, the largest': (KEY, f'{month}&chatbot_id=bot0'),
    }
    rows = []
    for name, (key, query) in asked.items():
        *taken, answer = timings(stand, key, f'/stats?{query}')
        total = json.loads(answer)['total']
        rows.append((name, *taken, total['in'] + total['out']))
    report.table(('GET /stats, ms', 'median', f'worst of {READS}', 'messages'), rows)
    read_pages(stand)


def read_pages(stand):
    """Milliseconds of the dashboard's first page, of a year, as a browser asks for it."""
    address = f'http://127.0.0.1:{stand.web_port}/whatsapp-cloud/dashboard'
    origin = f'http://127.0.0.1:{stand.web_port}'
    rows = []
    with requests.Session() as browser:
        browser.headers['Accept'] = 'text/html'
        form = {'key': KEY}
        browser.post(f'{address}/login', form, headers={'Origin': origin}).raise_for_status()

        def page(query):
            answer = browser.get(f'{address}?period=year{query}')
            answer.raise_for_status()
            return answer.text

        for name, query in (('all', ''), ('the largest chatbot', '&chatbot_id=bot0')):
            *taken, text = timed(partial(page, query))
            rows.append((f'a year, {name}', *taken, len(text) / 1000))
            if 'data-chart' not in text:
                raise RuntimeError('this is not the page of the numbers')
    report.table(('dashboard, ms', 'median', f'worst of {READS}', 'KB'), rows)


def scoped_key(stand, count):
    chatbots = [f'bot{number}' for number in range(count)]
    order = {'name': f'{count}', 'chatbot_ids': chatbots, 'scopes': ['read']}
    return json.loads(ask(stand, KEY, 'POST', '/keys', json.dumps(order)))['key']


def timings(stand, key, path):
    return timed(partial(ask, stand, key, 'GET', path))


def timed(read):
    """Median and worst milliseconds of some reads, and the last answer."""
    taken = []
    for _ in range(READS):
        began = time.perf_counter()
        answer = read()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), max(taken), answer


def ask(stand, key, method, path, body=None):
    connection = HTTPConnection('127.0.0.1', stand.web_port, timeout=120)
    headers = {'Authorization': f'Bearer {key}', 'Content-Type': 'application/json'}
    with contextlib.closing(connection):
        connection.request(method, f'/whatsapp-cloud{path}', body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    if answer.status >= 300:
        raise RuntimeError(f'{method} {path}: {answer.status} {text}')
    return text
