"""HTTP calls that end in time: all that a call does on the network shares the same seconds.

The timeouts of urllib3 and http.client begin anew with each read and each address of a name. A
server that sends a byte now and then, a head without end or one `100 Continue` after another would
hold its caller for as long as it likes.
"""

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, cast

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)

MAX_HEAD = 65536  # bytes of an answer's head, all 1xx before it included

# As socket.getaddrinfo() gives them: family, kind, protocol, canonical name, and the address.
Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
# of this thread's call: .ends_at, by time.monotonic(), and .idle, seconds
_call = threading.local()


@contextmanager
def within(seconds: float, idle: float | None = None) -> Iterator[None]:
    """Limit the time of this thread's calls in a block to so many seconds together.

    They are for resolving a name, connecting, sending, waiting and reading the whole answer. No
    single wait may be longer than `idle`. Needed around every call of a `pool_manager()`.
    """
    outer = getattr(_call, 'ends_at', None), getattr(_call, 'idle', None)
    ends_at = time.monotonic() + seconds
    _call.ends_at = ends_at if outer[0] is None else min(ends_at, outer[0])
    _call.idle = idle or outer[1]
    try:
        yield
    finally:
        _call.ends_at, _call.idle = outer


def seconds_left() -> float:
    """How long this thread's call may wait next. Raises TimeoutError when its time is over."""
    ends_at: float | None = getattr(_call, 'ends_at', None)
    if ends_at is None:
        raise RuntimeError('a call without a time limit: use within(seconds)')
    left = ends_at - time.monotonic()
    idle = cast(float | None, _call.idle)
    if left <= 0:
        raise TimeoutError('the time for the whole call is over')
    return left if idle is None else min(left, idle)


def pool_manager(**options: Any) -> urllib3.PoolManager:
    """Keep-alive connections with the time limits of within(); no call is repeated by itself."""
    manager = urllib3.PoolManager(retries=False, **options)
    manager.pool_classes_by_scheme = {'http': HTTPPool, 'https': HTTPSPool}
    return manager


class TimedSocket:
    """A connected socket whose operations may last as long as the call has time left."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # bytes that the head of an answer may still have; None while its body is read
        self.head_left: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data).cast('B')
        while rest:
            self._sock.settimeout(seconds_left())
            rest = rest[self._sock.send(rest) :]

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_Received(self, self._sock.makefile('rb', buffering=0)))


class _Received(io.RawIOBase):
    """The bytes that arrive on a TimedSocket."""

    def __init__(self, timed: TimedSocket, raw: socket.SocketIO) -> None:
        self._timed = timed
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._timed.settimeout(seconds_left())
        count = self._raw.readinto(buffer)
        if self._timed.head_left is not None:
            self._timed.head_left -= count or 0
            if self._timed.head_left < 0:
                raise http.client.HTTPException(
                    f'the head of the answer is longer than {MAX_HEAD} bytes'
                )
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _FinalResponse(http.client.HTTPResponse):
    """The final answer, whose head has a limit of size.

    http.client takes a 102 or 103 before it for the answer, and the answer for that of the
    connection's next call.
    """

    def __init__(self, sock: TimedSocket, *arguments: Any, **options: Any) -> None:
        super().__init__(cast(socket.socket, sock), *arguments, **options)
        self._timed = sock

    def begin(self) -> None:
        self._timed.head_left = MAX_HEAD
        try:
            super().begin()
        finally:
            self._timed.head_left = None

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # http.client's own
            if status == http.client.SWITCHING_PROTOCOLS:
                raise http.client.HTTPException(
                    'the server switches to a protocol that nobody asked for'
                )
            if not 100 < status < 200:
                return version, status, reason
            http.client._read_headers(self.fp)  # type: ignore[attr-defined]


class Timed(urllib3.connection.HTTPConnection):
    """A connection of urllib3 that connects, sends and reads within the time of the call."""

    response_class = _FinalResponse

    def _new_conn(self) -> socket.socket:
        try:
            addresses = resolve(self._dns_host, self.port)
            self.check_addresses(addresses)
            return _connected(addresses, self.socket_options or ())
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError as error:
            raise LocationParseError(f"'{self.host}' is no host name") from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f'Connection to {self.host} timed out.') from error
        except OSError as error:
            raise NewConnectionError(
                self, f'Failed to establish a new connection: {error}'
            ) from error

    def check_addresses(self, addresses: Sequence[Address]) -> None:
        """Raise one of urllib3's HTTPErrors when there is one that must not be connected to."""

    def connect(self) -> None:
        super().connect()
        self.sock = cast(socket.socket, TimedSocket(self.sock))


class HTTPConnection(Timed):
    pass


class HTTPSConnection(Timed, urllib3.connection.HTTPSConnection):
    pass


class HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = HTTPConnection


class HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = HTTPSConnection


def _connected(addresses: Sequence[Address], options: Iterable[tuple[Any, ...]]) -> socket.socket:
    """Connect to the first address that answers.

    Each address gets its share of the time that is left, and TLS gets the rest.
    """
    failure = OSError('the name has no address')
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(seconds_left() / (len(addresses) - index))
            sock.connect(address)
            sock.settimeout(seconds_left())
            return sock
        except OSError as error:
            failure = error
            if sock is not None:
                sock.close()
    raise failure


def resolve(host: str, port: int) -> Sequence[Address]:
    """The addresses of a host, within the time of the call. Raises OSError or UnicodeError.

    The resolver cannot be stopped, so it has a thread of its own, which is left alone when it takes
    too long.
    """
    found: Future[Sequence[Address]] = Future()
    arguments = (found, host, port)
    threading.Thread(target=_resolve, args=arguments, name='resolver', daemon=True).start()
    return found.result(seconds_left())


def _resolve(found: Future[Sequence[Address]], host: str, port: int) -> None:
    try:
        found.set_result(socket.getaddrinfo(host.strip('[]'), port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        found.set_exception(error)
