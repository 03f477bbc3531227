"""The ledger: a row of usage_log for each message that was received, or accepted by Meta.

Triggers of usage_log keep the sums (schema.sql, version 13; roll_up.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from service.runtime.prepared import Prepared
from service.runtime.rows import Uuid, execute_bulk


class AIUsage(TypedDict):
    """What an AI took for an answer, as its server counted it."""

    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


# In SQL: the columns of usage_log for a message's `ai_usage`, and their values.
AI_COLUMNS = 'model, prompt_tokens, completion_tokens'
AI_USAGE = """ai_usage ->> 'model', (ai_usage ->> 'prompt_tokens')::integer,
  (ai_usage ->> 'completion_tokens')::integer"""


@dataclass(slots=True)
class LoggedMessage:
    """A message that counts, and the country of the customer's number (calling_codes.py)."""

    id: Uuid
    country: str | None


LOG_USAGE = Prepared.for_rows(LoggedMessage)(
    """
INSERT INTO usage_log (message_id, chatbot_id, direction, type, country, {ai_columns})
SELECT m.id, m.chatbot_id, m.direction, m.type, n.country, {ai_usage}
FROM {rows} JOIN message m USING (id) WHERE NOT m.echo ORDER BY m.id
ON CONFLICT (message_id) DO NOTHING
""",
    ai_columns=AI_COLUMNS,
    ai_usage=AI_USAGE,
)


def log_usage(messages: Sequence[LoggedMessage]) -> None:
    """Count messages of ours for billing that a status shows as accepted, each once."""
    execute_bulk(LOG_USAGE, messages)
