"""Pure: looking into JSON that may have any shape, without ever raising."""

import re
from base64 import b64decode
from typing import Any

MAX_ID = 512  # bytes of a wamid that the tables and their indexes take; Meta's have about 60
MAX_NAME = 64  # characters of a status or type
# of a message, status or change; Python's json and PostgreSQL have to write it out again
MAX_DEPTH = 500
UNSTORABLE = re.compile('[\x00\ud800-\udfff]')
NOT_DIGITS = re.compile('[^0-9]')
HEX_DIGEST = re.compile('[0-9a-fA-F]{64}')


def clean(value: object, limit: int | None = None) -> str | None:
    """Text that a text column takes (no NUL, no lone surrogate); None for what is no text."""
    if not isinstance(value, str) or not value:
        return None
    return UNSTORABLE.sub('\ufffd', value)[:limit]


def identifier(value: object) -> str | None:
    """An id as Meta gives it, digits also as a number; None when it is absent or unusable."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20:
        value = str(value)
    text = clean(value)
    return text if text and len(text) <= 255 else None


def only_digits(number: object) -> str | None:
    """The digits of a display number: Meta writes +1 555-010-4477 here and 15550104477 there."""
    return NOT_DIGITS.sub('', identifier(number) or '') or None


def as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def is_deep(value: object) -> bool:
    """Whether parsed JSON is nested deeper than MAX_DEPTH."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner = (part.values() if isinstance(part, dict) else part for part in level)
        level = [value for values in inner for value in values if isinstance(value, (dict, list))]
        if not level:
            return False
    return True


def digest_of(value: object) -> bytes | None:
    """A SHA-256 in base64 or hex as bytes, None when it is neither."""
    if not isinstance(value, str):
        return None
    try:
        is_hex = HEX_DIGEST.fullmatch(value)
        digest = bytes.fromhex(value) if is_hex else b64decode(value, validate=True)
    except ValueError:
        return None
    return digest if len(digest) == 32 else None


def as_text(value: object) -> str:
    """Text, or a number as text; '' for everything else."""
    if isinstance(value, str):
        return value if value.strip() else ''
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ''


def get_text(content: object, *path: str) -> str:
    """The text at a path of keys, '' where there is none."""
    return as_text(get_path(content, *path))


def get_path(content: object, *path: str) -> Any:
    """The value at a path of keys; None when a key or an object on the way is missing."""
    for name in path:
        content = as_dict(content).get(name)
    return content


def list_of_dicts(value: object) -> list[dict[str, Any]]:
    """The objects in what should be a list of them."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def join_nonempty(separator: str, *parts: str | None) -> str:
    """The parts that are not empty, with the separator between them."""
    return separator.join(part for part in parts if part)
