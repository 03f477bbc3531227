"""One POST to a responder: its whole answer within a time and a size, whatever its server does."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from service.replies.reply_failure import NoReply
from service.runtime import bounded_answer, deadline, public_address, retry_after

MAX_ANSWER = 2**20  # bytes, compressed and decompressed
MAX_STREAM = 8 * MAX_ANSWER  # of one in pieces, each of which has its frame
MAX_WAIT = 600  # seconds that a server may ask to be left alone
NOT_PUBLIC = 'the responder has no public address, and ALLOW_PRIVATE_URLS is not set'
BUSY = (429, 503, 529)  # HTTP statuses; 529 (overloaded) is that of some AIs

# Connections that one server may have, and of how many servers they are kept: more are closed after
# their call.
PER_SERVER = 256
SERVERS = 64


class TimedAdapter(HTTPAdapter):
    """The adapter of `requests`, on connections that end with the time of deadline.within()."""

    def __init__(self, make_manager: Callable[..., urllib3.PoolManager]) -> None:
        self._make_manager = make_manager
        super().__init__(pool_connections=SERVERS, pool_maxsize=PER_SERVER, max_retries=0)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: object
    ) -> None:
        self.poolmanager = self._make_manager(num_pools=connections, maxsize=maxsize, block=block)


# Whatever keeps an answer away; ValueError: the address or a header is unusable.
UNANSWERED = (requests.RequestException, HTTPError, ValueError)

# Used without a Session: no redirects, cookies, proxies or .netrc, and half of the cost.
_to_tenants = TimedAdapter(public_address.pool_manager)
_to_operators = TimedAdapter(deadline.pool_manager)


@dataclass(slots=True)
class Answer:
    """An HTTP answer, of any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def wait(self) -> float | None:
        """Seconds after which a server that is busy wants to be asked again."""
        return retry_after.seconds(self.headers, MAX_WAIT) if self.status in BUSY else None


def post(
    url: str, body: bytes, headers: dict[str, str], seconds: float, is_operators: bool = False
) -> Answer:
    """The whole answer, of any status; redirects are not followed.

    `is_operators`: the URL is of the environment; one of an account has to be public. Raises
    NoReply when there is no answer within `seconds`.
    """
    adapter = _to_operators if is_operators else _to_tenants
    began = time.monotonic()
    headers = {'Content-Type': 'application/json', 'Accept-Encoding': 'gzip, deflate', **headers}
    try:
        with deadline.within(seconds):
            request = requests.Request('POST', url, headers, data=body).prepare()
            answer = adapter.send(request, stream=True).raw
            body = bounded_answer.read(answer, _most(answer.headers))
            return Answer(answer.status, answer.headers, body)
    except bounded_answer.Unreadable as error:
        raise NoReply(f'the responder answered {error}') from None
    except public_address.NotPublic:
        raise NoReply(NOT_PUBLIC, final=True, is_misconfigured=True) from None
    except UNANSWERED as error:
        if time.monotonic() - began >= seconds:
            raise NoReply(f'the responder did not answer within {seconds:g} s') from None
        raise NoReply(f'the responder did not answer ({type(error).__name__})') from None


def _most(headers: Mapping[str, str]) -> int:
    """How many bytes an answer may have."""
    is_stream = headers.get('Content-Type', '').strip().lower().startswith('text/event-stream')
    return MAX_STREAM if is_stream else MAX_ANSWER
