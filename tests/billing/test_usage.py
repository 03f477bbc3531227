"""GET /usage: the sums that triggers keep, before and after the clock has folded them."""

import csv
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from service.billing import roll_up, usage
from service.runtime.db import connection, db
from tests.billing.rows import log, several
from tests.people import CHATBOT, envelope, sql, status_of, text_message

DAY = '2026-11-05T12:00:00Z'


@pytest.fixture(autouse=True)
def account(backend):
    return backend.account()


def read(backend, **query):
    answer = backend.get('/usage', query_string={'chatbot_id': CHATBOT, **query})
    assert answer.status_code == 200, answer.text
    return answer.json['data']


def fold():
    with connection():
        return roll_up.fold()


def counts(backend):
    """{(category, billed): count}; nothing is lost on the way into the sums."""
    before = read(backend, group='category,country')
    fold()
    assert sql('SELECT count(*) FROM usage_delta') == [(0,)]
    assert read(backend, group='category,country') == before
    return {(row['category'], row['country'], row['billed']): row['count'] for row in before}


def priced(id_, category, kind='regular', delivered=True):
    sql(
        'UPDATE usage_log SET category = %s, pricing = json_build_object(%s, %s::text), '
        'delivered = %s WHERE message_id = %s',
        category,
        'type',
        kind,
        delivered,
        id_,
    )


def test_a_message_counts_from_its_first_moment_and_its_price_when_it_comes(backend):
    id_ = log(at=DAY, delivered=False)
    assert counts(backend) == {(None, 'BR', 0): 1}
    priced(id_, 'utility', delivered=False)
    assert counts(backend) == {('utility', 'BR', 0): 1}  # sent, not delivered: not billed
    priced(id_, 'utility')
    assert counts(backend) == {('utility', 'BR', 1): 1}


def test_another_category_moves_what_was_counted(backend):
    id_ = log(at=DAY, category='utility')
    assert counts(backend) == {('utility', 'BR', 1): 1}
    priced(id_, 'marketing')
    assert counts(backend) == {('marketing', 'BR', 1): 1}
    priced(id_, 'marketing', kind='free_entry_point')
    assert counts(backend) == {('marketing', 'BR', 0): 1}
    sql('UPDATE usage_log SET country = %s', 'PT')
    assert counts(backend) == {('marketing', 'PT', 0): 1}


def test_what_changes_nothing_that_is_counted_adds_no_delta(backend):
    log(at=DAY, category='utility')
    fold()
    sql('UPDATE usage_log SET type = %s', 'image')
    sql('UPDATE usage_log SET category = category WHERE false')
    assert sql('SELECT count(*) FROM usage_delta') == [(0,)]


def test_many_rows_of_one_statement_are_counted_together(backend):
    several(3, at=DAY, category='utility')
    log(at=DAY, category='utility', country='PT')
    fold()
    sql("UPDATE usage_log SET category = 'marketing'")
    assert sql('SELECT count(*) FROM usage_delta') == [(4,)]  # back and forth, by country
    assert counts(backend) == {('marketing', 'BR', 3): 3, ('marketing', 'PT', 1): 1}


def test_a_change_that_is_rolled_back_is_not_counted(backend):
    with connection(), db.atomic() as transaction:
        log(at=DAY)
        transaction.rollback()
    assert counts(backend) == {}


def test_a_fold_that_is_cut_off_loses_nothing(backend, monkeypatch):
    several(3, at=DAY, category='utility')
    broken = roll_up.FOLD_DELTAS + ' ORDER BY 1 / (count(*) - 3)'
    monkeypatch.setattr(roll_up, 'FOLD_DELTAS', broken)
    with pytest.raises(Exception, match='division by zero'):
        fold()
    monkeypatch.undo()
    assert sql('SELECT count(*) FROM usage_day') == [(0,)]
    assert counts(backend) == {('utility', 'BR', 3): 3}


def test_two_clocks_fold_while_messages_come_and_nothing_is_lost_or_doubled(backend, monkeypatch):
    monkeypatch.setattr(roll_up, 'PORTION', 7)
    log(at=DAY)  # makes the conversation
    done = threading.Event()

    def write():
        with connection():
            for _ in range(40):
                priced(log(at=DAY), 'utility')

    def fold_on():
        while not done.is_set():
            fold()

    with ThreadPoolExecutor(4) as pool:
        clocks = [pool.submit(fold_on) for _ in range(2)]
        writers = [pool.submit(write) for _ in range(2)]
        seen = []
        while not all(one.done() for one in writers):
            seen.append(sum(row['count'] for row in read(backend)))
        done.set()
        for one in (*clocks, *writers):
            one.result()
    assert seen == sorted(seen)  # each message once at every moment
    while fold():
        pass
    assert counts(backend) == {('utility', 'BR', 80): 80, (None, 'BR', 0): 1}


def test_a_webhook_and_its_reply_carry_the_country_of_the_customer(
    backend, meta, workers, stand_in
):
    backend.send('+5511999990001')
    workers.send()
    wamid = backend.messages(status='accepted')[0]['wamid']
    price = {'category': 'utility', 'type': 'regular'}
    meta.webhook(envelope(messages=[text_message()]))
    meta.webhook(envelope(statuses=[status_of(wamid, 'sent', pricing=price)]))
    workers.incoming()
    assert counts(backend) == {(None, 'US', 0): 1, ('utility', 'BR', 0): 1}
    meta.webhook(envelope(statuses=[status_of(wamid, 'read', pricing=price)]))
    workers.incoming()
    workers.sweep()
    assert sql('SELECT count(*) FROM usage_delta') == [(0,)]
    assert counts(backend) == {(None, 'US', 0): 1, ('utility', 'BR', 1): 1}


def test_rows_are_by_day_or_month_and_by_what_is_asked_for(backend):
    log(at='2026-10-31T23:59:59Z', category='utility')
    several(2, at='2026-11-01T00:00:00Z', category='marketing', country='PT')
    log(at='2026-11-02T00:00:00Z', category='marketing', country=None)
    assert [(row['day'], row['category'], row['count']) for row in read(backend)] == [
        ('2026-10-31', 'utility', 1),
        ('2026-11-01', 'marketing', 2),
        ('2026-11-02', 'marketing', 1),
    ]
    months = read(backend, by='month', group='country')
    assert [(row['month'], row['country'], row['count']) for row in months] == [
        ('2026-10', 'BR', 1),
        ('2026-11', None, 1),
        ('2026-11', 'PT', 2),
    ]
    assert 'category' not in months[0]
    with connection():
        costs = usage.cost_by_category([CHATBOT], date(2026, 10, 1), date(2026, 11, 30))
    assert costs == [
        {'category': 'marketing', 'cost': None, 'currency': 'USD'},
        {'category': 'utility', 'cost': 0.0068, 'currency': 'USD'},
    ]


MUCH = """
INSERT INTO usage_day SELECT %s, day, 'outbound', category, country, type, 90000, 60000 + n
FROM generate_series('2026-06-20'::date, '2026-10-20', '9 days') WITH ORDINALITY AS d (day, n),
  unnest(ARRAY['utility', 'marketing', 'service', 'new']) category,
  unnest(ARRAY['BR', 'IN', 'FJ', '']) country, unnest(ARRAY['regular', 'free_entry_point']) type
"""


@pytest.mark.parametrize('first', [date(2026, 6, 1), date(2026, 7, 1), date(2026, 9, 18)])
def test_the_cost_of_many_days_is_that_of_each(backend, first):
    """Whatever the tiers of a month and the days on which prices change."""
    sql(MUCH, CHATBOT)
    last = date(2026, 10, 11)
    with connection():
        together = usage.cost_by_category([CHATBOT], first, last)
        days = usage.read(CHATBOT, first, last)
    costs = {}
    for row in days:
        if row['billed']:
            costs.setdefault(row['category'], []).append(row['cost'])
    assert [one['category'] for one in together] == sorted(costs)
    for one in together:
        parts = costs[one['category']]
        assert one['cost'] == (None if None in parts else pytest.approx(sum(parts), abs=1e-3))


def test_as_csv(backend):
    log(at=DAY, category='marketing')
    answer = backend.get(
        '/usage',
        query_string={'chatbot_id': CHATBOT, 'by': 'month', 'group': 'country,category'},
        headers={'Accept': 'text/csv'},
    )
    assert answer.mimetype == 'text/csv'
    assert answer.text.splitlines() == [
        'month,direction,category,country,count,billed,unpriced,cost,currency',
        '2026-11,outbound,marketing,BR,1,1,0,0.0625,USD',
    ]
    assert backend.get(f'/usage?chatbot_id={CHATBOT}', headers={'Accept': '*/*'}).json['data']


@pytest.mark.parametrize(
    ('accepted', 'given'),
    [
        ('text/csv; charset=utf-8', 'text/csv'),
        ('TEXT/CSV;header=present', 'text/csv'),
        ('text/csv; charset=utf-8; q=0.9, application/json; q=0.1', 'text/csv'),
        ('text/csv;q=0.9,*/*;q=0.1', 'text/csv'),
        ('application/json; charset=utf-8, text/csv; q=0.5', 'application/json'),
        ('text/csv; charset=utf-8; q=0', 'application/json'),
        ('text/html', 'application/json'),
    ],
)
def test_parameters_of_an_accepted_type_do_not_matter(backend, accepted, given):
    answer = backend.get(f'/usage?chatbot_id={CHATBOT}', headers={'Accept': accepted})
    assert (answer.status_code, answer.mimetype) == (200, given)


@pytest.mark.parametrize('begin', ['=', '+', '-', '@', '\t', '\r'])
def test_no_cell_is_a_formula(backend, begin):
    log(at=DAY, category=f'{begin}1+1')
    query = {'chatbot_id': CHATBOT}
    answer = backend.get('/usage', query_string=query, headers={'Accept': 'text/csv'})
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=''))
    assert row['category'] == f"'{begin}1+1"
    (row,) = backend.get('/usage', query_string=query).json['data']
    assert row['category'] == f'{begin}1+1'


@pytest.mark.parametrize(
    ('query', 'field'),
    [('by=hour', 'by'), ('group=colour', 'group'), ('group=category,', 'group')],
)
def test_a_query_that_is_not_valid_is_422_and_named(backend, query, field):
    answer = backend.get(f'/usage?chatbot_id={CHATBOT}&{query}')
    assert answer.status_code == 422
    assert field in answer.json['errors']


def test_tokens_are_summed_by_day_and_model(backend):
    log(at=DAY, model='large', tokens=7)
    fold()
    log(at=DAY, model='large', tokens=5)
    log(at=DAY)
    answer = backend.get('/usage', query_string={'chatbot_id': CHATBOT}).json['tokens']
    total = {'prompt_tokens': 12, 'completion_tokens': None}
    assert answer == [{'day': '2026-11-05', 'model': 'large', **total}]
