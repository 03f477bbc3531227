"""What happened between two moments, and what waits now."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from service.billing.usage import cost_by_category
from service.graph.error_codes import explain
from service.stats import delays, hourly, standing
from service.stats.hourly import By, Sum

STEPS: dict[By, timedelta] = {'hour': timedelta(hours=1), 'day': timedelta(days=1)}
INSTANT = timedelta(microseconds=1)
MOST_POINTS = 800
# As answers name them, in the order of hourly.COUNTERS.
COUNTERS = ('in', 'out', 'accepted', 'sent', 'delivered', 'read', 'failed')


def summary(
    chatbot_ids: Collection[str] | None, first: datetime, last: datetime, by: By
) -> dict[str, Any]:
    """Count what happened from `first` on and before `last`, by the hour or the UTC day.

    Both ends are widened to whole hours or days. `chatbot_ids`: of these alone, None: of all.
    """
    first, last = whole(first, by), whole(last + STEPS[by] - INSTANT, by)
    chatbots = None if chatbot_ids is None else sorted(chatbot_ids)
    sums = hourly.read(chatbots, first, last, by)
    data = _points(sums, first, last, by)
    return {
        'from': first,
        'to': last,
        'by': by,
        'chatbot_id': chatbots[0] if chatbots and len(chatbots) == 1 else None,
        'data': data,
        'total': _total(data),
        'failures': _failures(sums),
        'reply_seconds': delays.told(_delays(sums, 'reply')),
        'send_seconds': delays.told(_delays(sums, 'send')),
        **standing.now(chatbots),
        'cost': cost_by_category(chatbots, first.date(), (last - INSTANT).date()),
    }


def whole(at: datetime, by: By) -> datetime:
    """The beginning of the hour or the UTC day of a moment."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return at if by == 'hour' else at.replace(hour=0)


def _points(sums: Iterable[Sum], first: datetime, last: datetime, by: By) -> list[dict[str, Any]]:
    """A point for each hour or day, also where nothing happened."""
    counted = {one.at: one.counts for one in sums if one.kind == 'count'}
    nothing = [0] * len(COUNTERS)
    moments = [first + i * STEPS[by] for i in range((last - first) // STEPS[by])]
    return [
        {'at': at, **dict(zip(COUNTERS, counted.get(at, nothing), strict=True))} for at in moments
    ]


def _total(data: list[dict[str, Any]]) -> dict[str, int]:
    total = dict.fromkeys(COUNTERS, 0)
    for point in data:
        for name in COUNTERS:
            total[name] += point[name]
    return total


def _failures(sums: Iterable[Sum]) -> list[dict[str, Any]]:
    """Why messages failed, the most frequent reason first."""
    failures = [(-one.counts[0], one.key) for one in sums if one.kind == 'failure']
    return [{'code': code, 'count': -count} | explain(code) for count, code in sorted(failures)]


def _delays(sums: Iterable[Sum], kind: str) -> dict[int, int]:
    """How many messages took how long, by bucket."""
    return {int(one.key): one.counts[0] for one in sums if one.kind == kind}
