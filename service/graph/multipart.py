"""The body of an upload to Meta (section 6.3): multipart, its file passed on in pieces as it comes
from the storage.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from urllib3.filepost import choose_boundary, encode_multipart_formdata

from service.content.file_names import for_meta
from service.content.file_types import plain_type


class Form:
    """An iterable body with its headers.

    `file`: mime_type, filename and size; `pieces`: its bytes.
    """

    def __init__(self, file: Mapping[str, Any], pieces: Iterable[bytes]) -> None:
        boundary, mime_type = choose_boundary(), plain_type(file['mime_type'])
        fields: dict[str, str | tuple[str, bytes, str]] = {
            'messaging_product': 'whatsapp',
            'type': mime_type,
            'file': (for_meta(file['filename'], mime_type), b'', mime_type),
        }
        whole, content_type = encode_multipart_formdata(fields, boundary)
        self._end = f'\r\n--{boundary}--\r\n'.encode()
        self._beginning, self._pieces, self.size = (
            whole.removesuffix(self._end),
            pieces,
            file['size'],
        )
        length = len(self._beginning) + file['size'] + len(self._end)
        self.headers = {'Content-Type': content_type, 'Content-Length': str(length)}

    def __iter__(self) -> Iterator[bytes]:
        yield self._beginning
        yield from self._pieces
        yield self._end
