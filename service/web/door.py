"""gunicorn's worker for this house: `gthread` whose threads wait for no client.

1. The main loop gathers what comes on all connections until a request is whole, within a time and at a least rate.
2. A signed webhook goes to the intake (service/web/fast_webhook.py), anything else to one of gthread's threads, whole.
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

from service.runtime import logs
from service.web import bodies
from service.web.callers import Caller
from service.web.connection_loop import CLOSING, PIECE, ConnectionLoop
from service.web.fast_webhook import Intake, Webhook, answer, end_of_head, recognise
from service.web.framing import Malformed
from service.web.responses import problem_body

log = logging.getLogger(__name__)

LARGE = (
    bodies.BODY_LIMIT + 256 * 1024
)  # bytes of a request that are gathered; more go to a thread as they come
UNSIZED = 128 * 1024  # bytes, when nobody has said how many there will be
ROOM = 64 * 1024 * 1024  # bytes that are gathered on all connections together
UNREAD = (
    64 * 1024
)  # bytes of a body that nobody wanted, which are passed over; after more the connection ends
TRANSFERS = 32  # threads for what comes from a client, or goes to it, piece by piece
WEBHOOK = re.compile(rb'POST /whatsapp-cloud/webhook[/ ]')  # who sends it need not have a key
NO_HTTP = (400, 'The request is not HTTP/1.1 as it has to be.')
UNREADABLE = {
    LimitRequestLine: (414, 'The first line of the request is too long.'),
    LimitRequestHeaders: (431, 'A header of the request is too long, or there are too many.'),
    ExpectationFailed: (417, 'Nothing but "Expect: 100-continue" is known.'),
    UnsupportedTransferCoding: (501, 'Of transfer codings nothing but "chunked" is known.'),
}
FILE = re.compile(rb'GET /whatsapp-cloud/(?:messages/[^/? ]+/media|media/[^/? ]+/content)[? ]')


def refusal(
    status: int, detail: str, code: str = 'bad_request', fault: Exception | None = None
) -> bytes:
    """The whole answer where there is no Flask around, and its line in the log."""
    request_id, title = uuid.uuid4().hex, HTTPStatus(status).phrase
    token, level = logs.request_id.set(request_id), logging.ERROR if fault else logging.WARNING
    log.log(level, 'request refused', exc_info=fault, extra={'status': status, 'code': code})
    logs.request_id.reset(token)
    body = problem_body(status, title, detail, code=code)
    return end_of_head(False, request_id).join(
        answer(f'{status} {title}', body, 'application/problem+json')
    )


class Door(ConnectionLoop):
    """See the module. Beyond gthread's public settings it relies on what test_intake.py and
    test_door.py hold.
    """

    def init_process(self) -> None:
        self._transfers = ThreadPoolExecutor(TRANSFERS, thread_name_prefix='transfer')
        self._intake = Intake(partial(self.method_queue.defer, self._committed))
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
                self._make_room()
            return
        caller = Caller(self.cfg, sock, address, listener.getsockname())
        self.nr_conns += 1
        self._open.add(caller)
        self._idle(caller)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def _make_room(self) -> None:
        """Whoever has said nothing for the longest time goes."""
        if idle := [one for one in self._waiting if one.is_idle()]:
            self._close(min(idle, key=lambda one: one.deadline))

    def _idle(self, caller: Caller) -> None:
        """Its next request may come."""
        caller.keeps = True
        caller.deadline = time.monotonic() + (self.cfg.keepalive if self.alive else CLOSING)
        self._watch(caller, self._on_bytes)

    def _next(self, caller: Caller) -> None:
        if caller.received:  # it came with the last one
            self._gather(caller, b'')
        else:
            self._idle(caller)

    # ---- requests

    def _on_bytes(self, caller: Caller) -> None:
        try:
            data = caller.raw.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._close(caller)
            return
        if not data:
            self._on_end(caller)
        elif not caller.received and (
            webhook := recognise(data)
        ):  # most of what comes: whole in one piece
            caller.received += data[webhook.size :]
            self._take_in(caller, webhook)
        else:
            self._gather(caller, data)

    def _on_end(self, caller: Caller) -> None:
        """The client sends no more; it may still listen."""
        if caller.framing is not None and caller.framing.head is not None:
            self._refuse(caller, 400, bodies.CUT_OFF, 'body_incomplete')
        else:
            self._close(caller)

    def _gather(self, caller: Caller, data: bytes) -> None:
        """Hand on what has come, once it is a request, or wait for the rest."""
        try:
            caller.receive(data)
        except Malformed as reason:
            self._refuse(caller, reason.status, reason.detail)
            return
        if caller.is_whole():
            self._dispatch(caller, caller.take_request())
        elif self._is_for_a_thread(caller):
            self._hand_over(caller, caller.take_request(), waits=True)
        else:
            caller.send_continue()
            if caller not in self._waiting:
                self._watch(caller, self._on_bytes)

    def _is_for_a_thread(self, caller: Caller) -> bool:
        """Whether a request of which more is to come is one that is not gathered."""
        framing, size = caller.framing, len(caller.received)
        if framing.head is None:
            return False
        limit = LARGE if framing.size or WEBHOOK.match(caller.received) else UNSIZED
        if max(framing.size or 0, size) > limit:
            return True
        return size > 4 * PIECE and sum(len(one.received) for one in self._waiting) > ROOM

    def _too_late(self, caller: Caller) -> None:
        if caller.framing is None:
            self._close(caller)
        else:
            self._refuse(caller, 408, bodies.TOO_SLOW, 'request_timeout')

    def _refuse(self, caller: Caller, status: int, detail: str, code: str = 'bad_request') -> None:
        """Answer a request that does not become whole, and close."""
        self._unwatch(caller)
        caller.framing, caller.keeps = None, False
        caller.sock.unsent += refusal(status, detail, code)
        self._go_on(caller)

    def handle_error(self, req: object, client: object, addr: object, exc: Exception) -> None:
        """In a thread: what gunicorn cannot read, or the application did not catch.

        The connection closes.

        gunicorn's own page, and its line in the log, would quote what was sent.
        """
        if isinstance(exc, ParseException):
            status, detail = next(
                (told for kind, told in UNREADABLE.items() if isinstance(exc, kind)), NO_HTTP
            )
            client.sendall(refusal(status, detail))
        else:
            client.sendall(
                refusal(500, 'Something unexpected happened; it was logged.', 'internal_error', exc)
            )

    # ---- who works on them

    def _dispatch(self, caller: Caller, request: bytes) -> None:
        if webhook := recognise(request):
            self._take_in(caller, webhook)
        else:
            self._hand_over(caller, request, waits=bool(FILE.match(request)))

    def _take_in(self, caller: Caller, webhook: Webhook) -> None:
        self._unwatch(caller)
        webhook.caller = caller
        webhook.keep_alive = webhook.keep_alive and self.alive
        self._intake.put(webhook)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(timeout)
        self._intake.commit()

    def _committed(self, webhooks: list[Webhook]) -> None:
        for webhook in webhooks:
            self._go_on(webhook.caller)

    def _hand_over(self, caller: Caller, request: bytes, waits: bool) -> None:
        """To a thread; to one that may wait for the client, or not."""
        self._unwatch(caller)
        caller.sock.load(request, waits)
        future = (self._transfers if waits else self.tpool).submit(self.handle, caller)
        future.add_done_callback(partial(self.method_queue.defer, self.finish_request, caller))

    def _keepalive_after(self, conn: Caller, keepalive: bool) -> bool:
        """In the thread, after the answer.

        Of a body that nobody wanted to read, nothing is waited for.
        """
        if not isinstance(conn, Caller):
            return super()._keepalive_after(conn, keepalive)
        waited, conn.sock.waits = conn.sock.waits, False
        try:
            is_read = conn.parser.finish_body(max_bytes=UNREAD)
        except (OSError, ParseException):
            return False
        rest = conn.parser.unreader.take_buffered() + conn.sock.unread()
        if waited:
            conn.received += rest  # of the next request
        return keepalive and is_read and (waited or not rest)

    def finish_request(self, conn: Caller, fs: Future) -> None:
        if not isinstance(conn, Caller):
            super().finish_request(conn, fs)
            return
        conn.keeps = not fs.cancelled() and fs.exception() is None and fs.result() is True
        self._go_on(conn)
