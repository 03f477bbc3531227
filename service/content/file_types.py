"""Pure: what a file really is, and which messages may carry it (Meta's types and limits, section
6.3).
"""

import codecs
import io
import re
import struct
from typing import BinaryIO

import puremagic

from service.content.file_signatures import (
    BRANDS,
    MARKUP,
    NOT_IN_WIDE_TEXT,
    NOT_TEXT,
    OFFICE_PARTS,
    OLE,
    OLE_STREAMS,
    OPENXML,
    PDF,
    WIDE,
    XML,
)

KB, MB = 1024, 1024 * 1024
LIMITS = {
    'image': 5 * MB,
    'audio': 16 * MB,
    'video': 16 * MB,
    'document': 100 * MB,
    'sticker': 100 * KB,
}
ANIMATED_STICKER = 500 * KB
KINDS = {
    'image/jpeg': 'image', 'image/png': 'image', 'image/webp': 'sticker',
    'audio/aac': 'audio', 'audio/amr': 'audio', 'audio/mpeg': 'audio', 'audio/mp4': 'audio', 'audio/ogg': 'audio',
    'video/mp4': 'video', 'video/3gpp': 'video',
    'text/plain': 'document', 'application/pdf': 'document', 'application/msword': 'document',
    'application/vnd.ms-excel': 'document', 'application/vnd.ms-powerpoint': 'document',
    f'{OPENXML}wordprocessingml.document': 'document', f'{OPENXML}spreadsheetml.sheet': 'document',
    f'{OPENXML}presentationml.presentation': 'document',
}  # fmt: skip
OTHER_NAMES = {
    'image/jpg': 'image/jpeg', 'audio/mp3': 'audio/mpeg', 'audio/m4a': 'audio/mp4', 'audio/x-m4a': 'audio/mp4',
    'audio/opus': 'audio/ogg', 'application/ogg': 'audio/ogg', 'video/3gp': 'video/3gpp', 'audio/x-aac': 'audio/aac',
}  # fmt: skip
UNKNOWN, ARCHIVE, PROGRAM = (
    'application/octet-stream',
    'application/zip',
    'application/x-executable',
)

SNIFF_BYTES = 4096  # bytes at the beginning that tell most
MOST_TAGS, MOST_BRANDS = 8, 64  # at the beginning of a sound; that an MPEG-4 says to be like
MOST_INDEX, MOST_BOXES = (
    4 * MB,
    1000,
)  # of a container's own index that is looked through: bytes, parts


def sniff(stream: BinaryIO) -> str:
    """The MIME type that the bytes of a seekable stream show, whatever anybody calls them."""
    head = _read(stream, 0, SNIFF_BYTES)
    if PDF.match(head):
        return 'application/pdf'
    for offset, mark, tell in CONTAINERS:
        if head[offset:].startswith(mark):
            return tell(stream, head)
    if _is_text(stream):
        return _kind_of_text(head)
    encoding = next((name for mark, name in WIDE if head.startswith(mark)), None)
    if encoding and _is_wide_text(stream, encoding):
        return _kind_of_text(head.decode(encoding, 'ignore').encode())
    return _signature(stream, head)


def kind_of(mime_type: str | None) -> str | None:
    """The type of message that may carry it, None when none may."""
    return KINDS.get(plain_type(mime_type))


def plain_type(mime_type: str | None) -> str:
    """Without parameters, in lower case, by its usual name."""
    name = (mime_type or '').partition(';')[0].strip().lower()
    return OTHER_NAMES.get(name, name)


def agrees(claimed: str | None, found: str) -> bool:
    """Whether somebody's name for a type is that of the content; what is text may have a name of
    its own.
    """
    claimed = plain_type(claimed)
    return claimed == found or (
        found == 'text/plain' and claimed in ('text/csv', 'text/markdown', 'application/json')
    )


def problem(stream: BinaryIO, mime_type: str, size: int) -> str | None:
    """A sentence that says why Meta would not take a file, None when it would."""
    kind = kind_of(mime_type)
    if kind is None:
        return f'The file is {mime_type}, which WhatsApp does not take. Allowed are: {", ".join(KINDS)}.'
    limit, what = LIMITS[kind], f'messages of type {kind}'
    if kind == 'sticker':
        animated = is_animated(stream)
        limit = ANIMATED_STICKER if animated else limit
        what = 'animated stickers' if animated else 'static stickers'
    if size > limit:
        return (
            f'The file is {mime_type} of {size:,} bytes; the limit for {what} is {limit:,} bytes.'
        )
    return None


def is_animated(stream: BinaryIO) -> bool:
    """Of a WebP: the flag in its extended header."""
    head = _read(stream, 0, 21)
    return len(head) == 21 and head[12:16] == b'VP8X' and bool(head[20] & 0x02)


def _read(stream: BinaryIO, position: int, size: int) -> bytes:
    stream.seek(position)
    return stream.read(size)


def _size(stream: BinaryIO) -> int:
    return stream.seek(0, io.SEEK_END)


def _is_text(stream: BinaryIO) -> bool:
    """Whether no byte of it is one that text never has.

    UTF-8, or one of the older ways of writing.
    """
    stream.seek(0)
    while block := stream.read(256 * KB):
        if len(block.translate(None, NOT_TEXT)) < len(block):
            return False
    return True


def _is_wide_text(stream: BinaryIO, encoding: str) -> bool:
    """The same in an encoding of two or four bytes a character, which has a mark at its beginning."""
    stream.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while block := stream.read(256 * KB):
            if NOT_IN_WIDE_TEXT.search(decoder.decode(block)):
                return False
        decoder.decode(b'', final=True)
    except UnicodeDecodeError:
        return False
    return True


def _kind_of_text(head: bytes) -> str:
    if head.startswith(b'{\\rtf'):
        return 'application/rtf'
    if head.startswith(b'#!'):
        return 'text/x-shellscript'
    if XML.match(head):
        return 'application/xml'
    return 'text/html' if MARKUP.match(head) else 'text/plain'


def _signature(stream: BinaryIO, head: bytes) -> str:
    """What Meta takes by marks of our own; the names of everything else by puremagic's, the longest
    first.
    """
    if head.startswith(b'#!AMR\n'):
        return 'audio/amr'
    if head.startswith(b'\xff\xd8\xff') and head[3:4] != b'\xf7':  # that is JPEG-LS
        return 'image/jpeg'
    if head.startswith(b'\x89PNG\r\n\x1a\n'):
        return 'image/png'
    if head.startswith(b'RIFF') and head[8:12] == b'WEBP':
        return 'image/webp'
    if head[4:8] == b'jP  ' or head.startswith(b'\xff\x4f\xff\x51'):
        return 'image/jp2'  # puremagic takes it for a JPEG
    if found := _tagged(stream) if head.startswith(b'ID3') else _audio_frame(head):
        return found
    stream.seek(0)
    try:
        found = next(
            (one.mime_type for one in puremagic.magic_stream(stream) if one.mime_type), UNKNOWN
        )
    except puremagic.PureError:
        return UNKNOWN
    return found if found not in KINDS else UNKNOWN


def _audio_frame(head: bytes) -> str | None:
    """Of AAC or of MPEG layer III, by the first frame; None when it begins with none."""
    if head.startswith(b'ADIF'):
        return 'audio/aac'
    if len(head) < 2 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0:
        return 'audio/aac'
    return 'audio/mpeg' if head[1] & 0xE6 == 0xE2 else None


def _tagged(stream: BinaryIO) -> str:
    """Behind tags with title, artist and the like: most often MP3, but AAC and FLAC may have them,
    too.
    """
    position = 0
    for _ in range(MOST_TAGS):
        tag = _read(stream, position, 10)
        if len(tag) < 10 or not tag.startswith(b'ID3'):
            break
        size = sum(
            (byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)
        )
        position += size + (20 if tag[5] & 0x10 else 10)
    behind = _read(stream, position, SNIFF_BYTES).lstrip(b'\0')
    if behind.startswith(b'fLaC'):
        return 'audio/flac'
    return _audio_frame(behind) or 'audio/mpeg'


def _iso_media(stream: BinaryIO, head: bytes) -> str:
    """MPEG-4 and its relatives: by the brands, and by what tracks there are."""
    length = min(int.from_bytes(head[:4]), len(head), 16 + 4 * MOST_BRANDS)
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

    Length 0: to the end; 1: a long one follows.
    """
    position, size = 0, _size(stream)
    for _ in range(MOST_BOXES):
        header = _read(stream, position, 16) if position < size else b''
        if len(header) < 16:
            break
        length, kind, long_length = struct.unpack('>I4sQ', header)
        length = long_length if length == 1 else length or size
        if kind == name:
            return _read(stream, position, min(length, MOST_INDEX))
        position += max(length, 8)
    return b''


def _handlers(index: bytes) -> set[bytes]:
    return {found[1] for found in re.finditer(rb'hdlr.{8}(....)', index, re.DOTALL)}


def _ogg(stream: BinaryIO, head: bytes) -> str:
    """WhatsApp plays Opus alone."""
    first = head[:512]
    marks = ((b'theora', 'video/ogg'), (b'OpusHead', 'audio/ogg'), (b'vorbis', 'audio/vorbis'))
    return next((mime_type for mark, mime_type in marks if mark in first), 'application/x-ogg')


def channels(stream: BinaryIO) -> int | None:
    """Of Ogg with Opus: one, or two for stereo; None for what is none."""
    head = _read(stream, 0, 512)
    at = head.find(b'OpusHead') if head.startswith(b'OggS') else -1
    return head[at + 9] if 0 <= at < len(head) - 9 else None


def _zip(stream: BinaryIO, head: bytes) -> str:
    """An office document, by the names in its directory; any other archive is one."""
    size = _size(stream)
    tail = _read(stream, max(0, size - 65557), 65557)
    end = tail.rfind(b'PK\5\6')
    if end < 0 or len(tail) < end + 20:
        return ARCHIVE
    length, start = struct.unpack('<II', tail[end + 12 : end + 20])
    directory = _read(stream, min(start, size), min(length, MOST_INDEX))
    if b'[Content_Types].xml' not in directory:
        return ARCHIVE
    return next((mime_type for part, mime_type in OFFICE_PARTS if part.search(directory)), ARCHIVE)


def _ole(stream: BinaryIO, head: bytes) -> str:
    """An office document of the old kind, by the streams in the first part of its directory."""
    if len(head) < 52:
        return UNKNOWN
    sector = 1 << min(struct.unpack('<H', head[30:32])[0], 12)
    first = struct.unpack('<I', head[48:52])[0]
    directory = _read(stream, min((first + 1) * sector, _size(stream)), SNIFF_BYTES)
    names = [
        directory[at : at + 64].decode('utf-16-le', 'replace').partition('\0')[0]
        for at in range(0, SNIFF_BYTES, 128)
    ]
    return next(
        (OLE_STREAMS[name] for name in names if name in OLE_STREAMS), 'application/x-ole-storage'
    )


def _program(stream: BinaryIO, head: bytes) -> str:
    return _kind_of_text(head) if _is_text(stream) else PROGRAM


CONTAINERS = (
    (4, b'ftyp', _iso_media), (0, b'OggS', _ogg), (0, b'PK\3\4', _zip), (0, OLE, _ole), (0, b'\x7fELF', _program),
    (0, b'MZ', _program),
)  # fmt: skip
