"""What usage costs: reading it among 2,000,000 messages, and counting them as they come.

`MESSAGES=10000000`: of eleven months, of one chatbot, in ten countries; made by SQL, counted by the
triggers and added up by the clock's own code.
"""

import contextlib
import os
import statistics
import time
from functools import partial

import psutil

from . import report
from .dashboard import KEY, QUICK, ask, more, timed
from .stand import Stand

MESSAGES = int(os.environ.get('MESSAGES', 2_000_000))
DAYS = 334
CHUNK = 200_000
READS = 21
ACCOUNT = """
INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, access_token)
VALUES ('bot', '300155500044477', 'none')
"""
# A third comes from customers; nine of ten others were delivered, one of five of them for free.
ROWS = """
INSERT INTO usage_log (message_id, chatbot_id, direction, type, category, pricing, country,
  delivered, at, model, prompt_tokens, completion_tokens)
SELECT gen_random_uuid(), 'bot', CASE WHEN inbound THEN 'inbound' ELSE 'outbound' END, 'text',
  CASE WHEN NOT inbound THEN (ARRAY['marketing', 'utility', 'authentication', 'service'])[1 + n % 4]
    END,
  CASE WHEN NOT inbound THEN json_build_object('type', CASE WHEN n % 5 = 0
    THEN 'free_customer_service' ELSE 'regular' END) END,
  (ARRAY['BR', 'US', 'IN', 'MX', 'DE', 'ID', 'ES', 'GB', 'NG', 'PT'])[1 + n / 7 % 10],
  NOT inbound AND n % 10 <> 9,
  now() - n::float8 / {messages} * {days} * interval '1 day', CASE WHEN n % 6 = 1 THEN 'large' END,
  CASE WHEN n % 6 = 1 THEN 500 END, CASE WHEN n % 6 = 1 THEN 50 END
FROM generate_series({first}, {last} - 1) n CROSS JOIN LATERAL (SELECT n % 3 = 0 AS inbound) d
"""


def run(options):
    report.title(f'usage: {MESSAGES:,} messages of eleven months')
    with Stand(latency=None, API_KEYS=KEY) as stand:
        stand.sql(ACCOUNT)
        count_cost(stand, options.pairs)
        fill(stand)
        stand.entry('web', port=stand.web_port)
        read(stand)


# ---- what counting costs who logs and prices messages

TRIGGERS = ('count_new_usage', 'count_changed_usage')
INSERT = """
INSERT INTO usage_log (message_id, chatbot_id, direction, type, country)
SELECT gen_random_uuid(), 'bot', 'outbound', 'text', 'BR' FROM generate_series(1, %(batch)s)
RETURNING message_id
"""
CHANGES = {
    'sent, with a price': """category = 'utility', pricing = '{"type": "regular"}'""",
    'delivered': 'delivered = true',
    'told again (changes no row)': 'delivered = true WHERE NOT delivered AND true',
}
UPDATE = 'UPDATE usage_log SET {change} {where} message_id = ANY(%s::uuid[])'


def count_cost(stand, pairs):
    """Microseconds of PostgreSQL's CPU a message, with the triggers and without, in turn."""
    found = {}
    for _ in range(pairs):
        for is_on in (False, True):
            for name in TRIGGERS:
                word = 'ENABLE' if is_on else 'DISABLE'
                stand.sql(f'ALTER TABLE usage_log {word} TRIGGER {name}')
            for batch in (1, 20):
                for step, cost in costs(stand, batch).items():
                    found.setdefault((batch, step), {False: [], True: []})[is_on].append(cost)
    report.table(
        ('CPU of PostgreSQL, us a message', 'without', 'with', 'more'),
        [
            (f'{step}, {batch} in a statement', *map(statistics.median, both.values()), more(both))
            for (batch, step), both in found.items()
        ],
    )
    for table in ('usage_log', 'usage_delta'):
        stand.sql(f'DELETE FROM {table}')


def costs(stand, batch):
    """{step: microseconds a message}, each step for the same messages on one connection."""
    stand.sql('DELETE FROM usage_log')
    stand.sql('VACUUM usage_log, usage_delta')
    connection = stand.postgres.connect()
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(f'{QUICK}; SET session_replication_role = origin')
        cursor.execute('ALTER TABLE usage_log DROP CONSTRAINT IF EXISTS usage_log_message_id_fkey')
        backend = psutil.Process(connection.get_backend_pid())
        ids = []

        def insert(_):
            cursor.execute(INSERT, {'batch': batch})
            ids.extend(id_ for (id_,) in cursor.fetchall())

        found = {'logged': timed(backend, insert, batch)}
        for name, change in CHANGES.items():
            where = 'AND' if 'WHERE' in change else 'WHERE'
            update = UPDATE.replace('{change}', change).replace('{where}', where)
            act = partial(cursor.execute, update)
            found[name] = timed(backend, lambda at, act=act: act((ids[at : at + batch],)), batch)
    return found


# ---- reading


def fill(stand):
    """The triggers count in bulk, and the code of the clock adds up."""
    began = time.monotonic()
    stand.sql('ALTER TABLE usage_log ENABLE ALWAYS TRIGGER count_new_usage')
    for first in range(0, MESSAGES, CHUNK):
        numbers = {'first': first, 'last': min(first + CHUNK, MESSAGES), 'messages': MESSAGES}
        statement = ROWS
        for name, value in (numbers | {'days': DAYS}).items():
            statement = statement.replace(f'{{{name}}}', str(value))
        stand.sql(QUICK + statement)
    os.environ.update(stand.env)
    from service.billing import roll_up
    from service.runtime import db

    db.configure()
    with db.connection():
        while roll_up.fold():
            pass
    stand.sql('VACUUM ANALYZE usage_day, usage_tokens_day, usage_delta')
    ((rows, size),) = stand.sql(
        "SELECT count(*), pg_size_pretty(pg_total_relation_size('usage_day')) FROM usage_day"
    )
    took = time.monotonic() - began
    report.note(f'made and added up in {took:.0f} s: {rows:,} sums of days, {size}')


def read(stand):
    """Milliseconds of GET /usage over HTTP."""
    asked = {
        'eleven months by day': '',
        'by month': '&by=month',
        'by day, category and country': '&group=category,country',
        'by month, category and country': '&by=month&group=category,country',
        'today': f'&from={time.strftime("%Y-%m-%d", time.gmtime())}',
    }
    rows = [(name, *timings(stand, query)) for name, query in asked.items()]
    report.table(('GET /usage, ms', 'median', f'worst of {READS}', 'KB'), rows)


def timings(stand, query):
    """Median and worst milliseconds of some reads, and how long the answer is."""
    taken = []
    for _ in range(READS):
        began = time.perf_counter()
        answer = ask(stand, KEY, 'GET', f'/usage?chatbot_id=bot{query}')
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), max(taken), len(answer) / 1000
