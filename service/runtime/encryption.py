"""Secrets at rest: Fernet tokens, made with the first of ENCRYPTION_KEYS, read with any of them."""

from functools import lru_cache
from typing import overload

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from service.runtime.config import settings


class DecryptionError(Exception):
    """A stored secret was encrypted with a key that ENCRYPTION_KEYS does not hold"""


@lru_cache(maxsize=1)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(secret: str | None) -> str | None:
    """A text to its Fernet token; None stays None."""
    return (
        None
        if secret is None
        else _fernet(settings.ENCRYPTION_KEYS).encrypt(secret.encode()).decode()
    )


@lru_cache(maxsize=4096)
def _decrypt(token: str, keys: tuple[str, ...]) -> str:
    try:
        return _fernet(keys).decrypt(token.encode()).decode()
    except InvalidToken:
        raise DecryptionError(DecryptionError.__doc__) from None


@overload
def decrypt(token: str) -> str: ...
@overload
def decrypt(token: None) -> None: ...
def decrypt(token: str | None) -> str | None:
    """A Fernet token to its text; kept in memory, since each send needs its account's.

    None stays None.
    """
    return None if token is None else _decrypt(token, settings.ENCRYPTION_KEYS)


def rotate(token: str | None) -> str | None:
    """The same secret under the first key; None stays None."""
    return encrypt(decrypt(token))
