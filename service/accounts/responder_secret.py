"""The rotation of a responder's secret: for a day the former one signs beside the new one."""

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from service.runtime import encryption
from service.runtime.encryption import DecryptionError

BOTH_SIGN = timedelta(hours=24)


class StoredResponder(Protocol):
    """What is read here of an account's row."""

    responder: Any
    responder_secret: Any


def former(row: dict[str, Any], stored: StoredResponder | None) -> dict[str, Any]:
    """The columns of the former secret for an account that is saved, {} when they stay.

    `row`: the columns that are saved. Only a service's secret is ever kept: an AI's key signs
    nothing.
    """
    if stored is None or 'responder' not in row:
        return {}
    new = _secret(row['responder'], row['responder_secret'])
    old = _secret(stored.responder, stored.responder_secret)
    if new and new == old:
        return {}
    is_changed = bool(new and old)
    return {
        'former_responder_secret': stored.responder_secret if is_changed else None,
        'former_responder_secret_until': datetime.now(UTC) + BOTH_SIGN if is_changed else None,
    }


def _secret(responder: dict[str, Any] | None, token: str | None) -> str | None:
    """The secret of a service of the platform's; None when there is none, or it is unreadable."""
    if not responder or responder['kind'] != 'http':
        return None
    try:
        return encryption.decrypt(token)
    except DecryptionError:
        return None
