"""Pure: the account's system prompt with what is known of the customer and the time filled in."""

import re
from datetime import UTC, datetime

from service.conversations import service_window
from service.conversations.conversation import Conversation
from service.runtime.timestamps import to_rfc3339

PLACEHOLDER = re.compile(r'\{\{\s{0,9}(contact\.name|now|window_expires_at)\s{0,9}\}\}')
MAX_NAME = 100  # characters of a customer's name: they choose it themselves


def fill_in(prompt: str, conversation: Conversation, now: datetime | None = None) -> str:
    """The prompt with its placeholders filled in; other braces stay.

    What is not known becomes nothing. A name stays one line, and is not looked at for placeholders.
    """
    closes_at = service_window.closes_at(conversation.last_inbound_at)
    values = {
        'contact.name': ' '.join((conversation.name or '').split())[:MAX_NAME],
        'now': to_rfc3339(now or datetime.now(UTC)),
        'window_expires_at': to_rfc3339(closes_at) if closes_at else '',
    }
    return PLACEHOLDER.sub(lambda found: values[found[1]], prompt)
