"""Which chatbots share a WhatsApp Business account (WABA): its templates, health and brakes are
those of all of them.
"""

from collections.abc import Collection

from service.runtime.db import fetch
from service.runtime.errors import Conflict

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


def check_free(new: str | None, former: str | None, seen: Collection[str] | None) -> None:
    """Check that an account may get another WABA from a caller who sees these chatbots alone.

    With it come the others' templates and Meta's news of it. Raises Conflict when it is somebody
    else's. `seen`: None for who sees all; the caller holds the lock on accounts.
    """
    if new and new != former and seen is not None and is_shared(new, seen):
        sentence = 'The waba_id is that of another chatbot; a key of API_KEYS can save it.'
        raise Conflict(sentence, code='waba_taken')
