"""Pure: where a request ends among the bytes that have come of it so far.

Whether the request is a good one, gunicorn judges. Where the two could disagree about its end, it
ends here with what has come: gunicorn refuses that, and closes the connection.
"""

import re

HEAD_LIMIT = 64 * 1024  # bytes of a head, and of what follows the last chunk
LINE_LIMIT = 8 * 1024  # bytes of a chunk's first line, as gunicorn has it
FRAMING_HEADER = re.compile(
    rb'^(content-length|transfer-encoding|expect)[ \t]*:([^\r\n]*)\r$', re.IGNORECASE | re.MULTILINE
)
DECIMAL = re.compile(rb'[0-9]{1,18}')
HEXADECIMAL = re.compile(rb'[0-9A-Fa-f]{1,16}')


class Malformed(ValueError):
    """It is no HTTP/1.1, or has no end. `status`: what to answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Framing:
    """Where one request ends. `head`: the size of its head, `size`: of all of it; None: unknown.

    `expects_continue`: the client sends the body when it is told to (Expect: 100-continue).
    """

    __slots__ = ('_chunk_at', '_is_chunked', '_trailer_at', 'expects_continue', 'head', 'size')

    def __init__(self) -> None:
        self.head: int | None = None
        self.size: int | None = None
        self.expects_continue = False
        self._is_chunked = False
        self._chunk_at = 0  # where the next chunk begins
        self._trailer_at: int | None = None  # where to look for the end of what follows the chunks

    def update(self, data: bytearray) -> None:
        """Look at all that has come of it, and perhaps of the next request. Raises Malformed."""
        if self.head is None:
            self._find_head(data)
        if self.head is not None and self._is_chunked and self.size is None:
            self._follow_chunks(data)

    def _find_head(self, data: bytearray) -> None:
        end = data.find(b'\r\n\r\n', 0, HEAD_LIMIT)
        head = bytes(data[: end + 4 if end >= 0 else HEAD_LIMIT])
        if head.count(b'\n') != head.count(b'\r\n'):  # gunicorn_h1c would take LF LF for its end
            raise Malformed(400, 'A line of the head does not end with CR and LF.')
        if end >= 0:
            self.head = len(head)
            self._chunk_at = len(head)
            self.size = self._size_by_headers(head)
        elif len(head) == HEAD_LIMIT:
            raise Malformed(431, f'The head of the request is longer than {HEAD_LIMIT} bytes.')

    def _size_by_headers(self, head: bytes) -> int | None:
        """The size of the whole request, None when it comes in chunks."""
        found = FRAMING_HEADER.findall(head)
        headers = [(name.lower(), value.strip(b' \t').lower()) for name, value in found]
        expected = [value for name, value in headers if name == b'expect']
        framing = [(name, value) for name, value in headers if name != b'expect']
        self.expects_continue = expected == [b'100-continue'] and b' HTTP/1.1\r\n' in head
        if len(framing) != 1 or any(value != b'100-continue' for value in expected):
            return len(head)  # no body, or none that is wanted
        ((name, value),) = framing
        if name == b'transfer-encoding' and b'chunked' in value:
            self._is_chunked = True
            return None
        if name == b'content-length' and DECIMAL.fullmatch(value):
            return len(head) + int(value)
        return len(head)

    def _follow_chunks(self, data: bytearray) -> None:
        try:
            while self._trailer_at is None and self._passes_chunk(data):
                pass
        except ValueError:
            self.size = len(data)
            return
        if self._trailer_at is not None:
            self._find_end(data, self._trailer_at)

    def _passes_chunk(self, data: bytearray) -> bool:
        """Whether a chunk's first line is there; then its end is known. ValueError: it is none."""
        at = self._chunk_at
        if len(data) < at:
            return False
        end = data.find(b'\r\n', at, at + LINE_LIMIT)
        if data[at - 2 : at] != b'\r\n' or end < 0 and len(data) - at >= LINE_LIMIT:
            raise ValueError
        if end < 0:
            return False
        length = chunk_length(bytes(data[at:end]))
        if length == 0:
            self._trailer_at = end
        self._chunk_at = end + 2 + length + 2
        return True

    def _find_end(self, data: bytearray, trailer_at: int) -> None:
        end = data.find(b'\r\n\r\n', trailer_at)
        if end >= 0:
            self.size = end + 4
        elif len(data) - self._chunk_at > HEAD_LIMIT:
            raise Malformed(400, f'What follows the last chunk is longer than {HEAD_LIMIT} bytes.')
        else:
            self._trailer_at = max(trailer_at, len(data) - 3)


def chunk_length(line: bytes) -> int:
    """Bytes of a chunk by its first line. Raises ValueError."""
    number, extension, _ = line.partition(b';')
    number = number.rstrip(b' \t') if extension else number
    if not HEXADECIMAL.fullmatch(number):
        raise ValueError
    return int(number, 16)
