"""A database that has been used for long: as many messages as one likes, and all that belongs to
them.

A hundred and one accounts; the first one has nine of ten conversations. Each conversation has five
messages, an inbound and four outbound ones that were read; the last messages wait to be sent.
"""

PER_CONVERSATION = 5
ACCOUNTS = """
INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, waba_id, access_token)
SELECT 'bot' || n, (400000000000000 + n)::text, (500000000000000 + n)::text, 'none'
FROM generate_series(0, 100) n
"""
# Ids in the order of creation, like UUIDv7.
CONVERSATIONS = """
INSERT INTO conversation (id, chatbot_id, wa_id, user_id, last_inbound_at, known_at)
SELECT ('0192a000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
  'bot' || CASE WHEN n % 10 > 0 THEN 0 ELSE 1 + n / 10 % 100 END, '1202' || lpad(n::text, 7, '0'),
  'US.1202' || lpad(n::text, 7, '0'), now(), now()
FROM generate_series(0, {conversations} - 1) n
"""
IDENTITIES = """
INSERT INTO conversation_identity (chatbot_id, kind, value, conversation_id, seen_at)
SELECT chatbot_id, 'phone', wa_id, id, now() FROM conversation
UNION ALL SELECT chatbot_id, 'user', user_id, id, now() FROM conversation
"""
MESSAGES = """
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  wamid, recipient_to, content, due_at, accepted_at)
SELECT ('0192b000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, c.chatbot_id, c.id,
  CASE WHEN is_inbound THEN 'inbound' ELSE 'outbound' END,
  (400000000000000 + substr(c.chatbot_id, 4)::int)::text, 'text',
  CASE WHEN is_inbound THEN 'received' WHEN is_waiting THEN 'queued' ELSE 'read' END,
  CASE WHEN NOT is_waiting THEN 'wamid.' || n END,
  CASE WHEN NOT is_inbound THEN '+' || c.wa_id END, '{{"body": "Your order is on its way."}}',
  CASE WHEN is_waiting THEN now() END, CASE WHEN NOT is_inbound THEN now() END
FROM generate_series(0, {messages} - 1) n
CROSS JOIN LATERAL (
  SELECT n < {conversations} AS is_inbound, n >= {messages} - {waiting} AS is_waiting) d
JOIN conversation c ON c.id = ('0192a000-0000-7000-8000-' || lpad(to_hex(n % {conversations}), 12,
  '0'))::uuid
"""
STATUSES = """
INSERT INTO message_status (chatbot_id, message_id, phone_number_id, wamid, status, timestamp)
SELECT chatbot_id, id, phone_number_id, wamid, 'read', now() FROM message WHERE status = 'read'
"""
USAGE = """
INSERT INTO usage_log (message_id, chatbot_id, direction, type)
SELECT id, chatbot_id, direction, type FROM message WHERE wamid IS NOT NULL
"""
EVENTS = """
INSERT INTO webhook_event (id, status, digest, size, body, items, processed_at)
SELECT ('0192c000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'processed',
  decode(md5(n::text), 'hex'), 700, '', '[]', now()
FROM generate_series(0, {conversations} - 1) n
"""
ENDPOINTS = """
INSERT INTO endpoint (id, kind, url, chatbot_id, secret)
SELECT ('0192d000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'events',
  'https://platform.example/' || n, CASE WHEN n > 0 THEN 'bot' || n END, 'none'
FROM generate_series(0, 20) n
"""
# One of ten waits, of one endpoint most: it has been away.
TOLD = """
INSERT INTO event (id, type, chatbot_id, conversation_id, message_id)
SELECT ('0192e000-0000-7000-8000-' || substr(id::text, 25))::uuid, 'message.received', chatbot_id,
  conversation_id, id FROM message WHERE direction = 'inbound'
"""
DELIVERIES = """
INSERT INTO event_delivery (endpoint_id, event_id, conversation_id, status, due_at)
SELECT e.id, v.id, v.conversation_id, CASE WHEN waits THEN 'waiting' ELSE 'delivered' END,
  CASE WHEN waits THEN now() END
FROM event v JOIN endpoint e ON e.chatbot_id IS NULL OR e.chatbot_id = v.chatbot_id
CROSS JOIN LATERAL (SELECT abs(hashtext(v.id::text)) % 10 = 0 AS waits) w
"""
STATEMENTS = (ACCOUNTS, CONVERSATIONS, IDENTITIES, MESSAGES, STATUSES, USAGE, EVENTS)
TOLD_STATEMENTS = (ENDPOINTS, TOLD, DELIVERIES)
# No foreign keys to check, nothing waits for the disk.
QUICK = 'SET session_replication_role = replica; SET synchronous_commit = off'


def fill(cursor, messages, waiting, told=True):
    """Fill empty tables, and let PostgreSQL look at them; `told`: endpoints and events, too."""
    numbers = {
        'messages': messages,
        'conversations': messages // PER_CONVERSATION,
        'waiting': waiting,
    }
    cursor.execute(QUICK)
    for statement in STATEMENTS + TOLD_STATEMENTS * told:
        cursor.execute(statement.format(**numbers))
    cursor.execute('ANALYZE')
