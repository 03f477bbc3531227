"""Usage for billing: messages received, and messages accepted by Meta, by UTC day and Meta's pricing category."""

from service.db import fetch_dicts


def by_day(chatbot_id, first, last):
    """`first` and `last`: inclusive UTC dates or None."""
    return fetch_dicts(
        "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, direction, category, count(*) AS count FROM usage_log "
        'WHERE chatbot_id = %s AND (%s::date IS NULL OR at >= %s::date) AND (%s::date IS NULL OR at < %s::date + 1) '
        'GROUP BY 1, 2, 3 ORDER BY 1, 2, 3',
        (chatbot_id, first, first, last, last),
    )
