"""POST /media: a file that is to be sent, taken as it comes in and never held in memory."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any
from uuid import UUID

from flask import Blueprint, request
from peewee import PeeweeException
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import UnsupportedMediaType

from service.content import file_check, file_containers, file_types
from service.media import outbound_file
from service.media.storage import storage
from service.media.storage_interface import StorageError, key_of
from service.runtime.db import no_connection
from service.runtime.errors import Invalid, Unavailable
from service.runtime.ids import new_id
from service.runtime.untrusted import UNSTORABLE
from service.web import message_answers
from service.web.auth import check_visible, find_active_account, guard, scope
from service.web.described import describe
from service.web.plain_shapes import UPLOAD
from service.web.responses import Answer, JSONObject

blueprint = guard(Blueprint('uploads', __name__))
OVERHEAD = 1024 * 1024  # bytes for what stands around the file
# messaging_product: of Meta's own form, always the same.
FORM_FIELDS = ('chatbot_id', 'type', 'filename', 'messaging_product')
MAX_FILE_NAME = 240  # characters of a file name
MAX_ENDING = 20  # of them, after the last dot
STORAGE_AWAY = 'The storage for files is away; nothing was stored. Try again.'


@dataclass(slots=True)
class FileFacts:
    """What the content of a file tells of it. `channels`: of Ogg with Opus, one or two."""

    mime_type: str
    size: int
    sha256: bytes
    channels: int | None


@blueprint.post('/media')
@scope('send')
@describe(
    message_answers.UploadedFile,
    201,
    bodies={'multipart/form-data': UPLOAD},
    problems=('unknown_chatbot', 'account_inactive', 'unsupported_media_type', 'storage_away'),
)
def create() -> Answer:
    """Answer 201 once the file is stored and its row committed."""
    if request.mimetype != 'multipart/form-data':
        raise UnsupportedMediaType('Send multipart/form-data, with the file in the part "file".')
    request.max_content_length = max(file_types.LIMITS.values()) + OVERHEAD
    with no_connection():  # the caller may be slow, and so may the storage
        fields, file = _read_form()
        facts = _examine(file, fields.get('type'))
    account = find_active_account(fields['chatbot_id'])
    media_id = new_id()
    key = key_of(account.chatbot_id, media_id)
    with no_connection():
        _put(key, file.stream)
    uploaded = outbound_file.UploadedFile(
        id=media_id,
        chatbot_id=account.chatbot_id,
        mime_type=facts.mime_type,
        channels=facts.channels,
        filename=_safe_name(fields.get('filename') or file.filename or ''),
        sha256=facts.sha256,
        size=facts.size,
        storage_key=key,
    )
    try:
        outbound_file.insert(uploaded)
    except PeeweeException:
        _delete(key)
        raise
    return outbound_file.find(media_id), 201


@blueprint.get('/media/<uuid:media_id>')
@scope('read')
@describe(message_answers.UploadedFile)
def show(media_id: UUID) -> JSONObject:
    """Show a file that may be sent, uploaded or come in."""
    file = outbound_file.find(str(media_id))
    check_visible(file['chatbot_id'], outbound_file.NO_SUCH_FILE)
    return file


def _read_form() -> tuple[dict[str, str], FileStorage]:
    """The text fields and the file. Raises Invalid.

    werkzeug keeps on the disk what is longer than 500 kB of the file.
    """
    fields = {name: value for name, value in request.form.items() if value}
    if problems := _form_problems(fields):
        raise Invalid('One or more fields are not valid; see errors.', problems)
    return fields, request.files['file']


def _form_problems(fields: dict[str, str]) -> dict[str, list[str]]:
    """{field: sentences} of what is wrong with the form."""
    files = request.files
    problems = {}
    for name, values in request.form.lists():
        if len(values) > 1:
            problems[name] = ['Given more than once.']
    for name in (*request.form, *files):
        if name not in (*FORM_FIELDS, 'file'):
            problems[name] = ['Unknown field.']
    if not fields.get('chatbot_id') or UNSTORABLE.search(fields['chatbot_id']):
        problems['chatbot_id'] = ['Missing data for required field.']
    if 'file' not in files:
        problems['file'] = ['A part "file" with a file name is required.']
    elif len(files.getlist('file')) > 1:
        problems['file'] = ['One file at a time.']
    for name in FORM_FIELDS:
        if name in files:
            problems[name] = ['Must be a text, not a file.']
    return problems


def _examine(file: FileStorage, claimed_type: str | None) -> FileFacts:
    """The facts of a file that WhatsApp takes. Raises Invalid."""
    stream: Any = file.stream  # werkzeug's types know less of it than it can do
    sha256 = hashlib.file_digest(stream, 'sha256').digest()
    size = stream.tell()
    if not size:
        raise Invalid('The file is empty.', {'file': ['The file is empty.']})
    mime_type = file_check.sniff(stream)
    if problem := file_check.problem(stream, mime_type, size):
        raise Invalid('WhatsApp does not take this file.', {'file': [problem]})
    if claimed_type and not file_types.agrees(claimed_type, mime_type):
        problem = f'The content of the file is {mime_type}.'
        raise Invalid('The type is not that of the file.', {'type': [problem]})
    return FileFacts(mime_type, size, sha256, file_containers.channels(stream))


def _put(key: str, stream: IO[bytes]) -> None:
    stream.seek(0)
    try:
        storage().put(key, stream)
    except StorageError as error:
        raise Unavailable(STORAGE_AWAY, code='storage_away') from error


def _delete(key: str) -> None:
    """Delete a file that no row will ever know of; if that fails, the file just stays."""
    with suppress(StorageError):
        storage().delete(key)


def _safe_name(given: str) -> str | None:
    """A file name that harms nobody: no path, no control characters, not too long."""
    printable = ''.join(character for character in given if character.isprintable())
    name = printable.replace('\\', '/').rpartition('/')[2].strip('. ')
    stem, ending = os.path.splitext(name)
    ending = ending[:MAX_ENDING]
    return stem[: MAX_FILE_NAME - len(ending)] + ending or None
