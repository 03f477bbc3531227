"""Whoever wants an event is looked up: endpoints of other chatbots cost nothing."""

from tests.people import CHATBOT, sql

OTHERS = """
INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, waba_id, access_token)
SELECT 'bot' || n, (4000000 + n)::text, '5', 'none' FROM generate_series(1, 2000) n
"""
THEIRS = """
INSERT INTO endpoint (id, kind, url, chatbot_id, secret)
SELECT gen_random_uuid(), 'events', 'https://platform.example', 'bot' || n, 'none'
FROM generate_series(1, 2000) n
"""
WHO_WANTS = "EXPLAIN SELECT FROM endpoint e WHERE wants_event(e, 'message.status', %s)"


def test_endpoints_of_others_are_not_looked_at(backend):
    for statement in (OTHERS, THEIRS, 'ANALYZE endpoint'):
        sql(statement)
    plan = ' '.join(line for (line,) in sql(WHO_WANTS, CHATBOT))
    assert 'Seq Scan' not in plan, plan
