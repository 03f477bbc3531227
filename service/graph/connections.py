"""Calls to Meta over keep-alive connections, limited in time and in the size of the answer.

The token goes to Meta alone: where an answer repeats it, as Meta's error of a malformed one does,
it is taken out.
"""

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import urllib3

from service.runtime import bounded_answer, deadline, metrics
from service.runtime.config import settings

MAX_ANSWER = 2**20  # bytes, decoded; what Meta says of one message has some hundred
MIN_RATE = 32 * 2**10  # bytes a second: a file that goes or comes more slowly is tried again
SLOWEST = 600  # seconds for one file, however large
REMOVED = 'REMOVED'
SHORTEST_TOKEN = 8  # Meta's have some 200 letters; a shorter one is a word of some test

_left = threading.local()  # .bytes: something of this thread's request was handed to the network


@dataclass(slots=True)
class Answer:
    """What Meta said, whole. `data`: its body."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Watched(deadline.HTTPConnection):
    """Notes when a request may have reached Meta: until then, trying again is safe.

    The head is sent together with the body in one system call; one more would cost as much as all
    of urllib3 does.
    """

    _head: bytes = b''
    _is_head: bool = False  # the next bytes to be sent are the head

    def endheaders(self, message_body: Any = None, *, encode_chunked: bool = False) -> None:
        self._is_head = True
        super().endheaders(message_body, encode_chunked=encode_chunked)

    def send(self, data: bytes) -> None:  # type: ignore[override]  # urllib3 gives nothing else
        if self._is_head:
            self._head = data
            self._is_head = False
            return
        if self.sock is None and self.auto_open:
            self.connect()
        data = self._head + data
        self._head = b''
        _left.bytes = True
        super().send(data)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        if self._head:
            self.send(b'')
        return super().getresponse()


class _HTTPConnection(_Watched, deadline.HTTPConnection):
    pass


class _HTTPSConnection(_Watched, deadline.HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


def without(answer: Answer, token: str) -> Answer:
    """An answer without the token, however it is written there."""
    in_json = json.dumps(token)[1:-1]
    forms = {token, in_json, in_json.replace('/', r'\/'), quote(token, safe='')}
    data = answer.data
    for form in forms:
        data = data.replace(form.encode(), REMOVED.encode())
    headers = urllib3.HTTPHeaderDict()
    for name, value in answer.headers.items():
        if not any(form in value for form in forms):
            headers.add(name, value)
    return Answer(answer.status, headers, data)


@dataclass(slots=True)
class _Call:
    """A call that is under way. `status`: of its whole answer, None while there is none."""

    status: int | None = None

    @property
    def outcome(self) -> str:
        """As metrics call it."""
        if self.status is None:
            return 'no_answer' if has_left() else 'unreachable'
        if self.status < 400:
            return 'success'
        return 'refused' if self.status < 500 else 'server_error'


@contextmanager
def _counted() -> Iterator[_Call]:
    """Count the call that is made within a block, whatever comes of it."""
    call = _Call()
    began = time.perf_counter()
    try:
        yield call
    finally:
        metrics.graph_calls.labels(call.outcome).observe(time.perf_counter() - began)


def has_left() -> bool:
    """Whether something of this thread's latest request was handed to the network."""
    left: bool = _left.bytes
    return left


def seconds_for(size: int) -> float:
    """The most that a file of so many bytes may take."""
    return min(SLOWEST, settings.GRAPH_TIMEOUT + size / MIN_RATE)


class Connections:
    """For `concurrency` threads, to the Graph API and to whatever addresses it gives."""

    def __init__(self, concurrency: int) -> None:
        self._manager = deadline.pool_manager(num_pools=8, maxsize=concurrency)
        self._manager.pool_classes_by_scheme = {'http': _HTTPPool, 'https': _HTTPSPool}
        self._graph = self._manager.connection_from_url(settings.GRAPH_API_URL)
        base = urllib3.util.parse_url(settings.GRAPH_API_URL).path or ''
        self._base = f'{base}/'

    def call(
        self,
        method: str,
        path: str,
        token: str,
        body: str | bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
        most: int = MAX_ANSWER,
        version: str | None = None,
    ) -> Answer:
        """One call of the Graph API; `path` comes after the version. Raises urllib3's HTTPError.

        `seconds`: for all of it, where GRAPH_TIMEOUT is too little; then no wait in it is longer
        than that. `version`: another one than GRAPH_API_VERSION.
        """
        _left.bytes = False
        headers = {'Authorization': f'Bearer {token}', **(headers or {})}
        url = f'{self._base}{version or settings.GRAPH_API_VERSION}/{path}'
        limit = deadline.within(
            seconds or settings.GRAPH_TIMEOUT, idle=seconds and settings.GRAPH_TIMEOUT
        )
        with _counted() as call, limit:
            answer = self._graph.urlopen(
                method,
                url,
                body,
                headers,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
            )
            data = bounded_answer.read(answer, most)
            call.status = answer.status
        if len(token) < SHORTEST_TOKEN:
            return Answer(answer.status, answer.headers, data)
        return without(Answer(answer.status, answer.headers, data), token)

    def open(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """GET any address: the answer with its body unread. Raises urllib3's HTTPError."""
        with deadline.within(settings.GRAPH_TIMEOUT):
            return self._manager.request(
                'GET', url, headers=headers, redirect=False, preload_content=False
            )
