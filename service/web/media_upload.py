"""POST /media: a file that is to be sent, taken as it comes in and never held in memory."""

import hashlib
import os
from contextlib import suppress

from flask import Blueprint, request
from peewee import PeeweeException
from werkzeug.exceptions import UnsupportedMediaType

from service.accounts.account import Account
from service.content import file_types
from service.media import outbound_file
from service.media.storage import storage
from service.media.storage_interface import StorageError, key_of
from service.runtime.db import no_connection
from service.runtime.errors import Invalid, Unavailable
from service.runtime.ids import new_id
from service.runtime.untrusted import UNSTORABLE
from service.web.auth import guard

blueprint = guard(Blueprint('uploads', __name__))
OVERHEAD = 1024 * 1024  # bytes for what stands around the file
FIELDS = (
    'chatbot_id',
    'type',
    'filename',
    'messaging_product',
)  # the last: of Meta's own form, always the same
MAX_NAME = 240  # characters of a file name


@blueprint.post('/media')
def create():
    """201 once the file is stored and its row committed."""
    if request.mimetype != 'multipart/form-data':
        raise UnsupportedMediaType('Send multipart/form-data, with the file in the part "file".')
    request.max_content_length = max(file_types.LIMITS.values()) + OVERHEAD
    with no_connection():  # a caller may take his time, and so may the storage
        fields, file = _parts()
        mime_type, size, digest = _examined(file, fields)
        channels = file_types.channels(file.stream)
    account = Account.find_active(fields['chatbot_id'])
    media_id = new_id()
    key = key_of(account.chatbot_id, media_id)
    with no_connection():
        _keep(key, file.stream)
    name = _name(fields.get('filename') or file.filename)
    stored = outbound_file.Uploaded(
        media_id, account.chatbot_id, mime_type, channels, name, digest, size, key
    )
    try:
        outbound_file.store(stored)
    except PeeweeException:
        _drop(key)
        raise
    return outbound_file.find(media_id), 201


@blueprint.get('/media/<uuid:media_id>')
def show(media_id):
    return outbound_file.find(str(media_id))


def _parts():
    """The text fields and the file. werkzeug keeps what is longer than 500 kB of it on the disk.

    Raises Invalid.
    """
    fields, files = {name: value for name, value in request.form.items() if value}, request.files
    problems = {
        name: ['Given more than once.'] for name, values in request.form.lists() if len(values) > 1
    }
    problems |= {
        name: ['Unknown field.']
        for name in (*request.form, *files)
        if name not in (*FIELDS, 'file')
    }
    if not fields.get('chatbot_id') or UNSTORABLE.search(fields['chatbot_id']):
        problems['chatbot_id'] = ['Missing data for required field.']
    if 'file' not in files:
        problems['file'] = ['A part "file" with a file name is required.']
    elif len(files.getlist('file')) > 1:
        problems['file'] = ['One file at a time.']
    for name in FIELDS:
        if name in files:
            problems[name] = ['Must be a text, not a file.']
    if problems:
        raise Invalid('One or more fields are not valid; see errors.', problems)
    return fields, files['file']


def _examined(file, fields):
    """(MIME type, size, SHA-256) of a file that WhatsApp takes. Raises Invalid."""
    digest = hashlib.file_digest(file.stream, 'sha256').digest()
    size = file.stream.tell()
    if not size:
        raise Invalid('The file is empty.', {'file': ['The file is empty.']})
    mime_type = file_types.sniff(file.stream)
    if problem := file_types.problem(file.stream, mime_type, size):
        raise Invalid('WhatsApp does not take this file.', {'file': [problem]})
    if 'type' in fields and not file_types.agrees(fields['type'], mime_type):
        raise Invalid(
            'The type is not that of the file.',
            {'type': [f'The content of the file is {mime_type}.']},
        )
    return mime_type, size, digest


def _keep(key, stream):
    stream.seek(0)
    try:
        storage().put(key, stream)
    except StorageError as error:
        sentence = 'The storage for files is away; nothing was stored. Try again.'
        raise Unavailable(sentence, code='storage_away') from error


def _drop(key):
    """No row will ever know of it."""
    with suppress(StorageError):
        storage().delete(key)


def _name(given):
    """A file name that harms nobody: no path, no control characters, not too long."""
    name = ''.join(character for character in (given or '') if character.isprintable())
    stem, ending = os.path.splitext(name.replace('\\', '/').rpartition('/')[2].strip('. '))
    return stem[: MAX_NAME - len(ending[:20])] + ending[:20] or None
