"""Pure: JSON that others wrote, taken as strictly from a responder as from a caller.

Python reads NaN and infinities, which no json column takes and no other parser reads, and numbers
too large for it.
"""

import json
import math
from typing import Any, NoReturn

from service.runtime.untrusted import UNSTORABLE, is_deep


class NotJSON(ValueError):
    """Not a JSON object, or one that is nested too deeply.

    The text says why, without anything of the content.
    """


def loads(text: str | bytes, **options: Any) -> Any:
    """json.loads for what is to be stored. Raises ValueError or RecursionError."""
    return json.loads(text, parse_constant=not_json, parse_float=_finite, **options)


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object. Raises NotJSON."""
    try:
        value = loads(text)
    except RecursionError:
        raise NotJSON('JSON that is nested too deeply') from None
    except ValueError:
        raise NotJSON('no JSON') from None
    if not isinstance(value, dict):
        raise NotJSON('no JSON object')
    if is_deep(value):  # it could be stored, and never be shown again
        raise NotJSON('JSON that is nested too deeply')
    return value


def cleaned(value: Any) -> Any:
    """The same JSON without NUL and lone surrogates, which many parsers and databases refuse."""
    if isinstance(value, str):
        return UNSTORABLE.sub('\ufffd', value)
    if isinstance(value, list):
        return list(map(cleaned, value))
    if not isinstance(value, dict):
        return value
    result = {}
    for (
        name,
        part,
    ) in value.items():  # a comprehension would take two of Python's frames for each level
        result[cleaned(name)] = cleaned(part)
    return result


def not_json(literal: str) -> NoReturn:
    """What a decoder makes of NaN and the infinities. Raises ValueError."""
    raise ValueError('not a number of JSON')


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else not_json(digits)
