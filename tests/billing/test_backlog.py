"""Messages of before version 13: counted live, until the clock has counted them by portions."""

import json
from collections import Counter

import pytest

from service.billing import roll_up
from service.privacy import old_messages
from service.runtime.db import connection, db
from tests.billing.rows import log
from tests.people import CHATBOT, sql

# What the release leaves of a database that was in use: nobody has counted, countries are unknown.
FORGET = """
DELETE FROM usage_delta; DELETE FROM usage_day; DELETE FROM usage_tokens_day;
UPDATE usage_log SET country = NULL, delivered = false;
DELETE FROM usage_delta;
INSERT INTO usage_backlog (chatbot_id, counted_until, since)
SELECT DISTINCT chatbot_id, '-infinity'::timestamptz, now() - interval '1 hour' FROM usage_log
"""


@pytest.fixture
def old(backend):
    """Seven messages of Novembers gone by; and how /usage shows them."""
    backend.account()
    for day in range(1, 5):
        log(at=f'2025-11-0{day}T12:00:00Z', category='utility', model='large', tokens=day)
    log(at='2025-11-04T12:00:00Z', category='utility', kind='free_customer_service')
    log(at='2025-11-04T12:00:00Z', category='utility', delivered=False, phone='351912345678')
    log(at='2025-11-05T12:00:00Z', direction='inbound', phone='4915123456789')
    sql(FORGET)
    return backend


def read(backend, group='category'):
    query = {'chatbot_id': CHATBOT, 'group': group}
    answer = backend.get('/usage', query_string=query).json
    names = ('day', 'category', 'country', 'count', 'billed')
    rows = {tuple(row.get(name) for name in names) for row in answer['data']}
    return rows, json.dumps(answer['tokens'])


def count_old():
    with connection():
        return roll_up.count_old()


def test_they_count_before_while_and_after_the_clock_has_counted_them(old, monkeypatch):
    monkeypatch.setattr(roll_up, 'OLD_PORTION', 1)
    monkeypatch.setattr(roll_up, 'PORTIONS', 1)
    before = read(old)
    assert len(before[0]) == 5
    assert ('2025-11-04', 'utility', None, 3, 1) in before[0]
    portions = 0
    while count_old():
        portions += 1
        assert read(old) == before
    assert portions == 3  # each ends at another moment
    with connection():
        roll_up.fold()
    assert read(old) == before
    assert sql('SELECT count(*) FROM usage_backlog') == [(0,)]
    assert {(day, country) for day, _, country, *_ in read(old, 'country')[0]} == {
        ('2025-11-01', 'BR'),
        ('2025-11-02', 'BR'),
        ('2025-11-03', 'BR'),
        ('2025-11-04', 'BR'),
        ('2025-11-04', 'PT'),
        ('2025-11-05', 'DE'),
    }


def test_a_price_that_comes_late_counts_before_and_after(old):
    late = "UPDATE usage_log SET category = %s WHERE at = '2025-11-01T12:00:00Z'"
    sql(late, 'marketing')
    assert sql('SELECT count(*) FROM usage_delta') == [(0,)]  # it is still counted live
    assert ('2025-11-01', 'marketing', None, 1, 1) in read(old)[0]
    count_old()
    sql(late, 'service')
    assert ('2025-11-01', 'service', None, 1, 1) in read(old)[0]
    assert not any(row[1] == 'marketing' for row in read(old)[0])


def test_new_messages_of_the_same_chatbot_are_counted_by_the_triggers(old):
    before = read(old)[0]
    log(category='utility')
    assert sql('SELECT count(*) FROM usage_delta') == [(1,)]
    assert len(read(old)[0]) == len(before) + 1
    count_old()
    assert len(read(old)[0]) == len(before) + 1


def test_a_row_that_is_being_changed_is_not_waited_for(old, postgres):
    before = read(old)
    other = postgres.connect()
    with other, other.cursor() as cursor:
        cursor.execute("UPDATE usage_log SET type = 'image'")
        assert count_old() == 0
        assert read(old) == before
    other.close()
    assert count_old() == 7
    assert read(old) == before


def test_transactions_of_before_the_release_may_end_first(old):
    sql('UPDATE usage_backlog SET since = now()')
    before = read(old)
    assert count_old() == 0
    assert read(old) == before


def test_a_portion_that_is_cut_off_counts_nothing(old, monkeypatch):
    before = read(old)
    monkeypatch.setattr(roll_up, 'END_BACKLOG', 'SELECT 1 / 0')
    with pytest.raises(Exception, match='division by zero'):
        count_old()
    monkeypatch.undo()
    assert read(old) == before
    assert sql('SELECT count(*) FROM usage_delta') == [(0,)]
    with connection(), db.atomic():
        assert roll_up.count_old() == 7
    assert read(old) == before


def count_by_country(backend):
    """{country: how many}, after the clock has counted all."""
    while count_old():
        pass
    counts = Counter()
    for _, _, country, count, _ in read(backend, 'country')[0]:
        counts[country] += count
    return counts


def test_they_count_as_before_when_their_person_is_erased_first(old):
    before = read(old)
    ((contact_id,),) = sql('SELECT DISTINCT conversation_id FROM message')
    assert old.request('DELETE', f'/contacts/{contact_id}').json['erased']['messages'] == 7
    assert read(old) == before
    assert count_by_country(old) == {'BR': 5, 'PT': 1, 'DE': 1}
    assert read(old) == before


def test_they_count_as_before_when_they_are_emptied_first(old):
    before = read(old)
    with connection(), db.atomic():
        old_messages.empty([id_ for (id_,) in sql('SELECT id FROM message')])
    assert read(old) == before
    assert count_by_country(old) == {'BR': 5, 'PT': 1, 'DE': 1}
    assert read(old) == before


@pytest.mark.parametrize('odd', [r'\u0000', r'\ud83d', r'\\u0000', r'\ud83d\ude00'])
def test_they_are_counted_whatever_else_meta_said(old, odd):
    more = f', "odd": "{odd}"}}'
    sql('UPDATE message SET extra = %s::json', f'{{"recipient_type": "individual"{more}')
    sql("UPDATE message SET sender = %s::json WHERE direction = 'inbound'",
        f'{{"from": "4915123456789"{more}')  # fmt: skip
    sql('UPDATE usage_log SET pricing = replace(pricing::text, %s, %s)::json', '}', more)
    before = read(old)
    assert ('2025-11-04', 'utility', None, 3, 1) in before[0]
    assert count_by_country(old) == {'BR': 5, 'PT': 1, 'DE': 1}
    assert read(old) == before
