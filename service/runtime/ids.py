"""Pure: ids of rows, UUIDv7 as text."""

import os
import re
import time
from datetime import datetime, timedelta
from uuid import UUID

# as PostgreSQL's regular expressions have it, too
ID = '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'

# No id comes before the one, or after the other.
FIRST_ID = '00000000-0000-0000-0000-000000000000'
LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff'

_last_ticks = 0


def new_id() -> str:
    """A UUIDv7 as text (RFC 9562): sorts by time of creation, within a process strictly."""
    global _last_ticks
    # milliseconds with 12 bits of fraction
    ticks = max(time.time_ns() * 4096 // 1_000_000, _last_ticks + 1)
    _last_ticks = ticks
    random = int.from_bytes(os.urandom(8)) & 0x3FFFFFFFFFFFFFFF
    value = f'{(ticks >> 12) << 80 | 7 << 76 | (ticks & 0xFFF) << 64 | 2 << 62 | random:032x}'
    return f'{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}'


def is_id(value: object) -> bool:
    """Whether a value is written like an id of ours."""
    return isinstance(value, str) and re.fullmatch(ID, value) is not None


def id_at(at: datetime, shift: timedelta) -> str:
    """Where in the order of our ids those of a time stand, `shift` before or after it."""
    milliseconds = int((at.timestamp() + shift.total_seconds()) * 1000)
    return str(UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80))
