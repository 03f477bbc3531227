"""Pure: what a file really is, by its bytes, and whether Meta would take it.

Apart from the types (file_types.py): the table of all marks takes memory that only uploads need.
"""

import codecs
from typing import BinaryIO

import puremagic

from service.content.file_containers import iso_media, ogg, ole, read_at, zip_archive
from service.content.file_signatures import (
    MARKUP,
    NOT_IN_WIDE_TEXT,
    NOT_TEXT,
    OLE,
    PDF,
    PROGRAM,
    SNIFF_BYTES,
    UNKNOWN,
    WIDE,
    XML,
)
from service.content.file_types import KB, KINDS, LIMITS, kind_of

ANIMATED_STICKER = 500 * KB
MAX_TAGS = 8  # of title, artist and the like, at the beginning of a sound


def sniff(stream: BinaryIO) -> str:
    """The MIME type that the bytes of a seekable stream show, whatever anybody calls them."""
    head = read_at(stream, 0, SNIFF_BYTES)
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


def problem(stream: BinaryIO, mime_type: str, size: int) -> str | None:
    """A sentence that says why Meta would not take a file, None when it would."""
    kind = kind_of(mime_type)
    if kind is None:
        allowed = ', '.join(KINDS)
        return f'The file is {mime_type}, which WhatsApp does not take. Allowed are: {allowed}.'
    limit = LIMITS[kind]
    what = f'messages of type {kind}'
    if kind == 'sticker':
        what = 'static stickers'
        if is_animated(stream):
            limit = ANIMATED_STICKER
            what = 'animated stickers'
    if size > limit:
        return (
            f'The file is {mime_type} of {size:,} bytes; the limit for {what} is {limit:,} bytes.'
        )
    return None


def is_animated(stream: BinaryIO) -> bool:
    """Whether a WebP file moves: a flag in its extended header."""
    head = read_at(stream, 0, 21)
    return len(head) == 21 and head[12:16] == b'VP8X' and bool(head[20] & 0x02)


def _is_text(stream: BinaryIO) -> bool:
    """Whether no byte is one that text never has, be it UTF-8 or an older encoding."""
    stream.seek(0)
    while block := stream.read(256 * KB):
        if len(block.translate(None, NOT_TEXT)) < len(block):
            return False
    return True


def _is_wide_text(stream: BinaryIO, encoding: str) -> bool:
    """Whether it is text in an encoding of two or four bytes a character."""
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
    """The type by its first bytes: what Meta takes by marks of our own, the rest by puremagic's."""
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
        matches = puremagic.magic_stream(stream)  # the longest mark first
    except puremagic.PureError:
        return UNKNOWN
    found = next((match.mime_type for match in matches if match.mime_type), UNKNOWN)
    return found if found not in KINDS else UNKNOWN


def _audio_frame(head: bytes) -> str | None:
    """AAC or MP3, by the first frame; None when it begins with none."""
    if head.startswith(b'ADIF'):
        return 'audio/aac'
    if len(head) < 2 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0:
        return 'audio/aac'
    return 'audio/mpeg' if head[1] & 0xE6 == 0xE2 else None


def _tagged(stream: BinaryIO) -> str:
    """The type of what follows ID3 tags: mostly MP3, but AAC and FLAC may have them, too."""
    position = 0
    for _ in range(MAX_TAGS):
        tag = read_at(stream, position, 10)
        if len(tag) < 10 or not tag.startswith(b'ID3'):
            break
        size = sum(
            (byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)
        )
        position += size + (20 if tag[5] & 0x10 else 10)
    behind = read_at(stream, position, SNIFF_BYTES).lstrip(b'\0')
    if behind.startswith(b'fLaC'):
        return 'audio/flac'
    return _audio_frame(behind) or 'audio/mpeg'


def _program(stream: BinaryIO, head: bytes) -> str:
    return _kind_of_text(head) if _is_text(stream) else PROGRAM


# where the mark stands, the mark, and what tells the type
CONTAINERS = (
    (4, b'ftyp', iso_media),
    (0, b'OggS', ogg),
    (0, b'PK\3\4', zip_archive),
    (0, OLE, ole),
    (0, b'\x7fELF', _program),
    (0, b'MZ', _program),
)
