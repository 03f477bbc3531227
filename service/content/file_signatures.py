"""Pure: the marks by which a file is known, and some types (service/content/file_types.py)."""

import codecs
import re

UNKNOWN = 'application/octet-stream'
ARCHIVE = 'application/zip'
PROGRAM = 'application/x-executable'
OPENXML = 'application/vnd.openxmlformats-officedocument.'
SNIFF_BYTES = 4096  # at the beginning of a file, which tell most
NOT_TEXT = bytes({*range(0x20), 0x7F} - {*b'\t\n\f\r\x1b'})
# What a browser takes for HTML or XML: never text, whatever its sender calls it.
MARKUP = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*<(?:!doctype|!--|html|head|body|title|script|style|iframe|svg|div|table'
    rb'|h1|br|p|a|b|font)[\s>/-]',
    re.IGNORECASE,
)
XML = re.compile(rb'(?:\xef\xbb\xbf)?\s*<\?xml[\s>]', re.IGNORECASE)
# What some programs write in front of it, readers pass over.
PDF = re.compile(rb'(?:\xef\xbb\xbf|\xfe\xff|\xff\xfe)?[\s\0]*%PDF-')
WIDE = (
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)
NOT_IN_WIDE_TEXT = re.compile('[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]')
OLE = bytes.fromhex('d0cf11e0a1b11ae1')
OLE_STREAMS = {
    'WordDocument': 'application/msword',
    'Workbook': 'application/vnd.ms-excel',
    'Book': 'application/vnd.ms-excel',
    'PowerPoint Document': 'application/vnd.ms-powerpoint',
}
# The main part, which Word Online numbers. With macros they are types of their own, which WhatsApp
# does not take.
OFFICE_PARTS = (
    (re.compile(rb'vbaProject\.bin'), 'application/vnd.ms-office.macroenabled.12'),
    (re.compile(rb'word/document[0-9]*\.xml'), f'{OPENXML}wordprocessingml.document'),
    (re.compile(rb'xl/workbook[0-9]*\.xml'), f'{OPENXML}spreadsheetml.sheet'),
    (re.compile(rb'ppt/presentation[0-9]*\.xml'), f'{OPENXML}presentationml.presentation'),
)
# By the brand or how it begins. A program's own brand tells nothing, and then the ones that it says
# to be like do.
BRANDS = {
    **dict.fromkeys((b'3gp', b'3gg', b'3gr', b'3gs', b'3ge'), 'video/3gpp'),
    b'3g2': 'video/3gpp2',
    b'qt ': 'video/quicktime',
    b'mjp2': 'video/mj2',
    **dict.fromkeys((b'jp2', b'jpx'), 'image/jp2'),
    **dict.fromkeys(
        (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevm', b'hevs', b'hevx'), 'image/heic'
    ),
    **dict.fromkeys((b'mif', b'msf'), 'image/heif'),
    **dict.fromkeys((b'avif', b'avis'), 'image/avif'),
    **dict.fromkeys((
        b'M4A', b'M4B', b'M4P', b'M4V', b'm4v', b'm4a', b'iso', b'mp4', b'mp7', b'avc', b'hvc1',
        b'hev1', b'av01', b'vvc1', b'XAVC', b'mmp4', b'MSN', b'das', b'dsms', b'cmf', b'f4v',
        b'F4V', b'F4A', b'F4P', b'ND', b'SDV', b'caqv', b'piff', b'dby1', b'FACE', b'MPPI',
    ), 'video/mp4'),
}  # fmt: skip
