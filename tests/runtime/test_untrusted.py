"""Values out of JSON that others wrote: what of them is used, whatever they are."""

import pytest

from service.runtime.untrusted import clean, identifier


@pytest.mark.parametrize(
    ('value', 'limit', 'cleaned'),
    [
        ('Ines', None, 'Ines'),
        ('a\x00b', None, 'a\ufffdb'),
        ('\ud83d', None, '\ufffd'),
        ('\U0001f389', None, '\U0001f389'),
        ('abc', 2, 'ab'),
        ('', None, None),
        (5, None, None),
        (['a'], None, None),
    ],
)
def test_clean_gives_text_that_a_column_takes(value, limit, cleaned):
    assert clean(value, limit) == cleaned


@pytest.mark.parametrize(
    ('value', 'wanted'),
    [
        ('1', '1'),
        (17, '17'),
        (True, None),
        (1.5, None),
        ('', None),
        (None, None),
        ('x' * 256, None),
        (10**400, None),
    ],
)
def test_identifier_takes_text_and_digits(value, wanted):
    assert identifier(value) == wanted
