#!/bin/sh
# phonenumbers 9.0.43 (Google's libphonenumber rules) on ids of customers as WhatsApp's webhooks deliver them in `from`
# and `contacts[].wa_id`:
#
#   Ivory Coast, accounts of before January 2021     +225 07 12 34 56      TOO_SHORT     possible False, valid False
#   Benin, accounts of before December 2024          +229 97 12 00 16      TOO_SHORT     possible False, valid False
#   Mexico, mobile phones                            +52 1 55 1234 5678    TOO_LONG      possible False, valid False
#   Cameroon, accounts of before December 2014       +237 76 67 13 38      IS_POSSIBLE   possible True,  valid False
#   Brazil, without the ninth digit                  +55 11 8765 4321      IS_POSSIBLE   possible True,  valid False
#   Argentina, mobile phones                         +54 9 11 2345 6789    IS_POSSIBLE   possible True,  valid True
#
# A good engineer asks is_possible_number before a number is stored or dialled, "lengths only, to be lenient", and
# refuses customers whom Meta has just delivered. The library is right about the countries' plans of today; WhatsApp
# keeps an account under the number that it was registered with.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" phonenumbers==9.0.43
PYTHONPATH="$folder" python3 - <<'END'
import phonenumbers
from phonenumbers import ValidationResult

NAMES = {value: name for name, value in vars(ValidationResult).items() if name.isupper()}
EXPECTED = {
    '22507123456': ('TOO_SHORT', False, False),
    '22997120016': ('TOO_SHORT', False, False),
    '5215512345678': ('TOO_LONG', False, False),
    '23776671338': ('IS_POSSIBLE', True, False),
    '551187654321': ('IS_POSSIBLE', True, False),
    '5491123456789': ('IS_POSSIBLE', True, True),
}
print('phonenumbers', phonenumbers.__version__)
found = {}
for wa_id in EXPECTED:
    number = phonenumbers.parse(f'+{wa_id}')
    reason = NAMES[phonenumbers.is_possible_number_with_reason(number)]
    found[wa_id] = reason, phonenumbers.is_possible_number(number), phonenumbers.is_valid_number(number)
    print(f'+{wa_id:14}', *found[wa_id])
raise SystemExit(found != EXPECTED)
END
