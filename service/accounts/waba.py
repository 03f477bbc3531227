"""Which chatbots share a WhatsApp Business account (WABA): its templates, health and brakes are
those of all of them.
"""

from collections.abc import Collection

from service.runtime.db import fetch

FIND_OTHERS = """
SELECT 1 FROM whatsapp_cloud_account
WHERE waba_id = %(waba_id)s AND chatbot_id <> ALL(%(chatbots)s::text[]) LIMIT 1
"""
FIND_ANY = """
SELECT 1 FROM whatsapp_cloud_account
WHERE waba_id = %(waba_id)s AND chatbot_id = ANY(%(chatbots)s::text[]) LIMIT 1
"""


def is_shared(waba_id: str | None, chatbots: Collection[str]) -> bool:
    """Whether others than these chatbots have it."""
    return bool(fetch(FIND_OTHERS, {'waba_id': waba_id, 'chatbots': sorted(chatbots)}))


def belongs_to(waba_id: str, chatbots: Collection[str]) -> bool:
    """Whether one of these chatbots has it."""
    return bool(fetch(FIND_ANY, {'waba_id': waba_id, 'chatbots': sorted(chatbots)}))
