"""What happens on this gateway, on one page."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from service.accounts import account_list, health_event
from service.accounts.account import Account
from service.graph import outage
from service.stats.hourly import By
from service.stats.summary import summary
from service.web.auth import current_key, find_account, scope
from service.web.dashboard.pages import pages, render
from service.web.request_input import choice, parameter, query_parameters

blueprint = pages('overview', __name__)
JSONObject = dict[str, Any]
# label, how far back, one point of the chart
PERIODS: dict[str, tuple[str, timedelta, By]] = {
    'day': ('24 hours', timedelta(days=1), 'hour'),
    'week': ('7 days', timedelta(days=7), 'hour'),
    'month': ('30 days', timedelta(days=30), 'day'),
    'year': ('12 months', timedelta(days=365), 'day'),
}
STEPS = ('accepted', 'sent', 'delivered', 'read')
SERIES = (('in', 'In'), ('out', 'Out'), ('failed', 'Failed'))
MOST_ACCOUNTS = 12  # whose health is shown
MOST_CHATBOTS = 200  # to choose from
SHOWN_FACTS = ('quality', 'limit', 'throughput', 'restriction', 'state', 'violation')


@blueprint.get('')
@scope('read')
@query_parameters('period', 'chatbot_id')
def overview() -> str:
    """Show the numbers of a time, and what needs a person."""
    period = choice('period', PERIODS) or 'week'
    _, span, by = PERIODS[period]
    chatbot_id = parameter('chatbot_id')
    chatbots = _chatbots(chatbot_id)
    now = datetime.now(UTC)
    stats = summary(chatbots, now - span, now, by)
    accounts = _accounts(chatbots, MOST_ACCOUNTS + 1)
    return render(
        'overview.html',
        stats=stats,
        chart=_chart(stats['data']),
        funnel=_funnel(stats['total']),
        periods=[(name, label) for name, (label, _, _) in PERIODS.items()],
        period=period,
        chatbot_id=chatbot_id,
        choices=_choices(),
        accounts=[_health(one) for one in accounts[:MOST_ACCOUNTS]],
        has_more_accounts=len(accounts) > MOST_ACCOUNTS,
    )


def _chatbots(chatbot_id: str | None) -> Collection[str] | None:
    """Whose numbers are shown; None: all. Raises NotFound."""
    if chatbot_id is None:
        return current_key().chatbot_ids
    return [find_account(chatbot_id).chatbot_id]


def _choices() -> list[str]:
    """The chatbots that the key sees."""
    found = _accounts(current_key().chatbot_ids, MOST_CHATBOTS)
    return sorted(account.chatbot_id for account in found)


def _accounts(chatbots: Collection[str] | None, limit: int) -> list[Account]:
    wanted = None if chatbots is None else sorted(chatbots)
    return account_list.newest(wanted, None, None, limit)


def _chart(points: list[JSONObject]) -> JSONObject:
    """What charts.js draws: seconds since 1970, and a list of values for each line."""
    return {
        'at': [int(point['at'].timestamp()) for point in points],
        'series': [_series(points, name, label) for name, label in SERIES],
    }


def _series(points: list[JSONObject], name: str, label: str) -> JSONObject:
    return {'label': label, 'values': [point[name] for point in points]}


def _funnel(total: JSONObject) -> list[JSONObject]:
    """How many came as far as each step, and how many of those that the step before had."""
    rows = []
    before = total[STEPS[0]]
    for step in STEPS:
        rows.append({'step': step, 'count': total[step], 'before': before})
        before = total[step]
    return rows


def _health(account: Account) -> JSONObject:
    """An account with what Meta says of its quality and limits."""
    shown = account.to_dict(outage.current())
    facts = health_event.health(account)['health_facts']
    return shown | {'facts': [one for one in facts if one['fact'] in SHOWN_FACTS]}
