"""Medians and percentiles out of a histogram."""

import random
from collections import Counter

import pytest

from service.stats import delays, hourly
from tests.people import sql
from tests.stats.history import bucket


def test_nothing_has_no_median():
    assert delays.told({}) == {'median': None, 'p95': None}


def test_a_bucket_is_taken_as_evenly_spread():
    low, high = delays.bounds(12)
    assert delays.quantile({12: 10}, 0.5) == round((low + high) / 2, 3)
    assert delays.quantile({12: 10}, 1) == round(high, 3)
    assert delays.quantile({1: 1, 12: 1, 40: 1}, 0.34) == pytest.approx(low, abs=0.02)


@pytest.mark.parametrize('share', [0.05, 0.5, 0.95])
def test_it_is_near_the_true_value(share):
    drawn = random.Random(13)
    taken = sorted(drawn.lognormvariate(0.5, 1) for _ in range(10_000))
    counts = Counter(map(bucket, taken))
    true = taken[int(share * len(taken))]
    assert delays.quantile(counts, share) == pytest.approx(true, rel=0.05)


def test_buckets_are_those_of_the_database(schema):
    seconds = [0, -5, 0.01, 0.031, 0.032, 0.5, 1.99, 2.01, 3600, 86_400, 131_000, 132_000, 1e7]
    found = sql("SELECT delay_bucket(s * interval '1 second') FROM unnest(%s::float8[]) s", seconds)
    assert [one for (one,) in found] == [bucket(one) for one in seconds]
    for value in seconds[2:-2]:
        low, high = delays.bounds(bucket(value))
        assert low <= value < high
    assert bucket(1e7) == hourly.BUCKETS
