"""What Meta charges for a delivered message, by market, category, month's volume and day.

The card is the table `rate`, or while that is empty rates.csv beside this file. A market is a
country (ISO 3166) or one of Meta's regions: a country that the card does not name on a day belongs
to its region in markets.csv, else to "Other".
"""

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache, cached_property
from itertools import product
from pathlib import Path

from service.runtime.db import fetch
from service.runtime.prepared import fill
from service.runtime.rows import Integer, fetch_as

HERE = Path(__file__).parent
PACKAGED = HERE / 'rates.csv'
OTHER = 'Other'
COUNTRY_LENGTH = 2
LAST_DAY = '9999-12-31'  # of the calendar: some write it for "until further notice"


@dataclass(frozen=True, slots=True)
class Rate:
    """One price. Days are like 2026-11-28; tiers count a month's messages from 1.

    `tier_to` None: all further ones; `valid_to`: the last day, None until further notice, and never
    LAST_DAY, after which there is no day.
    """

    market: str
    category: str
    tier_from: int
    tier_to: int | None
    valid_from: str
    valid_to: str | None
    currency: str
    price: Decimal
    source: str

    def holds_on(self, day: str) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


COLUMNS = tuple(one.name for one in fields(Rate))
Tiers = tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a country and category between two of a card's `bounds`.

    `price`: None where none is known, and of those with tiers (`tiered`), which depend on volume.
    """

    span: Integer
    country: str
    category: str
    price: Decimal | None
    tiered: bool


class RateCard:
    """Prices that can be looked up fast: what was found for a day is remembered."""

    def __init__(self, rates: Iterable[Rate]) -> None:
        self.rates = sorted(
            rates, key=lambda one: (one.market, one.category, one.valid_from, one.tier_from)
        )
        self.currency = self.rates[0].currency if self.rates else None
        self._of_market: dict[str, dict[str, list[Rate]]] = defaultdict(lambda: defaultdict(list))
        for rate in self.rates:
            self._of_market[rate.market][rate.category].append(rate)
        self._found: dict[tuple[str, str, str], tuple[str, Tiers]] = {}

    def find(self, country: str, category: str, day: str) -> tuple[str, Tiers]:
        """The market of a country on a day, and its prices; no prices: they are not known.

        Without a country no price is known. Categories are Meta's, with `-` or `_`.
        """
        key = (country, category, day)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._look_up(country, category.replace('-', '_'), day)
        return found

    @cached_property
    def bounds(self) -> list[str]:
        """The days from which on something costs more or less, in order."""
        ends = (date.fromisoformat(one.valid_to) for one in self.rates if one.valid_to)
        after = {(end + timedelta(days=1)).isoformat() for end in ends}
        return sorted({rate.valid_from for rate in self.rates} | after)

    @cached_property
    def prices(self) -> list[Price]:
        """Of each country that the card or markets.csv names, and of "Other"."""
        named = {market for market in self._of_market if len(market) == COUNTRY_LENGTH}
        countries = sorted({*named, *markets(), OTHER})
        categories = sorted({rate.category for rate in self.rates})
        found = product(enumerate(self.bounds, 1), countries, categories)
        return [self._price(span, day, *which) for (span, day), *which in found]

    def _price(self, span: int, day: str, country: str, category: str) -> Price:
        _, tiers = self.find(country, category, day)
        is_flat = len(tiers) == 1 and (tiers[0].tier_from, tiers[0].tier_to) == (1, None)
        price = tiers[0].price if is_flat else None
        return Price(span, country, category, price, bool(tiers) and not is_flat)

    def _look_up(self, country: str, category: str, day: str) -> tuple[str, Tiers]:
        if not country:
            return '', ()
        market = country if self._is_market(country, day) else markets().get(country, OTHER)
        rates = self._of_market[market][category] if market in self._of_market else []
        return market, tuple(rate for rate in rates if rate.holds_on(day))

    def _is_market(self, country: str, day: str) -> bool:
        if country not in self._of_market:
            return False
        of_all = self._of_market[country].values()
        return any(rate.holds_on(day) for rates in of_all for rate in rates)


def price_of(tiers: Tiers, before: int, count: int) -> Decimal | None:
    """What `count` messages cost that follow on `before` others of their month; None: not known."""
    total, priced = Decimal(0), 0
    for rate in tiers:
        last = before + count if rate.tier_to is None else min(rate.tier_to, before + count)
        within = last - max(rate.tier_from - 1, before)
        if within > 0:
            total += within * rate.price
            priced += within
    return total if priced == count else None


FIND_VERSION = 'SELECT max(loaded_at) FROM rate'
FIND_RATES = fill(
    """
SELECT market, category, tier_from, tier_to, valid_from::text,
  nullif(valid_to, '{last_day}')::text AS valid_to, currency, price, source
FROM rate
""",
    last_day=LAST_DAY,
)
_loaded: dict[datetime, RateCard] = {}  # of the table, as it was loaded last


def current() -> RateCard:
    """The card that holds now."""
    loaded_at: datetime | None = fetch(FIND_VERSION)[0][0]
    if loaded_at is None:
        return packaged()
    if loaded_at not in _loaded:
        card = RateCard(fetch_as(Rate, FIND_RATES))
        _loaded.clear()
        _loaded[loaded_at] = card
        return card
    return _loaded[loaded_at]


@cache
def packaged() -> RateCard:
    """The card of this release."""
    with PACKAGED.open(newline='') as file:
        return RateCard([rate_of(row) for row in csv.DictReader(file)])


def rate_of(row: dict[str, str]) -> Rate:
    """A checked line of a card."""
    return Rate(
        market=row['market'],
        category=row['category'],
        tier_from=int(row['tier_from']),
        tier_to=int(row['tier_to']) if row['tier_to'] else None,
        valid_from=row['valid_from'],
        valid_to=row['valid_to'] if row['valid_to'] not in ('', LAST_DAY) else None,
        currency=row['currency'],
        price=Decimal(row['price']),
        source=row['source'],
    )


@cache
def markets() -> dict[str, str]:
    """{country: Meta's region}, of Meta's pricing page."""
    with (HERE / 'markets.csv').open(newline='') as file:
        return {row['country']: row['market'] for row in csv.DictReader(file)}
