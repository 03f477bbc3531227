"""Files, of messages and uploaded ones: streamed, whole or in part, as nothing that a browser would
run.
"""

import os
import unicodedata
from datetime import UTC, datetime
from urllib.parse import quote

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from service.content.file_names import for_people
from service.content.file_types import KINDS, UNKNOWN, plain_type
from service.media.media import Media, fetch_again, serialize
from service.media.storage import storage
from service.media.storage_interface import Missing, StorageError
from service.runtime.db import db, no_connection
from service.runtime.errors import Conflict, Unavailable
from service.runtime.queues import ERRANDS, wake
from service.web.auth import guard

blueprint = guard(Blueprint('files', __name__))
HARMLESS = {
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "sandbox; default-src 'none'",
    'Cache-Control': 'private',
}
NO_FILE = 'The storage does not give the file now. A directory (MEDIA_URL) must be one that web and workers share.'
NO_FOLDERS = str.maketrans('/\\', '__')  # letters that look like these become them in ASCII
LONGEST_WAIT = 3600  # seconds; a new token or a resume may end it sooner


@blueprint.get('/messages/<uuid:message_id>/media')
def show(message_id):
    """200, or 206 for a stretch; 409 while there is no file, or when there will be none."""
    media = Media.of_message(str(message_id))
    _check_stored(media)
    return _answer(media)


@blueprint.get('/media/<uuid:media_id>/content')
def content(media_id):
    """The same of a file by its own id, be it a message's or one that was uploaded to us."""
    media = Media.find(str(media_id))
    _check_stored(media)
    return _answer(media)


def _answer(media):
    answer = Response(headers=HARMLESS, content_type=_content_type(media), direct_passthrough=True)
    answer.headers.set('Content-Disposition', 'attachment', **_names(media))
    answer.set_etag(bytes(media.sha256).hex())
    answer.last_modified = media.updated_at.replace(microsecond=0)
    answer.accept_ranges = 'bytes'
    answer.make_conditional(request)
    if answer.status_code == 200:
        _fill(answer, media)
    return answer


@blueprint.post('/messages/<uuid:message_id>/media/fetch')
def fetch(message_id):
    """Try again, from the first attempt on; 409 when the file is there.

    One that the storage has lost is not.
    """
    media = Media.of_message(str(message_id))
    fetch_again(media, media.status == 'stored' and _is_lost(media))
    wake(ERRANDS)
    return serialize(Media.of_message(str(message_id))), 202


def _is_lost(media):
    try:
        with no_connection():
            storage().size(media.storage_key)
    except Missing:
        return True
    except StorageError as error:
        raise Unavailable(NO_FILE, code='storage_away') from error
    return False


def _check_stored(media):
    if media.status == 'stored':
        return
    facts = serialize(media)
    if media.status == 'failed':
        raise Conflict(f'The file could not be fetched: {facts["explanation"]} {facts["fix"]}')
    so_far = f' So far: {facts["explanation"]}' if media.error else ''
    error = Conflict(f'The file is being fetched from Meta. Ask again in a moment.{so_far}')
    wait = (media.due_at - datetime.now(UTC)).total_seconds() if media.error else 1
    error.retry_after = round(min(max(1, wait), LONGEST_WAIT))
    raise error


def _content_type(media):
    """Of Meta's own list, else nothing in particular: what the sender says is not to be believed."""
    mime_type = plain_type(media.mime_type or '')
    return mime_type if mime_type in KINDS else UNKNOWN


def _names(media):
    """The file's name for Content-Disposition (RFC 6266), in ASCII and in full."""
    name = for_people(
        media.filename, _content_type(media), otherwise=str(media.message_id or media.id)
    )
    stem, ending = os.path.splitext(
        unicodedata.normalize('NFKD', name).encode('ascii', 'ignore').decode('ascii')
    )
    if stem.startswith('.') and not ending:  # nothing else of the name is ASCII
        stem, ending = '', stem
    plain = (stem.translate(NO_FOLDERS).lstrip('. ') or 'file') + ending.translate(NO_FOLDERS)
    return {'filename': plain} | (
        {'filename*': f"UTF-8''{quote(name, safe='')}"} if plain != name else {}
    )


def _fill(answer, media):
    """The body, and what says how much of the file it is. The database is not needed any more."""
    start, length = 0, media.size
    if media.size and _wants_stretch(answer):
        start, length = _stretch(media.size)
        answer.status_code = 206
        answer.content_range.set(start, start + length, media.size)
    answer.content_length = length
    db.close()
    if request.method == 'GET':
        try:
            answer.response = storage().open(media.storage_key, start, length)
        except StorageError as error:
            raise Unavailable(NO_FILE, code='storage_away') from error


def _wants_stretch(answer):
    """Whether one stretch is asked for, of the file as it is.

    Several, or nonsense, are answered with the whole.
    """
    wanted, condition = request.range, request.if_range
    if not wanted or wanted.units != 'bytes' or len(wanted.ranges) != 1:
        return False
    return condition.etag in (None, answer.get_etag()[0]) and condition.date in (
        None,
        answer.last_modified,
    )


def _stretch(size):
    """(start, length). Raises 416 for what lies behind the end."""
    ((start, stop),) = request.range.ranges
    start = start if start >= 0 else max(0, size + start)
    if start >= size:
        raise RequestedRangeNotSatisfiable(size)
    return start, min(size, size if stop is None else stop) - start
