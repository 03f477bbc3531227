"""A monthly budget: its account is told at 80 and at 100 %, once each a month."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.billing import budget
from service.runtime.db import connection
from tests.billing.rows import log, several
from tests.listeners import new_endpoint
from tests.people import CHATBOT, sql


@pytest.fixture
def told(backend):
    """told(): the data of the events that were told so far."""
    backend.account(monthly_budget=0.625)  # ten marketing messages to Brazil
    new_endpoint(backend, url='http://127.0.0.1:9/hook', types=['budget.reached'])
    return lambda: [one['data'] for one in backend.get('/events?type=budget.reached').json['data']]


def notice(percent, cost, of=0.625):
    ((month,),) = sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')")
    return {'month': month, 'percent': percent, 'cost': cost, 'budget': of, 'currency': 'USD'}


def test_it_is_told_at_80_and_100_percent_once_each(told, workers):
    several(7, category='marketing')
    workers.sweep()
    assert told() == []
    log(category='marketing')
    workers.sweep()
    assert told() == [notice(80, 0.5)]
    log(category='marketing')
    workers.sweep()
    several(3, category='marketing')
    workers.sweep()
    assert told() == [notice(80, 0.5), notice(100, 0.75)]


def test_a_jump_over_both_tells_both(told, workers):
    several(10, category='marketing')
    workers.sweep()
    assert told() == [notice(80, 0.625), notice(100, 0.625)]


def test_one_that_cannot_be_looked_at_stops_no_other_sum(told, workers, monkeypatch):
    monkeypatch.setattr(budget, 'FIND_BUDGETS', 'SELECT 1 / 0')
    log(category='marketing')
    workers.sweep()
    for table in ('usage_delta', 'hourly_delta'):
        assert sql(f'SELECT count(*) FROM {table}') == [(0,)]


def test_several_clocks_at_once_tell_it_once(told):
    several(10, category='marketing')

    def check(_):
        with connection():
            return budget.check()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(check, range(8))) == 2
    assert len(told()) == 2


def test_last_month_free_messages_and_unknown_prices_do_not_count(told, workers):
    several(20, category='marketing', at='2025-01-05T00:00:00Z')
    several(20, category='marketing', kind='free_entry_point')
    several(20, category='marketing', delivered=False)
    several(20, category='marketing', country=None)
    workers.sweep()
    assert told() == []


def test_a_budget_that_comes_later_is_looked_at_by_and_by(backend, told):
    backend.account(monthly_budget=None)
    several(10, category='marketing')
    with connection():
        assert budget.check() == 0
    backend.account(monthly_budget=0.75)
    with connection():
        assert budget.check() == 1
    assert told() == [notice(80, 0.625, of=0.75)]


def test_another_month_tells_anew(told, workers):
    several(8, category='marketing')
    workers.sweep()
    sql("UPDATE budget_notice SET month = month - interval '1 month'")
    log(category='marketing')
    workers.sweep()
    assert [one['percent'] for one in told()] == [80, 80]


@pytest.mark.parametrize('value', [0, -1, 'much', 1e12, True])
def test_a_budget_is_an_amount(backend, value):
    backend.account()
    answer = backend.post('/account', {'chatbot_id': CHATBOT, 'monthly_budget': value})
    assert answer.status_code == 422
    assert 'monthly_budget' in answer.json['errors']


def test_a_budget_is_shown_and_taken_back(backend):
    assert backend.account(monthly_budget=250)['monthly_budget'] == 250
    assert backend.get(f'/account/{CHATBOT}').json['monthly_budget'] == 250
    assert backend.account()['monthly_budget'] == 250
    assert backend.account(monthly_budget=None)['monthly_budget'] is None
