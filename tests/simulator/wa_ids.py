"""Pure: the id that WhatsApp has for a number that was dialled.

It need not have the same digits.
"""

import re
from collections.abc import Collection

# Numbers with two forms: the long one, where the digits stand that the short one lacks, and these.
TWO_FORMS = (
    (re.compile(r'(55[0-9]{2})9([0-9]{8})'), re.compile(r'(55[0-9]{2})([0-9]{8})'), '9'),  # Brazil
    (re.compile(r'(52)1([0-9]{10})'), re.compile(r'(52)([0-9]{10})'), '1'),  # Mexico
    (re.compile(r'(54)9([0-9]{10})'), re.compile(r'(54)([0-9]{10})'), '9'),  # Argentina
    *(
        (re.compile(rf'(225){front}([0-9]{{8}})'), re.compile(r'(225)([0-9]{8})'), front)
        for front in ('01', '05', '07', '21', '25', '27')  # Ivory Coast
    ),
    (re.compile(r'(229)01([0-9]{8})'), re.compile(r'(229)([0-9]{8})'), '01'),  # Benin
)
NEW_IN_BRAZIL = range(11, 29)  # area codes whose numbers have the ninth digit as their id, too


def wa_id(dialled: str, registered: Collection[str]) -> str:
    """Of the forms of a number the one that somebody is registered under, else the one that is
    usual there.
    """
    forms = other_forms(dialled)
    return next((form for form in (dialled, *forms) if form in registered), usual(dialled))


def other_forms(digits: str) -> list[str]:
    shorter = (
        match.expand(r'\1\2') for long, _, _ in TWO_FORMS if (match := long.fullmatch(digits))
    )
    longer = (
        match.expand(rf'\g<1>{front}\g<2>')
        for _, short, front in TWO_FORMS
        if (match := short.fullmatch(digits))
    )
    return [*shorter, *longer]


def usual(digits: str) -> str:
    """Mexican and Argentine ids have the digit of mobiles; Brazilian ones lack the ninth but in
    some areas.
    """
    if re.fullmatch(r'52[0-9]{10}', digits):
        return f'521{digits[2:]}'
    if re.fullmatch(r'54[0-9]{10}', digits):
        return f'549{digits[2:]}'
    if re.fullmatch(r'55[0-9]{2}9[0-9]{8}', digits) and int(digits[2:4]) not in NEW_IN_BRAZIL:
        return digits[:4] + digits[5:]
    return digits
