"""The dashboard's first page: the numbers of a time, and what needs a person."""

import json
import re
from html import unescape

import pytest

from service.web.dashboard import wording
from tests import dashboard_world
from tests.dashboard import Person
from tests.web.tenants import key_of


@pytest.fixture
def world(backend, meta, workers):
    dashboard_world.fill(backend, meta, workers, hours=20)


@pytest.fixture
def person(application, world):
    return Person(application).log_in()


@pytest.fixture
def florist(application, backend, world):
    """A person whose key sees the florist alone."""
    key = key_of(backend, 'florist')
    return Person(application).log_in(key)


def numbers(page):
    """{label: the large number} of the page's head."""
    return dict(re.findall(r'<dt>([^<]+)</dt><dd>([^<]+)</dd>', page.text))


def count(page, label):
    return int(numbers(page)[label].replace(',', ''))


def chart(page):
    return json.loads(unescape(re.search(r"data-chart='([^']+)'", page.text)[1]))


def test_it_says_what_the_api_says(person, backend):
    page = person.get('?period=day')
    drawn = chart(page)
    stats = backend.get('/stats?by=hour').json['total']
    assert numbers(page)['Messages in'] == wording.number(sum(drawn['series'][0]['values']))
    assert sum(drawn['series'][1]['values']) == stats['out'] > 100
    assert len(drawn['at']) == len(drawn['series'][0]['values'])
    assert numbers(page)['Waiting now'] not in ('0', '–')
    assert 'the oldest for' in page.text


@pytest.mark.parametrize(
    ('period', 'points'), [('day', 25), ('week', 169), ('month', 31), ('year', 366)]
)
def test_a_period_is_chosen(person, period, points):
    page = person.get(f'?period={period}')
    assert page.status_code == 200
    assert points - 1 <= len(chart(page)['at']) <= points
    assert re.search(rf'period={period}" aria-current="true"', page.text)


def test_failures_come_with_their_sentence_and_fix(person, backend):
    page = unescape(person.get('?period=day').text)
    failures = backend.get('/stats?by=hour').json['failures']
    assert failures
    for one in failures:
        for text in (f'<code>{one["code"]}</code>', one['explanation'], one['fix']):
            assert text in page


def test_what_messages_cost_is_shown_by_category(person):
    page = person.get('?period=day').text
    assert re.search(r'marketing</th><td class="number">[\d.]+ USD', page)


def test_the_funnel_never_widens(person):
    counts = re.findall(r'<b>([\d,]+)</b>', person.get().text)
    found = [int(count.replace(',', '')) for count in counts]
    assert len(found) == 4
    assert found == sorted(found, reverse=True)
    assert found[-1] > 0


def test_one_chatbot_is_chosen(person):
    everything = person.get('?period=day')
    bakery, florist = (person.get(f'?period=day&chatbot_id={one}') for one in dashboard_world.SHOPS)
    for label in ('Messages in', 'Messages out', 'Held now'):
        parts = count(bakery, label) + count(florist, label)
        assert count(everything, label) == parts, label
    assert 'Rose &amp; Thorn' not in bakery.text
    assert 'The access token has expired' in florist.text
    assert person.get('?chatbot_id=nobody').status_code == 404
    assert person.get('?period=century').status_code == 422


def test_a_scoped_key_counts_its_own_alone(person, florist):
    mine, theirs = florist.get('?period=day'), person.get('?period=day&chatbot_id=florist')
    assert chart(mine) == chart(theirs)
    assert numbers(mine) == numbers(theirs)
    assert 'bakery' not in mine.text.lower()
    assert '<select' not in mine.text
    refused = florist.get('?chatbot_id=bakery')
    unknown = florist.get('?chatbot_id=nobody')
    assert refused.status_code == unknown.status_code == 404


def test_a_gateway_without_anything_has_its_page_too(application, database):
    page = Person(application).log_in().get()
    assert page.status_code == 200
    assert numbers(page)['Messages in'] == '0'
    assert 'No message failed' in page.text
    assert 'No account yet' in page.text


def test_the_doctor_looks_when_he_is_asked(person, florist):
    assert 'What the doctor found' not in person.get('/accounts/bakery').text
    page = person.get('/accounts/bakery?examine=now')
    assert 'What the doctor found' in page.text
    assert '>fail</span>' in page.text
    own = florist.get('/accounts/florist?examine=now')
    assert 'gateway' in own.text
    assert 'environment' not in own.text.split('What the doctor found')[1].split('<tbody>')[0]
    assert florist.get('/accounts/bakery?examine=now').status_code == 404


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (None, '–'),
        (0.0, '0 ms'),
        (0.25, '250 ms'),
        (0.9994, '999 ms'),
        (0.9996, '1.0 s'),
        (3.21, '3.2 s'),
        (9.96, '10 s'),
        (59, '59 s'),
        (59.6, '1 min'),
        (60, '1 min'),
        (3599, '59 min 59 s'),
        (3600, '1 h'),
        (90000, '1 d 1 h'),
    ],
)
def test_a_duration_is_said_in_its_largest_units(seconds, text):
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ('part', 'whole', 'text'),
    [
        (0, 0, '–'),
        (None, 5, '–'),
        (0, 5, '0 %'),
        (5, 5, '100 %'),
        (1, 1000, '0.1 %'),
        (1, 3, '33 %'),
        (999, 1000, '99.9 %'),
    ],
)
def test_a_rate_shows_the_few_that_failed(part, whole, text):
    assert wording.percent(part, whole) == text
