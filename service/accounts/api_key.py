"""API keys that see less than those of API_KEYS: what one may do, and which chatbots it sees.

A key is shown once; its row has the SHA-256 of it alone.
"""

import hashlib
import re
import secrets
import string
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.runtime.db import execute, fetch, fetch_dicts
from service.runtime.errors import NotFound
from service.runtime.ids import new_id
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import fetch_as

SCOPES = ('send', 'read', 'manage')  # that a key may have
ROOT = 'root'  # what only the keys of API_KEYS may do
PREFIX = 'wak_'
LETTERS = string.ascii_letters + string.digits
LENGTH = 43  # letters behind the prefix: 256 bits
FORM = re.compile(rf'{PREFIX}[A-Za-z0-9]{{{LENGTH}}}')
NO_SUCH_KEY = 'There is no such key.'


@dataclass(frozen=True, slots=True)
class Key:
    """A key that came with a request.

    `id`: of its row, None for one of API_KEYS, which sees and may do everything; `chatbot_ids`:
    None for all.
    """

    id: str | None
    chatbot_ids: frozenset[str] | None
    scopes: frozenset[str]

    def sees(self, chatbot_id: str | None) -> bool:
        """Whether it sees what belongs to a chatbot; None is what belongs to none, or to all."""
        return self.chatbot_ids is None or chatbot_id in self.chatbot_ids


ROOT_KEY = Key(None, None, frozenset((*SCOPES, ROOT)))

SHOWN = 'id, name, last4, chatbot_ids, scopes, expires_at, last_used_at, created_at'
INSERT_KEY = """
INSERT INTO api_key (id, name, digest, last4, chatbot_ids, scopes, expires_at)
VALUES (%(id)s, %(name)s, %(digest)s, %(last4)s, %(chatbot_ids)s, %(scopes)s, %(expires_at)s)
"""
SHOW_KEY = fill('SELECT {shown} FROM api_key WHERE id = %s', shown=SHOWN)
LIST_KEYS = fill(
    """
SELECT {shown} FROM api_key WHERE %(cursor)s::uuid IS NULL OR id < %(cursor)s
ORDER BY id DESC LIMIT %(limit)s
""",
    shown=SHOWN,
)
LIST_DIGESTS = 'SELECT digest FROM api_key'
DELETE_KEY = 'DELETE FROM api_key WHERE id = %s'


def create(
    name: str, chatbot_ids: list[str], scopes: list[str], expires_at: datetime | None
) -> tuple[str, str]:
    """Store a new key; return its id and the key itself, which cannot be had again."""
    text = PREFIX + ''.join(secrets.choice(LETTERS) for _ in range(LENGTH))
    key_id = new_id()
    row = {
        'id': key_id,
        'name': name,
        'digest': digest_of(text),
        'last4': text[-4:],
        'chatbot_ids': sorted(set(chatbot_ids)),
        'scopes': [scope for scope in SCOPES if scope in scopes],
        'expires_at': expires_at,
    }
    execute(INSERT_KEY, row)
    return key_id, text


def find(key_id: str) -> dict[str, Any]:
    """A key as callers see it. Raises NotFound."""
    rows = fetch_dicts(SHOW_KEY, (key_id,))
    if not rows:
        raise NotFound(NO_SUCH_KEY)
    return rows[0]


def list_keys(cursor: str | None, limit: int) -> list[dict[str, Any]]:
    """Keys as callers see them, the newest first."""
    return fetch_dicts(LIST_KEYS, {'cursor': cursor, 'limit': limit})


def delete(key_id: str) -> None:
    """Delete a key. Raises NotFound."""
    if not execute(DELETE_KEY, (key_id,)):
        raise NotFound(NO_SUCH_KEY)


def digests() -> frozenset[bytes]:
    """The digests of all keys."""
    return frozenset(bytes(digest) for (digest,) in fetch(LIST_DIGESTS))


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key that is valid now. `seconds_left`: until it expires; `is_noted`: its use, this hour."""

    id: str
    chatbot_ids: list[str]
    scopes: list[str]
    seconds_left: float | None
    is_noted: bool


THIS_HOUR = "date_trunc('hour', now(), 'UTC')"
FIND_KEY = Prepared(
    """
SELECT id, chatbot_ids, scopes, extract(epoch FROM expires_at - now())::float8 AS seconds_left,
  last_used_at IS NOT DISTINCT FROM {this_hour} AS is_noted
FROM api_key WHERE digest = %s AND coalesce(expires_at > now(), true)
""",
    this_hour=THIS_HOUR,
)
NOTE_USE = Prepared(
    """
UPDATE api_key SET last_used_at = {this_hour}
WHERE id = %s AND last_used_at IS DISTINCT FROM {this_hour}
""",
    this_hour=THIS_HOUR,
)


def look_up(digest: bytes) -> FoundKey | None:
    """The valid key with this digest, whose use is noted, once an hour."""
    found = fetch_as(FoundKey, FIND_KEY, (digest,))
    if not found:
        return None
    if not found[0].is_noted:
        execute(NOTE_USE, (found[0].id,))
    return found[0]
