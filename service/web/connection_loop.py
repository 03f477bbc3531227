"""gthread's main loop for connections that wait on it: each for one thing, until its deadline, and
nobody for another.

Nothing here blocks: not the sending of an answer, not the end of a connection, not a client that
says nothing.
"""

import logging
import math
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from gunicorn.workers.gthread import ThreadWorker

from service.runtime.watchdog import watchdog
from service.web.callers import Caller

log = logging.getLogger(__name__)

PIECE = 64 * 1024  # bytes that are read at a time
CLOSING = 2  # seconds that a client has to close after us
DRAINED = 8 * 1024 * 1024  # bytes that it may still send meanwhile
LAST_REQUEST = 5  # seconds for the rest of a request at SIGTERM
LOOK = 0.25  # seconds between two looks for whose time is over


class ConnectionLoop(ThreadWorker):
    """A connection is `open`.

    While the loop waits for something on it, it is `waiting`, too; else a thread has it.
    """

    def init_process(self) -> None:
        self._open: set[Caller] = set()
        self._waiting: set[Caller] = set()
        self._next_look = 0.0
        self._last = math.inf  # when stopping: until then a request that has begun may become whole
        super().init_process()

    def _watch(self, caller: Caller, on_ready: Callable, event: int = selectors.EVENT_READ) -> None:
        self._waiting.add(caller)
        self.poller.register(caller.raw, event, partial(self._call, on_ready, caller))

    def _call(self, on_ready: Callable, caller: Caller, _: object) -> None:
        """One connection's fault is not everybody's."""
        try:
            if caller in self._waiting:  # else it was closed within this very turn
                on_ready(caller)
        except Exception as error:
            log.error('a connection failed', exc_info=error)
            self._close(caller)

    def _unwatch(self, caller: Caller) -> None:
        if caller in self._waiting:
            self._waiting.remove(caller)
            self.poller.unregister(caller.raw)

    def murder_pending(self) -> None:
        """gthread calls it in each turn: whose time is over?"""
        super().murder_pending()
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK
            is_over = now >= self._last
            late = [one for one in self._waiting if one.deadline <= now or one.framing and is_over]
            for caller in late:
                self._too_late(caller)

    def _too_late(self, caller: Caller) -> None:
        self._close(caller)

    # ---- the rest of an answer, and what comes after it

    def _go_on(self, caller: Caller) -> None:
        """A thread has given it back, or its answer has gone."""
        if caller.sock.unsent:
            caller.restart_deadline()
            self._watch(caller, self._on_room, selectors.EVENT_WRITE)
        elif caller.keeps:
            self._next(caller)
        else:
            self._close_gently(caller)

    def _next(self, caller: Caller) -> None:
        raise NotImplementedError

    def _on_room(self, caller: Caller) -> None:
        try:
            caller.extend_deadline(caller.sock.flush())
        except OSError:
            self._close(caller)
            return
        if not caller.sock.unsent:
            self._unwatch(caller)
            self._go_on(caller)

    def _close_gently(self, caller: Caller) -> None:
        """When the client has closed, or has had time to: unread bytes would make the kernel break
        off the answer.
        """
        try:
            caller.raw.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(caller)
            return
        caller.received.clear()
        caller.drained, caller.deadline = 0, time.monotonic() + CLOSING
        self._watch(caller, self._drain)

    def _drain(self, caller: Caller) -> None:
        try:
            size = len(caller.raw.recv(PIECE))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        caller.drained += size
        if not size or caller.drained > DRAINED:
            self._close(caller)

    def _close(self, caller: Caller) -> None:
        if caller in self._open:
            self._unwatch(caller)
            self._open.remove(caller)
            self.nr_conns -= 1
            caller.raw.close()

    # ---- the end of the process

    def handle_exit(self, sig: int, frame: object) -> None:
        """SIGTERM: what is under way is finished, and nobody waits long for a PostgreSQL that is
        silent.
        """
        watchdog.hurry()
        super().handle_exit(sig, frame)

    def is_parent_alive(self) -> bool:
        """When gunicorn's master was killed, this process ends as at SIGTERM."""
        if super().is_parent_alive():
            return True
        watchdog.hurry()
        self.alive = False
        return False

    def _cap_keepalive(self, deadline: float) -> None:
        """gthread calls it once, when it stops: the port is free, and who is silent holds nobody
        up.
        """
        super()._cap_keepalive(deadline)
        for listener in self.sockets:
            self._accept_the_last(listener)
            listener.close()
        self._last = time.monotonic() + LAST_REQUEST
        for caller in self._waiting:
            if caller.framing is None:
                caller.deadline = min(caller.deadline, deadline)

    def _accept_the_last(self, listener: socket.socket) -> None:
        """Who had connected before the end would be cut off by it."""
        before = -1
        while before < self.nr_conns < self.worker_connections:
            before = self.nr_conns
            self.accept(listener)

    def murder_keepalived(self, force: bool = False) -> None:
        """gthread calls it with `force` at the very end: no thread waits for its client any more."""
        super().murder_keepalived(force)
        for caller in self._open if force else ():
            with suppress(OSError):
                caller.raw.shutdown(socket.SHUT_RDWR)
