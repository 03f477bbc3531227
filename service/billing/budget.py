"""Monthly budgets: who has set one is told, once a month each, when the cost comes near it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from service.accounts.account import OF_CHATBOTS
from service.billing import rate_card, sums, usage
from service.runtime.db import db, fetch
from service.runtime.prepared import fill
from service.runtime.rows import Integer, execute_bulk

PERCENTS = (80, 100)


@dataclass(slots=True)
class Notice:
    """That a month's cost has reached so much of an account's budget."""

    chatbot_id: str
    month: str
    percent: Integer
    cost: Decimal
    budget: Decimal
    currency: str


FIND_BUDGETS = fill(
    """
SELECT chatbot_id, monthly_budget::numeric FROM whatsapp_cloud_account
WHERE monthly_budget IS NOT NULL AND {of_chatbots}
""",
    of_chatbots=OF_CHATBOTS,
)
# Of several clocks at once the first one tells: the others wait for its row, and find it.
TELL = """
WITH new AS (
  INSERT INTO budget_notice (chatbot_id, month, percent)
  SELECT chatbot_id, (month || '-01')::date, percent FROM {rows}
  ORDER BY chatbot_id, percent ON CONFLICT DO NOTHING
  RETURNING chatbot_id, month, percent)
SELECT publish('budget.reached', n.chatbot_id, NULL, NULL, json_build_object('month', n.month,
  'percent', n.percent, 'cost', n.cost::float8, 'budget', n.budget::float8,
  'currency', n.currency))
FROM {rows} JOIN new ON new.chatbot_id = n.chatbot_id AND new.percent = n.percent
ORDER BY n.chatbot_id, n.percent
"""


def check(chatbot_ids: Collection[str] | None = None) -> int:
    """Tell of budgets that this month's cost has reached, of some accounts or of all.

    Messages whose price is not known do not count. Returns how many were told.
    """
    chatbots = None if chatbot_ids is None else list(chatbot_ids)
    budgets: dict[str, Decimal] = dict(fetch(FIND_BUDGETS, {'chatbots': chatbots}))
    if not budgets:
        return 0
    card = rate_card.current()
    if card.currency is None:
        return 0
    today = datetime.now(UTC).date()
    costs = usage.cost_of(budgets.keys(), today.replace(day=1), today, card)
    notices = [
        notice
        for chatbot_id, cost in costs.items()
        for notice in _due(chatbot_id, today, cost, budgets[chatbot_id], card.currency)
    ]
    with db.atomic():
        return execute_bulk(TELL, notices)


def _due(
    chatbot_id: str, today: date, cost: Decimal, budget: Decimal, currency: str
) -> list[Notice]:
    month = today.isoformat()[: sums.MONTH_LENGTH]
    return [
        Notice(chatbot_id, month, percent, round(cost, 6), budget, currency)
        for percent in PERCENTS
        if cost * 100 >= budget * percent
    ]
