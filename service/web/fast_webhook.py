"""Signed webhooks, the short way: no WSGI, and no thread for a single one (docs/performance.md).

The main loop of the door knows one by its head, which is read strictly, and by its signature over
the raw bytes. All that came at the same moment are one INSERT, by a thread that commits while the
loop gathers the next. Whatever is unusual (another path, a header out of the ordinary, a signature
that does not verify) goes through Flask.
"""

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from queue import Empty, SimpleQueue

from service.runtime import metrics, migrate, timetable
from service.runtime.config import settings
from service.runtime.db import reason
from service.runtime.queues import INCOMING, wake
from service.web.auth import verified_digest
from service.web.bodies import BODY_LIMIT
from service.web.callers import Caller
from service.web.health import commit
from service.web.responses import RUN_THE_RELEASE, database_away
from service.web.webhook import STORED, known_secrets
from service.webhooks.inbox import SignedBody, store_events

log = logging.getLogger(__name__)

# Strict, so that where a request ends is beyond doubt: each header one line, without control
# characters.
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
REQUEST_ID = re.compile(
    rb'^x-request-id:[ \t]*([a-z0-9_-]{20,128})[ \t]*\r$', re.IGNORECASE | re.MULTILINE
)
REQUIRED_HEADERS = (b'content-length:', b'x-hub-signature-256:')  # each once
UNUSUAL_HEADERS = (b'transfer-encoding:', b'expect:', b'upgrade:')
FAILED = metrics.webhooks.labels('failed')
MAX_LOGGED_IDS = 20  # requests that one line of the log names
# A commit departs at once when so many wait, or all who are connected: then nobody is left who
# could join.
ENOUGH_WAIT = 32


@dataclass(slots=True)
class Webhook:
    """A whole, signed webhook: the first `size` bytes of what has come."""

    path: str  # the chatbot_id in the URL, '' on the shared path
    body: bytes
    digest: bytes
    size: int
    keep_alive: bool
    request_id: str


def recognise(data: bytes) -> Webhook | None:
    """The Webhook that the bytes begin with, None for anything else."""
    head = HEAD.match(data)
    if head is None:
        return None
    length = _content_length(head[3])
    signature = SIGNATURE.search(head[3])
    if length is None or signature is None or length > BODY_LIMIT:
        return None
    size = head.end() + length
    if len(data) < size:
        return None
    body = data[head.end() : size]
    path = (head[1] or b'').decode()
    secrets = known_secrets(path) if path else settings.WHATSAPP_APP_SECRET
    digest = verified_digest(body, signature[1].decode(), secrets)
    if digest is None:
        return None
    return Webhook(path, body, digest, size, _keeps_alive(head), _request_id(head[3]))


def _content_length(headers: bytes) -> int | None:
    """Content-Length when the headers leave no doubt where the request ends, else None."""
    lower = headers.lower()
    if any(lower.count(name) != 1 for name in REQUIRED_HEADERS):
        return None
    if any(name in lower for name in UNUSUAL_HEADERS):
        return None
    if lower.count(b'connection:') != len(CONNECTION.findall(headers)):
        return None
    length = LENGTH.search(headers)
    return int(length[1]) if length else None


def _keeps_alive(head: re.Match[bytes]) -> bool:
    wanted = CONNECTION.search(head[3])
    return wanted[1].lower() == b'keep-alive' if wanted else head[2] == b'1'


def _request_id(headers: bytes) -> str:
    """The proxy's or a new one, by the same rule as for requests that go through Flask."""
    given = REQUEST_ID.search(headers)
    return given[1].decode() if given else uuid.uuid4().hex


AnswerParts = tuple[bytes, bytes]  # what stands before end_of_head(), and the body


def answer(status: str, body: str, content_type: str, *headers: str) -> AnswerParts:
    """An answer in two parts, to be joined by end_of_head()."""
    lines = (
        f'HTTP/1.1 {status}',
        'Server: gunicorn',
        f'Date: {formatdate(usegmt=True)}',
        f'Content-Type: {content_type}',
        f'Content-Length: {len(body)}',
        *headers,
    )
    return '\r\n'.join(lines).encode(), body.encode()


def end_of_head(keep_alive: bool, request_id: str) -> bytes:
    connection = 'keep-alive' if keep_alive else 'close'
    return f'\r\nRequest-Id: {request_id}\r\nConnection: {connection}\r\n\r\n'.encode()


@dataclass(slots=True)
class WaitingCaller:
    """Who gets the answer when the webhook is committed."""

    caller: Caller
    webhook: Webhook


class GroupCommit:
    """Commits webhooks, many at a time, and answers them, in a thread of its own.

    Then `done` gets their callers, in that thread. The main loop calls the other methods.
    `connected`: how many connections there are.
    """

    def __init__(self, done: Callable[[list[Caller]], None], connected: Callable[[], int]) -> None:
        self._done = done
        self._connected = connected
        self._gathered: list[WaitingCaller] = []
        self._added = self._taken = 0
        self._is_enough = threading.Event()
        self._batches: SimpleQueue[list[WaitingCaller]] = SimpleQueue()
        threading.Thread(target=self._run, name='group-commit', daemon=True).start()

    def add(self, caller: Caller, webhook: Webhook) -> None:
        self._gathered.append(WaitingCaller(caller, webhook))

    def start(self) -> None:
        """Let the thread commit what was added since the last call, together."""
        if not self._gathered:
            return
        self._added += len(self._gathered)
        self._batches.put(self._gathered)
        self._gathered = []
        if self._added - self._taken >= min(ENOUGH_WAIT, self._connected()):
            self._is_enough.set()

    def _run(self) -> None:
        began = -timetable.COMMIT.every
        while True:
            batch = self._batches.get()
            self._is_enough.wait(max(0, timetable.COMMIT.after(began) - time.monotonic()))
            self._is_enough.clear()
            self._take_others(batch)
            began = time.monotonic()
            parts = _store([waiting.webhook for waiting in batch])
            for waiting in batch:
                _send_answer(waiting, parts)
            self._done([waiting.caller for waiting in batch])

    def _take_others(self, batch: list[WaitingCaller]) -> None:
        """Add to a batch what has come meanwhile."""
        with suppress(Empty):
            while True:
                batch += self._batches.get_nowait()
        self._taken += len(batch)


def _store(webhooks: list[Webhook]) -> AnswerParts:
    """Commit webhooks; return the answer to all of them."""
    began = time.perf_counter()
    try:
        with commit.under_way():
            store_events(SignedBody(one.path, one.digest, one.body) for one in webhooks)
        STORED.inc(len(webhooks))
        metrics.webhook_commits.observe(time.perf_counter() - began)
        wake(INCOMING)
    except Exception as error:
        extra = {
            'webhooks': len(webhooks),
            'request_ids': [one.request_id for one in webhooks[:MAX_LOGGED_IDS]],
            'reason': reason(error),
        }
        if migrate.is_behind(error):
            log.warning(RUN_THE_RELEASE, extra=extra)
        else:
            log.error('webhooks not stored', exc_info=error, extra=extra)
        FAILED.inc(len(webhooks))
        problem = database_away(error)
        content_type = 'application/problem+json'
        return answer('503 Service Unavailable', problem, content_type, 'Retry-After: 2')
    return answer('200 OK', 'OK', 'text/plain; charset=utf-8')


def _send_answer(waiting: WaitingCaller, parts: AnswerParts) -> None:
    """Send an answer without waiting for the client. When it does not all go, the caller closes."""
    webhook = waiting.webhook
    reply = end_of_head(webhook.keep_alive, webhook.request_id).join(parts)
    try:
        is_sent = waiting.caller.raw.send(reply) == len(reply)
    except OSError:
        is_sent = False
    waiting.caller.keeps = is_sent and webhook.keep_alive
