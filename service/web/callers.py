"""Connections: what has come on one, how long it may take, and the socket as gunicorn's threads
have it.
"""

import errno
import select
import socket
import time
from contextlib import suppress

from gunicorn import http
from gunicorn.workers.gthread import TConn

from service.web.framing import Framing

HEAD_SECONDS = 10  # from the first byte of a request to the last of its head
PATIENCE = 20  # seconds that a body, or a client that reads an answer, may stand still
RATE = 16 * 1024  # bytes a second that it has to make on the whole
CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'
PIECE = 256 * 1024  # bytes of an answer that are sent at a time


def earned(left: float, size: int) -> float:
    """Seconds that a client has now, of `left` seconds, as `size` bytes have gone."""
    return min(left + size / RATE, PATIENCE)


class Line:
    """A caller's socket as a thread has it.

    It reads what it was given, as a rule the whole request. What the network does not take at once
    of the answer stays in `unsent`, for the main loop. Only where it `waits`, the thread waits for
    the client, to read more or to send, and no longer than that one earns.
    """

    def __init__(self, sock: socket.socket):
        self._sock = sock
        self.waits = False
        self._given, self._read, self._left = b'', 0, 0.0
        self.unsent = bytearray()

    def give(self, request: bytes, waits: bool) -> None:
        self.waits = waits
        self._given, self._read, self._left = request, 0, PATIENCE

    def recv(self, size: int) -> bytes:
        if data := self._given[self._read : self._read + size]:
            self._read += len(data)
            return data
        if not self.waits:
            raise ConnectionResetError(errno.ECONNRESET, 'nothing more is read of this request')
        self._wait(select.POLLIN)
        data = self._sock.recv(size)
        self._left = earned(self._left, len(data))
        return data

    def left(self) -> bytes:
        """What was not read of what was given."""
        return self._given[self._read :]

    def sendall(self, data: bytes) -> None:
        if not self.waits:
            self.unsent += data
            self.flush()
            return
        rest = memoryview(data)
        while rest:
            self._wait(select.POLLOUT)
            sent = self._sock.send(rest[:PIECE])
            self._left = earned(self._left, sent)
            rest = rest[sent:]

    def send(self, data: bytes) -> None:
        """gunicorn uses it for 100 Continue alone; of what it gathered, the main loop has said
        that.
        """
        if self.waits:
            self.sendall(data)

    def _wait(self, event: int) -> None:
        began, poll = time.monotonic(), select.poll()
        poll.register(self._sock, event)
        if not poll.poll(max(self._left, 0) * 1000):
            self._left = PATIENCE  # to be told so
            raise TimeoutError
        self._left -= time.monotonic() - began

    def flush(self) -> int:
        """Send of `unsent` what goes at once; its bytes."""
        try:
            sent = self._sock.send(self.unsent)
        except BlockingIOError:
            return 0
        del self.unsent[:sent]
        return sent

    def shutdown(self, how: int) -> None:
        """The main loop does it, when all of the answer has gone."""
        self.waits = False

    def close(self) -> None:
        """Likewise."""

    def gettimeout(self) -> float:
        return 0.0  # gunicorn takes it for one that does not block, and lets it be

    def settimeout(self, seconds: float) -> None:
        """Of no use here."""

    def setblocking(self, flag: bool) -> None:
        """Likewise."""


class Caller(TConn):
    """A connection. What comes on it is gathered in `received` until that begins with a whole
    request.
    """

    def __init__(self, cfg, sock: socket.socket, client, server):
        super().__init__(cfg, Line(sock), client, server)
        sock.setblocking(False)
        self.raw = sock
        self.parser, self.initialized = http.get_parser(cfg, self.sock, client), True
        self.received = bytearray()
        self.framing: Framing | None = None  # of the request that has begun to come
        self.deadline = 0.0  # what the main loop waits for on it must have come by then
        self.keeps = False  # the connection stays after the answer
        self.drained = 0  # bytes that came while it was closing

    def take(self, data: bytes) -> None:
        """More of a request has come, or the next one had come with the last. Raises Malformed."""
        self.received += data
        if self.framing is None:
            self.framing = Framing()
            self.deadline = time.monotonic() + HEAD_SECONDS
        was_head = self.framing.head is None
        self.framing.look(self.received)
        if self.framing.head is None:
            return
        if was_head:
            self.be_patient()
        else:
            self.went(len(data))

    def tell_to_go_on(self) -> None:
        """Once, where the client waits for it."""
        if self.framing.waits:
            self.framing.waits = False
            self.sock.unsent += CONTINUE
            with suppress(OSError):  # the next look at it tells
                self.sock.flush()

    def be_patient(self) -> None:
        self.deadline = time.monotonic() + PATIENCE

    def went(self, size: int) -> None:
        """Bytes came, or went: that earns time."""
        now = time.monotonic()
        self.deadline = now + earned(self.deadline - now, size)

    def is_idle(self) -> bool:
        return self.keeps and self.framing is None and not self.sock.unsent

    def is_whole(self) -> bool:
        size = self.framing.size
        return size is not None and len(self.received) >= size

    def request(self) -> bytes:
        """The whole request, or what there is of it, taken out."""
        size = self.framing.size if self.is_whole() else len(self.received)
        request = bytes(self.received[:size])
        del self.received[:size]
        self.framing = None
        return request
