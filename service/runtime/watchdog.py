"""Closes the connection of a statement that PostgreSQL does not answer in time.

libpq waits for an answer in C, for ever, and meanwhile no signal is heard. The kernel notices a
peer that acknowledges nothing (`tcp_user_timeout`, keepalives), but not a proxy or a server that
takes bytes and stays silent. So a thread of its own watches the waits of all others and shuts the
sockets of the late ones: libpq then finds its connection closed.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg2
from psycopg2.extensions import connection

LOOK_EVERY = 0.5  # seconds
HURRY_SECONDS = 5  # what is left for a wait once the process is to stop


@dataclass(slots=True, eq=False)
class Wait:
    """A statement under way: until when (monotonic) it may last, and whether it was cut off."""

    conn: connection
    until: float
    began: float = field(default_factory=time.monotonic)
    cut: bool = False


class Watchdog:
    """The waits of a process, and the thread that watches them.

    The thread starts with the first wait, and again after a fork.
    """

    def __init__(self) -> None:
        self._waits: set[Wait] = set()
        self._lock = threading.Lock()
        self._is_needed = threading.Event()  # somebody waits, or has not long ago
        self._is_busy = False  # somebody has begun to wait since the last look
        self._pid: int | None = None
        self._hurried_at: float | None = None
        self._gives_up = False
        self._is_silent = False  # while it is to give up

    def begin(self, conn: connection, seconds: float) -> Wait:
        """Watch a statement on `conn` that may last so many seconds.

        Call end() with what this returns, whatever happens.
        """
        if self._pid != os.getpid():
            self._start()
        wait = Wait(conn, time.monotonic() + seconds)
        with self._lock:
            self._waits.add(wait)
            self._is_busy = True
            if not self._is_needed.is_set():
                self._is_needed.set()
        return wait

    def end(self, wait: Wait) -> None:
        """Stop watching a statement.

        Not while it is being cut off: the number of its socket may soon be another socket's.
        """
        with self._lock:
            self._waits.discard(wait)

    def hurry(self, gives_up: bool = False) -> None:
        """Let no wait last longer than HURRY_SECONDS from now on: the process is to stop.

        `gives_up`: once PostgreSQL has let somebody wait in vain for a connection, nobody connects
        any more. Else each request that waits would have its time again.
        """
        self._hurried_at = self._hurried_at or time.monotonic()
        self._gives_up = gives_up

    @property
    def hurries(self) -> bool:
        """Whether the process is to stop."""
        return self._hurried_at is not None

    @contextmanager
    def connecting(self, seconds: float) -> Iterator[None]:
        """Let a block connect, and learn whether PostgreSQL lets it wait for so many seconds."""
        if self._is_silent:
            raise psycopg2.OperationalError('it is silent, and this process is to stop')
        began = time.monotonic()
        try:
            yield
        except Exception:
            self._is_silent |= self._gives_up and time.monotonic() - began >= seconds
            raise

    def relax(self) -> None:
        """Take hurry() back (tests)."""
        self._hurried_at = None
        self._gives_up = self._is_silent = False

    def _start(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            self._waits = set()
            self._is_needed = threading.Event()
        threading.Thread(target=self._watch, name='watchdog', daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._is_needed.wait()
            time.sleep(LOOK_EVERY)
            now = time.monotonic()
            with self._lock:
                if not (self._waits or self._is_busy):  # a process at rest is not woken for it
                    self._is_needed.clear()
                self._is_busy = False
                for wait in self._waits:
                    if now > self._end_of(wait) and not wait.cut:
                        wait.cut = True
                        _shut(wait.conn)

    def _end_of(self, wait: Wait) -> float:
        hurried_at = self._hurried_at
        if hurried_at is None:
            return wait.until
        return min(wait.until, max(wait.began, hurried_at) + HURRY_SECONDS)


def _shut(conn: connection) -> None:
    """Shut a connection's socket, by a second descriptor: libpq has to close the first."""
    with suppress(Exception), socket.socket(fileno=os.dup(conn.fileno())) as its_socket:
        its_socket.shutdown(socket.SHUT_RDWR)


watchdog = Watchdog()
