"""What happens on this gateway, on one page."""

from datetime import UTC, datetime, timedelta

from service.accounts import account_list, health_event
from service.stats.hourly import By
from service.stats.summary import summary
from service.web.auth import chatbots_to_list, find_account, scope
from service.web.dashboard.chatbot_choice import chatbot_choices
from service.web.dashboard.pages import pages, render
from service.web.request_input import choice, parameter, query_parameters
from service.web.responses import JSONObject

blueprint = pages('overview', __name__)
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
SHOWN_FACTS = ('quality', 'limit', 'throughput', 'restriction', 'state', 'violation')


@blueprint.get('')
@scope('read')
@query_parameters('period', 'chatbot_id')
def overview() -> str:
    """Show the numbers of a time, and what needs a person."""
    period = choice('period', PERIODS) or 'week'
    _, span, by = PERIODS[period]
    chatbot_id = parameter('chatbot_id')
    if chatbot_id is not None:
        find_account(chatbot_id)
    chatbots = chatbots_to_list(chatbot_id)
    now = datetime.now(UTC)
    stats = summary(chatbots, now - span, now, by)
    accounts = account_list.newest(chatbots, None, None, MOST_ACCOUNTS + 1)
    shown = accounts[:MOST_ACCOUNTS]
    return render(
        'overview.html',
        stats=stats,
        chart=_chart(stats['data']),
        funnel=_funnel(stats['total']),
        periods=[(name, label) for name, (label, _, _) in PERIODS.items()],
        period=period,
        chatbot_id=chatbot_id,
        choices=chatbot_choices(),
        accounts=[_in_short(one) for one in health_event.serialize_accounts(shown)],
        has_more_accounts=len(accounts) > MOST_ACCOUNTS,
    )


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


def _in_short(account: JSONObject) -> JSONObject:
    """An account with what Meta says of its quality and limits."""
    facts = [one for one in account['health_facts'] if one['fact'] in SHOWN_FACTS]
    return account | {'facts': facts}
