"""Pure: what a container file holds: MPEG-4, Ogg, ZIP and the old documents of Office."""

import io
import re
import struct
from typing import BinaryIO

from service.content.file_signatures import (
    ARCHIVE,
    BRANDS,
    OFFICE_PARTS,
    OLE_STREAMS,
    SNIFF_BYTES,
    UNKNOWN,
)

MAX_BRANDS = 64  # that an MPEG-4 file says to be compatible with
MAX_BOXES = 1000  # of an MPEG-4 file
MAX_INDEX = 4 * 1024 * 1024  # bytes of a container's own index that are looked through


def read_at(stream: BinaryIO, position: int, size: int) -> bytes:
    stream.seek(position)
    return stream.read(size)


def size_of(stream: BinaryIO) -> int:
    return stream.seek(0, io.SEEK_END)


def iso_media(stream: BinaryIO, head: bytes) -> str:
    """MPEG-4 and its relatives: by the brands, and by what tracks there are."""
    length = min(int.from_bytes(head[:4]), len(head), 16 + 4 * MAX_BRANDS)
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length, 4))]
    known = (BRANDS.get(brand[:size]) for brand in brands for size in (4, 3, 2))
    mime_type = next(filter(None, known), UNKNOWN)
    if mime_type in ('video/mp4', 'video/3gpp'):
        tracks = _handlers(_box(stream, b'moov'))
        if b'soun' in tracks and b'vide' not in tracks:
            return mime_type.replace('video', 'audio')
    return mime_type


def _box(stream: BinaryIO, name: bytes) -> bytes:
    """A top-level box of an MPEG-4 file, empty when there is none.

    A length of 0 means to the end of the file, 1 that a longer length follows.
    """
    position = 0
    size = size_of(stream)
    for _ in range(MAX_BOXES):
        header = read_at(stream, position, 16) if position < size else b''
        if len(header) < 16:
            break
        length, kind, long_length = struct.unpack('>I4sQ', header)
        length = long_length if length == 1 else length or size
        if kind == name:
            return read_at(stream, position, min(length, MAX_INDEX))
        position += max(length, 8)
    return b''


def _handlers(index: bytes) -> set[bytes]:
    return {found[1] for found in re.finditer(rb'hdlr.{8}(....)', index, re.DOTALL)}


def ogg(stream: BinaryIO, head: bytes) -> str:
    """What an Ogg file holds: WhatsApp plays only Opus."""
    first = head[:512]
    marks = ((b'theora', 'video/ogg'), (b'OpusHead', 'audio/ogg'), (b'vorbis', 'audio/vorbis'))
    return next((mime_type for mark, mime_type in marks if mark in first), 'application/x-ogg')


def channels(stream: BinaryIO) -> int | None:
    """How many channels a file of Ogg with Opus has; None for any other file."""
    head = read_at(stream, 0, 512)
    at = head.find(b'OpusHead') if head.startswith(b'OggS') else -1
    return head[at + 9] if 0 <= at < len(head) - 9 else None


def zip_archive(stream: BinaryIO, head: bytes) -> str:
    """An office document, by the names in its directory; any other archive is one."""
    size = size_of(stream)
    tail = read_at(stream, max(0, size - 65557), 65557)
    end = tail.rfind(b'PK\5\6')
    if end < 0 or len(tail) < end + 20:
        return ARCHIVE
    length, start = struct.unpack('<II', tail[end + 12 : end + 20])
    directory = read_at(stream, min(start, size), min(length, MAX_INDEX))
    if b'[Content_Types].xml' not in directory:
        return ARCHIVE
    return next((mime_type for part, mime_type in OFFICE_PARTS if part.search(directory)), ARCHIVE)


def ole(stream: BinaryIO, head: bytes) -> str:
    """An office document of the old kind, by the streams in the first part of its directory."""
    if len(head) < 52:
        return UNKNOWN
    sector = 1 << min(struct.unpack('<H', head[30:32])[0], 12)
    first = struct.unpack('<I', head[48:52])[0]
    directory = read_at(stream, min((first + 1) * sector, size_of(stream)), SNIFF_BYTES)
    names = [
        directory[at : at + 64].decode('utf-16-le', 'replace').partition('\0')[0]
        for at in range(0, SNIFF_BYTES, 128)
    ]
    return next(
        (OLE_STREAMS[name] for name in names if name in OLE_STREAMS), 'application/x-ole-storage'
    )
