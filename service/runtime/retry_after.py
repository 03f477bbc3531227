"""Pure: how long a server wants to be left alone."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def seconds(headers: Mapping[str, str], most: float) -> float | None:
    """How long an answer asks to wait, 0 to `most` seconds; None when it does not say.

    In `retry-after-ms` (OpenAI and services like it) or in Retry-After (seconds or a date).
    """
    milliseconds = _number(headers.get('retry-after-ms'))
    asked = headers.get('retry-after')
    wait = milliseconds / 1000 if milliseconds is not None else _number(asked)
    if wait is None:
        wait = _until(asked)
    return None if wait is None else min(max(0, wait), most)


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _until(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - datetime.now(
            UTC
        ).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
