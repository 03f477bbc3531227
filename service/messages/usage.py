"""Usage for billing: messages received and accepted, by UTC day and Meta's pricing category."""

from datetime import date
from typing import Any

from service.runtime.db import fetch_dicts

COUNT_BY_DAY = """
SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, direction, category, count(*) AS count
FROM usage_log
WHERE chatbot_id = %(chatbot)s
  AND (%(first)s::date IS NULL OR at >= %(first)s::date::timestamp AT TIME ZONE 'UTC')
  AND (%(last)s::date IS NULL OR at < (%(last)s::date + 1)::timestamp AT TIME ZONE 'UTC')
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def by_day(chatbot_id: str, first: date | None, last: date | None) -> list[dict[str, Any]]:
    """The counts of an account. `first` and `last`: inclusive UTC dates or None."""
    return fetch_dicts(COUNT_BY_DAY, {'chatbot': chatbot_id, 'first': first, 'last': last})
