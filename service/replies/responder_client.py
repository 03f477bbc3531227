"""One POST to a responder: its whole answer within a time and a size, whatever its server does."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from service.replies.reply_failure import NoReply
from service.runtime import bounded_answer, deadline, retry_after

MAX_ANSWER = 2**20  # bytes, compressed and decompressed
MAX_STREAM = 8 * MAX_ANSWER  # of one in pieces, each of which has its frame
MAX_WAIT = 600  # seconds that a server may ask to be left alone
BUSY = (429, 503, 529)  # HTTP statuses; 529 (overloaded) is that of some AIs


class TimedAdapter(HTTPAdapter):
    """The adapter of `requests`, on connections that end with the time of deadline.within()."""

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: object
    ) -> None:
        self.poolmanager = deadline.pool_manager(
            num_pools=connections, maxsize=maxsize, block=block
        )


# Whatever keeps an answer away; ValueError: the address or a header is unusable.
UNANSWERED = (requests.RequestException, HTTPError, ValueError)

# Connections that one server may have, and of how many servers they are kept: more are closed after
# their call.
PER_SERVER = 256
SERVERS = 64
# Used without a Session: no redirects, cookies, proxies or .netrc, and half of the cost.
_adapter = TimedAdapter(pool_connections=SERVERS, pool_maxsize=PER_SERVER, max_retries=0)


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


def post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> Answer:
    """The whole answer, of any status; redirects are not followed.

    Raises NoReply when there is none within `seconds`.
    """
    began = time.monotonic()
    headers = {'Content-Type': 'application/json', 'Accept-Encoding': 'gzip, deflate', **headers}
    try:
        with deadline.within(seconds):
            request = requests.Request('POST', url, headers, data=body).prepare()
            answer = _adapter.send(request, stream=True).raw
            body = bounded_answer.read(answer, _most(answer.headers))
            return Answer(answer.status, answer.headers, body)
    except bounded_answer.Unreadable as error:
        raise NoReply(f'the responder answered {error}') from None
    except UNANSWERED as error:
        if time.monotonic() - began >= seconds:
            raise NoReply(f'the responder did not answer within {seconds:g} s') from None
        raise NoReply(f'the responder did not answer ({type(error).__name__})') from None


def _most(headers: Mapping[str, str]) -> int:
    """How many bytes an answer may have."""
    is_stream = headers.get('Content-Type', '').strip().lower().startswith('text/event-stream')
    return MAX_STREAM if is_stream else MAX_ANSWER
