"""Usage for billing: messages received and accepted, by UTC day and Meta's pricing category."""

from datetime import date
from typing import Any, TypedDict

from service.runtime.db import fetch_dicts
from service.runtime.prepared import fill


class AIUsage(TypedDict):
    """What an AI took for an answer, as its server counted it."""

    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


# In SQL: the columns of usage_log for a message's `ai_usage`, and their values.
AI_COLUMNS = 'model, prompt_tokens, completion_tokens'
AI_USAGE = """ai_usage ->> 'model', (ai_usage ->> 'prompt_tokens')::integer,
  (ai_usage ->> 'completion_tokens')::integer"""

# In SQL: the rows of an account, between inclusive UTC dates that may be left out.
OF_ACCOUNT = """
  chatbot_id = %(chatbot)s
  AND (%(first)s::date IS NULL OR at >= %(first)s::date::timestamp AT TIME ZONE 'UTC')
  AND (%(last)s::date IS NULL OR at < (%(last)s::date + 1)::timestamp AT TIME ZONE 'UTC')
"""
COUNT_BY_DAY = fill(
    """
SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, direction, category, count(*) AS count
FROM usage_log
WHERE {of_account}
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""",
    of_account=OF_ACCOUNT,
)
COUNT_TOKENS_BY_DAY = fill(
    """
SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, model,
  sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens
FROM usage_log
WHERE {of_account}
  AND (prompt_tokens IS NOT NULL OR completion_tokens IS NOT NULL)
GROUP BY 1, 2 ORDER BY 1, 2
""",
    of_account=OF_ACCOUNT,
)


def by_day(chatbot_id: str, first: date | None, last: date | None) -> list[dict[str, Any]]:
    """The counts of an account. `first` and `last`: inclusive UTC dates or None."""
    return fetch_dicts(COUNT_BY_DAY, {'chatbot': chatbot_id, 'first': first, 'last': last})


def tokens_by_day(chatbot_id: str, first: date | None, last: date | None) -> list[dict[str, Any]]:
    """What AIs took for the answers that Meta accepted, by UTC day and model."""
    return fetch_dicts(COUNT_TOKENS_BY_DAY, {'chatbot': chatbot_id, 'first': first, 'last': last})
