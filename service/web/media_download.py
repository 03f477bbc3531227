"""Files, of messages and uploaded ones: streamed, whole or in part.

The answer's headers keep a browser from running a file, whatever its sender says that it is.
"""

import os
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from service.content.file_names import for_people
from service.content.file_signatures import UNKNOWN
from service.content.file_types import KINDS, plain_type
from service.media.media import IS_GONE, NONE_OF_MESSAGE, Media, fetch_again, serialize
from service.media.storage import storage
from service.media.storage_interface import Missing, StorageError
from service.runtime.db import db, no_connection
from service.runtime.errors import Conflict, GatewayError, Gone, Unavailable
from service.runtime.queues import ERRANDS, wake
from service.web import message_answers
from service.web.auth import guard, scope, visible
from service.web.described import describe
from service.web.plain_shapes import FILE, FILE_STATUSES
from service.web.problem_examples import NO_FILE
from service.web.responses import Answer

blueprint = guard(Blueprint('files', __name__))
SAFETY_HEADERS = {
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "sandbox; default-src 'none'",
    'Cache-Control': 'private, no-cache',  # a browser asks anew: who has logged out gets nothing
}
FILE_AWAY = (
    'The storage does not give the file now. '
    'A directory (MEDIA_URL) must be one that web and workers share.'
)
NO_FOLDERS = str.maketrans('/\\', '__')  # letters that look like these become them in ASCII
MAX_RETRY_AFTER = 3600  # seconds; a new token or a resume may end the wait sooner


@blueprint.get('/messages/<uuid:message_id>/media')
@scope('read')
@describe(FILE, *FILE_STATUSES, content_type='*/*', problems=NO_FILE)
def show(message_id: UUID) -> Response:
    """Answer 200, or 206 for a range; 409 while there is no file, or when there will be none."""
    return _answer(_stored(_of_message(message_id)))


@blueprint.get('/media/<uuid:media_id>/content')
@scope('read')
@describe(FILE, *FILE_STATUSES, content_type='*/*', problems=NO_FILE)
def content(media_id: UUID) -> Response:
    """Answer the same with a file by its own id, be it a message's or one that was uploaded."""
    return _answer(_stored(visible(Media.find(str(media_id)))))


@blueprint.post('/messages/<uuid:message_id>/media/fetch')
@scope('send')
@describe(message_answers.MessageFile, 202, problems=('conflict', 'media_gone', 'storage_away'))
def fetch(message_id: UUID) -> Answer:
    """Fetch a file again, from the first attempt on; 409 when the file is there.

    A file that the storage has lost is not there.
    """
    media = _of_message(message_id)
    fetch_again(media, media.status == 'stored' and _is_lost(media))
    wake(ERRANDS)
    return serialize(_of_message(message_id)), 202


def _of_message(message_id: UUID) -> Media:
    return visible(Media.of_message(str(message_id)), NONE_OF_MESSAGE)


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file that lies in the storage, as it is answered with."""

    key: str
    size: int
    sha256: bytes
    content_type: str
    name: str
    stored_at: datetime


def _stored(media: Media) -> ServedFile:
    """The file of a row. Raises Conflict when there is none, or not yet; Gone when no longer."""
    if media.status != 'stored':
        raise _not_stored(media)
    row: Any = media  # what may be NULL in a row is there in one that is stored
    content_type = _content_type(media)
    name = for_people(row.filename, content_type, otherwise=str(row.message_id or row.id))
    sha256 = bytes(row.sha256)
    return ServedFile(row.storage_key, row.size, sha256, content_type, name, row.updated_at)


def _not_stored(media: Media) -> GatewayError:
    if media.status == 'gone':
        return Gone(IS_GONE, code='media_gone')
    facts = serialize(media)
    if media.status == 'failed':
        return Conflict(f'The file could not be fetched: {facts["explanation"]} {facts["fix"]}')
    so_far = f' So far: {facts["explanation"]}' if media.error else ''
    error = Conflict(f'The file is being fetched from Meta. Ask again in a moment.{so_far}')
    wait = 1.0
    if media.error and media.due_at:
        wait = (media.due_at - datetime.now(UTC)).total_seconds()
    error.retry_after = round(min(max(1, wait), MAX_RETRY_AFTER))
    return error


def _is_lost(media: Media) -> bool:
    """Whether the storage has no file of a stored row any more."""
    key = _stored(media).key
    try:
        with no_connection():
            storage().size(key)
    except Missing:
        return True
    except StorageError as error:
        raise Unavailable(FILE_AWAY, code='storage_away') from error
    return False


def _answer(file: ServedFile) -> Response:
    answer = Response(
        headers=SAFETY_HEADERS, content_type=file.content_type, direct_passthrough=True
    )
    answer.headers.set('Content-Disposition', 'attachment', **_names(file.name))
    answer.set_etag(file.sha256.hex())
    answer.last_modified = file.stored_at.replace(microsecond=0)
    answer.accept_ranges = 'bytes'
    answer.make_conditional(request)
    if answer.status_code == 200:
        _fill(answer, file)
    return answer


def _content_type(media: Media) -> str:
    """A type of Meta's own list, else a neutral one: a sender's word is not to be believed."""
    mime_type = plain_type(media.mime_type or '')
    return mime_type if mime_type in KINDS else UNKNOWN


def _names(name: str) -> dict[str, str]:
    """A file's name for Content-Disposition (RFC 6266), in ASCII and in full."""
    ascii_name = _ascii_name(name)
    if ascii_name == name:
        return {'filename': name}
    return {'filename': ascii_name, 'filename*': f"UTF-8''{quote(name, safe='')}"}


def _ascii_name(name: str) -> str:
    letters = unicodedata.normalize('NFKD', name).encode('ascii', 'ignore').decode('ascii')
    stem, ending = os.path.splitext(letters)
    if stem.startswith('.') and not ending:  # nothing of the name but its ending is ASCII
        stem, ending = '', stem
    return (stem.translate(NO_FOLDERS).lstrip('. ') or 'file') + ending.translate(NO_FOLDERS)


def _fill(answer: Response, file: ServedFile) -> None:
    """Set the body and its length; the database is not needed from here on."""
    start = 0
    length = file.size
    if file.size and _wants_range(answer):
        start, length = _range(file.size)
        answer.status_code = 206
        answer.content_range.set(start, start + length, file.size)
    answer.content_length = length
    db.close()
    if request.method == 'GET':
        try:
            answer.response = storage().open(file.key, start, length)
        except StorageError as error:
            raise Unavailable(FILE_AWAY, code='storage_away') from error


def _wants_range(answer: Response) -> bool:
    """Whether one range is asked for, of the file as it is.

    Several ranges, or nonsense, are answered with the whole.
    """
    wanted = request.range
    if not wanted or wanted.units != 'bytes' or len(wanted.ranges) != 1:
        return False
    condition = request.if_range
    has_etag = condition.etag in (None, answer.get_etag()[0])
    return has_etag and condition.date in (None, answer.last_modified)


def _range(size: int) -> tuple[int, int]:
    """Start and length of the range that is asked for. Raises 416 when it begins after the end."""
    ((start, stop),) = request.range.ranges if request.range else ((0, None),)
    first = start if start >= 0 else max(0, size + start)
    if first >= size:
        raise RequestedRangeNotSatisfiable(size)
    return first, min(size, size if stop is None else stop) - first
