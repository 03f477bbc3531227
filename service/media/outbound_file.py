"""Files that callers gave us to be sent: their rows, and whether messages may name them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from service.content.file_types import kind_of, plain_type
from service.media.file_references import FileReference, find_references
from service.runtime.db import connection, execute, fetch_dicts
from service.runtime.errors import Invalid, NotFound
from service.runtime.rows import fetch_as

NO_SUCH_FILE = 'There is no such file.'
MAX_SENTENCES = 20  # that an answer has for one field

INSERT_FILE = """
INSERT INTO media (id, chatbot_id, status, mime_type, channels, filename, sha256, size, storage_key)
VALUES (%(id)s, %(chatbot_id)s, 'stored', %(mime_type)s, %(channels)s, %(filename)s, %(sha256)s,
  %(size)s, %(storage_key)s)
"""
FIND_FILE = """
SELECT id, chatbot_id, mime_type, size, filename, created_at, sha256
FROM media WHERE id = %s AND status = 'stored'
"""
FIND_NAMED_FILES = """
SELECT id, mime_type, channels FROM media
WHERE id = ANY(%(ids)s::uuid[]) AND chatbot_id = %(chatbot_id)s AND status = 'stored'
"""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that lies in the storage. `channels`: of Ogg with Opus, one or two."""

    id: str
    chatbot_id: str
    mime_type: str
    channels: int | None
    filename: str | None
    sha256: bytes
    size: int
    storage_key: str


@dataclass(frozen=True, slots=True)
class NamedFile:
    """What decides whether a message may name a file."""

    id: str
    mime_type: str
    channels: int | None


def insert(file: UploadedFile) -> None:
    """Write the row of a file."""
    execute(INSERT_FILE, asdict(file))


def find(media_id: str) -> dict[str, Any]:
    """A file that may be sent, uploaded to us or come in, as callers see it. Raises NotFound."""
    rows = fetch_dicts(FIND_FILE, (media_id,))
    if not rows:
        raise NotFound(NO_SUCH_FILE)
    file = rows[0]
    kind = kind_of(file['mime_type'])
    file['sha256'] = bytes(file['sha256']).hex()
    file['kinds'] = [kind] if kind else []
    return file


def check(chatbot_id: str, messages: Iterable[dict[str, Any]], *path: str) -> None:
    """Check that the files that messages name are there and fit, with one query at most.

    `path`: of each message, for the errors. Raises Invalid.
    """
    references: list[FileReference] = []
    for message in messages:
        references += find_references(message, path)
    if not references:
        return
    ids = sorted({reference.media_id for reference in references})
    named = {'ids': ids, 'chatbot_id': chatbot_id}
    with connection():
        files = {file.id: file for file in fetch_as(NamedFile, FIND_NAMED_FILES, named)}
    problems = defaultdict(set)
    for reference in references:
        problem = _problem(reference, files.get(reference.media_id))
        if problem:
            problems['.'.join(map(str, reference.path))].add(problem)
    if problems:
        errors = {field: sorted(problems[field])[:MAX_SENTENCES] for field in problems}
        raise Invalid('One or more files cannot be sent like this; see errors.', errors)


def _problem(reference: FileReference, file: NamedFile | None) -> str | None:
    """What speaks against a file in its place, None when nothing does."""
    media_id = reference.part['id']
    if file is None:
        upload = 'Upload it with POST /whatsapp-cloud/media.'
        return f'There is no file {media_id} of this chatbot. {upload}'
    kind = kind_of(file.mime_type)
    if kind != reference.kind:
        fits = f'goes as {kind}' if kind else 'cannot be sent'
        return f'The file {media_id} is {file.mime_type}, which {fits}, not as {reference.kind}.'
    if kind == 'audio' and reference.part.get('voice') is True:
        return _voice_problem(media_id, file)
    return None


def _voice_problem(media_id: str, file: NamedFile) -> str | None:
    if plain_type(file.mime_type) != 'audio/ogg':
        return f'The file {media_id} is {file.mime_type}; a voice message wants Ogg with Opus.'
    if (file.channels or 1) > 1:
        return f'The file {media_id} is stereo; a voice message wants one channel.'
    return None
