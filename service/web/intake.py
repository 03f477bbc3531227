"""gunicorn's worker for this house: `gthread` with a short way for what comes most, signed webhooks.

A webhook that lies whole in the socket is taken by the worker's main loop: HMAC over the raw bytes, then one INSERT for
all that came at the same moment, by a thread that commits while the loop gathers the next. No WSGI, no thread handed a
single request (docs/performance.md). Whatever is unusual (another path, a header out of the ordinary, a signature that
does not verify, a body still on its way) has only been looked at, not taken, and goes gunicorn's and Flask's own way.
"""

import logging
import re
import socket
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from queue import SimpleQueue

from gunicorn.workers.gthread import TConn, ThreadWorker

from service.config import settings
from service.db import reason
from service.event import store
from service.queues import INCOMING, wake
from service.watchdog import watchdog
from service.web.answers import database_away
from service.web.auth import verified_digest
from service.web.health import commit
from service.web.webhook import fresh_secrets

log = logging.getLogger(__name__)

LOOK = 64 * 1024  # bytes; a larger webhook goes the long way
# Strict, so that where a request ends is beyond doubt: one line a header, nothing folded, no control characters.
HEAD = re.compile(
    rb'POST /whatsapp-cloud/webhook(?:/([A-Za-z0-9._~-]{1,255}))? HTTP/1\.([01])\r\n'
    rb'((?:[A-Za-z0-9-]{1,64}:[\t\x20-\x7e\x80-\xff]*\r\n){1,64})\r\n'
)
LENGTH = re.compile(rb'^content-length:[ \t]*([0-9]{1,7})[ \t]*\r$', re.IGNORECASE | re.MULTILINE)
SIGNATURE = re.compile(rb'^x-hub-signature-256:[ \t]*(sha256=[0-9a-f]{64})[ \t]*\r$', re.IGNORECASE | re.MULTILINE)
CONNECTION = re.compile(rb'^connection:[ \t]*(close|keep-alive)[ \t]*\r$', re.IGNORECASE | re.MULTILINE)
ONCE = (b'content-length:', b'x-hub-signature-256:')
NEVER = (b'transfer-encoding:', b'expect:', b'upgrade:')


@dataclass(slots=True)
class Webhook:
    """A whole, signed webhook that lies in a connection's socket; `size` bytes of it are to be taken."""

    conn: object
    path: str  # the chatbot_id in the URL, '' on the shared path
    body: bytes
    digest: bytes
    size: int
    keep_alive: bool


def peek(conn):
    """The Webhook that waits in a connection, None for anything else. Takes nothing."""
    try:
        data = conn.sock.recv(LOOK, socket.MSG_PEEK)
    except OSError:
        return None
    head = HEAD.match(data)
    length = head and _usual(head[3])
    if length is None or len(data) < head.end() + length:
        return None
    body = data[head.end() : head.end() + length]
    path = (head[1] or b'').decode()
    secrets = fresh_secrets(path) if path else settings.WHATSAPP_APP_SECRET
    digest = verified_digest(body, SIGNATURE.search(head[3])[1].decode(), secrets)
    return digest and Webhook(conn, path, body, digest, head.end() + length, _keeps_alive(head))


def _usual(headers):
    """Content-Length when the headers are such as leave no question, else None."""
    lower = headers.lower()
    if any(lower.count(name) != 1 for name in ONCE) or any(name in lower for name in NEVER):
        return None
    length = LENGTH.search(headers)
    if not length or not SIGNATURE.search(headers) or lower.count(b'connection:') != len(CONNECTION.findall(headers)):
        return None
    return int(length[1])


def _keeps_alive(head):
    wish = CONNECTION.search(head[3])
    return wish[1].lower() == b'keep-alive' if wish else head[2] == b'1'


def answer(status, body, kind, *headers):
    lines = (f'HTTP/1.1 {status}', 'Server: gunicorn', f'Date: {formatdate(usegmt=True)}', f'Content-Type: {kind}',
             f'Content-Length: {len(body)}', *headers)  # fmt: skip
    return '\r\n'.join(lines).encode(), body.encode()


END_OF_HEAD = {True: b'\r\nConnection: keep-alive\r\n\r\n', False: b'\r\nConnection: close\r\n\r\n'}


class IntakeWorker(ThreadWorker):
    """See the module. Beyond gthread's public settings it relies on what tests/test_intake.py holds."""

    def init_process(self):
        self._gathered, self._batches = [], SimpleQueue()
        threading.Thread(target=self._commit_for_ever, name='intake', daemon=True).start()
        super().init_process()

    def accept(self, listener):
        """A new connection waits in the poller, not on a thread, for its first bytes."""
        try:
            client, address = listener.accept()
        except OSError:
            return
        conn = TConn(self.cfg, client, address, listener.getsockname())
        self.nr_conns += 1
        self._keep(conn, self.pending_conns, self.on_pending_socket_readable)

    def _keep(self, conn, conns, on_readable):
        conn.timeout = time.monotonic() + self.cfg.keepalive
        conns.append(conn)
        self.poller.register(conn.sock, 1, partial(on_readable, conn))  # 1: EVENT_READ

    def enqueue_req(self, conn):
        """Called with a readable connection: the short way if it can be gone, else gthread's."""
        if not self._take(conn):
            super().enqueue_req(conn)

    def _take(self, conn):
        buffered = conn.parser is not None and conn.parser.unreader.buf.getvalue()
        webhook = None if buffered or self.cfg.is_ssl or conn.is_http2 else peek(conn)
        if webhook is None:
            return False
        conn.sock.recv(webhook.size)
        self._gathered.append(webhook)
        return True

    def handle_exit(self, sig, frame):
        """SIGTERM: what is under way is finished, and nobody waits long for a PostgreSQL that is silent."""
        watchdog.hurry()
        super().handle_exit(sig, frame)

    def wait_for_and_dispatch_events(self, timeout):
        super().wait_for_and_dispatch_events(timeout)
        if self._gathered:
            self._batches.put(self._gathered)
            self._gathered = []

    def _commit_for_ever(self):
        while True:
            batch = self._batches.get()
            while not self._batches.empty():
                batch += self._batches.get()
            self._commit(batch)

    def _commit(self, batch):
        try:
            with commit.under_way():
                store([(webhook.path, webhook.digest, webhook.body) for webhook in batch])
            wake(INCOMING)
            reply = answer('200 OK', 'OK', 'text/plain; charset=utf-8')
        except Exception as error:
            log.error('webhooks not stored', exc_info=error, extra={'webhooks': len(batch), 'reason': reason(error)})
            reply = answer('503 Service Unavailable', database_away(), 'application/problem+json', 'Retry-After: 2')
        for webhook in batch:
            webhook.keep_alive = self._send(webhook, reply)
        self.method_queue.defer(self._finish, batch)

    def _send(self, webhook, reply):
        """True when the connection stays."""
        keep = webhook.keep_alive and self.alive
        reply = END_OF_HEAD[keep].join(reply)
        try:
            return webhook.conn.sock.send(reply) == len(reply) and keep
        except OSError:
            return False

    def _finish(self, batch):
        """On the main loop: connections wait for their next request, or are closed."""
        for webhook in batch:
            if webhook.keep_alive:
                self._keep(webhook.conn, self.keepalived_conns, self.on_client_socket_readable)
            else:
                self.nr_conns -= 1
                webhook.conn.close()
