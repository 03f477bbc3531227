"""Pure: what a phone number may look like, and under which other forms Meta may know it."""

import re

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneNumber,
    ValidationResult,
)

from service.content.person_id import SIGNS, visible

FORM = re.compile(r'\+?[0-9]*')  # without signs
SHORTEST, LONGEST = 5, 15  # digits with the country code (E.164)

# For trials: North American area codes 99x are kept for an expansion, so these are nobody's
# numbers, of any length.
TRIAL = re.compile(r'199[789][0-9]{6,11}')

# Numbers that got digits put in front, one to one: (country code, what was put there, the numbers
# of before). Who had WhatsApp then keeps the id of then, for ever; who came later has the long one.
RENUMBERED = [
    ('225', '01', '[04-9][0-3][0-9]{6}'),  # Ivory Coast, January 2021, by operator: Moov
    ('225', '05', '[04-9][4-6][0-9]{6}'),  # MTN
    ('225', '07', '[04-9][7-9][0-9]{6}'),  # Orange
    ('225', '21', '2[0-3]8[0-9]{5}'),  # their landlines, likewise
    ('225', '25', '[23][0-9]0[0-9]{5}'),
    ('225', '27', '(?:2[0-3][1-79]|2[4-9][1-9]|3[0-9][1-9])[0-9]{5}'),
    ('229', '01', '[2-9][0-9]{7}'),  # Benin, November 2024
    ('237', '6', '[5-9][0-9]{7}'),  # Cameroon, November 2014: mobile phones
    ('237', '2', '(?:22|33)[0-9]{6}'),  # and landlines
]
# The wa_id that Meta answers may lack, or have, digits of the number that was dialled.
VARIANTS = [
    (r'(55[0-9]{2})9([0-9]{8})', r'\1\2'),  # Brazil: the ninth digit after the area code
    (r'(55[0-9]{2})([0-9]{8})', r'\g<1>9\2'),
    (r'521([0-9]{10})', r'52\1'),  # Mexico: the 1 of mobile numbers
    (r'52([0-9]{10})', r'521\1'),
    (r'549([0-9]{10})', r'54\1'),  # Argentina: the 9 of mobile numbers
    (r'54([0-9]{10})', r'549\1'),
    (
        r'2410([256][0-9]{6})',
        r'2416\1',
    ),  # Gabon, November 2019: mobile phones got 6 or 7, by operator, for the 0
    (r'2416([256][0-9]{6})', r'2410\1'),
    (r'2410([47][0-9]{6})', r'2417\1'),
    (r'2417([47][0-9]{6})', r'2410\1'),
    *((f'{country}({old})', rf'{country}{front}\1') for country, front, old in RENUMBERED),
    *((f'{country}{front}({old})', rf'{country}\1') for country, front, old in RENUMBERED),
]
PATTERNS = [(re.compile(pattern), other) for pattern, other in VARIANTS]


def digits(text: str) -> str:
    """A phone number as Meta writes a wa_id."""
    return re.sub('[^0-9]', '', text)


def candidates(wa_id: str) -> list[str]:
    """The forms under which to look for a wa_id, the given one first.

    Never for sending: that is what was given.
    """
    variants = (
        match.expand(form) for pattern, form in PATTERNS if (match := pattern.fullmatch(wa_id))
    )
    return [wa_id, *variants]


def problem(text: str, is_known: bool = False) -> str | None:
    """What is wrong with a phone number, as a sentence; None if it may exist.

    Lengths are checked, ranges are not: test numbers, and ranges newer than the library's tables,
    must pass. `is_known`: Meta knows a customer under it, so its country's rules are not asked.
    """
    number = digits(text)
    wrong = _wrong_form(visible(text).translate(SIGNS), number)
    if wrong or is_known or TRIAL.fullmatch(number):
        return wrong
    first = _wrong_length(number)
    return first if first and all(_wrong_length(form) for form in candidates(number)[1:]) else None


BEGINNING = 'a phone number begins with its country code, like +55, not with 0.'


def _wrong_form(bare: str, number: str) -> str | None:
    if any(character.isalpha() for character in bare):
        return 'A phone number has no letters.'
    if not FORM.fullmatch(bare):
        return (
            'A phone number has the digits 0 to 9, a "+" at its beginning, spaces and "-", ".", '
            '"(", ")", no more.'
        )
    if not number:
        return 'The phone number is missing.'
    if number.startswith('00'):
        return f'Write "+" in the place of 00: {BEGINNING}'
    if number.startswith('0'):
        return BEGINNING[0].upper() + BEGINNING[1:]
    if len(number) < SHORTEST:
        return 'Too short: a phone number has its country code, area code and number.'
    if len(number) > LONGEST:
        return f'Too long: with its country code a phone number has at most {LONGEST} digits.'
    return None


def _is_plain(number: str) -> bool:
    """Whether country code and length are right as they stand.

    That is so of most numbers, and takes a sixth of the time of parsing.
    """
    for length in (1, 2, 3):
        if int(number[:length]) in COUNTRY_CODE_TO_REGION_CODE:
            rest = number[length:]
            if not rest or rest.startswith('0'):
                return False
            plain = PhoneNumber(country_code=int(number[:length]), national_number=int(rest))
            result = phonenumbers.is_possible_number_with_reason(plain)
            return result == ValidationResult.IS_POSSIBLE
    return False


def _wrong_length(number: str) -> str | None:
    if _is_plain(number):
        return None
    try:
        parsed = phonenumbers.parse(f'+{number}')
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            return 'No country has the code that this number begins with.'
        return 'Too short: a phone number has its country code, area code and number.'
    code = str(parsed.country_code)
    national = phonenumbers.national_significant_number(parsed)
    if number[len(code)] == '0' and not national.startswith('0'):
        return f'Leave out the 0 after the country code +{code}.'
    return _sentence(phonenumbers.is_possible_number_with_reason(parsed), code)


def _sentence(result: int, code: str) -> str | None:
    if result == ValidationResult.IS_POSSIBLE:
        return None
    if result == ValidationResult.TOO_LONG:
        return (
            f'Too long for the country code +{code}: '
            'it has digits too many, or another country code.'
        )
    if result == ValidationResult.INVALID_LENGTH:
        return f'No number of the country code +{code} has so many digits.'
    return (
        f'Too short for the country code +{code}: '
        'digits are missing, or the country code itself is.'
    )
