"""Signed webhooks, the short way: no WSGI, and no thread for a single one (docs/performance.md).

The main loop of the door knows one by its head, which is read strictly, and by its signature over
the raw bytes. All that came at the same moment are one INSERT, by a thread that commits while the
loop gathers the next. Whatever is unusual (another path, a header out of the ordinary, a signature
that does not verify) goes Flask's way.
"""

import logging
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from queue import SimpleQueue

from service.runtime.config import settings
from service.runtime.db import reason
from service.runtime.queues import INCOMING, wake
from service.web.auth import verified_digest
from service.web.bodies import BODY_LIMIT
from service.web.callers import Caller
from service.web.health import commit
from service.web.responses import database_away
from service.web.webhook import fresh_secrets
from service.webhooks.inbox import SignedBody, store_events

log = logging.getLogger(__name__)

# Strict, so that where a request ends is beyond doubt: one line a header, nothing folded, no
# control characters.
HEAD = re.compile(
    rb'POST /whatsapp-cloud/webhook(?:/([A-Za-z0-9._~-]{1,255}))? HTTP/1\.([01])\r\n'
    rb'((?:[A-Za-z0-9-]{1,64}:[\t\x20-\x7e\x80-\xff]*\r\n){1,64})\r\n'
)
LENGTH = re.compile(rb'^content-length:[ \t]*([0-9]{1,7})[ \t]*\r$', re.IGNORECASE | re.MULTILINE)
SIGNATURE = re.compile(
    rb'^x-hub-signature-256:[ \t]*(sha256=[0-9a-f]{64})[ \t]*\r$', re.IGNORECASE | re.MULTILINE
)
CONNECTION = re.compile(
    rb'^connection:[ \t]*(close|keep-alive)[ \t]*\r$', re.IGNORECASE | re.MULTILINE
)
ONCE = (b'content-length:', b'x-hub-signature-256:')
REQUEST_ID = re.compile(
    rb'^x-request-id:[ \t]*([a-z0-9_-]{20,128})[ \t]*\r$', re.IGNORECASE | re.MULTILINE
)
MAX_TOLD = 20  # requests that one line of the log names
NEVER = (b'transfer-encoding:', b'expect:', b'upgrade:')


@dataclass(slots=True)
class Webhook:
    """A whole, signed webhook: the first `size` bytes of what has come."""

    path: str  # the chatbot_id in the URL, '' on the shared path
    body: bytes
    digest: bytes
    size: int
    keep_alive: bool
    request_id: str
    caller: Caller | None = None


def recognise(data: bytes) -> Webhook | None:
    """The Webhook that the bytes begin with, None for anything else."""
    head = HEAD.match(data)
    length = head and _usual(head[3])
    if length is None or length > BODY_LIMIT or len(data) < head.end() + length:
        return None
    body = data[head.end() : head.end() + length]
    path = (head[1] or b'').decode()
    secrets = fresh_secrets(path) if path else settings.WHATSAPP_APP_SECRET
    digest = verified_digest(body, SIGNATURE.search(head[3])[1].decode(), secrets)
    if digest is None:
        return None
    return Webhook(path, body, digest, head.end() + length, _keeps_alive(head), _request_id(head))


def _usual(headers: bytes) -> int | None:
    """Content-Length when the headers are such as leave no question, else None."""
    lower = headers.lower()
    if any(lower.count(name) != 1 for name in ONCE) or any(name in lower for name in NEVER):
        return None
    length = LENGTH.search(headers)
    if (
        not length
        or not SIGNATURE.search(headers)
        or lower.count(b'connection:') != len(CONNECTION.findall(headers))
    ):
        return None
    return int(length[1])


def _keeps_alive(head: re.Match[bytes]) -> bool:
    wish = CONNECTION.search(head[3])
    return wish[1].lower() == b'keep-alive' if wish else head[2] == b'1'


def _request_id(head: re.Match[bytes]) -> str:
    """As answers.name_request gives them."""
    given = REQUEST_ID.search(head[3])
    return given[1].decode() if given else uuid.uuid4().hex


def answer(status: str, body: str, kind: str, *headers: str) -> tuple[bytes, bytes]:
    """An answer in two parts, between which end_of_head() stands."""
    lines = (
        f'HTTP/1.1 {status}',
        'Server: gunicorn',
        f'Date: {formatdate(usegmt=True)}',
        f'Content-Type: {kind}',
        f'Content-Length: {len(body)}',
        *headers,
    )
    return '\r\n'.join(lines).encode(), body.encode()


def end_of_head(keep_alive: bool, request_id: str) -> bytes:
    connection = 'keep-alive' if keep_alive else 'close'
    return f'\r\nRequest-Id: {request_id}\r\nConnection: {connection}\r\n\r\n'.encode()


class Intake:
    """What the main loop puts into it is committed and answered, then handed back:
    `done(webhooks)`, on its thread.
    """

    def __init__(self, done: Callable[[list[Webhook]], None]):
        self._done, self._gathered, self._batches = done, [], SimpleQueue()
        threading.Thread(target=self._commit_for_ever, name='intake', daemon=True).start()

    def put(self, webhook: Webhook) -> None:
        self._gathered.append(webhook)

    def commit(self) -> None:
        """What was put since the last time, together."""
        if self._gathered:
            self._batches.put(self._gathered)
            self._gathered = []

    def _commit_for_ever(self) -> None:
        while True:
            batch = self._batches.get()
            while not self._batches.empty():
                batch += self._batches.get()
            self._answer(batch, self._store(batch))
            self._done(batch)

    def _store(self, batch: list[Webhook]) -> tuple[bytes, bytes]:
        """The answer to all of them."""
        try:
            with commit.under_way():
                store_events(SignedBody(one.path, one.digest, one.body) for one in batch)
            wake(INCOMING)
        except Exception as error:
            extra = {
                'webhooks': len(batch),
                'request_ids': [one.request_id for one in batch[:MAX_TOLD]],
            }
            log.error(
                'webhooks not stored', exc_info=error, extra={**extra, 'reason': reason(error)}
            )
            return answer(
                '503 Service Unavailable',
                database_away(),
                'application/problem+json',
                'Retry-After: 2',
            )
        return answer('200 OK', 'OK', 'text/plain; charset=utf-8')

    @staticmethod
    def _answer(batch: list[Webhook], parts: tuple[bytes, bytes]) -> None:
        for webhook in batch:
            reply = end_of_head(webhook.keep_alive, webhook.request_id).join(parts)
            try:
                is_sent = webhook.caller.raw.send(reply) == len(reply)
            except OSError:
                is_sent = False
            webhook.caller.keeps = is_sent and webhook.keep_alive
