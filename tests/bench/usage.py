"""What usage costs: reading it among 2,000,000 messages, and counting them as they come.

`MESSAGES=10000000`: of eleven months, of one chatbot, in ten countries; made by SQL, counted by the
triggers and added up by the clock's own code.
"""

import os
import time

from service.runtime.prepared import fill
from tests.many_rows import QUICK

from . import report
from .counting import Counted, compare
from .dashboard import KEY, READS, timings
from .stand import Stand

MESSAGES = int(os.environ.get('MESSAGES', 2_000_000))
DAYS = 334
CHUNK = 200_000
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
        compare(stand, COUNTED, options.pairs)
        make_months(stand)
        stand.entry('web', port=stand.web_port)
        read(stand)


# ---- what counting costs who logs and prices messages

UPDATE = 'UPDATE usage_log SET {change} message_id = ANY(%s::uuid[])'
CHANGES = {
    'sent, with a price': """category = 'utility', pricing = '{"type": "regular"}' WHERE""",
    'delivered': 'delivered = true WHERE',
    'told again (changes no row)': 'delivered = true WHERE NOT delivered AND',
}
INSERT = """
INSERT INTO usage_log (message_id, chatbot_id, direction, type, country)
SELECT gen_random_uuid(), 'bot', 'outbound', 'text', 'BR' FROM generate_series(1, %(batch)s)
RETURNING message_id
"""
COUNTED = Counted(
    table='usage_log',
    deltas='usage_delta',
    triggers=('count_new_usage', 'count_changed_usage'),
    new=('logged', INSERT),
    changes={name: fill(UPDATE, change=change) for name, change in CHANGES.items()},
)


# ---- reading


def make_months(stand):
    """The triggers count in bulk, and the code of the clock adds up."""
    began = time.monotonic()
    stand.sql('ALTER TABLE usage_log ENABLE ALWAYS TRIGGER count_new_usage')
    for first in range(0, MESSAGES, CHUNK):
        numbers = {'first': first, 'last': min(first + CHUNK, MESSAGES), 'messages': MESSAGES}
        stand.sql(f'{QUICK}; {fill(ROWS, **numbers, days=DAYS)}')
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
    rows = []
    for name, query in asked.items():
        *taken, answer = timings(stand, KEY, f'/usage?chatbot_id=bot{query}')
        rows.append((name, *taken, len(answer) / 1000))
    report.table(('GET /usage, ms', 'median', f'worst of {READS}', 'KB'), rows)
