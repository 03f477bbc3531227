"""Times as callers see them."""

from datetime import UTC, datetime


def plain(value):
    """What json does not know: a time becomes RFC 3339 UTC with Z. Raises TypeError for anything else."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec='microseconds').replace('+00:00', 'Z')
    raise TypeError(type(value).__name__)
