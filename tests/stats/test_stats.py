"""GET /stats: what happened by the hour or the day, and what waits now."""

import pytest

COUNTERS = ('in', 'out', 'accepted', 'sent', 'delivered', 'read', 'failed')


def test_a_quiet_gateway_counts_nothing(backend):
    answer = backend.get('/stats?by=hour&from=2026-11-22T10:30:00Z&to=2026-11-22T12:00:00Z').json
    nothing = dict.fromkeys(COUNTERS, 0)
    assert answer == {
        'from': '2026-11-22T10:00:00.000000Z',
        'to': '2026-11-22T12:00:00.000000Z',
        'by': 'hour',
        'chatbot_id': None,
        'data': [{'at': f'2026-11-22T{hour}:00:00.000000Z', **nothing} for hour in (10, 11)],
        'total': nothing,
        'failures': [],
        'reply_seconds': {'median': None, 'p95': None},
        'send_seconds': {'median': None, 'p95': None},
        'waiting': {'count': 0, 'oldest_seconds': None},
        'unknown': 0,
        'held': 0,
        'cost': [],
    }


def test_dates_are_whole_utc_days(backend):
    answer = backend.get('/stats?from=2026-11-20&to=2026-11-22').json
    assert [point['at'][:10] for point in answer['data']] == [
        '2026-11-20',
        '2026-11-21',
        '2026-11-22',
    ]
    assert (answer['from'], answer['to'], answer['by']) == (
        '2026-11-20T00:00:00.000000Z',
        '2026-11-23T00:00:00.000000Z',
        'day',
    )


@pytest.mark.parametrize(
    ('query', 'first', 'last'),
    [
        ('from=2009-01-01&to=2009-01-02', '2009-01-01', '2009-01-03'),
        ('to=2009-01-01', '2008-12-03', '2009-01-02'),
        ('from=2100-12-31&to=2100-12-31', '2100-12-31', '2101-01-01'),
    ],
)
def test_the_first_and_the_last_day_that_can_be_asked_for(backend, query, first, last):
    answer = backend.get(f'/stats?by=day&{query}')
    assert answer.status_code == 200, answer.text
    assert (answer.json['from'][:10], answer.json['to'][:10]) == (first, last)


@pytest.mark.parametrize(
    ('query', 'field', 'told'),
    [
        ('by=hour&from=2026-01-01&to=2026-03-01', 'from', 'at most 800'),
        ('by=hour&from=2026-01-01&to=2026-03-01', 'from', 'by=day'),
        ('from=2020-01-01&to=2026-03-01', 'from', 'less time'),
        ('from=2026-03-02&to=2026-03-01', 'from', 'before to'),
        ('by=week', 'by', 'hour, day'),
        ('from=yesterday', 'from', 'date like'),
        ('to=2026-11-22T17:00:00', 'to', 'date like'),
        ('to=9999-12-31', 'to', '2009 to 2100'),
        ('from=0001-01-01', 'from', '2009 to 2100'),
    ],
)
def test_a_range_that_cannot_be_shown_says_why(backend, query, field, told):
    answer = backend.get(f'/stats?{query}')
    assert answer.status_code == 422
    assert told in ' '.join(answer.json['errors'][field])


def test_a_chatbot_that_there_is_not_is_told(backend):
    answer = backend.get('/stats?chatbot_id=nobody')
    assert (answer.status_code, answer.json['code']) == (404, 'unknown_chatbot')
