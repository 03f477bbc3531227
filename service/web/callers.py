"""Callers: the connection of each client, with what has come on it and how long it may take.

The main loop (door.py) gathers a request without waiting. Then one of gunicorn's threads serves
it, and has a CallerSocket in the place of the real socket.
"""

import errno
import select
import socket
import time
from contextlib import suppress

from gunicorn import http
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from service.web.framing import Framing
from service.web.pending import Pending

HEAD_SECONDS = 10  # from the first byte of a request to the last of its head
STALL_SECONDS = 20  # that a body, or a client that reads an answer, may stand still
LEAST_RATE = 16 * 1024  # bytes a second that a client has to make on the whole
SEND_BYTES = 256 * 1024  # of an answer, at a time
START_BYTES = 100  # of a request, that tell what is asked for
CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'


def seconds_left(before: float, size: int) -> float:
    """The time that a client has, of `before` seconds, after `size` more bytes went or came."""
    return min(before + size / LEAST_RATE, STALL_SECONDS)


class CallerSocket:
    """A caller's socket as a thread of gunicorn sees it.

    It reads the bytes that were loaded, as a rule the whole request. What the network does not
    take at once of the answer stays in `unsent`, and the main loop sends it later. Only where
    `waits` is set, the thread itself waits for the client, to read more or to send, and no longer
    than the least rate allows. With `pending` all of the answer stays, for a better one may come.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loaded = b''
        self._read = 0  # bytes of what was loaded
        self._seconds_left = 0.0
        self.waits = False
        self.unsent = bytearray()
        self.pending: Pending | None = None

    def load(self, request: bytes, waits: bool) -> None:
        """Take what the main loop has gathered of a request."""
        self._loaded = request
        self._read = 0
        self._seconds_left = STALL_SECONDS
        self.waits = waits

    @property
    def start(self) -> bytes:
        """The first bytes of the request."""
        return self._loaded[:START_BYTES]

    def recv(self, size: int) -> bytes:
        if data := self._loaded[self._read : self._read + size]:
            self._read += len(data)
            return data
        if not self.waits:
            raise ConnectionResetError(errno.ECONNRESET, 'nothing more is read of this request')
        self._wait(select.POLLIN)
        data = self._sock.recv(size)
        self._seconds_left = seconds_left(self._seconds_left, len(data))
        return data

    def unread(self) -> bytes:
        """What gunicorn has not read of the loaded bytes."""
        return self._loaded[self._read :]

    def sendall(self, data: bytes) -> None:
        if self.pending:
            self.unsent += data
            return
        if not self.waits:
            self.unsent += data
            self.flush()
            return
        rest = memoryview(data)
        while rest:
            self._wait(select.POLLOUT)
            sent = self._sock.send(rest[:SEND_BYTES])
            self._seconds_left = seconds_left(self._seconds_left, sent)
            rest = rest[sent:]

    def send(self, data: bytes) -> None:
        """Send 100 Continue, for which alone gunicorn uses it.

        Of a request that was gathered, the main loop has sent that already.
        """
        if self.waits:
            self.sendall(data)

    def _wait(self, event: int) -> None:
        began = time.monotonic()
        poll = select.poll()
        poll.register(self._sock, event)
        if not poll.poll(max(self._seconds_left, 0) * 1000):
            self._seconds_left = STALL_SECONDS  # for the answer that says so
            raise TimeoutError
        self._seconds_left -= time.monotonic() - began

    def flush(self) -> int:
        """Send as much of `unsent` as goes without waiting, return the number of bytes."""
        try:
            sent = self._sock.send(self.unsent)
        except BlockingIOError:
            return 0
        del self.unsent[:sent]
        return sent

    def shutdown(self, how: int) -> None:
        """Do nothing: the main loop ends the connection, when all of the answer has gone."""
        self.waits = False

    def close(self) -> None:
        """Do nothing: the main loop closes the connection."""

    def gettimeout(self) -> float:
        """Say that it does not block, so that gunicorn leaves it as it is."""
        return 0.0

    def settimeout(self, seconds: float) -> None:
        """Do nothing: the time of a client is counted here."""

    def setblocking(self, flag: bool) -> None:
        """Do nothing: the real socket never blocks."""


class Caller(TConn):
    """A client's connection; `received` gathers bytes until they begin with a whole request."""

    def __init__(self, cfg: Config, sock: socket.socket, client: object, server: object) -> None:
        super().__init__(cfg, CallerSocket(sock), client, server)
        sock.setblocking(False)
        self.raw = sock
        self.parser = http.get_parser(cfg, self.sock, client)
        self.initialized = True
        self.received = bytearray()
        self.framing: Framing | None = None  # of the request that has begun to come
        self.deadline = 0.0  # by then, what the main loop waits for must have come
        self.keeps = False  # whether the connection stays after the answer
        self.drained = 0  # bytes that came while it was closing

    def receive(self, data: bytes) -> None:
        """Add bytes to the request; none when it came together with the last. Raises Malformed."""
        self.received += data
        if self.framing is None:
            self.framing = Framing()
            self.deadline = time.monotonic() + HEAD_SECONDS
        had_head = self.framing.head is not None
        self.framing.update(self.received)
        if had_head:
            self.extend_deadline(len(data))
        elif self.framing.head is not None:
            self.restart_deadline()

    def send_continue(self) -> None:
        """Ask for the body, once, where the client waits for that."""
        if self.framing and self.framing.expects_continue:
            self.framing.expects_continue = False
            self.sock.unsent += CONTINUE
            with suppress(OSError):  # the next read will meet it, too
                self.sock.flush()

    def restart_deadline(self) -> None:
        self.deadline = time.monotonic() + STALL_SECONDS

    def extend_deadline(self, size: int) -> None:
        """Give the client more time, because bytes came or went."""
        now = time.monotonic()
        self.deadline = now + seconds_left(self.deadline - now, size)

    def is_idle(self) -> bool:
        return self.keeps and self.framing is None and not self.sock.unsent

    def is_whole(self) -> bool:
        size = self.framing.size if self.framing else None
        return size is not None and len(self.received) >= size

    def take_request(self) -> bytes:
        """Take the request out of `received`: the whole of it, or what there is."""
        whole = self.framing.size if self.framing and self.is_whole() else None
        size = len(self.received) if whole is None else whole
        request = bytes(self.received[:size])
        del self.received[:size]
        self.framing = None
        return request
