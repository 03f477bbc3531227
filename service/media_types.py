"""Pure: what a file really is, and which messages may carry it (Meta's types and limits, section 6.3)."""

import io
import re
import struct

import puremagic

KB, MB = 1024, 1024 * 1024
LIMITS = {'image': 5 * MB, 'audio': 16 * MB, 'video': 16 * MB, 'document': 100 * MB, 'sticker': 100 * KB}
ANIMATED_STICKER = 500 * KB
OPENXML = 'application/vnd.openxmlformats-officedocument.'
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
UNKNOWN, ARCHIVE, PROGRAM = 'application/octet-stream', 'application/zip', 'application/x-executable'

LOOK = 4096  # bytes at the beginning that tell most
MOST_INDEX, MOST_BOXES = 4 * MB, 1000  # of a container's own index that is looked through: bytes, parts
NOT_TEXT = bytes({*range(0x20), 0x7F} - {*b'\t\n\f\r\x1b'})
# What a browser takes for HTML or XML: never text, whatever its sender calls it.
MARKUP = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*<(?:!doctype|!--|\?xml|html|head|body|title|script|style|iframe|svg|div|table|h1|br|p|a|b|font)'
    rb'[\s>/-]',
    re.IGNORECASE,
)
BY_SIGNATURE = {'image/jpeg', 'image/png', 'image/webp', 'application/pdf', 'audio/aac', 'audio/mpeg'}  # of puremagic's
OLE = bytes.fromhex('d0cf11e0a1b11ae1')
OLE_STREAMS = {
    'WordDocument': 'application/msword', 'Workbook': 'application/vnd.ms-excel', 'Book': 'application/vnd.ms-excel',
    'PowerPoint Document': 'application/vnd.ms-powerpoint',
}  # fmt: skip
OFFICE_PARTS = {
    b'word/document.xml': f'{OPENXML}wordprocessingml.document', b'xl/workbook.xml': f'{OPENXML}spreadsheetml.sheet',
    b'ppt/presentation.xml': f'{OPENXML}presentationml.presentation',
}  # fmt: skip
BRANDS = {
    b'3gp': 'video/3gpp', b'3g2': 'video/3gpp2', b'qt ': 'video/quicktime', b'hei': 'image/heic', b'mif': 'image/heif',
    b'avi': 'image/avif', b'M4A': 'video/mp4', b'M4B': 'video/mp4', b'M4V': 'video/mp4', b'iso': 'video/mp4',
    b'mp4': 'video/mp4', b'avc': 'video/mp4', b'MSN': 'video/mp4', b'das': 'video/mp4', b'f4v': 'video/mp4',
    b'F4V': 'video/mp4',
}  # fmt: skip


def sniff(stream):
    """The MIME type that the bytes of a seekable stream show, whatever anybody calls them."""
    head = _read(stream, 0, LOOK)
    for offset, mark, tell in CONTAINERS:
        if head[offset:].startswith(mark):
            return tell(stream, head)
    if _is_text(stream):
        return _kind_of_text(head)
    return _signature(stream, head)


def kind_of(mime_type):
    """The type of message that may carry it, None when none may."""
    return KINDS.get(plain_type(mime_type))


def plain_type(mime_type):
    """Without parameters, in lower case, by its usual name."""
    name = (mime_type or '').partition(';')[0].strip().lower()
    return OTHER_NAMES.get(name, name)


def agrees(claimed, found):
    """Whether somebody's name for a type is that of the content; what is text may have a name of its own."""
    claimed = plain_type(claimed)
    return claimed == found or (found == 'text/plain' and claimed in ('text/csv', 'text/markdown', 'application/json'))


def problem(stream, mime_type, size):
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
        return f'The file is {mime_type} of {size:,} bytes; the limit for {what} is {limit:,} bytes.'
    return None


def is_animated(stream):
    """Of a WebP: the flag in its extended header."""
    head = _read(stream, 0, 21)
    return len(head) == 21 and head[12:16] == b'VP8X' and bool(head[20] & 0x02)


def _read(stream, position, size):
    stream.seek(position)
    return stream.read(size)


def _size(stream):
    return stream.seek(0, io.SEEK_END)


def _is_text(stream):
    """Whether no byte of it is one that text never has. UTF-8, or one of the older ways of writing."""
    stream.seek(0)
    while block := stream.read(256 * KB):
        if len(block.translate(None, NOT_TEXT)) < len(block):
            return False
    return True


def _kind_of_text(head):
    if head.startswith(b'%PDF-'):
        return 'application/pdf'
    if head.startswith(b'{\\rtf'):
        return 'application/rtf'
    if head.startswith(b'#!'):
        return 'text/x-shellscript'
    return 'text/html' if MARKUP.match(head) else 'text/plain'


def _signature(stream, head):
    """By puremagic's table, the longest signature first."""
    if head.startswith(b'#!AMR\n'):
        return 'audio/amr'  # puremagic knows it without a MIME type
    if head[:1] == b'\xff' and head[1:2] and head[1] & 0xE6 == 0xE2:
        return 'audio/mpeg'  # a frame of layer III without a tag before it, of which it knows some
    stream.seek(0)
    try:
        found = next((one.mime_type for one in puremagic.magic_stream(stream) if one.mime_type), UNKNOWN)
    except puremagic.PureError:
        return UNKNOWN
    return found if found in BY_SIGNATURE or found not in KINDS else UNKNOWN


def _iso_media(stream, head):
    """MPEG-4 and its relatives: by the brand, and by what tracks there are."""
    mime_type = BRANDS.get(head[8:11], UNKNOWN)
    if mime_type == 'video/mp4':
        index = _box(stream, b'moov')
        if b'soun' in _handlers(index) and b'vide' not in _handlers(index):
            return 'audio/mp4'
    return mime_type


def _box(stream, name):
    """A top-level box of an MPEG-4 file, empty when there is none. Length 0: to the end; 1: a long one follows."""
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


def _handlers(index):
    return {found[1] for found in re.finditer(rb'hdlr.{8}(....)', index, re.DOTALL)}


def _ogg(stream, head):
    """WhatsApp plays Opus alone."""
    first = head[:512]
    codecs = ((b'OpusHead', 'audio/ogg'), (b'theora', 'video/ogg'), (b'vorbis', 'audio/vorbis'))
    return next((mime_type for mark, mime_type in codecs if mark in first), 'application/x-ogg')


def _zip(stream, head):
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
    return next((mime_type for part, mime_type in OFFICE_PARTS.items() if part in directory), ARCHIVE)


def _ole(stream, head):
    """An office document of the old kind, by the streams in the first part of its directory."""
    if len(head) < 52:
        return UNKNOWN
    sector = 1 << min(struct.unpack('<H', head[30:32])[0], 12)
    first = struct.unpack('<I', head[48:52])[0]
    directory = _read(stream, min((first + 1) * sector, _size(stream)), LOOK)
    names = [directory[at : at + 64].decode('utf-16-le', 'replace').partition('\0')[0] for at in range(0, LOOK, 128)]
    return next((OLE_STREAMS[name] for name in names if name in OLE_STREAMS), 'application/x-ole-storage')


def _program(stream, head):
    return _kind_of_text(head) if _is_text(stream) else PROGRAM


CONTAINERS = (
    (4, b'ftyp', _iso_media), (0, b'OggS', _ogg), (0, b'PK\3\4', _zip), (0, OLE, _ole), (0, b'\x7fELF', _program),
    (0, b'MZ', _program),
)  # fmt: skip
