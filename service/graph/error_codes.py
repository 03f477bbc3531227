"""Meta's error codes: what each means, what a person can do, and what the gateway does by itself.

Section 7 of docs/meta.md. `python -m service.graph.error_docs > docs/errors.md` writes the page.
"""

import re
from collections.abc import Iterable

from service.graph.account_errors import ACCOUNT_ERRORS
from service.graph.error_class import Key, KnownError
from service.graph.message_errors import MESSAGE_ERRORS
from service.graph.own_errors import OUR_OWN, UNKNOWN

TABLE = ACCOUNT_ERRORS | MESSAGE_ERRORS


def codes(key: Key) -> Iterable[int]:
    return (key,) if isinstance(key, int) else key


BY_CODE: dict[int | float | None, KnownError] = {
    code: known for key, known in TABLE.items() for code in codes(key)
}


def look_up(code: object, http_status: int = 400) -> KnownError:
    """What is known of a code, whatever it came as; a key of OUR_OWN is one as well.

    Never raises, always a KnownError.
    """
    if isinstance(code, str) and code in OUR_OWN:
        return OUR_OWN[code]
    return BY_CODE.get(_number(code)) or _unknown(http_status or 400)


def explain(code: object, http_status: int = 400) -> dict[str, str]:
    """The two sentences for a person, as the fields of an answer."""
    known = look_up(code, http_status)
    return {'explanation': known.sentence, 'fix': known.fix}


def _number(code: object) -> int | float | None:
    if isinstance(code, str):
        return int(code) if re.fullmatch(r'[0-9]{1,9}', code.strip()) else None
    return code if isinstance(code, int | float) and not isinstance(code, bool) else None


def _unknown(http_status: int) -> KnownError:
    if http_status == 429:
        return UNKNOWN['429']
    return UNKNOWN['5xx' if http_status >= 500 else '401' if http_status == 401 else 'else']
