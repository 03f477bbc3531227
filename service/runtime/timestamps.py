"""Times: as Meta gives them, and as callers see them."""

import re
from datetime import UTC, datetime, timedelta

BEGINNING, END = (
    1_230_768_000,
    4_102_444_800,
)  # 2009, WhatsApp's first year, and 2100: else it is 0, or milliseconds
AHEAD = timedelta(
    hours=1
)  # clocks differ; what is said to have happened later than that has no time
SECONDS = re.compile('[0-9]{1,12}')


def plain(value: object) -> str:
    """What json does not know: a time becomes RFC 3339 UTC with Z.

    Raises TypeError for anything else.
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec='microseconds').replace('+00:00', 'Z')
    raise TypeError(type(value).__name__)


def given(text: str) -> datetime | None:
    """A caller's time with its offset, in UTC: PostgreSQL takes no offset of 16 hours.

    None for what is none.
    """
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def moment(value: object) -> datetime | None:
    """Meta's seconds since 1970 (digits or a whole number) as an aware datetime, None when they
    make no sense.
    """
    if isinstance(value, str):
        value = int(value) if SECONDS.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return datetime.fromtimestamp(value, UTC) if BEGINNING <= value < END else None


def past(value: object) -> datetime | None:
    """The same for something that has happened: none too when it lies ahead."""
    at = moment(value)
    return at if at and at <= datetime.now(UTC) + AHEAD else None
