"""Pure: times as Meta gives them, and as callers see them."""

import re
from datetime import UTC, datetime, timedelta

# Seconds since 1970 of a time that makes sense: from 2009, WhatsApp's first year, to 2100.
# Anything else is 0, or milliseconds.
EARLIEST = 1_230_768_000
LATEST = 4_102_444_800
CLOCK_SKEW = timedelta(hours=1)  # clocks differ by so much at most; a later time is no past time
SECONDS = re.compile('[0-9]{1,12}')


def to_rfc3339(value: object) -> str:
    """A time as RFC 3339 in UTC with Z: the `default` of json.dumps.

    Raises TypeError for anything that is no time.
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec='microseconds').replace('+00:00', 'Z')
    raise TypeError(type(value).__name__)


def from_rfc3339(text: str) -> datetime | None:
    """A caller's time with its offset, in UTC; None for what is none.

    PostgreSQL takes no offset of 16 hours, so it gets no offset at all.
    """
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def from_epoch(value: object) -> datetime | None:
    """Meta's seconds since 1970, as digits or a whole number; None when they make no sense."""
    if isinstance(value, str):
        value = int(value) if SECONDS.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return datetime.fromtimestamp(value, UTC) if EARLIEST <= value < LATEST else None


def past_from_epoch(value: object) -> datetime | None:
    """The time of something that has happened; None also when it lies in the future."""
    at = from_epoch(value)
    return at if at and at <= datetime.now(UTC) + CLOCK_SKEW else None
