"""The storage of files: one can be written."""

import io
from collections.abc import Iterator

from service.doctor.check import Check, fail, ok
from service.media.storage import storage
from service.media.storage_interface import StorageError
from service.runtime.ids import new_id

NAME = 'media_storage'
CONTENT = b'Can a file be written here?'


def look() -> Iterator[Check]:
    key = f'doctor/{new_id()}'
    try:
        place = storage()
        place.put(key, io.BytesIO(CONTENT))
        size = place.size(key)
        place.delete(key)
    except StorageError as error:
        fix = 'See that MEDIA_URL names a place that web and workers can write to.'
        yield fail(NAME, f'{error}.', fix)
        return
    if size != len(CONTENT):
        fix = 'MEDIA_URL has to name one place for web and workers.'
        yield fail(NAME, 'A file came back with another size.', fix)
        return
    yield ok(NAME, 'A file can be written, found and deleted.')
