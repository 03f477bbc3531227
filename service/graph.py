"""The Graph API: one call, what its answer means, and Meta's error codes in one table.

urllib3 is the engine of `requests`; used directly it costs less than half the CPU a call (docs/performance.md).
"""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from service.config import settings
from service.error_table import look_up
from service.person_id import named
from service.webhook_events import MAX_ID, as_dict, clean, identifier

DAY = 86400  # seconds; no wait that Meta asks for is longer
KINDS = {'T': 'retry', 'W': 'retry', 'C': 'held', 'P': 'failed', 'A': 'unknown'}
LOST = frozenset(('no_answer', 'http_5xx', 'no_id'))  # causes: nobody knows whether it was sent
NO_GRAPH_ANSWER = LOST | {'unreachable'}


@dataclass(slots=True)
class Outcome:
    """What became of one call. `kind`: accepted, retry, failed, held or unknown; postponed when none was made."""

    kind: str
    wamid: str | None = None
    wa_id: str | None = None
    user_id: str | None = None
    media_id: str | None = None  # of an upload
    error: dict | None = None
    delay: float | None = None  # seconds, when more is asked for than the retry policy gives
    waits: bool = False  # a retry that holds up nobody else: it waits for its own condition
    scope: str | None = None  # what slows down or stops beside this message (service.error_table)
    pause: float | None = None  # seconds that Meta wants the scope to pause

    @property
    def tells_of_meta(self) -> bool | None:
        """Whether Meta is there: not after a passing error or a lost connection. None: this says nothing of that."""
        if self.kind == 'accepted':
            return True
        if not self.error or self.scope == 'pair':
            return None
        if cause := self.error.get('cause'):
            return False if cause in NO_GRAPH_ANSWER else None
        return self.waits or self.kind != 'retry'


def judge(error, http_status=400, delay=None, pause=None):
    """The Outcome that the error table gives an error, of an answer or of a `failed` status alike."""
    known = look_up(error['code'], http_status)
    kind = 'held' if known.klass == 'W' and known.delay is None else KINDS[known.klass]
    delay = max(filter(None, (known.delay, delay)), default=None)
    return Outcome(kind, error=error, delay=delay, waits=known.klass == 'W', scope=known.scope, pause=pause)


def _error(title, code=None, details=None, fbtrace_id=None, cause=None):
    """The contract's `error`. `cause`: what there is no code of Meta's for (error_table.OUR_OWN)."""
    error = {'code': code, 'title': title, 'details': details, 'fbtrace_id': fbtrace_id}
    return error | {'cause': cause} if cause else error


def error_from(meta):
    """Meta's error object (an answer's or a status's) as the contract's `error`."""
    data = as_dict(meta.get('error_data'))
    title = clean(meta.get('title'), 500) or clean(meta.get('message'), 500) or 'Error'
    return _error(
        title,
        _code(meta.get('code')),
        clean(data.get('details'), 2000),
        clean(meta.get('fbtrace_id'), 255),
    )


def _code(value):
    """A whole number, also when it comes as text; None for anything else."""
    digits = identifier(value)
    return int(digits) if digits and digits.isascii() and digits.isdigit() and len(digits) < 20 else None


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
        self._path = f'{base}/{settings.GRAPH_API_VERSION}/%s/%s'

    def send(self, phone_number_id, access_token, body):
        """POST one message (section 6.1). Never raises for what the network or Meta may do; returns an Outcome."""
        return self._post(phone_number_id, access_token, body, _accepted)

    def mark_read(self, phone_number_id, access_token, wamid, typing=False):
        """Show a customer's message as read, and the business typing (section 6.2); harmless to repeat. An Outcome."""
        body = {'messaging_product': 'whatsapp', 'status': 'read', 'message_id': wamid}
        body |= {'typing_indicator': {'type': 'text'}} if typing else {}
        return self._post(phone_number_id, access_token, body, lambda answer: Outcome('accepted'))

    def answers(self, phone_number_id, access_token):
        """Whether anybody answers at all, asked with a read that does nothing."""
        path, headers = self._path % (phone_number_id, '?fields=id'), {'Authorization': f'Bearer {access_token}'}
        try:
            answer = self._pool.urlopen('GET', path, headers=headers, redirect=False, assert_same_host=False)
        except HTTPError:
            return False
        return answer.status not in (500, 502, 503, 504)

    def upload(self, phone_number_id, access_token, form):
        """POST a file (section 6.3), a graph_upload.Form; harmless to repeat. An Outcome, never unknown."""
        headers = {'Authorization': f'Bearer {access_token}', **form.headers}
        each = urllib3.Timeout(connect=settings.GRAPH_TIMEOUT, read=settings.GRAPH_TIMEOUT)  # of its steps
        outcome = self._call(phone_number_id, 'media', form, headers, _uploaded, timeout=each)
        if outcome.kind != 'unknown':
            return outcome
        return replace(outcome, kind='retry', error=outcome.error | {'cause': 'unreachable'})

    def _post(self, phone_number_id, access_token, body, understood):
        headers = {'Authorization': f'Bearer {access_token}', 'Content-Type': 'application/json'}
        return self._call(phone_number_id, 'messages', json.dumps(body), headers, understood)

    def _call(self, phone_number_id, edge, body, headers, understood, **options):
        _left.bytes = False
        try:
            answer = self._pool.urlopen(
                'POST', self._path % (phone_number_id, edge), body, headers,
                redirect=False, assert_same_host=False, **options,
            )  # fmt: skip
        except HTTPError as error:
            return _no_answer(error)
        return _understand(answer, understood)


def _no_answer(error):
    title = f'{"No answer from Meta" if _left.bytes else "Meta could not be reached"} ({type(error).__name__})'
    if _left.bytes:
        return Outcome('unknown', error=_error(title, cause='no_answer'))
    return Outcome('retry', error=_error(title, cause='unreachable'))


def _understand(answer, understood):
    try:
        body = json.loads(answer.data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    return understood(body) if answer.status < 300 else refusal(answer, body)


def refusal(answer, body):
    """The Outcome of an answer that is not a success; `body`: its JSON, a dict."""
    if isinstance(body.get('error'), dict):
        return _refused(error_from(body['error']), answer)
    if answer.status >= 500:
        title = f'Meta answered HTTP {answer.status} without a Graph error'
        return Outcome('unknown', error=_error(title, cause='http_5xx'))
    return _refused(_error(f'Meta answered HTTP {answer.status}'), answer)


def _accepted(body):
    wamid = clean(_first(body, 'messages').get('id'), MAX_ID)
    if not wamid:
        return Outcome('unknown', error=_error('Meta answered without a message id', cause='no_id'))
    contact = _first(body, 'contacts')
    ids = named(contact.get('user_id'), contact.get('wa_id'))
    return Outcome('accepted', wamid=wamid, wa_id=ids.get('phone'), user_id=ids.get('user'))


def _uploaded(body):
    media_id = identifier(body.get('id'))
    if not media_id:
        return Outcome('unknown', error=_error('Meta answered without a media id', cause='no_id'))
    return Outcome('accepted', media_id=media_id)


def _first(body, name):
    elements = body.get(name)
    return elements[0] if isinstance(elements, list) and elements and isinstance(elements[0], dict) else {}


def _refused(error, answer):
    wait = _retry_after(answer)
    return judge(error, answer.status, delay=wait, pause=wait or _regain(answer))


def _retry_after(answer):
    """Seconds; HTTP allows a number of them or a date."""
    asked = answer.headers.get('Retry-After', '')
    if asked.isascii() and asked.isdigit():
        return min(float(asked), DAY)
    with suppress(ValueError, OverflowError, TypeError):
        return min(max(0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()), DAY)
    return None


def _regain(answer):
    """Seconds until Meta gives access again: X-Business-Use-Case-Usage says it in minutes (section 7)."""
    try:
        usage = json.loads(answer.headers.get('X-Business-Use-Case-Usage', '{}'))
        minutes = [one.get('estimated_time_to_regain_access') for uses in usage.values() for one in uses]
    except (ValueError, TypeError, AttributeError):
        return None
    longest = max((one for one in minutes if isinstance(one, int | float) and one > 0), default=0)
    return min(longest * 60, DAY) or None
