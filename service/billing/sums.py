"""The sums of usage, with what Meta bills of them: read and priced by PostgreSQL in one look.

What is read is exact at every moment: the sums of usage_day, what still waits in usage_delta, and
the messages of before version 13 that nobody has counted yet.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from service.accounts.account import OF_CHATBOTS
from service.billing.rate_card import Price, RateCard, price_of
from service.runtime.db import fetch
from service.runtime.prepared import fill
from service.runtime.rows import fetch_bulk
from service.runtime.session import LONG, long_time

MONTH_LENGTH = 7  # of 2026-11

# In SQL: the rows of some accounts between inclusive UTC dates that may be left out.
IN_DAYS = fill(
    """
  {of_chatbots}
  AND day >= coalesce(%(first)s::date, '-infinity') AND day <= coalesce(%(last)s::date, 'infinity')
""",
    of_chatbots=OF_CHATBOTS,
)
COUNTED = fill(
    """
SELECT chatbot_id, day, direction, category, country, count,
  CASE WHEN pricing_type = 'regular' AND direction = 'outbound' THEN delivered ELSE 0 END AS billed
FROM (
  SELECT chatbot_id, day, direction, category, country, pricing_type, count, delivered
  FROM usage_day WHERE {in_days}
  UNION ALL
  SELECT chatbot_id, day, direction, category, country, pricing_type, count, delivered
  FROM usage_delta WHERE {in_days}
  UNION ALL
  SELECT chatbot_id, day, direction, category, '', pricing_type, 1, arrived::integer
  FROM usage_uncounted WHERE {in_days}) c
""",
    in_days=IN_DAYS,
)
# A country that is not among the prices has those of "Other". Sums need not be sorted for the join.
SUM_UP = fill(
    """
SET LOCAL enable_mergejoin = off;
WITH price AS MATERIALIZED (SELECT {columns} FROM {rows})
SELECT {keys}, sum(count)::bigint, sum(billed)::bigint,
  coalesce(sum(billed) FILTER (WHERE price IS NULL AND NOT tiered), 0)::bigint,
  coalesce(sum(billed * price), 0)
FROM (
  SELECT u.*, p.price, coalesce(p.tiered, false) AS tiered
  FROM (SELECT c.*, width_bucket(day, %(bounds)s::date[]) AS span,
      CASE WHEN country = '' OR country = ANY(%(countries)s::text[]) THEN country ELSE 'Other' END
        AS market
    FROM ({counted}) c) u
  LEFT JOIN price p ON p.span = u.span AND p.country = u.market
    AND p.category = replace(u.category, '-', '_')) u
GROUP BY {keys} HAVING sum(count) <> 0 ORDER BY {keys}
""",
    counted=COUNTED,
)
KEYS = {
    'chatbot_id': 'chatbot_id',
    'day': 'day::text',
    'month': 'left(day::text, 7)',
    'direction': 'direction',
    'category': 'category',
    'country': 'country',
}
SUM_TIERED = fill(
    """
SELECT chatbot_id, to_char(day, 'YYYY-MM-DD'), direction, category, country, sum(billed)::bigint
FROM ({counted}) u WHERE replace(category, '-', '_') = ANY(%(categories)s::text[])
GROUP BY 1, 2, 3, 4, 5 HAVING sum(billed) <> 0 ORDER BY 1, 2, 3, 4, 5
""",
    counted=COUNTED,
)


@dataclass(slots=True)
class Sum:
    """Messages that are shown together, and what they cost.

    `billed`: those that Meta bills; `unpriced`: those of them whose price is not known.
    """

    count: int = 0
    billed: int = 0
    unpriced: int = 0
    cost: Decimal = Decimal(0)

    def add(self, billed: int, cost: Decimal | None) -> None:
        """Add what billed messages cost, which may not be known."""
        if cost is None:
            self.unpriced += billed
        else:
            self.cost += cost

    @property
    def shown_cost(self) -> float | None:
        """As JSON has it, to the millionth; None where a part of it is not known."""
        return None if self.unpriced else float(round(self.cost, 6))


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose messages, None: everybody's; and between which inclusive UTC dates, None: all."""

    chatbot_ids: Collection[str] | None
    first: date | None = None
    last: date | None = None

    def values(self, first: date | None) -> dict[str, Any]:
        chatbots = None if self.chatbot_ids is None else list(self.chatbot_ids)
        return {'chatbots': chatbots, 'first': first, 'last': self.last}


# {(chatbot_id, month, market, category): how many messages Meta has billed}
Volumes = defaultdict[tuple[str, str, str, str], int]
NO_CARD = [Price(-1, '', '', None, False)]


def read(scope: Scope, keys: Sequence[str], card: RateCard) -> dict[tuple[str, ...], Sum]:
    """Sums by some of KEYS, in their order."""
    statement = LONG + fill(SUM_UP, keys=', '.join(KEYS[key] for key in keys))
    countries = sorted({price.country for price in card.prices})
    values = scope.values(scope.first) | {'bounds': card.bounds, 'countries': countries}
    with long_time():
        rows = fetch_bulk(statement, card.prices or NO_CARD, **values)
    sums = {
        (*key,): Sum(count, billed, unpriced, cost) for *key, count, billed, unpriced, cost in rows
    }
    for row, cost in _tiered(scope, card, defaultdict(int)):
        sums[tuple(row[key] for key in keys)].add(row['billed'], cost)
    return sums


def volumes(scope: Scope, card: RateCard) -> Volumes:
    """How many messages were billed of what has tiers."""
    found: Volumes = defaultdict(int)
    for _ in _tiered(scope, card, found):
        pass
    return found


def _tiered(
    scope: Scope, card: RateCard, found: Volumes
) -> Iterator[tuple[dict[str, Any], Decimal | None]]:
    """What has tiers, by the day, and what it costs.

    The volume of a month counts from its first day, also where the scope begins later.
    """
    categories = sorted({price.category for price in card.prices if price.tiered})
    if not categories:
        return
    since = scope.first and scope.first.replace(day=1)
    begin = scope.first.isoformat() if scope.first else ''
    values = scope.values(since) | {'categories': categories}
    with long_time():
        rows = fetch(LONG + SUM_TIERED, values)
    for chatbot_id, day, direction, category, country, billed in rows:
        market, tiers = card.find(country, category, day)
        month = day[:MONTH_LENGTH]
        if not tiers or (len(tiers) == 1 and tiers[0].tier_to is None):
            continue  # it has no price, or one
        volume = (chatbot_id, month, market, category)
        cost = price_of(tiers, found[volume], billed)
        found[volume] += billed
        if day >= begin:
            row = {'chatbot_id': chatbot_id, 'day': day, 'month': month, 'direction': direction}
            yield row | {'category': category, 'country': country, 'billed': billed}, cost
