"""The Graph API: one call, what its answer means, and Meta's error codes in one table.

urllib3 is the engine of `requests`; used directly it costs less than half the CPU a call (docs/performance.md).
"""

import json
import threading
from dataclasses import dataclass, field

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from service.config import settings

# Classes of the fact sheet, section 7: T try again, W wait for a condition, P permanent for this message,
# C the account cannot send. Where the sheet says "a few times, then P" the message fails after its retries anyway.
ERROR_CLASSES = {
    'T': (1, 2, 4, 17, 32, 613, 80007, 80008, 130429, 131000, 131016, 131056, 131057, 132069, 133000, 133004, 133015,
          134101, 135000, 2494100),
    'C': (0, 3, 10, *range(200, 300), 33, 104, 190, 368, 131005, 131031, 131037, 131042, 131044, 131045, 131048, 131063,
          132068, 133005, 133006, 133008, 133009, 133010, 133016, 134011),
    'P': (100, 130403, 130472, 130497, 131008, 131009, 131021, 131026, 131030, 131047, 131049, 131050, 131051, 131052,
          131053, 131055, 131059, 131062, 131064, 132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016,
          132018, 134100, 134102, 137000),
}  # fmt: skip
CLASS_OF = {code: name for name, codes in ERROR_CLASSES.items() for code in codes}
DELAY_OF = {131057: 60, 133015: 300}  # seconds; the only two whose gap wins over 2, 4, 8


@dataclass(slots=True)
class Outcome:
    """What became of one call. `kind`: accepted, retry, failed, held or unknown."""

    kind: str
    wamid: str | None = None
    wa_id: str | None = None
    user_id: str | None = None
    error: dict | None = None
    delay: float | None = None  # seconds, when the answer asks for more than the retry policy
    contacts: list = field(default_factory=list)


def _error(title, code=None, details=None, fbtrace_id=None):
    return {'code': code, 'title': title, 'details': details, 'fbtrace_id': fbtrace_id}


def error_from(meta):
    """Meta's error object (an answer's or a status's) as the contract's `error`."""
    data = meta.get('error_data')
    return _error(
        meta.get('title') or meta.get('message') or 'Error', meta.get('code'),
        data.get('details') if isinstance(data, dict) else None, meta.get('fbtrace_id'),
    )  # fmt: skip


def class_of(error, http_status=400):
    """The class of an error code; for one that the table does not know, what the HTTP status suggests."""
    known = CLASS_OF.get(error['code'])
    if known:
        return known
    return 'T' if http_status >= 500 or http_status == 429 else 'C' if http_status == 401 else 'P'


_left = threading.local()  # .bytes: something of this thread's request was handed to the network


class _Watched:
    """Notes the moment from which a request may have reached Meta: before it, trying again is safe."""

    def send(self, data):
        if self.sock is None and self.auto_open:
            self.connect()
        _left.bytes = True
        super().send(data)


class _WatchedHTTPConnection(_Watched, HTTPConnection):
    pass


class _WatchedHTTPSConnection(_Watched, HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _WatchedHTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPSConnection


class GraphClient:
    """Keep-alive connections to the Graph API for `concurrency` threads."""

    def __init__(self, concurrency=8):
        timeout = urllib3.Timeout(total=settings.GRAPH_TIMEOUT)
        self._manager = urllib3.PoolManager(num_pools=4, maxsize=concurrency, timeout=timeout, retries=False)
        self._manager.pool_classes_by_scheme = {'http': _HTTPPool, 'https': _HTTPSPool}
        self._pool = self._manager.connection_from_url(settings.GRAPH_API_URL)
        base = urllib3.util.parse_url(settings.GRAPH_API_URL).path or ''
        self._path = f'{base}/{settings.GRAPH_API_VERSION}/%s/messages'

    def send(self, phone_number_id, access_token, body):
        """POST one message (section 6.1). Never raises for what the network or Meta may do; returns an Outcome."""
        headers = {'Authorization': f'Bearer {access_token}', 'Content-Type': 'application/json'}
        _left.bytes = False
        try:
            answer = self._pool.urlopen(
                'POST', self._path % phone_number_id, json.dumps(body), headers, redirect=False, assert_same_host=False
            )
        except HTTPError as error:
            return _no_answer(error)
        return _understand(answer)


def _no_answer(error):
    title = f'{"No answer from Meta" if _left.bytes else "Meta could not be reached"} ({type(error).__name__})'
    return Outcome('unknown' if _left.bytes else 'retry', error=_error(title))


def _understand(answer):
    try:
        body = json.loads(answer.data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    if answer.status < 300:
        return _accepted(body)
    if isinstance(body.get('error'), dict):
        return _refused(error_from(body['error']), answer)
    if answer.status >= 500:
        return Outcome('unknown', error=_error(f'Meta answered HTTP {answer.status} without a Graph error'))
    return _refused(_error(f'Meta answered HTTP {answer.status}'), answer)


def _accepted(body):
    first = _first(body, 'messages')
    if not first.get('id'):
        return Outcome('unknown', error=_error('Meta answered without a message id'))
    contact = _first(body, 'contacts')
    return Outcome('accepted', wamid=first['id'], wa_id=contact.get('wa_id'), user_id=contact.get('user_id'))


def _first(body, name):
    elements = body.get(name)
    return elements[0] if isinstance(elements, list) and elements and isinstance(elements[0], dict) else {}


def _refused(error, answer):
    kind = {'T': 'retry', 'C': 'held'}.get(class_of(error, answer.status), 'failed')
    return Outcome(kind, error=error, delay=DELAY_OF.get(error['code']) or _retry_after(answer))


def _retry_after(answer):
    seconds = answer.headers.get('Retry-After', '')
    return float(seconds) if seconds.isdigit() else None
