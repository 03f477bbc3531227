"""gunicorn's worker for this house: `gthread` whose threads wait for no client.

1. The main loop gathers what comes on all connections until a request is whole, within a time and
   at a least rate.
2. A signed webhook goes to the group commit (service/web/fast_webhook.py), anything else to one of
   gthread's threads, whole.
3. What a client does not take at once of its answer, the main loop sends.

Bodies too large to be gathered, and files that are fetched, have threads of their own; these wait
for their clients, no longer than a least rate allows.
"""

import errno
import logging
import re
import socket
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from http import HTTPStatus

from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import TConn

from service.runtime import error_reports, heartbeat, logs, tracing
from service.web import bodies, graph_errors
from service.web.callers import Caller, CallerSocket
from service.web.connection_loop import CLOSE_SECONDS, RECV_BYTES, ConnectionLoop
from service.web.fast_webhook import GroupCommit, Webhook, answer, end_of_head, recognise
from service.web.framing import Malformed
from service.web.graph_errors import GRAPH_JSON
from service.web.responses import problem_body
from service.web.waiting_calls import WaitingCalls

log = logging.getLogger(__name__)

# Of a request; the bytes of a larger one go to a thread as they come.
GATHER_BYTES = bodies.BODY_LIMIT + 256 * 1024
UNSIZED_BYTES = 128 * 1024  # of a request that does not say how many there will be
GATHER_BYTES_IN_ALL = 64 * 1024 * 1024  # on all connections together
DISCARD_BYTES = 64 * 1024  # of a body that nobody wanted; after more the connection ends
TRANSFER_THREADS = 32  # for what comes from a client, or goes to it, piece by piece
CALL_THREADS = 32  # for calls that are handed on to Meta
WEBHOOK_START = re.compile(rb'POST /whatsapp-cloud/webhook[/ ]')  # who sends it need not have a key
FILE_START = re.compile(
    rb'GET (?:/whatsapp-cloud/(?:messages/[^/? ]+/media|media/[^/? ]+/content)'
    rb'|(?:/+graph)?/+v[0-9.]+/+[^/? ]+/+content)[? ]'
)
# What is handed on to Meta: all of the Graph door but messages, which wait without a thread.
CALL_START = re.compile(
    rb'(?!POST (?:/+graph)?/+v[0-9.]+/+[^/? ]+/+messages/*[? ])[A-Z]+ (?:/+graph)?/+v[0-9.]+/'
)
GRAPH_START = re.compile(rb'[A-Z]+ (?:/+graph)?/+v[0-9.]+/')
NOT_HTTP = (400, 'The request is not HTTP/1.1 as it has to be.')
PARSE_ERRORS = {
    LimitRequestLine: (414, 'The first line of the request is too long.'),
    LimitRequestHeaders: (431, 'A header of the request is too long, or there are too many.'),
    ExpectationFailed: (417, 'Nothing but "Expect: 100-continue" is known.'),
    UnsupportedTransferCoding: (501, 'Of transfer codings nothing but "chunked" is known.'),
}


def refusal(
    start: bytes | bytearray,
    status: int,
    detail: str,
    code: str = 'bad_request',
    error: Exception | None = None,
) -> bytes:
    """A whole answer, made without Flask, and its line in the log.

    `start`: the first bytes of the request, which tell whose form the answer has.
    """
    request_id = uuid.uuid4().hex
    title = HTTPStatus(status).phrase
    token = logs.request_id.set(request_id)
    level = logging.ERROR if error else logging.WARNING
    log.log(level, 'request refused', exc_info=error, extra={'status': status, 'code': code})
    if GRAPH_START.match(start):
        body, kind = graph_errors.of_refusal(status, code, detail), GRAPH_JSON
    else:
        body, kind = problem_body(status, title, detail, code=code), 'application/problem+json'
    logs.request_id.reset(token)
    parts = answer(f'{status} {title}', body, kind)
    return end_of_head(False, request_id).join(parts)


class Door(ConnectionLoop):
    """The worker class.

    It relies on more of gthread than its public settings: tests/web/test_door.py and
    test_fast_webhook.py fail when that changes.
    """

    def init_process(self) -> None:
        self._transfers = ThreadPoolExecutor(TRANSFER_THREADS, thread_name_prefix='transfer')
        self._calls = ThreadPoolExecutor(CALL_THREADS, thread_name_prefix='call')
        go_on = partial(self.method_queue.defer, self._on_answered)
        self._group_commit = GroupCommit(go_on, lambda: self.nr_conns)
        self._waiting_calls = WaitingCalls(go_on)
        error_reports.start('web')
        tracing.start('web')
        heartbeat.keep_beating('web')
        super().init_process()

    # ---- connections

    def accept(self, listener: socket.socket) -> None:
        if self.cfg.is_ssl:  # gthread's own way
            super().accept(listener)
            return
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._close_longest_idle()
            return
        caller = Caller(self.cfg, sock, address, listener.getsockname())
        self.nr_conns += 1
        self._open.add(caller)
        self._await_request(caller)
        if self.nr_conns >= self.worker_connections:
            self._close_longest_idle()

    def _close_longest_idle(self) -> None:
        """Make room for new connections."""
        if idle := [one for one in self._waiting if one.is_idle()]:
            self._close(min(idle, key=lambda one: one.deadline))

    def _await_request(self, caller: Caller) -> None:
        """Wait for the first byte of the next request."""
        caller.keeps = True
        caller.deadline = time.monotonic() + (self.cfg.keepalive if self.alive else CLOSE_SECONDS)
        self._watch(caller, self._on_readable)

    def _next_request(self, caller: Caller) -> None:
        if caller.received:  # it came together with the last one
            self._gather(caller, b'')
        else:
            self._await_request(caller)

    # ---- requests

    def _on_readable(self, caller: Caller) -> None:
        try:
            data = caller.raw.recv(RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._close(caller)
            return
        # Most of what comes is a webhook, whole in one piece.
        webhook = None if caller.received else recognise(data)
        if not data:
            self._on_end(caller)
        elif webhook:
            caller.received += data[webhook.size :]
            self._commit(caller, webhook)
        else:
            self._gather(caller, data)

    def _on_end(self, caller: Caller) -> None:
        """The client sends no more, but may still wait for an answer."""
        if caller.framing is not None and caller.framing.head is not None:
            self._refuse(caller, 400, bodies.CUT_OFF, 'body_incomplete')
        else:
            self._close(caller)

    def _gather(self, caller: Caller, data: bytes) -> None:
        """Add what has come. Hand the request on once it is whole, else wait for the rest."""
        try:
            caller.receive(data)
        except Malformed as reason:
            self._refuse(caller, reason.status, reason.detail)
            return
        if caller.is_whole():
            self._dispatch(caller, caller.take_request())
        elif self._is_too_large_to_gather(caller):
            self._run_in_thread(caller, caller.take_request(), self._transfers, waits=True)
        else:
            caller.send_continue()
            if caller not in self._waiting:
                self._watch(caller, self._on_readable)

    def _is_too_large_to_gather(self, caller: Caller) -> bool:
        """Whether a request that is not whole yet goes to a thread as it comes."""
        framing = caller.framing
        if framing is None or framing.head is None:
            return False
        size = len(caller.received)
        is_sized = framing.size or WEBHOOK_START.match(caller.received)
        if max(framing.size or 0, size) > (GATHER_BYTES if is_sized else UNSIZED_BYTES):
            return True
        # Small ones cost little; their number is not looked at.
        return size > 4 * RECV_BYTES and self._gathered_bytes() > GATHER_BYTES_IN_ALL

    def _gathered_bytes(self) -> int:
        return sum(len(one.received) for one in self._waiting)

    def _on_deadline(self, caller: Caller) -> None:
        if caller.framing is None:
            self._close(caller)
        else:
            self._refuse(caller, 408, bodies.TOO_SLOW, 'request_timeout')

    def _refuse(self, caller: Caller, status: int, detail: str, code: str = 'bad_request') -> None:
        """Answer a request that does not become whole, and close."""
        self._unwatch(caller)
        caller.framing = None
        caller.keeps = False
        caller.sock.unsent += refusal(caller.received, status, detail, code)
        self._continue(caller)

    def handle_error(self, req: object, client: CallerSocket, addr: object, exc: Exception) -> None:
        """Answer what gunicorn cannot read, or the application did not catch, in its thread.

        gunicorn's own page, and its line in the log, would quote what was sent. The connection
        closes after it.
        """
        client.pending = None
        if isinstance(exc, ParseException):
            known = (refused for kind, refused in PARSE_ERRORS.items() if isinstance(exc, kind))
            client.sendall(refusal(client.start, *next(known, NOT_HTTP)))
        else:
            detail = 'Something unexpected happened; it was logged.'
            client.sendall(refusal(client.start, 500, detail, 'internal_error', exc))

    # ---- who works on them

    def _dispatch(self, caller: Caller, request: bytes) -> None:
        if webhook := recognise(request):
            self._commit(caller, webhook)
        elif FILE_START.match(request):
            self._run_in_thread(caller, request, self._transfers, waits=True)
        else:
            pool = self._calls if CALL_START.match(request) else self.tpool
            self._run_in_thread(caller, request, pool)

    def _commit(self, caller: Caller, webhook: Webhook) -> None:
        self._unwatch(caller)
        webhook.keep_alive = webhook.keep_alive and self.alive
        self._group_commit.add(caller, webhook)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the loop: the webhooks that came in it are committed together."""
        super().wait_for_and_dispatch_events(timeout)
        self._group_commit.start()

    def _on_answered(self, callers: list[Caller]) -> None:
        for caller in callers:
            self._continue(caller)

    def _run_in_thread(
        self, caller: Caller, request: bytes, pool: ThreadPoolExecutor, waits: bool = False
    ) -> None:
        """Let a thread handle a request; with `waits` it may wait for the client."""
        self._unwatch(caller)
        caller.sock.load(request, waits)
        future = pool.submit(self.handle, caller)
        future.add_done_callback(partial(self.method_queue.defer, self.finish_request, caller))

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Whether the connection stays, asked after the answer, in the thread.

        The rest of a body that nobody wanted to read is not waited for.
        """
        if not isinstance(conn, Caller):
            return bool(super()._keepalive_after(conn, keepalive))
        waited = conn.sock.waits
        conn.sock.waits = False
        try:
            is_read = conn.parser.finish_body(max_bytes=DISCARD_BYTES)
        except (OSError, ParseException):
            return False
        rest = conn.parser.unreader.take_buffered() + conn.sock.unread()
        if waited:
            conn.received += rest  # of the next request
        return bool(keepalive and is_read and (waited or not rest))

    def finish_request(self, conn: TConn, fs: 'Future[bool]') -> None:
        if not isinstance(conn, Caller):
            super().finish_request(conn, fs)
            return
        conn.keeps = not fs.cancelled() and fs.exception() is None and fs.result() is True
        if conn.sock.pending and self._waiting_calls.add(conn):
            return
        conn.sock.pending = None
        self._continue(conn)
