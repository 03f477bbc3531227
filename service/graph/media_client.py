"""Meta's media: what an id stands for, and its bytes in pieces.

The token goes to Meta's own hosts alone.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urljoin

import urllib3
from urllib3.exceptions import HTTPError

from service.graph.client import json_of, refusal
from service.graph.connections import Connections, seconds_for
from service.graph.error_codes import BY_CODE
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.runtime import deadline
from service.runtime.config import settings
from service.runtime.untrusted import clean, digest_of

Download = urllib3.BaseHTTPResponse  # the answer that a file comes in

CHUNK = 256 * 1024  # bytes in memory at a time
LARGEST = 100 * 2**20  # bytes, of any file (section 6.3)
HOSTS = ('facebook.com', 'fbsbx.com', 'fbcdn.net', 'whatsapp.com', 'whatsapp.net')
REDIRECTS = 3
GONE = 131052  # whose sentences say what is to be done: ask the customer
HEADERS = {'User-Agent': 'whatsapp-gateway/0.1 (python-urllib3)', 'Accept-Encoding': 'identity'}


class NotFetched(Exception):
    """Why there are no bytes: an Outcome, and the HTTP status if there was an answer."""

    def __init__(self, outcome: Outcome, http_status: int | None = None) -> None:
        super().__init__(outcome.reason['title'])
        self.outcome, self.http_status = outcome, http_status

    @property
    def is_stale(self) -> bool:
        """Whether to ask for a new address first: addresses are valid for five minutes."""
        return self.http_status in (401, 403, 404, 410)


@dataclass(slots=True)
class Described:
    """What Meta says that a media id stands for."""

    url: str
    mime_type: str | None
    sha256: bytes | None
    size: int | None


def failure(kind: OutcomeKind, title: str, cause: str | int) -> NotFetched:
    return NotFetched(Outcome(kind, error=make_error(title, cause=cause)))


def too_large() -> NotFetched:
    return failure(OutcomeKind.FAILED, 'The file is larger than 100 MB', GONE)


class MediaClient:
    """Connections to the Graph API and Meta's file servers for `concurrency` threads."""

    def __init__(self, concurrency: int) -> None:
        self._meta = Connections(concurrency)
        self._graph = urllib3.util.parse_url(settings.GRAPH_API_URL)

    def describe(self, media_id: str, phone_number_id: str, token: str) -> Described:
        """GET /{media_id}: a fresh address and what to expect there. Raises NotFetched."""
        path = f'{quote(media_id, safe="")}?phone_number_id={quote(phone_number_id, safe="")}'
        with _network():
            answer = self._meta.call('GET', path, token, headers=HEADERS)
        body = json_of(answer) or {}
        if answer.status != 200:
            raise NotFetched(_of_an_id(refusal(answer, body)), answer.status)
        url = clean(body.get('url'))
        size = body.get('file_size')
        if not url:
            raise failure(
                OutcomeKind.RETRY, 'Meta described the file without an address', 'not_fetched'
            )
        size = int(size) if isinstance(size, int | str) and str(size).isdecimal() else None
        return Described(
            url, clean(body.get('mime_type'), 255), digest_of(body.get('sha256')), size
        )

    @contextmanager
    def download(self, url: str, token: str) -> Iterator[Download]:
        """The answer, whose bytes pieces() reads; its connection is free again afterwards.

        Raises NotFetched.
        """
        with _network():
            answer = self._follow(url, token)
            try:
                if (answer.length_remaining or 0) > LARGEST:
                    raise too_large()
                yield answer
            finally:
                answer.close()  # what was read to its end is back in the pool by now

    @staticmethod
    def pieces(answer: Download) -> Iterator[bytes]:
        """The bytes as they arrive.

        Raises NotFetched when they come more slowly than any file may.
        """
        began = time.monotonic()
        size = 0
        while piece := _piece(answer):
            size += len(piece)
            if time.monotonic() - began > seconds_for(size):
                raise failure(
                    OutcomeKind.RETRY, f'The file came too slowly ({size:,} bytes)', 'not_fetched'
                )
            yield piece

    def _follow(self, url: str, token: str) -> Download:
        """GET, through redirects that stay with Meta."""
        for _ in range(REDIRECTS + 1):
            answer = self._get(url, token)
            if answer.status == 200:
                return answer
            target = answer.get_redirect_location()
            if not target:
                answer.close()
                raise NotFetched(_of_an_address(answer), answer.status)
            answer.close()
            url = urljoin(url, target)
        raise failure(OutcomeKind.RETRY, 'Meta redirects without end', 'not_fetched')

    def _get(self, url: str, token: str) -> Download:
        if not self.is_metas(url):
            raise failure(
                OutcomeKind.RETRY, 'The address of the file is not at Meta', 'not_fetched'
            )
        return self._meta.open(url, HEADERS | {'Authorization': f'Bearer {token}'})

    def is_metas(self, url: str) -> bool:
        """Whether a token may go there: to GRAPH_API_URL itself, or by TLS to a host of Meta's."""
        try:
            parts = urllib3.util.parse_url(url)
        except HTTPError:
            return False
        if (parts.scheme, parts.host, parts.port) == (
            self._graph.scheme,
            self._graph.host,
            self._graph.port,
        ):
            return True
        is_theirs = any(f'.{parts.host}'.endswith(f'.{host}') for host in HOSTS)
        return parts.scheme == 'https' and parts.port in (None, 443) and is_theirs


@contextmanager
def _network() -> Iterator[None]:
    """What the network may do, as NotFetched."""
    try:
        yield
    except HTTPError as error:
        raise failure(
            OutcomeKind.RETRY, f'The file did not arrive ({type(error).__name__})', 'not_fetched'
        ) from error


def _piece(answer: Download) -> bytes:
    with deadline.within(settings.GRAPH_TIMEOUT):
        return answer.read1(CHUNK)


def _of_an_id(outcome: Outcome) -> Outcome:
    """The Outcome of an answer about the id of a file.

    Nothing of a read is unknown, and only a code that is known to be final is final. 100: the id is
    gone.
    """
    if (
        outcome.kind == OutcomeKind.UNKNOWN
        or outcome.code not in BY_CODE
        and outcome.kind == OutcomeKind.FAILED
    ):
        outcome.kind = OutcomeKind.RETRY
    if outcome.code == 100:
        outcome.reason['cause'] = GONE
    return outcome


def _of_an_address(answer: Download) -> Outcome:
    """A file server speaks HTTP alone. A refusal of a fresh address may be the token's fault."""
    kind = OutcomeKind.HELD if answer.status == 401 else OutcomeKind.RETRY
    return failure(
        kind,
        f'Meta answered HTTP {answer.status} for the file',
        190 if kind == OutcomeKind.HELD else 'not_fetched',
    ).outcome
