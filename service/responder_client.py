"""One POST to a responder: its whole answer within a time and a size, whatever its server does."""

import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError

from service import deadline, retry_after
from service.reply_failure import NoReply

MAX_ANSWER = 2**20  # bytes, as they come and decoded
PIECE = 65536  # bytes
LONGEST_WAIT = 600  # seconds; no server is left alone for longer
BUSY = (429, 503, 529)  # 529: overloaded, of some AIs' servers
PLAIN = ('', 'identity')
WINDOWS = {'gzip': (31,), 'x-gzip': (31,), 'deflate': (15, -15)}  # for zlib; a deflate is sent with a head or without

_manager = deadline.pool_manager(num_pools=64, maxsize=64)


@dataclass(slots=True)
class Answer:
    """What a responder's server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def wait(self) -> float | None:
        """Seconds after which a server that is busy wants to be asked again."""
        return retry_after.seconds(self.headers, LONGEST_WAIT) if self.status in BUSY else None


def post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> Answer:
    """The answer, of any status; redirects are not followed. Raises NoReply when there is none in `seconds`."""
    began = time.monotonic()
    headers = {'Content-Type': 'application/json', 'Accept-Encoding': 'gzip, deflate', **headers}
    try:
        with deadline.within(seconds):
            answer = _manager.request('POST', url, body=body, headers=headers, redirect=False, preload_content=False)
            try:
                encoding = answer.headers.get('Content-Encoding', '').strip().lower()
                return Answer(answer.status, answer.headers, _decoded(_read(answer), encoding))
            finally:
                answer.close()  # one that was read to its end is in the pool by now
    except (HTTPError, ValueError) as error:  # ValueError: a header or an address that cannot be sent
        if time.monotonic() - began >= seconds:
            raise NoReply(f'the responder did not answer within {seconds:g} s') from None
        raise NoReply(f'the responder did not answer ({type(error).__name__})') from None


def _read(answer: urllib3.BaseHTTPResponse) -> bytes:
    received = bytearray()
    while piece := answer.read(PIECE, decode_content=False):
        received += piece
        if len(received) > MAX_ANSWER:
            raise _too_large()
    return bytes(received)


def _decoded(received: bytes, encoding: str) -> bytes:
    """urllib3 would decode a br or zstd too, without a limit where their libraries know none."""
    if encoding in PLAIN or not received:
        return received
    for window in WINDOWS.get(encoding, ()):
        try:
            decoder = zlib.decompressobj(window)
            decoded = decoder.decompress(received, MAX_ANSWER + 1)
        except zlib.error:
            continue
        if len(decoded) > MAX_ANSWER:
            raise _too_large()
        if decoder.eof:
            return decoded
    raise NoReply('the responder answered in a Content-Encoding that cannot be read')


def _too_large() -> NoReply:
    return NoReply(f'the responder answered more than {MAX_ANSWER:,} bytes')
