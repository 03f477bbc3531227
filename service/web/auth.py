"""Who may come in: the backend by a bearer key, Meta by its signature.

Both compared in constant time.
"""

import hashlib
import hmac

from flask import request

from service.runtime.config import settings
from service.runtime.db import db
from service.runtime.errors import Unauthorized
from service.web import bodies
from service.web.request_input import check_query

PREFIX = 'sha256='
NO_KEY = 'Send "Authorization: Bearer <key>" with one of API_KEYS.'


def guard(blueprint):
    """Every request of a blueprint needs a key and says nothing that its route does not know; it
    has a database connection from when its body is there.
    """
    blueprint.before_request(require_key)
    blueprint.before_request(bodies.read)
    blueprint.before_request(check_query)
    blueprint.before_request(_open)
    blueprint.teardown_request(_close)
    return blueprint


def require_key():
    if not has_key():
        raise Unauthorized(NO_KEY)


def has_key():
    scheme, _, key = request.headers.get('Authorization', '').partition(' ')
    return scheme.lower() == 'bearer' and is_one_of(key.strip(), settings.API_KEYS)


def _open():
    db.connect()  # its True must not become Flask's answer


def _close(error):
    if not db.is_closed():
        db.close()


def is_one_of(given, secrets):
    """Compares with all of them, whichever it is: the time tells nothing."""
    given = given.encode('utf-8', 'surrogatepass')
    return any([hmac.compare_digest(given, secret.encode()) for secret in secrets])


def sign(body, secret):
    """X-Hub-Signature-256 of a raw body (section 1.2)."""
    return PREFIX + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verified_digest(body, header, secrets):
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
