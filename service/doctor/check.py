"""What was looked at, what was found, and what mends it."""

from typing import Literal, TypedDict

Result = Literal['ok', 'warn', 'fail']
EXIT_CODES: dict[Result, int] = {'ok': 0, 'warn': 1, 'fail': 2}


class Check(TypedDict):
    """One thing that was looked at. `fix`: what to do about it, None when it is as it should be."""

    check: str
    result: Result
    detail: str
    fix: str | None


def ok(check: str, detail: str) -> Check:
    return {'check': check, 'result': 'ok', 'detail': detail, 'fix': None}


def warn(check: str, detail: str, fix: str) -> Check:
    return {'check': check, 'result': 'warn', 'detail': detail, 'fix': fix}


def fail(check: str, detail: str, fix: str) -> Check:
    return {'check': check, 'result': 'fail', 'detail': detail, 'fix': fix}


def worst(checks: list[Check]) -> Result:
    """The worst result of all; `ok` of none."""
    results = [check['result'] for check in checks]
    return max(results, key=lambda result: EXIT_CODES[result], default='ok')
