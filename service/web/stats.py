"""What happened by the hour or the day, and what waits now."""

from datetime import UTC, date, datetime, timedelta

from flask import Blueprint

from service.runtime.timestamps import from_rfc3339
from service.stats.hourly import By
from service.stats.summary import MOST_POINTS, STEPS, summary
from service.web import request_input, stats_answers
from service.web.auth import chatbots_to_list, find_account, guard, scope
from service.web.described import describe
from service.web.request_input import query_parameters
from service.web.responses import JSONObject

blueprint = guard(Blueprint('stats', __name__))
USUAL: dict[By, timedelta] = {'hour': timedelta(days=1), 'day': timedelta(days=30)}
NO_TIME = 'Neither a date like 2026-11-22 nor a time like 2026-11-22T17:00:00Z.'
YEARS = range(2009, 2101)  # WhatsApp's first year, and long enough


@blueprint.get('/stats')
@scope('read')
@query_parameters('chatbot_id', 'from', 'to', 'by')
@describe(stats_answers.Stats, problems=('unknown_chatbot',))
def show() -> JSONObject:
    """Count messages by the hour or the day, failures, delays and costs; and what waits now.

    Without `from` the last 24 hours, or the last 30 days by day.
    """
    chatbot_id = request_input.parameter('chatbot_id')
    if chatbot_id is not None:
        find_account(chatbot_id)
    by: By = 'hour' if request_input.choice('by', tuple(STEPS)) == 'hour' else 'day'
    last = _moment('to', is_end=True) or datetime.now(UTC)
    first = _moment('from') or last - USUAL[by]
    _check_range(first, last, by)
    return summary(chatbots_to_list(chatbot_id), first, last, by)


def _moment(name: str, is_end: bool = False) -> datetime | None:
    """A time, or a UTC date: its beginning, or its end. Raises Invalid."""
    value = request_input.parameter(name)
    if value is None:
        return None
    found: datetime | None
    more = timedelta(days=is_end)
    try:
        found = datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
    except ValueError:
        found = from_rfc3339(value.replace(' ', '+'))  # a plus that was not escaped
        more = timedelta(0)
    if found is None:
        raise request_input.invalid(name, NO_TIME)
    if found.year not in YEARS:
        raise request_input.invalid(name, f'Must lie in the years {YEARS[0]} to {YEARS[-1]}.')
    return found + more


def _check_range(first: datetime, last: datetime, by: By) -> None:
    if first >= last:
        raise request_input.invalid('from', 'Must be before to.')
    points = (last - first) / STEPS[by]
    if points > MOST_POINTS:
        advice = 'Choose by=day, or less time.' if by == 'hour' else 'Choose less time.'
        raise request_input.invalid(
            'from',
            f'From there on there are {points:,.0f} {by}s; at most {MOST_POINTS} are shown. '
            f'{advice}',
        )
