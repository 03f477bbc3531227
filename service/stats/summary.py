"""What happened between two moments, and what waits now."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from service.graph.error_codes import explain
from service.runtime.db import fetch_dicts
from service.runtime.prepared import fill
from service.runtime.session import LONG, long_time
from service.stats import standing

By = Literal['hour', 'day']
STEPS: dict[By, timedelta] = {'hour': timedelta(hours=1), 'day': timedelta(days=1)}
MOST_POINTS = 800
COUNTERS = ('in', 'out', 'accepted', 'sent', 'delivered', 'read', 'failed')

OF_RANGE = """
  created_at >= %(first)s AND created_at < %(last)s
  AND (%(chatbots)s::text[] IS NULL OR chatbot_id = ANY(%(chatbots)s::text[]))
"""
COUNT = fill(
    """
SELECT date_trunc(%(by)s, created_at, 'UTC') AS at,
  count(*) FILTER (WHERE direction = 'inbound') AS in,
  count(*) FILTER (WHERE direction = 'outbound') AS out,
  count(*) FILTER (WHERE accepted_at IS NOT NULL) AS accepted,
  count(*) FILTER (WHERE status IN ('sent', 'delivered', 'read', 'played')) AS sent,
  count(*) FILTER (WHERE status IN ('delivered', 'read', 'played')) AS delivered,
  count(*) FILTER (WHERE status IN ('read', 'played')) AS read,
  count(*) FILTER (WHERE status = 'failed') AS failed
FROM message WHERE {of_range} GROUP BY 1
""",
    of_range=OF_RANGE,
)
COUNT_FAILURES = fill(
    """
SELECT coalesce(error ->> 'code', error ->> 'cause', '') AS code, count(*) AS count
FROM message WHERE status = 'failed' AND {of_range} GROUP BY 1 ORDER BY 2 DESC, 1
""",
    of_range=OF_RANGE,
)
MEASURE = fill(
    """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median,
  percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95
FROM (SELECT extract(epoch FROM accepted_at - created_at) AS seconds FROM message
  WHERE accepted_at IS NOT NULL AND NOT echo AND {of_range}) AS send
""",
    of_range=OF_RANGE,
)


def summary(
    chatbot_ids: Collection[str] | None, first: datetime, last: datetime, by: By
) -> dict[str, Any]:
    """Count what happened from `first` on and before `last`, by the hour or the UTC day.

    Both ends are widened to whole hours or days. `chatbot_ids`: of these alone, None: of all.
    """
    first, last = whole(first, by), whole(last + STEPS[by] - timedelta(microseconds=1), by)
    chatbots = None if chatbot_ids is None else sorted(chatbot_ids)
    values = {'chatbots': chatbots, 'first': first, 'last': last, 'by': by}
    counted = {row.pop('at'): row for row in _read(COUNT, values)}
    data = [_point(at, counted.get(at, {})) for at in _points(first, last, by)]
    return {
        'from': first,
        'to': last,
        'by': by,
        'chatbot_id': chatbots[0] if chatbots and len(chatbots) == 1 else None,
        'data': data,
        'total': _total(data),
        'failures': [row | explain(row['code']) for row in _read(COUNT_FAILURES, values)],
        'reply_seconds': {'median': None, 'p95': None},
        'send_seconds': _read(MEASURE, values)[0],
        **standing.now(chatbots),
        'cost': [],
    }


def whole(at: datetime, by: By) -> datetime:
    """The beginning of the hour or the UTC day of a moment."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return at if by == 'hour' else at.replace(hour=0)


def _points(first: datetime, last: datetime, by: By) -> list[datetime]:
    return [first + i * STEPS[by] for i in range((last - first) // STEPS[by])]


def _point(at: datetime, counted: dict[str, int]) -> dict[str, Any]:
    return {'at': at} | {name: counted.get(name, 0) for name in COUNTERS}


def _total(data: list[dict[str, Any]]) -> dict[str, int]:
    total = dict.fromkeys(COUNTERS, 0)
    for point in data:
        for name in COUNTERS:
            total[name] += point[name]
    return total


def _read(sql: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with long_time():
        return fetch_dicts(LONG + sql, values)
