"""Pure: requests signed as Standard Webhooks says (https://www.standardwebhooks.com)."""

import base64
import hashlib
import hmac
from collections.abc import Iterable

PREFIX = 'whsec_'


def signed_headers(message_id: str, at: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """The headers of a request; without a secret it is not signed.

    `at`: seconds since 1970, of this attempt; `secrets`: whsec_ and base64, each of them signs.
    """
    headers = {'webhook-id': message_id, 'webhook-timestamp': f'{at}'}
    signed = f'{message_id}.{at}.'.encode() + body
    signatures = [_signature(signed, secret) for secret in secrets]
    if signatures:
        headers['webhook-signature'] = ' '.join(signatures)
    return headers


def _signature(signed: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return f'v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}'
