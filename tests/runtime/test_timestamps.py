"""Times as Meta gives them: seconds since 1970, as text or as a number."""

from datetime import UTC, datetime

import pytest

from service.runtime.timestamps import from_epoch


@pytest.mark.parametrize(
    'value', ['abc', '', None, [], {}, 10**20, str(10**20), -1, '1790000000000', 1e300, '9' * 5000]
)
def test_a_senseless_time_is_no_time(value):
    assert from_epoch(value) is None


@pytest.mark.parametrize('value', ['1790000000', 1790000000, 1790000000.0])
def test_a_time_may_be_text_or_a_number(value):
    assert from_epoch(value) == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
