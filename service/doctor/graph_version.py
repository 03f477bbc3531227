"""When Meta ends a version of the Graph API.

From https://developers.facebook.com/docs/graph-api/changelog, as of October 2026 (docs/meta.md,
section 0). When a version has ended, Meta answers as the oldest one that is left.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime

from service.doctor.check import Check, fail, ok, warn
from service.runtime.config import settings

NAME = 'graph_version'
NEWEST = 'v26.0'  # of 29 July 2026; a version lives for about two years
ENDS = {
    'v20.0': date(2026, 9, 24),
    'v21.0': date(2027, 1, 21),
    'v22.0': date(2027, 5, 20),
    'v23.0': date(2027, 10, 8),
    'v24.0': date(2028, 2, 18),
    'v25.0': date(2028, 7, 29),
}
WARN_DAYS = 90


def look() -> Iterator[Check]:
    yield judge(settings.GRAPH_API_VERSION, datetime.now(UTC).date())


def judge(version: str, today: date) -> Check:
    """How long a version has, as a check."""
    fix = f'Set GRAPH_API_VERSION={NEWEST} (or take it away), and restart.'
    ends = ENDS.get(version)
    if ends is None and _number(version) < min(map(_number, ENDS)):
        return fail(NAME, f'Meta has ended {version} of the Graph API.', fix)
    if ends is None:
        return ok(NAME, f'Graph API {version}; its end is not announced.')
    if ends <= today:
        return fail(NAME, f'Meta has ended {version} of the Graph API on {ends}.', fix)
    if (ends - today).days < WARN_DAYS:
        return warn(NAME, f'Meta ends {version} of the Graph API on {ends}.', fix)
    return ok(NAME, f'Graph API {version}, which Meta ends on {ends}.')


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.removeprefix('v').split('.'))
