"""The body of an upload to Meta (section 6.3): multipart, its file streamed from the storage."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from urllib3.filepost import choose_boundary, encode_multipart_formdata

from service.content.file_names import for_meta
from service.content.file_types import plain_type


class FormFile(Protocol):
    """What is told of the file."""

    mime_type: str
    filename: str | None
    size: int


class Form:
    """An iterable body with its headers. `pieces`: the bytes of the file."""

    def __init__(self, file: FormFile, pieces: Iterable[bytes]) -> None:
        boundary = choose_boundary()
        mime_type = plain_type(file.mime_type)
        fields: dict[str, str | tuple[str, bytes, str]] = {
            'messaging_product': 'whatsapp',
            'type': mime_type,
            'file': (for_meta(file.filename, mime_type), b'', mime_type),
        }
        whole, content_type = encode_multipart_formdata(fields, boundary)
        self._end = f'\r\n--{boundary}--\r\n'.encode()
        self._beginning = whole.removesuffix(self._end)
        self._pieces = pieces
        self.size = file.size
        length = len(self._beginning) + file.size + len(self._end)
        self.headers = {'Content-Type': content_type, 'Content-Length': str(length)}

    def __iter__(self) -> Iterator[bytes]:
        yield self._beginning
        yield from self._pieces
        yield self._end
