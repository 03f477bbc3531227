"""A rate card as a CSV file: checked line by line, and loaded as a whole or not at all.

    market,category,tier_from,tier_to,valid_from,valid_to,currency,price,source

See rate_card.Rate for what they are; rates.csv is an example.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from service.billing.rate_card import COLUMNS, LAST_DAY, OTHER, Rate, markets, rate_of
from service.runtime.db import db, execute
from service.runtime.errors import Invalid
from service.runtime.rows import execute_bulk

MAX_LINES = 20_000
MAX_REPORTED = 100
MOST = 2**31  # messages in a month
CATEGORY = re.compile('[a-z][a-z_]{0,63}')
CURRENCY = re.compile('[A-Z]{3}')
COUNTRY = re.compile('[A-Z]{2}')
WHOLE = re.compile('[0-9]{1,10}')
DAY = re.compile('[0-9]{4}-[0-9]{2}-[0-9]{2}')
Problems = dict[str, list[str]]

INSERT_RATES = """
INSERT INTO rate (market, category, tier_from, tier_to, valid_from, valid_to, currency, price,
  source)
SELECT market, category, tier_from, tier_to, valid_from::date, valid_to::date, currency,
  price, source
FROM {rows}
"""


def read(data: bytes) -> list[Rate]:
    """The rates of a file. Raises Invalid with all that is wrong, by line."""
    try:
        reader = csv.DictReader(io.StringIO(data.decode('utf-8-sig'), newline=''), strict=True)
        names = reader.fieldnames or ()
        if sorted(names) != sorted(COLUMNS):
            sentence = f'The first line names these columns: {",".join(COLUMNS)}.'
            raise Invalid(sentence, {'line 1': [sentence]})
        lines = dict(_numbered(reader))
    except (csv.Error, UnicodeDecodeError) as error:
        raise Invalid('The file is not CSV in UTF-8.', {'file': [f'{error}.']}) from None
    problems = {f'line {number}': found for number, row in lines.items() if (found := _wrong(row))}
    rates = {} if problems else {number: rate_of(row) for number, row in lines.items()}
    problems |= _wrong_together(rates) if rates else {}
    if not lines or len(lines) > MAX_LINES:
        problems['file'] = [f'Has {len(lines):,} rates; 1 to {MAX_LINES:,} are allowed.']
    if problems:
        first = dict(list(problems.items())[:MAX_REPORTED])
        raise Invalid(f'{len(problems)} lines are not valid; nothing was loaded.', first)
    return list(rates.values())


def load(rates: Sequence[Rate]) -> None:
    """Let these rates hold from now on, and no others."""
    with db.atomic():
        execute('LOCK TABLE rate IN SHARE ROW EXCLUSIVE MODE')
        execute('DELETE FROM rate')
        execute_bulk(INSERT_RATES, rates)


def _numbered(reader: 'csv.DictReader[str]') -> Iterator[tuple[int, dict[str, str]]]:
    for row in reader:
        yield reader.line_num, row


def _wrong(row: dict[str, str]) -> list[str]:
    """What is wrong with a line by itself, as sentences."""
    if None in row or None in row.values():
        return [f'Has not {len(COLUMNS)} cells.']
    checks = (
        ('market', _is_market(row['market']), 'a country like BR, or a region of markets.csv'),
        ('category', CATEGORY.fullmatch(row['category']), "Meta's category, like utility"),
        ('tier_from', _is_count(row['tier_from']), f'a number from 1 to {MOST:,}'),
        ('tier_to', not row['tier_to'] or _is_count(row['tier_to']), 'empty or a number'),
        ('valid_from', _is_day(row['valid_from']), 'a day like 2026-10-01'),
        ('valid_to', not row['valid_to'] or _is_day(row['valid_to']), 'empty or a day'),
        ('currency', CURRENCY.fullmatch(row['currency']), 'three letters like USD'),
        ('price', _is_price(row['price']), 'a number from 0 to 999999 with up to 8 decimals'),
        ('source', 0 < len(row['source']) <= 1000, 'a text of 1 to 1,000 characters'),
    )
    wrong = [f'{name} must be {form}.' for name, is_good, form in checks if not is_good]
    if wrong:
        return wrong
    if row['tier_to'] and int(row['tier_to']) < int(row['tier_from']):
        wrong.append('tier_to is less than tier_from.')
    if row['valid_to'] and row['valid_to'] < row['valid_from']:
        wrong.append('valid_to is before valid_from.')
    return wrong


def _is_market(text: str) -> bool:
    return bool(COUNTRY.fullmatch(text)) or text in {*markets().values(), OTHER}


def _is_count(text: str) -> bool:
    return bool(WHOLE.fullmatch(text)) and 1 <= int(text) <= MOST


def _is_day(text: str) -> bool:
    try:
        return bool(DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def _is_price(text: str) -> bool:
    try:
        price = Decimal(text)
    except InvalidOperation:
        return False
    return price.is_finite() and 0 <= price < 1_000_000 and price == round(price, 8)


def _wrong_together(rates: dict[int, Rate]) -> Problems:
    """What is wrong between lines: several currencies, and two prices for one message."""
    problems: Problems = {}
    first = next(iter(rates.values())).currency
    for number, rate in rates.items():
        if rate.currency != first:
            problems[f'line {number}'] = [f'A card has one currency, and the first is {first}.']
    alike = defaultdict(list)
    for number, rate in rates.items():
        alike[rate.market, rate.category].append((number, rate))
    for lines in alike.values():
        problems |= _overlapping(lines)
    return problems


def _overlapping(lines: list[tuple[int, Rate]]) -> Problems:
    """Of one market and category: tiers with a gap, and prices for the same message and day."""
    by_time = defaultdict(list)
    for number, rate in lines:
        by_time[rate.valid_from, rate.valid_to].append((number, rate))
    problems: Problems = {}
    for tiers in by_time.values():
        tiers.sort(key=lambda one: one[1].tier_from)
        expected: int | None = 1
        for number, rate in tiers:
            if rate.tier_from != expected:
                problems[f'line {number}'] = [f'Its tier does not begin at {expected}.']
            expected = rate.tier_to + 1 if rate.tier_to else None
    times = sorted(by_time, key=lambda time: (time[0], time[1] or LAST_DAY))
    for before, after in pairwise(times):
        if before[1] is None or after[0] <= before[1]:
            number = by_time[after][0][0]
            problems[f'line {number}'] = ['Another price of this market holds on the same days.']
    return problems
