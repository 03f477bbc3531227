"""Keys of the table api_key as this process knows them, for a moment without asking PostgreSQL.

What is no key is never kept here, so that strangers fill nothing. Few of their guesses are looked
up; when more come, a list of all digests that there are tells which of them are none.
"""

import math
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

from service.accounts import api_key
from service.accounts.api_key import FORM, Key
from service.runtime.db import connection

FRESH_SECONDS = 2  # that a key is believed to be there still
GUESSES = 20  # unknown keys that are looked up at once, and then in a second
LIST_SECONDS = 1  # from one reading of the list to the next, at least


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key, and until when (monotonic) it need not be looked up again."""

    key: Key
    until: float


class KnownKeys:
    """The keys that came with requests to this process, by their digests."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownKey] = {}
        self._lock = threading.Lock()  # of all below
        self._guesses = float(GUESSES)
        self._counted_at = time.monotonic()
        self._digests: Collection[bytes] = ()
        self._listed_at = -math.inf

    def find(self, text: str) -> Key | None:
        """The key that this is; None for none of ours."""
        return self.find_digest(api_key.digest_of(text)) if FORM.fullmatch(text) else None

    def find_digest(self, digest: bytes) -> Key | None:
        """The key with this SHA-256; None for none of ours."""
        known = self._known.get(digest)
        if known and time.monotonic() < known.until:
            return known.key
        if known or self._may_be_one(digest):
            return self._look_up(digest)
        return None

    def forget(self, key_id: str) -> None:
        """Refuse a key from now on, because it was deleted; other processes find that out."""
        for digest, known in list(self._known.items()):
            if known.key.id == key_id:
                self._known.pop(digest, None)

    def _look_up(self, digest: bytes) -> Key | None:
        asked_at = time.monotonic()
        with connection():
            found = api_key.look_up(digest)
        if found is None:
            self._known.pop(digest, None)
            return None
        fresh = FRESH_SECONDS if found.seconds_left is None else found.seconds_left
        key = Key(found.id, frozenset(found.chatbot_ids), frozenset(found.scopes))
        self._known[digest] = KnownKey(key, asked_at + min(FRESH_SECONDS, fresh))
        return key

    def _may_be_one(self, digest: bytes) -> bool:
        """Whether to look up a key that was never seen here."""
        with self._lock:
            now = time.monotonic()
            regained = (now - self._counted_at) * GUESSES
            self._guesses = min(GUESSES, self._guesses + regained)
            self._counted_at = now
            if self._guesses >= 1:
                self._guesses -= 1
                return True
            if now - self._listed_at >= LIST_SECONDS:
                with connection():
                    self._digests = api_key.digests()
                self._listed_at = now
            return digest in self._digests


known_keys = KnownKeys()
