"""Phone numbers: what passes, what is said of the others, and where else to look for a wa_id."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from service.content.person_id import read
from service.content.phone_numbers import candidates, digits, problem

PASS = [
    '+15550001111',
    '+5511999990001',
    '+551199990001',
    '+441134960000',
    '+525512345678',
    '+5215512345678',
    '+5491123456789',
    '+541123456789',
    '+390612345678',
    '+2250712345678',
    '+6831234',
    '+881612345678',
]
TRIALS = ['+19991310562', '+1999131056', '+199913104700042', '+19980000001', '+19971310260']
SHORT, LONG = 'Too short', 'Too long'
REFUSED = {
    '': 'missing',
    '+': 'missing',
    ' - ': 'missing',
    '+1': SHORT,
    '+12': SHORT,
    '1': SHORT,
    '+49': SHORT,
    '+49123': SHORT,
    '+1555000111': SHORT,
    '5551234': 'country code',
    '+155500011112': LONG,
    '+55119999900011': LONG,
    '+49123456789012345': 'at most 15',
    '1' * 30: 'at most 15',
    '+999123456789': 'No country',
    '+210123456': 'No country',
    'abc': 'letters',
    '+1 800 FLOWERS': 'letters',
    '+15550001111 ext. 5': 'letters',
    'tel:+15550001111': 'letters',
    '+15550001111;5': 'no more',
    '++15550001111': 'no more',
    '1555000+1111': 'no more',
    '+15550001111\n': 'no more',
    '+١٥٥٥٠٠٠١١١١': 'no more',
    '+１５５５０００１１１１': 'no more',
    '+1 555 000 1111٫': 'no more',
    '+15550001111\x00': 'no more',
    '+1555\ud83d0001111': 'no more',
    '+15550001111\u20e3': 'no more',
    '0015550001111': 'not with 0',
    '00 49 1511234567': 'in the place of 00',
    '1234': SHORT,
    '01511234567': 'not with 0',
    '+01511234567': 'not with 0',
    '+4401134960000': 'Leave out the 0',
    '+44 (0)113 496 0000': 'Leave out the 0',
    '+861': SHORT,
    '+290123': SHORT,
    '+52155123456789': LONG,
}
NUMBERS = st.from_regex(
    r'(55|521?|549?|1|44|225(0[157])?|229(01)?|2376?)[0-9]{5,12}', fullmatch=True
)


@pytest.mark.parametrize('number', [*PASS, *TRIALS])
def test_a_number_that_may_exist_passes_with_and_without_a_plus(number):
    assert problem(number) is None
    assert problem(number.removeprefix('+')) is None


@pytest.mark.parametrize(('number', 'part'), REFUSED.items(), ids=ascii)
def test_a_number_that_cannot_exist_gets_a_sentence_that_says_why(number, part):
    assert part in problem(number)


def test_every_country_has_numbers_that_pass_however_they_are_written():
    kinds = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
    tried = set()
    for country in phonenumbers.SUPPORTED_REGIONS:
        for number in filter(
            None, (phonenumbers.example_number_for_type(country, kind) for kind in kinds)
        ):
            plain = phonenumbers.format_number(number, PhoneNumberFormat.E164)
            pretty = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
            assert [problem(form) for form in (plain, plain[1:], pretty)] == [None] * 3, plain
            tried.add(country)
    assert len(tried) > 240


def test_a_number_of_a_range_that_nobody_has_passes():
    number = phonenumbers.parse('+15550001111')
    assert not phonenumbers.is_valid_number(number)
    assert problem('+15550001111') is None


@given(st.text(max_size=30))
def test_what_passes_is_a_phone_to_everybody(text):
    number = f'+1 555 000 1111{text}'
    if problem(number) is None:
        assert read(number).kind == 'phone'


@given(st.one_of(st.text(), st.from_regex(r'\+?[0-9 ().-]{0,40}', fullmatch=True)))
def test_whatever_is_given_gets_an_answer(text):
    answer = problem(text)
    assert answer is None or (answer[0].isupper() and answer.endswith('.'))
    assert answer or 5 <= len(digits(text)) <= 15


@given(NUMBERS)
def test_signs_between_the_digits_change_nothing(number):
    assert problem(f'+({number[:2]}) {number[2:5]}-{number[5:]}.') == problem(number)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('+55 (11) 99999-0001', '5511999990001'),
        ('5511999990001', '5511999990001'),
        ('', ''),
        ('+٥٥11', '11'),
    ],
)
def test_digits_are_what_meta_writes_as_a_wa_id(text, expected):
    assert digits(text) == expected


@pytest.mark.parametrize(
    ('long', 'short'),
    [
        ('5511999990001', '551199990001'),
        ('5215512345678', '525512345678'),
        ('5491123456789', '541123456789'),
        ('2250141091002', '22541091002'),
        ('2250170123456', '22570123456'),
        ('2250544123456', '22544123456'),
        ('2250506123456', '22506123456'),
        ('2250748123456', '22548123456'),
        ('2250707123456', '22507123456'),
        ('2252720212345', '22520212345'),
        ('2252520012345', '22520012345'),
        ('2252120801234', '22520801234'),
        ('2290197120016', '22997120016'),
        ('2290121301234', '22921301234'),
        ('237676671338', '23776671338'),
        ('237222212345', '23722212345'),
        ('24162123456', '24102123456'),
        ('24177123456', '24107123456'),
    ],
)
def test_the_forms_with_and_without_the_extra_digit_lead_to_each_other(long, short):
    assert candidates(long) == [long, short]
    assert candidates(short) == [short, long]
    assert problem(f'+{long}') is problem(f'+{short}') is None


@pytest.mark.parametrize(
    'wa_id',
    ['22510123456', '2250712345678', '2250141', '22901971200', '2290197120', '237676671',
     '24103123456', '24176123456', '24164123456'],
)  # fmt: skip
def test_a_number_that_is_only_like_one_of_before_has_no_other_form(wa_id):
    assert candidates(wa_id) == [wa_id]


def test_no_plan_speaks_against_a_number_that_is_known():
    for number in ('+96103123456', '+24205686000', '+22510123456'):
        assert problem(number)
        assert problem(number, is_known=True) is None
    for number in ('hello', '+1', '+12345678901234567', '0015550001111'):
        assert problem(number, is_known=True)


@pytest.mark.parametrize(
    'wa_id',
    [
        '15550001111',
        '5511899990001',
        '55119999000',
        '55119999900011',
        '521551234567890',
        '+5511999990001',
        '5511999990001\n',
        'US.13491208655302741918',
        '',
    ],
)
def test_every_other_wa_id_has_one_form_only(wa_id):
    assert candidates(wa_id) == [wa_id]


@given(NUMBERS)
def test_candidates_are_symmetric_begin_with_the_given_one_and_keep_the_country(number):
    found = candidates(number)
    assert found[0] == number
    assert len(found) == len(set(found)) <= 2
    for other in found:
        assert sorted(candidates(other)) == sorted(found)
        assert other[:2] == number[:2]
