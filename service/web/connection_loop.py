"""gthread's main loop for connections that wait on it: each for one thing, until its deadline.

Nothing here blocks: not the sending of an answer, not the end of a connection, not a client that
says nothing. So no connection waits for another one.
"""

import logging
import math
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

from gunicorn.workers.gthread import ThreadWorker

from service.runtime.watchdog import watchdog
from service.web.callers import Caller

log = logging.getLogger(__name__)

OnReady = Callable[[Caller], None]

RECV_BYTES = 64 * 1024  # at a time
CLOSE_SECONDS = 2  # that a client has to close after us
DRAIN_BYTES = 8 * 1024 * 1024  # that it may still send meanwhile
LAST_REQUEST_SECONDS = 5  # for the rest of a request at SIGTERM
ENDS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
CHECK_SECONDS = 0.25  # between two checks of deadlines


class ConnectionLoop(ThreadWorker):
    """A worker that watches its connections: `_open` are all, `_waiting` those the loop waits for.

    The others are in the hands of a thread.
    """

    heard_before: 'SimpleQueue[int]'  # the master's signals, as they were at the fork

    def init_process(self) -> None:
        self._open: set[Caller] = set()
        self._waiting: set[Caller] = set()
        self._next_check = 0.0
        self._stop_at = math.inf  # while stopping: until then a request may become whole
        super().init_process()

    def _watch(self, caller: Caller, on_ready: OnReady, event: int = selectors.EVENT_READ) -> None:
        self._waiting.add(caller)
        self.poller.register(caller.raw, event, partial(self._on_event, on_ready, caller))

    def _on_event(self, on_ready: OnReady, caller: Caller, _: object) -> None:
        """Let one connection go on. An error of it closes it, and no other one."""
        try:
            if caller in self._waiting:  # else it was closed in this very turn
                on_ready(caller)
        except Exception as error:
            log.error('a connection failed', exc_info=error)
            self._close(caller)

    def _unwatch(self, caller: Caller) -> None:
        if caller in self._waiting:
            self._waiting.remove(caller)
            self.poller.unregister(caller.raw)

    def murder_pending(self) -> None:
        """End the connections whose time is over. gthread calls it in each turn."""
        super().murder_pending()
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            is_over = now >= self._stop_at
            late = [one for one in self._waiting if one.deadline <= now or one.framing and is_over]
            for caller in late:
                self._on_deadline(caller)

    def _on_deadline(self, caller: Caller) -> None:
        self._close(caller)

    # ---- the rest of an answer, and what comes after it

    def _continue(self, caller: Caller) -> None:
        """Go on with a connection that a thread has given back, or whose answer has gone."""
        if caller.sock.unsent:
            caller.restart_deadline()
            self._watch(caller, self._on_writable, selectors.EVENT_WRITE)
        elif caller.keeps:
            self._next_request(caller)
        else:
            self._close_gently(caller)

    def _next_request(self, caller: Caller) -> None:
        raise NotImplementedError

    def _on_writable(self, caller: Caller) -> None:
        try:
            caller.extend_deadline(caller.sock.flush())
        except OSError:
            self._close(caller)
            return
        if not caller.sock.unsent:
            self._unwatch(caller)
            self._continue(caller)

    def _close_gently(self, caller: Caller) -> None:
        """Close when the client has closed, or has had time to.

        At once, unread bytes would make the kernel break off the answer.
        """
        try:
            caller.raw.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(caller)
            return
        caller.received.clear()
        caller.drained = 0
        caller.deadline = time.monotonic() + CLOSE_SECONDS
        self._watch(caller, self._drain)

    def _drain(self, caller: Caller) -> None:
        try:
            size = len(caller.raw.recv(RECV_BYTES))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        caller.drained += size
        if not size or caller.drained > DRAIN_BYTES:
            self._close(caller)

    def _close(self, caller: Caller) -> None:
        if caller in self._open:
            self._unwatch(caller)
            self._open.remove(caller)
            self.nr_conns -= 1
            caller.raw.close()

    # ---- the end of the process

    def init_signals(self) -> None:
        """Hear signals, and what came between the fork and now.

        Until here the process has its master's handler, which puts them in its copy of the
        master's queue, where nobody would look: gunicorn 27 then waits `graceful_timeout` for it.
        """
        super().init_signals()
        if ENDS & _drain(self.heard_before):
            self.alive = False

    def handle_exit(self, sig: int, frame: object) -> None:
        """Finish what is under way at SIGTERM, without long waits for a silent PostgreSQL."""
        watchdog.hurry(gives_up=True)
        super().handle_exit(sig, frame)

    def is_parent_alive(self) -> bool:
        """Whether gunicorn's master lives. When it was killed, this process ends as at SIGTERM."""
        if super().is_parent_alive():
            return True
        watchdog.hurry(gives_up=True)
        self.alive = False
        return False

    def _cap_keepalive(self, deadline: float) -> None:
        """Free the port and wait for no silent client. gthread calls it once, when it stops."""
        super()._cap_keepalive(deadline)
        for listener in self.sockets:
            self._accept_waiting(listener)
            listener.close()
        self._stop_at = time.monotonic() + LAST_REQUEST_SECONDS
        for caller in self._waiting:
            if caller.framing is None:
                caller.deadline = min(caller.deadline, deadline)

    def _accept_waiting(self, listener: socket.socket) -> None:
        """Accept those who had connected already: closing the listener would cut them off."""
        before = -1
        while before < self.nr_conns < self.worker_connections:
            before = self.nr_conns
            self.accept(listener)

    def murder_keepalived(self, force: bool = False) -> None:
        """With `force`, let no thread wait for its client. gthread does so at the very end."""
        super().murder_keepalived(force)
        for caller in self._open if force else ():
            with suppress(OSError):
                caller.raw.shutdown(socket.SHUT_RDWR)


def _drain(signals: 'SimpleQueue[int]') -> set[int]:
    heard = set()
    with suppress(Empty):
        while True:
            heard.add(signals.get_nowait())
    return heard
