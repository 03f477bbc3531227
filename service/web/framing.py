"""Pure: where a request ends among the bytes that have come of it so far.

Whether it is a good one, gunicorn judges.

Where the two could disagree, the request ends with what is there: gunicorn refuses it, and the
connection with it.
"""

import re

HEAD_LIMIT = 64 * 1024  # bytes of a head, and of what follows the last chunk
LINE_LIMIT = 8 * 1024  # bytes of a chunk's first line, as gunicorn has it
FIELD = re.compile(
    rb'^(content-length|transfer-encoding|expect)[ \t]*:([^\r\n]*)\r$', re.IGNORECASE | re.MULTILINE
)
DIGITS = re.compile(rb'[0-9]{1,18}')
HEX = re.compile(rb'[0-9A-Fa-f]{1,16}')


class Malformed(ValueError):
    """It is no HTTP/1.1, or has no end. `status`: what to answer."""

    def __init__(self, status: int, detail: str):
        super().__init__(detail)
        self.status, self.detail = status, detail


class Framing:
    """One request. `head`: where its head ends, `size`: where all of it does; each None until it is
    known.

    `waits`: the client may send the body when it is told to (Expect: 100-continue).
    """

    __slots__ = ('_at', '_is_chunked', '_trailer', 'head', 'size', 'waits')

    def __init__(self):
        self.head = self.size = self._trailer = None
        self.waits = self._is_chunked = False

    def look(self, data: bytearray) -> None:
        """At all that has come of it, and perhaps of the next one. Raises Malformed."""
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
            self.head = self._at = len(head)
            self._read_fields(head)
        elif len(head) == HEAD_LIMIT:
            raise Malformed(431, f'The head of the request is longer than {HEAD_LIMIT} bytes.')

    def _read_fields(self, head: bytes) -> None:
        fields = [
            (name.lower(), value.strip(b' \t').lower()) for name, value in FIELD.findall(head)
        ]
        expected = [value for name, value in fields if name == b'expect']
        framing = [(name, value) for name, value in fields if name != b'expect']
        self.waits = expected == [b'100-continue'] and b' HTTP/1.1\r\n' in head
        self.size = self.head
        if len(framing) != 1 or any(value != b'100-continue' for value in expected):
            return  # no body, or none that is wanted
        ((name, value),) = framing
        if name == b'transfer-encoding' and b'chunked' in value:
            self._is_chunked, self.size = True, None
        elif name == b'content-length' and DIGITS.fullmatch(value):
            self.size += int(value)

    def _follow_chunks(self, data: bytearray) -> None:
        try:
            while self._trailer is None and self._passes_chunk(data):
                pass
        except ValueError:
            self.size = len(data)
            return
        if self._trailer is not None:
            self._find_end(data)

    def _passes_chunk(self, data: bytearray) -> bool:
        """Whether a chunk's first line is there; then its end is known.

        Raises ValueError when it is none.
        """
        at = self._at
        if len(data) < at:
            return False
        end = data.find(b'\r\n', at, at + LINE_LIMIT)
        if data[at - 2 : at] != b'\r\n' or end < 0 and len(data) - at >= LINE_LIMIT:
            raise ValueError
        if end < 0:
            return False
        length = chunk_length(bytes(data[at:end]))
        if length == 0:
            self._trailer = end
        self._at = end + 2 + length + 2
        return True

    def _find_end(self, data: bytearray) -> None:
        end = data.find(b'\r\n\r\n', self._trailer)
        if end >= 0:
            self.size = end + 4
        elif len(data) - self._at > HEAD_LIMIT:
            raise Malformed(400, f'What follows the last chunk is longer than {HEAD_LIMIT} bytes.')
        else:
            self._trailer = max(self._trailer, len(data) - 3)


def chunk_length(line: bytes) -> int:
    """Bytes of a chunk by its first line. Raises ValueError."""
    number, extension, _ = line.partition(b';')
    number = number.rstrip(b' \t') if extension else number
    if not HEX.fullmatch(number):
        raise ValueError
    return int(number, 16)
