"""Pure: file names with an ending that says what the file is.

Without it Meta refuses an upload, and people cannot open a file.
"""

import os

from service.content.file_signatures import OPENXML
from service.content.file_types import plain_type

# Meta's own endings, the usual one first; and those with which programs know such a file, too.
ENDINGS = {
    'image/jpeg': (('.jpg', '.jpeg'), ('.jpe', '.jfif')),
    'image/png': (('.png',), ()),
    'image/webp': (('.webp',), ()),
    'audio/aac': (('.aac',), ()),
    'audio/amr': (('.amr',), ()),
    'audio/mpeg': (('.mp3',), ('.mpga',)),
    'audio/mp4': (('.m4a',), ('.m4b', '.m4r', '.mp4')),
    'audio/ogg': (('.ogg',), ('.opus', '.oga')),
    'video/mp4': (('.mp4',), ('.m4v', '.f4v')),
    'video/3gpp': (('.3gp',), ('.3gpp',)),
    'application/pdf': (('.pdf',), ()),
    'application/msword': (('.doc',), ('.dot',)),
    'application/vnd.ms-excel': (('.xls',), ('.xlt',)),
    'application/vnd.ms-powerpoint': (('.ppt',), ('.pps', '.pot')),
    f'{OPENXML}wordprocessingml.document': (('.docx',), ('.dotx',)),
    f'{OPENXML}spreadsheetml.sheet': (('.xlsx',), ('.xltx',)),
    f'{OPENXML}presentationml.presentation': (('.pptx',), ('.ppsx', '.potx')),
    'text/plain': (
        ('.txt',),
        ('.csv', '.tsv', '.md', '.json', '.log', '.ics', '.vcf', '.srt', '.text'),
    ),
}
KNOWN = frozenset(ending for pair in ENDINGS.values() for endings in pair for ending in endings)


def for_people(name: str | None, mime_type: str, otherwise: str = 'file') -> str:
    """The name with an ending that says what the file is.

    `otherwise`: the name of a file without a name.
    """
    return _fitting(name or otherwise, *ENDINGS.get(plain_type(mime_type), ((), ())))


def for_meta(name: str | None, mime_type: str) -> str:
    """The same with an ending that Meta knows.

    Nobody sees it: a document is called by its message's `filename`.
    """
    return _fitting(name or 'file', *ENDINGS.get(plain_type(mime_type), ((), ()))[:1])


def _fitting(name: str, *allowed: tuple[str, ...]) -> str:
    """The name with the right ending instead of another known one.

    Anything else behind a dot may be a part of the name.
    """
    endings = [ending for some in allowed for ending in some]
    stem, ending = os.path.splitext(name)
    if not endings or ending.lower() in endings:
        return name
    return (stem if ending.lower() in KNOWN else name) + endings[0]
