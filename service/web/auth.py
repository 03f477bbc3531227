"""Who may come in: the backend by a bearer key, Meta by its signature.

Keys and signatures are compared in constant time.
"""

import hashlib
import hmac
from collections.abc import Iterable

from flask import Blueprint, request

from service.runtime.config import settings
from service.runtime.db import db
from service.runtime.errors import Unauthorized
from service.web import bodies
from service.web.request_input import check_query

PREFIX = 'sha256='
NO_KEY = 'Send "Authorization: Bearer <key>" with one of API_KEYS.'


def guard(blueprint: Blueprint) -> Blueprint:
    """Let in requests with a key and a known query; then give them a database connection.

    The connection comes last, when the body is there, so that a slow sender holds none.
    """
    blueprint.before_request(require_key)
    blueprint.before_request(bodies.read)
    blueprint.before_request(check_query)
    blueprint.before_request(_connect)
    blueprint.teardown_request(_disconnect)
    return blueprint


def require_key() -> None:
    if not has_key():
        raise Unauthorized(NO_KEY)


def has_key() -> bool:
    scheme, _, key = request.headers.get('Authorization', '').partition(' ')
    return scheme.lower() == 'bearer' and is_one_of(key.strip(), settings.API_KEYS)


def _connect() -> None:
    db.connect()  # it returns True, which must not become Flask's answer


def _disconnect(error: BaseException | None) -> None:
    if not db.is_closed():
        db.close()


def is_one_of(given: str, secrets: Iterable[str]) -> bool:
    """Whether it is one of the secrets; each is compared, so that the time tells nothing."""
    candidate = given.encode('utf-8', 'surrogatepass')
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(candidate, secret.encode())
    return found


def sign(body: bytes, secret: str) -> str:
    """X-Hub-Signature-256 of a raw body (section 1.2)."""
    return PREFIX + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verified_digest(body: bytes, header: str | None, secrets: Iterable[str]) -> bytes | None:
    """The HMAC of a body that one of the app secrets signed, None when none did."""
    if not header or not header.startswith(PREFIX):
        return None
    given = header[len(PREFIX) :].encode('utf-8', 'surrogatepass')
    found = None
    for secret in secrets:
        digest = hmac.digest(secret.encode(), body, 'sha256')
        if hmac.compare_digest(given, digest.hex().encode()):
            found = digest
    return found
