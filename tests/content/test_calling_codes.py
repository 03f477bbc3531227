"""The country of a number by its calling code."""

import phonenumbers
import pytest

from service.content.calling_codes import country_of


@pytest.mark.parametrize(
    ('number', 'country'),
    [
        ('5511999990001', 'BR'),
        ('+5511999990001', 'BR'),
        ('12025550143', 'US'),
        ('14165550143', 'CA'),
        ('18095550143', 'DO'),  # Caribbean numbers of +1 are not of Meta's North America
        ('18765550143', 'JM'),
        ('79161234567', 'RU'),
        ('77011234567', 'KZ'),
        ('76001234567', 'KZ'),
        ('447700900123', 'GB'),
        ('390612345678', 'IT'),
        ('233201234567', 'GH'),
        ('8801712345678', 'BD'),
        ('85291234567', 'HK'),
        ('88216123456', None),  # of no country: satellites
        ('US.13491208655302741918', None),
        ('', None),
        (None, None),
        ('+', None),
    ],
)
def test_the_country_is_that_of_the_longest_calling_code(number, country):
    assert country_of(number) == country


def test_area_codes_are_those_of_the_numbering_plan():
    wrong = {}
    for area in range(200, 1000):
        number = phonenumbers.PhoneNumber(1, area * 10_000_000 + 2_345_678)
        country = phonenumbers.region_code_for_number(number)
        if country and country != country_of(f'1{area}2345678'):
            wrong[area] = country
    assert wrong == {}


def test_every_calling_code_has_the_main_country_of_the_numbering_plan():
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
    named = {code: regions[0] for code, regions in codes if regions[0] != '001'}
    assert {code: country_of(f'{code}000') for code in named} == named
