"""Usage for billing: messages received and accepted, their cost, and what AIs took."""

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from service.billing import rate_card, sums
from service.billing.rate_card import RateCard, price_of
from service.billing.sums import IN_DAYS, MONTH_LENGTH, Scope, Sum
from service.runtime.db import fetch_dicts
from service.runtime.prepared import fill
from service.runtime.session import LONG, long_time

PERIODS = ('day', 'month')
GROUPS = ('category', 'country')
SUM_TOKENS = fill(
    """
SELECT to_char(day, 'YYYY-MM-DD') AS day, nullif(model, '') AS model,
  sum(prompt_tokens)::bigint AS prompt_tokens, sum(completion_tokens)::bigint AS completion_tokens
FROM (
  SELECT day, model, prompt_tokens, completion_tokens FROM usage_tokens_day WHERE {in_days}
  UNION ALL
  SELECT day, model, prompt_tokens, completion_tokens FROM usage_delta WHERE {in_days}
  UNION ALL
  SELECT day, model, prompt_tokens, completion_tokens FROM usage_uncounted WHERE {in_days}) u
WHERE prompt_tokens IS NOT NULL OR completion_tokens IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2
""",
    in_days=IN_DAYS,
)


def read(
    chatbot_id: str,
    first: date | None = None,
    last: date | None = None,
    by: str = 'day',
    group: Collection[str] = ('category',),
) -> list[dict[str, Any]]:
    """The counts of an account and their cost. `first` and `last`: inclusive UTC dates or None."""
    card = rate_card.current()
    keys = (by, 'direction', *(name for name in GROUPS if name in group))
    found = sums.read(Scope([chatbot_id], first, last), keys, card)
    return [_row(keys, key, total, card) for key, total in found.items()]


def _row(keys: Collection[str], key: tuple[str, ...], total: Sum, card: RateCard) -> dict[str, Any]:
    row: dict[str, Any] = {name: value or None for name, value in zip(keys, key, strict=True)}
    row['count'] = total.count
    row['billed'] = total.billed
    row['unpriced'] = total.unpriced
    row['cost'] = total.shown_cost
    row['currency'] = card.currency
    return row


def price_more(
    chatbot_id: str, counts: Mapping[tuple[str, str], int], today: date
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What messages would cost beside those of this month, row by row and in all.

    `counts`: by category and country, '' where it is not known. Each message is taken as billed.
    """
    card = rate_card.current()
    volumes = sums.volumes(Scope([chatbot_id], today.replace(day=1), today), card)
    total = Sum()
    rows = []
    for (category, country), count in sorted(counts.items()):
        market, tiers = card.find(country, category, today.isoformat())
        volume = (chatbot_id, today.isoformat()[:MONTH_LENGTH], market, category)
        cost = price_of(tiers, volumes[volume], count)
        one = Sum()
        for each in (one, total):
            each.add(count, cost)
        volumes[volume] += count
        shown = {'count': count, 'cost': one.shown_cost}
        rows.append({'category': category or None, 'country': country or None, **shown})
    in_all = {'unpriced': total.unpriced, 'cost': total.shown_cost, 'currency': card.currency}
    return rows, in_all


def tokens_by_day(chatbot_id: str, first: date | None, last: date | None) -> list[dict[str, Any]]:
    """What AIs took for the answers that Meta accepted, by UTC day and model."""
    with long_time():
        return fetch_dicts(LONG + SUM_TOKENS, Scope([chatbot_id], first, last).values(first))


def cost_by_category(
    chatbot_ids: Collection[str] | None, first: date | None, last: date | None
) -> list[dict[str, Any]]:
    """What messages of a time cost, by Meta's category: {"category", "cost", "currency"}.

    `chatbot_ids` None: all. Inclusive UTC dates. `cost` is null where a price is not known.
    """
    card = rate_card.current()
    found = sums.read(Scope(chatbot_ids, first, last), ('category',), card)
    return [
        {'category': category or None, 'cost': total.shown_cost, 'currency': card.currency}
        for (category,), total in found.items()
        if total.billed
    ]


def cost_of(
    chatbot_ids: Collection[str], first: date, last: date, card: RateCard
) -> dict[str, Decimal]:
    """{chatbot_id: what its messages cost}, without those whose price is not known."""
    found = sums.read(Scope(chatbot_ids, first, last), ('chatbot_id',), card)
    return {chatbot_id: total.cost for (chatbot_id,), total in found.items()}
