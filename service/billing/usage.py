"""Usage for billing: messages received and accepted, their cost, and what AIs took.

By UTC day or month. What is read is exact at every moment: the sums of usage_day, what still waits
in usage_delta, and the messages of before version 13 that nobody has counted yet, all in one look.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from service.billing import rate_card
from service.billing.rate_card import RateCard, price_of
from service.runtime.db import fetch, fetch_dicts
from service.runtime.prepared import fill
from service.runtime.session import LONG, long_time

PERIODS = ('day', 'month')
GROUPS = ('category', 'country')
REGULAR = 'regular'  # Meta's pricing type of what it bills
DAY_LENGTH, MONTH_LENGTH = 10, 7  # of 2026-11-28 and 2026-11

# In SQL: the rows of some accounts between inclusive UTC dates that may be left out.
IN_DAYS = """
  (%(chatbots)s::text[] IS NULL OR {of}chatbot_id = ANY(%(chatbots)s::text[]))
  AND day >= coalesce(%(first)s::date, '-infinity') AND day <= coalesce(%(last)s::date, 'infinity')
"""
SUM_DAYS = fill(
    """
SELECT chatbot_id, day::text, direction, category, country, pricing_type,
  sum(count)::bigint, sum(delivered)::bigint
FROM (
  SELECT chatbot_id, day, direction, category, country, pricing_type, count, delivered
  FROM usage_day WHERE {in_days}
  UNION ALL
  SELECT chatbot_id, day, direction, category, country, pricing_type, count, delivered
  FROM usage_delta WHERE {in_days}
  UNION ALL
  SELECT chatbot_id, day, direction, category, '', pricing_type, 1, arrived::integer
  FROM usage_uncounted WHERE {in_days}) u
GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(count) <> 0
ORDER BY 1, 2, 3, 4, 5, 6
""",
    in_days=fill(IN_DAYS, of=''),
)
SUM_TOKENS = fill(
    """
SELECT day::text AS day, nullif(model, '') AS model,
  sum(prompt_tokens)::bigint AS prompt_tokens, sum(completion_tokens)::bigint AS completion_tokens
FROM (
  SELECT chatbot_id, day, model, prompt_tokens, completion_tokens FROM usage_tokens_day
  WHERE {in_days}
  UNION ALL
  SELECT chatbot_id, day, model, prompt_tokens, completion_tokens FROM usage_delta
  WHERE {in_days}
  UNION ALL
  SELECT chatbot_id, day, model, prompt_tokens, completion_tokens FROM usage_uncounted
  WHERE {in_days}) u
WHERE prompt_tokens IS NOT NULL OR completion_tokens IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2
""",
    in_days=fill(IN_DAYS, of=''),
)

# What Meta bills, the same but in spans of days, which begin on the days %(begins)s.
SUM_BILLED_SPANS = LONG + fill(
    """
SELECT chatbot_id, ((%(begins)s::date[])[span])::text, 'outbound', category, country,
  '{regular}', sum(delivered)::bigint, sum(delivered)::bigint
FROM (
  SELECT chatbot_id, width_bucket(day, %(begins)s::date[]) AS span, category, country, delivered
  FROM (
    SELECT chatbot_id, day, direction, category, country, pricing_type, delivered
    FROM usage_day WHERE {in_days}
    UNION ALL
    SELECT chatbot_id, day, direction, category, country, pricing_type, delivered
    FROM usage_delta WHERE {in_days}
    UNION ALL
    SELECT chatbot_id, day, direction, category, '', pricing_type, arrived::integer
    FROM usage_uncounted WHERE {in_days}) u
  WHERE direction = 'outbound' AND pricing_type = '{regular}' AND delivered <> 0) u
GROUP BY chatbot_id, span, category, country HAVING sum(delivered) > 0
ORDER BY chatbot_id, span, category, country
""",
    regular=REGULAR,
    in_days=fill(IN_DAYS, of=''),
)

Counted = tuple[str, str, str, str, str, str, int, int]  # the columns of SUM_DAYS


@dataclass(slots=True)
class Sum:
    """Messages that are shown together, and what they cost.

    `billed`: those that Meta bills; `unpriced`: those of them whose price is not known.
    """

    count: int = 0
    billed: int = 0
    unpriced: int = 0
    cost: Decimal = field(default_factory=Decimal)

    def shown(self, currency: str | None) -> dict[str, Any]:
        return {
            'count': self.count,
            'billed': self.billed,
            'unpriced': self.unpriced,
            'cost': self.shown_cost,
            'currency': currency,
        }

    @property
    def shown_cost(self) -> float | None:
        """Null where a part of it is not known."""
        return None if self.unpriced else as_number(self.cost)


def as_number(cost: Decimal) -> float:
    """An amount as JSON has it, to the millionth."""
    return float(round(cost, 6))


def read(
    chatbot_id: str,
    first: date | None = None,
    last: date | None = None,
    by: str = 'day',
    group: Collection[str] = ('category',),
) -> list[dict[str, Any]]:
    """The counts of an account and their cost. `first` and `last`: inclusive UTC dates or None."""
    length = DAY_LENGTH if by == 'day' else MONTH_LENGTH
    shows_category, shows_country = 'category' in group, 'country' in group
    sums: defaultdict[tuple[str, ...], Sum] = defaultdict(Sum)
    card = rate_card.current()
    for (_, day, direction, category, country, *_), count, billed, cost in _priced(
        [chatbot_id], first, last, card
    ):
        key = (
            day[:length],
            direction,
            category if shows_category else '',
            country if shows_country else '',
        )
        _add(sums[key], count, billed, cost)
    return [
        {
            by: period,
            'direction': direction,
            **({'category': category or None} if shows_category else {}),
            **({'country': country or None} if shows_country else {}),
            **sums[period, direction, category, country].shown(card.currency),
        }
        for period, direction, category, country in sorted(sums)
    ]


def _add(total: Sum, count: int, billed: int, cost: Decimal | None) -> None:
    total.count += count
    total.billed += billed
    if cost is None:
        total.unpriced += billed
    else:
        total.cost += cost


FREE = Decimal(0)


# {(chatbot_id, month, market, category): how many messages Meta has billed}
Volumes = defaultdict[tuple[str, str, str, str], int]


def _priced(
    chatbot_ids: Collection[str] | None,
    first: date | None,
    last: date | None,
    card: RateCard,
    volumes: Volumes | None = None,
) -> Iterable[tuple[Counted, int, int, Decimal | None]]:
    """Each sum of a day with its count, how many Meta bills, and what they cost.

    The volume of a month counts from its first day, also where `first` comes later.
    """
    since = first and first.replace(day=1)
    volumes = defaultdict(int) if volumes is None else volumes
    return _with_prices(_sums(chatbot_ids, since, last), first, card, volumes)


def _with_prices(
    sums: Iterable[Counted], first: date | None, card: RateCard, volumes: Volumes
) -> Iterable[tuple[Counted, int, int, Decimal | None]]:
    """The same of sums, in the order of their days."""
    begin = first.isoformat() if first else ''
    for row in sums:
        chatbot_id, day, direction, category, country, kind, count, delivered = row
        billed = 0
        cost: Decimal | None = FREE
        if kind == REGULAR and delivered and direction == 'outbound':
            billed = delivered
            market, tiers = card.find(country, category, day)
            volume = (chatbot_id, day[:MONTH_LENGTH], market, category)
            cost = price_of(tiers, volumes[volume], billed)
            volumes[volume] += billed
        if day >= begin:
            yield row, count, billed, cost


def _sums(
    chatbot_ids: Collection[str] | None, first: date | None, last: date | None
) -> Sequence[Counted]:
    chatbots = None if chatbot_ids is None else list(chatbot_ids)
    values = {'chatbots': chatbots, 'first': first, 'last': last}
    return fetch(SUM_DAYS, values)


def price_more(
    chatbot_id: str, counts: Mapping[tuple[str, str], int], today: date
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What messages would cost beside those of this month, row by row and in all.

    `counts`: by category and country, '' where it is not known. Each message is taken as billed.
    """
    card = rate_card.current()
    volumes: Volumes = defaultdict(int)
    for _ in _priced([chatbot_id], today.replace(day=1), today, card, volumes):
        pass  # the volumes are what is wanted
    total = Sum()
    rows = []
    for (category, country), count in sorted(counts.items()):
        market, tiers = card.find(country, category, today.isoformat())
        volume = (chatbot_id, today.isoformat()[:MONTH_LENGTH], market, category)
        one = Sum()
        _add(one, count, count, price_of(tiers, volumes[volume], count))
        _add(total, count, count, None if one.unpriced else one.cost)
        volumes[volume] += count
        shown = {'count': count, 'cost': one.shown_cost}
        rows.append({'category': category or None, 'country': country or None, **shown})
    in_all = {'unpriced': total.unpriced, 'cost': total.shown_cost, 'currency': card.currency}
    return rows, in_all


def tokens_by_day(chatbot_id: str, first: date | None, last: date | None) -> list[dict[str, Any]]:
    """What AIs took for the answers that Meta accepted, by UTC day and model."""
    return fetch_dicts(SUM_TOKENS, {'chatbots': [chatbot_id], 'first': first, 'last': last})


def cost_by_category(
    chatbot_ids: Collection[str] | None, first: date, last: date
) -> list[dict[str, Any]]:
    """What messages of a time cost, by Meta's category: {"category", "cost", "currency"}.

    `chatbot_ids` None: all. Inclusive UTC dates. `cost` is null where a price is not known.
    """
    card = rate_card.current()
    sums: defaultdict[str, Sum] = defaultdict(Sum)
    spans = _billed_spans(chatbot_ids, first, last, card)
    for row, count, billed, cost in _with_prices(spans, first, card, defaultdict(int)):
        _add(sums[row[3]], count, billed, cost)
    return [
        {'category': category or None, 'cost': one.shown_cost, 'currency': card.currency}
        for category, one in sorted(sums.items())
    ]


def _billed_spans(
    chatbot_ids: Collection[str] | None, first: date, last: date, card: RateCard
) -> Sequence[Counted]:
    """What Meta bills, in spans of days within which neither the month nor a price changes."""
    since = first.replace(day=1)
    begins = {since, first, *(day for day in card.changes() if since < day <= last)}
    month = since
    while month <= last:
        begins.add(month)
        month = (month + timedelta(days=31)).replace(day=1)
    values = {
        'chatbots': None if chatbot_ids is None else list(chatbot_ids),
        'first': since,
        'last': last,
        'begins': sorted(begins),
    }
    with long_time():
        return fetch(SUM_BILLED_SPANS, values)


def cost_of(
    chatbot_ids: Collection[str], first: date, last: date, card: RateCard
) -> dict[str, Decimal]:
    """{chatbot_id: what its messages cost}, without those whose price is not known."""
    costs: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row, _, _, cost in _priced(chatbot_ids, first, last, card):
        costs[row[0]] += cost or FREE
    return dict(costs)
