"""Callers who wait for an answer that others have to find out: kept here, without a thread each.

A view gives the answer for when the time is over, and says what a better one depends on. Behind
gunicorn the door keeps the connection meanwhile: one thread of the process asks for all who wait
together, and holds a database connection only while it asks. Elsewhere the request's own thread
waits.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from flask import Response, request
from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from werkzeug.http import HTTP_STATUS_CODES

from service.runtime.db import connection, no_connection, reason
from service.web.callers import Caller, CallerSocket
from service.web.fast_webhook import answer, end_of_head
from service.web.graph_errors import GRAPH_JSON
from service.web.pending import LateAnswer, Pending

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.03  # between two looks at what callers wait for
MOST = 500  # callers who wait in a process; half of the connections that it takes
QUIET_SECONDS = 10  # between two lines about a database that is away


def answer_later(pending: Pending, otherwise: Response) -> Response:
    """The answer of a view. `otherwise`: when nothing is known in time."""
    sock = request.environ.get('gunicorn.socket')
    if isinstance(sock, CallerSocket):
        sock.pending = pending
        return otherwise
    with no_connection():
        late = _wait(pending)
    return Response(late.body, late.status, content_type=GRAPH_JSON) if late else otherwise


def _wait(pending: Pending) -> LateAnswer | None:
    while time.monotonic() < pending.until:
        with connection():
            found = pending.find([pending.key])
        if pending.key in found:
            return pending.render(found[pending.key])
        time.sleep(LOOK_SECONDS)
    return None


class WaitingCalls:
    """Keeps callers until their answer is known or their time is over; then `done` gets them.

    `done` is called in the thread of this object, whose other methods the main loop calls.
    """

    def __init__(self, done: Callable[[list[Caller]], None]) -> None:
        self._done = done
        self._added: SimpleQueue[Caller] = SimpleQueue()
        self._waiting: list[Caller] = []
        self._quiet_until = 0.0
        self._thread: threading.Thread | None = None

    def add(self, caller: Caller) -> bool:
        """Keep a caller whose socket has a Pending. False: too many wait already."""
        if len(self._waiting) + self._added.qsize() >= MOST:
            return False
        self._added.put(caller)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name='waiting-calls', daemon=True)
            self._thread.start()
        return True

    def _run(self) -> None:
        while True:
            self._take_added()
            began = time.monotonic()
            try:
                self._look()
            except Exception as error:
                self._log_failure(error)
            self._give_up_late()
            time.sleep(max(0, began + LOOK_SECONDS - time.monotonic()))

    def _take_added(self) -> None:
        """Wait for somebody if nobody is there."""
        if not self._waiting:
            self._waiting.append(self._added.get())
        with suppress(Empty):
            while True:
                self._waiting.append(self._added.get_nowait())

    def _look(self) -> None:
        """Ask what is known, once for all who ask the same way, and answer those who can be."""
        by_find: dict[Any, list[Caller]] = defaultdict(list)
        for caller in self._waiting:
            by_find[_pending(caller).find].append(caller)
        for find, callers in by_find.items():
            with connection():
                found = find({_pending(one).key for one in callers})
            known = [one for one in callers if _pending(one).key in found]
            for caller in known:
                _put_answer(caller, found)
            self._release(known)

    def _give_up_late(self) -> None:
        """The answer that the view has given goes out as it is."""
        now = time.monotonic()
        self._release([one for one in self._waiting if _pending(one).until <= now])

    def _release(self, callers: list[Caller]) -> None:
        if callers:
            released = set(callers)
            self._waiting = [one for one in self._waiting if one not in released]
            for caller in callers:
                caller.sock.pending = None
            self._done(callers)

    def _log_failure(self, error: Exception) -> None:
        if time.monotonic() < self._quiet_until:
            return
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        extra = {'callers': len(self._waiting), 'reason': reason(error)}
        if isinstance(error, (PeeweeException, MaxConnectionsExceeded)):
            log.warning('callers wait for the database', extra=extra)
        else:
            log.error('callers cannot be answered', exc_info=error, extra=extra)


def _pending(caller: Caller) -> Pending:
    pending: Pending | None = caller.sock.pending
    if pending is None:
        raise LookupError('a caller who waits for nothing')
    return pending


def _put_answer(caller: Caller, found: Mapping[str, Any]) -> None:
    """Put what was found in the place of the answer that the view has given."""
    pending = _pending(caller)
    try:
        late = pending.render(found[pending.key])
    except Exception as error:  # the others wait for theirs
        log.error('an answer cannot be written', exc_info=error)
        return
    status = f'{late.status} {HTTP_STATUS_CODES.get(late.status, "Unknown")}'
    parts = answer(status, late.body, GRAPH_JSON)
    caller.sock.unsent[:] = end_of_head(caller.keeps, pending.request_id).join(parts)
