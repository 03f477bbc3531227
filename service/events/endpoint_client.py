"""One POST to an endpoint: within 15 s, redirects are not followed, only 2xx counts."""

import hashlib
import hmac
import http.client
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from urllib3 import HTTPConnectionPool
from urllib3.exceptions import ClosedPoolError, HTTPError, ProtocolError, TimeoutError
from urllib3.util import parse_url

from service.runtime import deadline, public_address, standard_webhooks
from service.runtime.public_address import NotPublic

SECONDS = 15  # for a whole call: connecting, sending, and reading the answer
MAX_ANSWER = 65536  # bytes that are read: what it says is of no interest
GONE = 410  # the endpoint wants nothing more
# Connections that one endpoint may have, and of how many endpoints they are kept.
PER_ENDPOINT = 64
ENDPOINTS = 256
HEADERS = {'Content-Type': 'application/json', 'User-Agent': 'whatsapp-gateway'}

_manager = public_address.pool_manager(num_pools=ENDPOINTS, maxsize=PER_ENDPOINT)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a POST. `status`: None without an answer; `error`: None when it succeeded.

    `is_ours`: the endpoint was not asked, through no fault of its own.
    """

    status: int | None
    milliseconds: int
    error: str | None = None
    is_ours: bool = False

    @classmethod
    def not_made(cls, reason: str) -> 'Attempt':
        """There was nothing to post."""
        return cls(None, 0, reason, is_ours=True)

    @property
    def is_delivered(self) -> bool:
        return self.error is None


def signed_headers(kind: str, event_id: str, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of a request to an endpoint of a kind; `secrets`: the newest first.

    A relay is signed as Meta signs, whose header has room for one signature.
    """
    if kind == 'relay':
        digest = hmac.digest(secrets[0].encode(), body, hashlib.sha256).hex()
        return {**HEADERS, 'X-Hub-Signature-256': f'sha256={digest}'}
    signed = standard_webhooks.signed_headers(event_id, int(time.time()), body, secrets)
    return {**HEADERS, **signed}


def post(url: str, body: bytes, headers: dict[str, str]) -> Attempt:
    """Have an endpoint told. Never raises; it may take SECONDS."""
    began = time.monotonic()
    try:
        with deadline.within(SECONDS):
            status = _post(url, body, headers)
        error = None if 200 <= status < 300 else f'HTTP {status}'
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as failure:
        status, error = None, _reason(failure, time.monotonic() - began)
    return Attempt(status, round(1000 * (time.monotonic() - began)), error)


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer.

    A kept connection may be closed by the other side at the very moment in which it is used again:
    then once more, on another one.
    """
    pool, path = _target(url)
    known = pool.num_connections
    try:
        return _answer(pool, path, body, headers)
    except ClosedPoolError:  # too many others were used since
        _target.cache_clear()
    except ProtocolError:
        if pool.num_connections > known:
            raise
    pool, path = _target(url)
    return _answer(pool, path, body, headers)


@lru_cache(maxsize=ENDPOINTS)
def _target(url: str) -> tuple[HTTPConnectionPool, str]:
    """The connections of a URL, and what stands in the request's first line."""
    return _manager.connection_from_url(url), parse_url(url).request_uri


def _answer(pool: HTTPConnectionPool, path: str, body: bytes, headers: dict[str, str]) -> int:
    """The status of an answer, which is read so that its connection can be used again."""
    answer = pool.urlopen('POST', path, body, headers, redirect=False, preload_content=False)
    try:
        answer.read(MAX_ANSWER, decode_content=False)
    except TimeoutError:
        raise
    except HTTPError:  # it was cut off, but what it means is known
        pass
    finally:
        answer.close()  # one that was read to its end is in the pool by now
    return answer.status


def _reason(failure: Exception, seconds: float) -> str:
    """Why there was no answer, without any word of the other side."""
    if isinstance(failure, NotPublic):
        return 'it has no public address'
    if seconds >= SECONDS:
        return f'no answer within {SECONDS} s'
    return f'no answer ({type(failure).__name__})'
