"""Pure: the types of files, and which messages may carry them (section 6.3 of docs/meta.md)."""

from service.content.file_signatures import OPENXML

KB, MB = 1024, 1024 * 1024
LIMITS = {
    'image': 5 * MB,
    'audio': 16 * MB,
    'video': 16 * MB,
    'document': 100 * MB,
    'sticker': 100 * KB,
}
KINDS = {
    **dict.fromkeys(('image/jpeg', 'image/png'), 'image'),
    'image/webp': 'sticker',
    **dict.fromkeys(
        ('audio/aac', 'audio/amr', 'audio/mpeg', 'audio/mp4', 'audio/ogg'),
        'audio',
    ),
    **dict.fromkeys(('video/mp4', 'video/3gpp'), 'video'),
    **dict.fromkeys(
        (
            'text/plain',
            'application/pdf',
            'application/msword',
            'application/vnd.ms-excel',
            'application/vnd.ms-powerpoint',
            f'{OPENXML}wordprocessingml.document',
            f'{OPENXML}spreadsheetml.sheet',
            f'{OPENXML}presentationml.presentation',
        ),
        'document',
    ),
}
USUAL_NAMES = {
    'image/jpg': 'image/jpeg',
    'audio/mp3': 'audio/mpeg',
    'audio/m4a': 'audio/mp4',
    'audio/x-m4a': 'audio/mp4',
    'audio/opus': 'audio/ogg',
    'application/ogg': 'audio/ogg',
    'video/3gp': 'video/3gpp',
    'audio/x-aac': 'audio/aac',
}


def kind_of(mime_type: str | None) -> str | None:
    """The type of message that may carry it, None when none may."""
    return KINDS.get(plain_type(mime_type))


def plain_type(mime_type: str | None) -> str:
    """A MIME type without parameters, in lower case, by its usual name."""
    name = (mime_type or '').partition(';')[0].strip().lower()
    return USUAL_NAMES.get(name, name)


def agrees(claimed: str | None, found: str) -> bool:
    """Whether a claimed type is that of the content; plain text may be called CSV and the like."""
    claimed = plain_type(claimed)
    return claimed == found or (
        found == 'text/plain' and claimed in ('text/csv', 'text/markdown', 'application/json')
    )
