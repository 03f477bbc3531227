"""A week of two shops on one gateway, for the dashboard to show: made up, numbers of +1 555 01."""

import time

from tests.listeners import new_endpoint
from tests.people import Customers, contact, envelope, sql, text_message

SHOPS = {
    'bakery': ('300155501000001', '880015550100001', 'Corner Bakery'),
    'florist': ('300155501000002', '880015550100002', 'Rose & Thorn'),
}
CONVERSATIONS = """
INSERT INTO conversation (id, chatbot_id, wa_id, name, last_inbound_at, known_at)
SELECT ('01920000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid,
  CASE WHEN n % 5 < 4 THEN 'bakery' ELSE 'florist' END, '1555011' || lpad(n::text, 4, '0'),
  'Customer ' || n, now() - n * interval '1 hour', now()
FROM generate_series(1, 60) n
"""
# More by day than by night, more bakery than florist; one of four comes from a customer.
MESSAGES = """
WITH hours AS (
  SELECT now() - h * interval '1 hour' AS at, h FROM generate_series(1, {hours}) h),
counted AS (
  SELECT at, h, 4 + (18 * greatest(0, sin((extract(hour FROM at) - 6) / 24 * 2 * pi())))::int
    + h * 7 % 5 AS count FROM hours),
made AS (
  SELECT h, n, at + (n * 131 % 3300) * interval '1 second' AS at, (h * 31 + n * 17) % 100 AS die,
    n % 4 = 0 AS is_inbound, 1 + (h * 13 + n * 7) % 60 AS person
  FROM counted CROSS JOIN LATERAL generate_series(1, count) n)
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  wamid, recipient_to, content, error, accepted_at, created_at, updated_at, due_at, hold_reason)
SELECT (lpad(to_hex((extract(epoch FROM m.at) * 1000)::bigint), 12, '0') || '7' ||
    substr(md5(h || '.' || n), 1, 3) || '8' || substr(md5(n || '.' || h), 1, 15))::uuid,
  c.chatbot_id, c.id, CASE WHEN is_inbound THEN 'inbound' ELSE 'outbound' END,
  CASE c.chatbot_id WHEN 'bakery' THEN '300155501000001' ELSE '300155501000002' END, 'text',
  s.status,
  CASE WHEN s.status NOT IN ('failed', 'queued', 'held', 'unknown')
    THEN 'wamid.' || h || '.' || n END,
  CASE WHEN NOT is_inbound THEN '+' || c.wa_id END,
  json_build_object('body',
    CASE WHEN is_inbound THEN 'Are you open?' ELSE 'Your bread is ready.' END),
  CASE WHEN s.status = 'failed' THEN json_build_object('code',
    (ARRAY[131026, 131026, 131047, 131049])[1 + n % 4], 'title', 'Message undeliverable') END,
  CASE WHEN NOT is_inbound AND s.status NOT IN ('failed', 'queued', 'held')
    THEN m.at + (0.2 + die / 40.0) * interval '1 second' END,
  m.at, m.at, CASE WHEN s.status IN ('queued', 'unknown') THEN m.at END,
  CASE WHEN s.status = 'held' THEN 'account' END
FROM made m JOIN conversation c
  ON c.id = ('01920000-0000-7000-8000-' || lpad(person::text, 12, '0'))::uuid
CROSS JOIN LATERAL (SELECT CASE WHEN is_inbound THEN 'received'
  WHEN h = 1 AND n % 5 = 1 THEN 'queued' WHEN h = 1 AND n = 2 THEN 'unknown'
  WHEN h = 1 AND c.chatbot_id = 'florist' THEN 'held'
  WHEN die < 2 OR h = 2 AND n < 4 THEN 'failed' WHEN die < 6 THEN 'sent'
  WHEN die < 30 THEN 'delivered'
  ELSE 'read' END AS status) s
WHERE m.at < now()
"""
# What Meta prices: three of five are service messages. The end of an id is the same at any time.
USAGE = """
INSERT INTO usage_log (message_id, chatbot_id, direction, type, category, pricing, country, at,
  delivered)
SELECT id, chatbot_id, direction, type, category, json_build_object('category', category,
  'billable', true, 'pricing_model', 'PMP', 'type', 'regular'), 'US', created_at,
  true
FROM message CROSS JOIN LATERAL (SELECT (ARRAY['service', 'service', 'service', 'utility',
  'marketing'])[1 + abs(hashtext(right(id::text, 12))) % 5] AS category) c
WHERE status IN ('delivered', 'read')
"""
HELD = """
UPDATE whatsapp_cloud_account SET send_state = 'held', send_state_since = now() - interval '40 min',
  send_state_reason = '{"code": 190, "title": "Access token has expired"}'
WHERE chatbot_id = 'florist'
"""
DISPLAY = 'UPDATE whatsapp_cloud_account SET display_phone_number = %s WHERE chatbot_id = %s'


def fill(backend, meta, workers, hours=24 * 8):
    """Two accounts and what their last days brought."""
    for at, (chatbot_id, (number, waba, name)) in enumerate(SHOPS.items()):
        more = {'waba_id': waba, 'name': name, 'responder': {'kind': 'none'}}
        backend.account(chatbot_id, number, **more)
        sql(DISPLAY, f'+1 555-010-000{at + 1}', chatbot_id)
    sql(CONVERSATIONS)
    sql(MESSAGES.format(hours=hours))
    sql(USAGE)
    sql(HELD)
    _tell(meta, workers)
    for url in ('http://127.0.0.1:9/orders', 'http://127.0.0.1:9/statistics'):
        new_endpoint(backend, url)
    writers = Customers(meta, workers)
    for n, text in enumerate(('Do you bake rye on Sundays?', 'Two loaves for noon, please')):
        phone = f'1555010{n + 1:04}'
        said = text_message(text, f'wamid.said.{n}', phone)
        people = [contact(('Alva Lind', 'Ben Ode')[n], phone)]
        writers.tell(envelope([said], contacts=people, number=SHOPS['bakery'][0]))


NEWS = (
    ('phone_number_quality_update', {'event': 'ONBOARDING', 'current_limit': 'TIER_10K'}),
    ('account_update', {'event': 'VERIFIED_ACCOUNT'}),
    ('phone_number_quality_update', {'event': 'UNFLAGGED', 'current_limit': 'TIER_10K'}),
)


def _tell(meta, workers):
    """What Meta says of the bakery's account; a field that nobody knows; and what is no JSON."""
    for age, (field, value) in enumerate(NEWS):
        entry = {
            'id': SHOPS['bakery'][1],
            'time': int(time.time()) - 86400 * (3 - age),
            'changes': [{'field': field, 'value': value}],
        }
        meta.webhook({'object': 'whatsapp_business_account', 'entry': [entry]})
    meta.webhook(envelope([text_message('Hello?', 'wamid.stray', '15550100099')], number='399'))
    meta.webhook(b'not JSON')
    workers.incoming()
