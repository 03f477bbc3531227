"""Bodies of requests: none is longer than it may be, none that was cut off counts as whole."""

from typing import IO, cast

from flask import Request, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream

from service.runtime.errors import BadRequest, RequestTimeout

BODY_LIMIT = 4 * 1024 * 1024  # bytes; Meta's batches have up to 3 MB (section 1.3)
STREAMED = ('text/csv', 'multipart/form-data')  # their views read them piece by piece
CUT_OFF = 'The body ended before its announced end; nothing was stored.'
MALFORMED = 'The chunks of the body are malformed; nothing was stored.'
TOO_SLOW = 'The body came too slowly; nothing was stored.'


class Body(LimitedStream):
    """The body's bytes: as many as Content-Length says (`length`), or chunks up to their end.

    More than `limit` bytes raise RequestEntityTooLarge.
    """

    def __init__(self, stream: IO[bytes], length: int | None, limit: int) -> None:
        super().__init__(stream, limit + 1 if length is None else length)
        self._is_chunked = length is None
        self._byte_limit = limit

    def readinto(self, buffer: object) -> int | None:
        try:
            size = super().readinto(cast(bytearray, buffer))
        except ParseException:
            raise BadRequest(MALFORMED) from None
        if self.tell() > self._byte_limit:
            raise RequestEntityTooLarge
        return size

    def on_disconnect(self, error: Exception | None = None) -> None:
        """Nothing comes any more. That is the end of chunks; gunicorn's error says it was none."""
        if isinstance(error, TimeoutError):
            raise RequestTimeout(TOO_SLOW)
        if error is not None or not self._is_chunked:
            raise BadRequest(CUT_OFF, code='body_incomplete')


class WholeRequest(Request):
    """A request whose body is a Body."""

    @cached_property
    def stream(self) -> IO[bytes]:
        length = self.content_length
        limit = self.max_content_length or BODY_LIMIT
        if length is None and 'Transfer-Encoding' not in self.headers:
            length = 0
        if length is not None and length > limit:
            raise RequestEntityTooLarge
        return cast(IO[bytes], Body(self.input_stream, length, limit))


def read() -> None:
    """Read the body before a view has a database connection: a slow sender must not hold one."""
    if request.mimetype not in STREAMED:
        request.get_data()
