"""Keys of the table api_key as this process knows them, for a moment without asking PostgreSQL.

What is no key is never kept here, so that strangers fill nothing; how often they may have their
guesses looked up has a limit. A key that was known once is looked up without one.
"""

import threading
import time
from dataclasses import dataclass

from service.accounts import api_key
from service.accounts.api_key import FORM, Key
from service.runtime.db import connection
from service.runtime.errors import TooManyGuesses

FRESH_SECONDS = 2  # that a key is believed to be there still
GUESSES = 20  # unknown keys that are looked up at once, and then in a second


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key, and until when (monotonic) it need not be looked up again."""

    key: Key
    until: float


class KnownKeys:
    """The keys that came with requests to this process, by their digests."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownKey] = {}
        self._lock = threading.Lock()  # of the next two
        self._guesses = float(GUESSES)
        self._counted_at = time.monotonic()

    def find(self, text: str) -> Key | None:
        """The key that this is; None for none of ours. Raises TooManyGuesses."""
        if not FORM.fullmatch(text):
            return None
        digest = api_key.digest_of(text)
        known = self._known.get(digest)
        if known is None:
            self._count_guess()
        elif time.monotonic() < known.until:
            return known.key
        return self._look_up(digest)

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

    def _count_guess(self) -> None:
        with self._lock:
            now = time.monotonic()
            regained = (now - self._counted_at) * GUESSES
            self._guesses = min(GUESSES, self._guesses + regained)
            self._counted_at = now
            if self._guesses < 1:
                raise TooManyGuesses('Too many unknown keys came within a second. Try again.')
            self._guesses -= 1


known_keys = KnownKeys()
