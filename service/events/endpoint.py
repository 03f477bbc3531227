"""Endpoints: where the platform is told.

An endpoint of kind `events` is ours, signed by Standard Webhooks; one of kind `relay` gets what
Meta posted. Rows of kind `poll` say that somebody reads GET /events: they are no endpoints for
callers (service/events/event_list.py).
"""

import base64
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import BareField, DateTimeField, TextField

from service.runtime import encryption
from service.runtime.db import db, execute, fetch, to_json
from service.runtime.encryption import DecryptionError
from service.runtime.errors import Conflict, NotFound
from service.runtime.ids import new_id
from service.runtime.model import JSON, Model
from service.runtime.rows import Uuid, execute_bulk, fetch_as

KINDS = ('events', 'relay')
BOTH_SIGN = timedelta(hours=24)  # that a former secret signs beside the new one
SECRET_BYTES = 32  # of a secret that is made here
MAX_ENDPOINTS = 50  # of one chatbot, or of all chatbots together: each costs every event a row
PAUSED_BY_CALLER = {'code': 'paused', 'detail': 'Somebody paused it by the API.'}
SHOWN = (
    'id',
    'kind',
    'url',
    'chatbot_id',
    'types',
    'description',
    'state',
    'state_reason',
    'state_since',
    'failing_since',
    'former_secret_until',
    'created_at',
    'updated_at',
)


class Endpoint(Model):
    """A row of endpoint. `chatbot_id` and `types`: None for all."""

    NOUN = 'endpoint'

    id = TextField(primary_key=True)
    kind = TextField()
    url = TextField()
    chatbot_id = TextField(null=True)
    types = BareField(null=True)
    secret = TextField()
    former_secret = TextField(null=True)
    former_secret_until = DateTimeField(null=True)
    description = TextField(null=True)
    state = TextField()
    state_reason = JSON(null=True)
    state_since = DateTimeField(null=True)
    failing_since = DateTimeField(null=True)
    listens_until = DateTimeField(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    @classmethod
    def find(cls, row_id: str) -> 'Endpoint':
        """The endpoint with this id. Raises NotFound."""
        found: Endpoint = super().find(row_id)
        if found.kind not in KINDS:
            raise NotFound(f'There is no such {cls.NOUN}.')
        return found

    def to_dict(self) -> dict[str, Any]:
        """What callers see: no secret, only until when a former one signs."""
        shown = {name: getattr(self, name) for name in SHOWN}
        if self.former_secret_until and self.former_secret_until <= datetime.now(UTC):
            shown['former_secret_until'] = None
        return shown

    def secrets(self) -> list[str]:
        """Those that sign: its own, and for a day the one that it has replaced."""
        return signing_secrets(self.secret, self.former_secret, self.former_secret_until)


def signing_secrets(secret: str, former: str | None, until: datetime | None) -> list[str]:
    """The secrets of an endpoint that sign now, the newest first. Raises DecryptionError.

    `secret`, `former`: encrypted; `until`: as long the former one signs as well.
    """
    tokens = [secret]
    if former and until and until > datetime.now(UTC):
        tokens.append(former)
    return [encryption.decrypt(token) for token in tokens]


def new_secret(kind: str) -> str:
    """A secret of the form that receivers of this kind know."""
    if kind == 'relay':
        return os.urandom(SECRET_BYTES // 2).hex()  # as Meta's app secrets are
    return f'whsec_{base64.b64encode(os.urandom(SECRET_BYTES)).decode()}'


@dataclass(slots=True)
class NewEndpoint:
    """What makes an endpoint. `secret`: encrypted."""

    id: Uuid
    kind: str
    url: str
    chatbot_id: str | None
    description: str | None
    secret: str | None


INSERT_ENDPOINT = """
INSERT INTO endpoint (id, kind, url, chatbot_id, description, secret, types)
SELECT id, kind, url, chatbot_id, description, secret, %(types)s::text[] FROM {rows}
"""
# Those who create one for the same chatbot wait for each other.
LOCK_ENDPOINTS = "SELECT pg_advisory_xact_lock(hashtextextended('endpoints', 1))"
COUNT_ENDPOINTS = """
SELECT count(*) FROM endpoint
WHERE chatbot_id IS NOT DISTINCT FROM %s AND kind <> 'poll'
"""


def create(data: dict[str, Any], secret: str) -> Endpoint:
    """Store an endpoint. Raises Conflict when the chatbot has too many."""
    chatbot_id = data.get('chatbot_id')
    token = encryption.encrypt(secret)
    row = NewEndpoint(
        new_id(), data['kind'], data['url'], chatbot_id, data.get('description'), token
    )
    with db.atomic():
        execute(LOCK_ENDPOINTS)
        if fetch(COUNT_ENDPOINTS, (chatbot_id,))[0][0] >= MAX_ENDPOINTS:
            raise Conflict(f'There are {MAX_ENDPOINTS} endpoints of it; delete one first.')
        execute_bulk(INSERT_ENDPOINT, [row], types=data.get('types'))
    return Endpoint.find(row.id)


# Another address has not failed yet.
CHANGE_ENDPOINT = """
UPDATE endpoint SET url = %(url)s, types = %(types)s::text[], description = %(description)s,
  failing_since = CASE url WHEN %(url)s THEN failing_since END, updated_at = now()
WHERE id = %(id)s
"""
CHANGEABLE = ('url', 'types', 'description')


def change(endpoint: Endpoint, data: dict[str, Any]) -> None:
    """Change what is given; what is left out stays."""
    values = {name: data.get(name, getattr(endpoint, name)) for name in CHANGEABLE}
    execute(CHANGE_ENDPOINT, {**values, 'id': endpoint.id})


RENEW_SIGNING = """
UPDATE endpoint SET secret = %(secret)s, former_secret = %(former)s, updated_at = now(),
  former_secret_until = CASE WHEN %(former)s IS NOT NULL THEN now() + %(both_sign)s END
WHERE id = %(id)s
"""


def rotate_secret(endpoint: Endpoint, secret: str) -> None:
    """Sign with a new secret, and for a day with the former one as well.

    One that cannot be read any more, because its encryption key is lost, is not kept.
    """
    former: str | None = endpoint.secret
    try:
        if encryption.decrypt(endpoint.secret) == secret:
            return
    except DecryptionError:
        former = None
    values = {'id': endpoint.id, 'former': former, 'both_sign': BOTH_SIGN}
    execute(RENEW_SIGNING, values | {'secret': encryption.encrypt(secret)})


PAUSE_ENDPOINT = """
UPDATE endpoint SET state = 'paused', state_reason = %(reason)s, state_since = now(),
  updated_at = now()
WHERE id = %(id)s AND state <> 'paused'
"""
RESUME_ENDPOINT = """
UPDATE endpoint SET state = 'active', state_reason = NULL, state_since = now(),
  failing_since = NULL, updated_at = now()
WHERE id = %s AND state <> 'active'
"""


def pause(endpoint_id: str, reason: dict[str, str]) -> None:
    """Let its deliveries wait. `reason`: {"code", "detail"}; that of an earlier pause stays."""
    execute(PAUSE_ENDPOINT, {'id': endpoint_id, 'reason': to_json(reason)})


def resume(endpoint_id: str) -> None:
    """Deliver again; make what waits due as well (redelivery.py)."""
    execute(RESUME_ENDPOINT, (endpoint_id,))


DELETE_ENDPOINT = 'DELETE FROM endpoint WHERE id = %s'
# Some: none of them is due any more, and the clock deletes the others with their events. Nobody is
# waited for who has one of them in hand.
DELETE_DELIVERIES = """
DELETE FROM event_delivery WHERE (endpoint_id, event_id) IN (
  SELECT endpoint_id, event_id FROM event_delivery
  WHERE endpoint_id = %(id)s ORDER BY event_id LIMIT 10000 FOR UPDATE SKIP LOCKED)
"""


def delete(endpoint_id: str) -> None:
    """Delete an endpoint, and what it would still have been told."""
    execute(DELETE_ENDPOINT, (endpoint_id,))
    execute(DELETE_DELIVERIES, {'id': endpoint_id})


FIND_TOKENS = 'SELECT id, secret, former_secret FROM endpoint WHERE secret IS NOT NULL FOR UPDATE'


@dataclass(slots=True)
class Tokens:
    """The encrypted columns of one endpoint."""

    id: Uuid
    secret: str | None
    former_secret: str | None


REPLACE_TOKENS = """
UPDATE endpoint e SET secret = n.secret, former_secret = n.former_secret
FROM {rows} WHERE e.id = n.id
"""


def encrypt_anew() -> int:
    """Encrypt the secrets of all endpoints with the first key, in the caller's transaction."""
    return execute_bulk(
        REPLACE_TOKENS, [_encrypted_anew(row) for row in fetch_as(Tokens, FIND_TOKENS)]
    )


def _encrypted_anew(row: Tokens) -> Tokens:
    secret, former = encryption.rotate(row.secret), encryption.rotate(row.former_secret)
    return Tokens(row.id, secret, former)
