"""Pure: Meta's errors in whatever shape they come.

It documents a list of objects with `error_data.details`; it also sends one object, objects by
number, details at the top, and text, or JSON in text, where an object should stand.
"""

import json
from typing import Any

SPEAKING = frozenset(
    ('code', 'title', 'message', 'details', 'error', 'error_data', 'error_user_msg', 'fbtrace_id')
)

IN_THE_OPEN = SPEAKING - {'error'} | {'error_description'}


def errors_in(value: object) -> list[dict[str, Any]]:
    """The errors in what should be a list of them, each an object. Never raises."""
    value = _unpacked(value)
    if isinstance(value, dict):
        value = [value] if SPEAKING & value.keys() else list(value.values())
    return [
        error for one in (value if isinstance(value, list) else [value]) if (error := _error(one))
    ]


def told_errors(data: dict[str, Any]) -> object:
    """What should be the list of errors of a message, a status or a value."""
    return data.get('error') if data.get('errors') is None else data['errors']


def error_in(answer: dict[str, Any]) -> dict[str, Any] | None:
    """The error that an answer's JSON brings: under `error`, in `errors`, or in the open."""
    in_the_open = {name: value for name, value in answer.items() if name in IN_THE_OPEN}
    found = errors_in(answer.get('error')) or errors_in(answer.get('errors')) or [{}]
    return {**in_the_open, **found[0]} or None


def _error(value: object) -> dict[str, Any] | None:
    value = _unpacked(value)
    if isinstance(value, str):
        return {'message': value} if value.strip() else None
    if not isinstance(value, dict):
        return None
    inner = _unpacked(value.get('error'))
    if isinstance(inner, list):
        inner = next((one for one in inner if isinstance(one, dict)), None)
    if isinstance(inner, dict):
        return {**value, **inner}
    if isinstance(inner, str) and inner.strip():
        return {'message': inner, **value}
    return value or None


def details_in(error: dict[str, Any]) -> str | None:
    """What an error says beside its title."""
    data = _unpacked(error.get('error_data'))
    inner = data.get('details') or data.get('message') if isinstance(data, dict) else data
    places = (
        inner,
        error.get('details'),
        error.get('error_user_msg'),
        error.get('error_description'),
    )
    return next(filter(None, map(_text, places)), None)


def title_in(error: dict[str, Any]) -> str | None:
    return next(
        filter(None, (_text(error.get(name)) for name in ('title', 'message', 'error_user_title'))),
        None,
    )


def code_in(error: dict[str, Any]) -> int | None:
    """A whole number, also when it comes as text; None for anything else."""
    code = error.get('code')
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    digits = str(code).strip() if isinstance(code, int | str) and not isinstance(code, bool) else ''
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def _text(value: object) -> str | None:
    """A text that says something, else None.

    Of an object its details or message, of a list all texts.
    """
    value = _unpacked(value)
    return (
        '; '.join(filter(None, map(_said, value if isinstance(value, list) else [value]))) or None
    )


def _said(value: object) -> str:
    if isinstance(value, dict):
        value = value.get('details') or value.get('message')
    return value.strip() if isinstance(value, str) else ''


def _unpacked(value: object) -> object:
    """What JSON in a text holds, if it is an object or a list."""
    if not isinstance(value, str) or not value.lstrip().startswith(('{', '[')):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
