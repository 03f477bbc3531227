"""Bodies of requests: none is longer than it may be, and none that was cut off is taken for whole."""

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
    """As many bytes as Content-Length announces (`length`), or chunks up to their end, at most
    `limit` bytes.
    """

    def __init__(self, stream, length: int | None, limit: int):
        super().__init__(stream, limit + 1 if length is None else length)
        self._is_chunked, self._most = length is None, limit

    def readinto(self, buffer) -> int | None:
        try:
            size = super().readinto(buffer)
        except ParseException:
            raise BadRequest(MALFORMED) from None
        if self.tell() > self._most:
            raise RequestEntityTooLarge
        return size

    def on_disconnect(self, error: Exception | None = None) -> None:
        """Nothing came any more.

        Of chunks that is the end; gunicorn raises an error where it is missing.
        """
        if isinstance(error, TimeoutError):
            raise RequestTimeout(TOO_SLOW)
        if error is not None or not self._is_chunked:
            raise BadRequest(CUT_OFF, code='body_incomplete')


class WholeRequest(Request):
    @cached_property
    def stream(self) -> Body:
        length, limit = self.content_length, self.max_content_length
        if length is None and 'Transfer-Encoding' not in self.headers:
            length = 0
        if length is not None and length > limit:
            raise RequestEntityTooLarge
        return Body(self.input_stream, length, limit)


def read() -> None:
    """Before a view has a database connection, so that who sends slowly holds none."""
    if request.mimetype not in STREAMED:
        request.get_data()
