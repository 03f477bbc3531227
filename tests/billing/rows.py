"""Rows of usage as a month leaves them, made by SQL; the triggers count them as any others."""

import json

from service.runtime.ids import new_id
from tests.people import CHATBOT, PHONE_NUMBER_ID, sql

MESSAGE = """
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  content, recipient_to, sender, answer_wa_id)
SELECT %s, c.chatbot_id, c.id, %s, %s, 'text', %s, '{}', %s, %s, NULL
FROM conversation c WHERE c.chatbot_id = %s LIMIT 1
"""
LOG = """
INSERT INTO usage_log (message_id, chatbot_id, direction, type, category, pricing, country,
  delivered, at, model, prompt_tokens)
VALUES (%s, %s, %s, 'text', %s, %s, %s, %s, coalesce(%s, now()), %s, %s)
"""


def log(
    at=None,
    category=None,
    kind='regular',
    country='BR',
    delivered=True,
    direction='outbound',
    chatbot_id=CHATBOT,
    phone='5511999990001',
    model=None,
    tokens=None,
):
    """One message that counts; its id. `kind`: Meta's pricing type, with a category."""
    if not sql('SELECT 1 FROM conversation WHERE chatbot_id = %s', chatbot_id):
        sql('INSERT INTO conversation (id, chatbot_id) VALUES (%s, %s)', new_id(), chatbot_id)
    id_ = new_id()
    is_inbound = direction == 'inbound'
    status = 'received' if is_inbound else 'delivered' if delivered else 'sent'
    sender = json.dumps({'from': phone}) if is_inbound else None
    number = None if is_inbound else phone
    sql(MESSAGE, id_, direction, PHONE_NUMBER_ID, status, number, sender, chatbot_id)
    pricing = json.dumps({'type': kind, 'category': category}) if category else None
    values = (category, pricing, country, delivered, at, model, tokens)
    sql(LOG, id_, chatbot_id, direction, *values)
    return id_


def several(count, **like):
    for _ in range(count):
        log(**like)
