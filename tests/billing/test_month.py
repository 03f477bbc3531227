"""A made-up month, computed by hand: tiers, categories, countries, what is free or unknown."""

from decimal import Decimal

import pytest

from service.billing import rate_file, roll_up
from service.billing.rate_card import price_of
from service.runtime.db import connection
from service.runtime.errors import Invalid
from tests.billing.rows import log, several
from tests.people import CHATBOT, sql

HEAD = 'market,category,tier_from,tier_to,valid_from,valid_to,currency,price,source\n'
CARD = """
BR,utility,1,3,2026-11-01,,EUR,0.01,made up
BR,utility,4,,2026-11-01,,EUR,0.004,made up
BR,marketing,1,,2026-10-01,2026-11-10,EUR,0.05,made up
BR,marketing,1,,2026-11-11,,EUR,0.06,made up
North America,service,1,,2026-10-01,,EUR,0.002,made up
North America,utility,1,2,2026-10-01,,EUR,0.1,made up
North America,utility,3,,2026-10-01,,EUR,0.05,made up
Other,utility,1,,2026-10-01,,EUR,0.03,made up
"""


def card(lines):
    with connection():
        rate_file.load(rate_file.read((HEAD + lines.strip()).encode()))


@pytest.fixture
def month(backend):
    """November, and a bit of October: day, category, country, count."""
    backend.account()
    card(CARD)
    several(2, at='2026-10-31T10:00:00Z', category='utility')  # no price in October
    several(2, at='2026-11-02T10:00:00Z', category='utility')  # 2 x 0.01
    several(3, at='2026-11-03T10:00:00Z', category='utility')  # 0.01 + 2 x 0.004
    several(2, at='2026-11-10T10:00:00Z', category='marketing')  # 2 x 0.05
    log(at='2026-11-11T10:00:00Z', category='marketing')  # 0.06
    log(at='2026-11-12T10:00:00Z', category='marketing', kind='free_entry_point')
    log(at='2026-11-12T10:00:00Z', category='service', kind='free_customer_service', country='US')
    several(5, at='2026-11-12T11:00:00Z', category='service', country='US')  # 5 x 0.002
    log(at='2026-11-13T10:00:00Z', category='utility', country='CA')  # 0.1
    several(2, at='2026-11-13T10:00:00Z', category='utility', country='US')  # 0.1 + 0.05
    log(at='2026-11-14T10:00:00Z', category='utility', country='AG')  # 0.03: of +1, but Other
    log(at='2026-11-14T10:00:00Z', category='utility', country='AG', delivered=False)
    log(at='2026-11-15T10:00:00Z', category='marketing', country='US')  # no price is known
    log(at='2026-11-16T10:00:00Z', direction='inbound')
    return backend


def costs(backend, *names, **query):
    answer = backend.get('/usage', query_string={'chatbot_id': CHATBOT, **query}).json['data']
    return {tuple(row[name] for name in names): row['cost'] for row in answer if row['billed']}


@pytest.mark.parametrize('folded', [False, True])
def test_a_month_costs_what_a_hand_computes(month, folded):
    if folded:
        with connection():
            roll_up.fold()
    days = costs(month, 'day', 'category', by='day')
    assert days == {
        ('2026-10-31', 'utility'): None,
        ('2026-11-02', 'utility'): 0.02,
        ('2026-11-03', 'utility'): 0.018,
        ('2026-11-10', 'marketing'): 0.1,
        ('2026-11-11', 'marketing'): 0.06,
        ('2026-11-12', 'service'): 0.01,
        ('2026-11-13', 'utility'): 0.25,
        ('2026-11-14', 'utility'): 0.03,
        ('2026-11-15', 'marketing'): None,
    }
    months = costs(month, 'month', 'category', 'country', by='month', group='category,country')
    assert months == {
        ('2026-10', 'utility', 'BR'): None,
        ('2026-11', 'utility', 'BR'): 0.038,
        ('2026-11', 'marketing', 'BR'): 0.16,
        ('2026-11', 'service', 'US'): 0.01,
        ('2026-11', 'utility', 'CA'): 0.1,
        ('2026-11', 'utility', 'US'): 0.15,
        ('2026-11', 'utility', 'AG'): 0.03,
        ('2026-11', 'marketing', 'US'): None,
    }


def test_the_tiers_of_a_month_count_from_its_first_day(month):
    assert costs(month, 'day', 'category', **{'from': '2026-11-03', 'to': '2026-11-03'}) == {
        ('2026-11-03', 'utility'): 0.018
    }


def test_what_is_not_priced_is_told(month):
    answer = month.get(f'/usage?chatbot_id={CHATBOT}&by=month&from=2026-11-01').json['data']
    marketing = next(row for row in answer if row['category'] == 'marketing')
    told = ('count', 'billed', 'unpriced', 'cost', 'currency')
    assert [marketing[name] for name in told] == [5, 4, 1, None, 'EUR']


def test_a_day_of_several_million_messages_passes_its_tiers_at_once():
    rates = rate_file.read((HEAD + CARD.strip()).encode())
    tiers = tuple(rate for rate in rates if (rate.market, rate.category) == ('BR', 'utility'))
    assert price_of(tiers, 0, 3_000_000) == 3 * Decimal('0.01') + 2_999_997 * Decimal('0.004')
    assert price_of(tiers, 5, 2) == Decimal('0.008')
    assert price_of(tiers[:1], 2, 2) is None  # no price for the fourth


FOR_EVER = '9999-12-31'


def test_a_price_until_the_end_of_the_calendar_holds_until_further_notice(month, workers):
    """The calendar of Python ends there as well: it has no day after."""
    several(9, category='utility', country='US')  # now: a budget is one of this month
    before = costs(month, 'day', 'category')
    card(CARD.replace('-01,,EUR', f'-01,{FOR_EVER},EUR'))
    assert sql('SELECT count(*) FROM rate WHERE valid_to IS NOT NULL') == [(1,)]
    assert costs(month, 'day', 'category') == before
    month.account(monthly_budget=0.01)
    workers.sweep()  # the clock watches budgets
    assert sql('SELECT max(percent) FROM budget_notice') == [(100,)]


def test_a_price_that_was_loaded_until_the_end_of_the_calendar_holds_as_well(month):
    """By a release that took the day as it stood."""
    before = costs(month, 'day', 'category')
    sql("UPDATE rate SET valid_to = '9999-12-31', loaded_at = now() WHERE valid_to IS NULL")
    assert costs(month, 'day', 'category') == before


def test_tiers_may_say_for_ever_in_two_ways():
    first = LINE.replace(',1,,', ',1,5,')
    further = LINE.replace(',1,,', ',6,,').replace('-01,,EUR', f'-01,{FOR_EVER},EUR')
    rates = rate_file.read(f'{HEAD}{first}\n{further}'.encode())
    assert {rate.valid_to for rate in rates} == {None}


LINE = 'BR,utility,1,,2026-11-01,,EUR,0.01,made up'
BAD = [
    ('market', LINE.replace('BR', 'Brazil'), 'line 2', 'market must be a country like BR'),
    ('category', LINE.replace('utility', 'Utility'), 'line 2', 'category must be'),
    ('tier', LINE.replace(',1,,', ',0,,', 1), 'line 2', 'tier_from must be'),
    ('tiers', LINE.replace(',1,,', ',5,,', 1), 'line 2', 'does not begin at 1'),
    ('range', LINE.replace(',1,,', ',1,0,', 1), 'line 2', 'tier_to must be'),
    ('day', LINE.replace('2026-11-01', '2026-11-31'), 'line 2', 'valid_from must be a day'),
    ('days', LINE.replace('01,,EUR', '01,2026-10-01,EUR'), 'line 2', 'before valid_from'),
    ('currency', LINE.replace('EUR', 'euro'), 'line 2', 'currency must be three letters'),
    ('price', LINE.replace('0.01', '-1'), 'line 2', 'price must be'),
    ('nan', LINE.replace('0.01', 'NaN'), 'line 2', 'price must be'),
    ('source', LINE.replace('made up', ''), 'line 2', 'source must be'),
    ('cells', LINE + ',more', 'line 2', 'Has not 9 cells'),
    ('few', 'BR,utility', 'line 2', 'Has not 9 cells'),
    ('currencies', f'{LINE}\n{LINE.replace("BR", "PT").replace("EUR", "USD")}', 'line 3', 'EUR'),
    ('twice', f'{LINE}\n{LINE.replace("-01,", "-05,")}', 'line 3', 'on the same days'),
    (
        'ends',
        f'{LINE}\n{LINE.replace("01,,EUR", "01,2026-12-31,EUR")}',
        'line 2',
        'on the same days',
    ),
    ('gap', f'{LINE.replace(",1,,", ",1,5,")}\n{LINE.replace(",1,,", ",7,,")}', 'line 3', 'at 6'),
    ('quotes', '"BR', 'file', 'unexpected end'),
    ('none', '', 'file', '1 to 20,000'),
]


@pytest.mark.parametrize(('lines', 'place', 'sentence'), [one[1:] for one in BAD])
def test_a_line_that_is_not_valid_is_named(lines, place, sentence):
    with pytest.raises(Invalid) as refused:
        rate_file.read((HEAD + lines).encode())
    assert sentence in ' '.join(refused.value.errors[place])


def test_a_file_with_other_columns_is_refused():
    with pytest.raises(Invalid, match='The first line names these columns'):
        rate_file.read(b'country,price\nBR,1\n')


def test_a_file_that_is_not_utf_8_is_refused():
    with pytest.raises(Invalid, match='not CSV in UTF-8'):
        rate_file.read(b'\xff')
