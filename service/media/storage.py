"""Where files lie, whatever MEDIA_URL says: written whole or not at all, read in pieces, found by keys of ours."""

import hashlib
import importlib
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from service.runtime.config import settings

CHUNK = 256 * 1024  # bytes in memory at a time
KEY = re.compile(r'[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*')  # never a name that a person gave
DRAFTS = '.drafts'  # beside the files and on their disk: a rename makes a draft one of them
DRAFT_SECONDS = 86400  # older ones were left by a process that died


class StorageError(Exception):
    """The storage cannot be used now"""


class Missing(StorageError):
    """The file is not in the storage"""


def storage():
    """The storage that MEDIA_URL names: .create(key), .put(key, file), .open(key, start, length), .size, .delete."""
    return _at(settings.MEDIA_URL)


@lru_cache(maxsize=4)
def _at(url):
    parts = urlsplit(url)
    if parts.scheme == 's3':
        return importlib.import_module('service.media.storage_s3').Bucket(parts)  # boto3 is an extra
    return Directory(unquote(parts.path))


def key_of(chatbot_id, media_id):
    """The same for each attempt, so that none leaves a file behind. An id begins with its time: a folder for 4.7 h."""
    return f'{hashlib.sha256(chatbot_id.encode()).hexdigest()[:16]}/{media_id[:6]}/{media_id}'


def checked(key):
    """The key, if it is one that we make. Raises ValueError."""
    if not KEY.fullmatch(key):
        raise ValueError('not a storage key')
    return key


class Piece:
    """A stretch of a file: iterate over it to its end, or read() it and close it."""

    def __init__(self, stream, length):
        self._stream, self.left = stream, length

    def read(self, size=CHUNK):
        data = self._stream.read(min(size if size >= 0 else self.left, self.left))
        self.left -= len(data)
        return data

    def __iter__(self):
        with self:
            while data := self.read():
                yield data

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self._stream.close()


class Storage:
    """What every storage does alike."""

    def put(self, key, file):
        """Keep what is left to read of a binary file under a key, in the place of what may lie there."""
        with self.create(key) as draft:
            shutil.copyfileobj(file, draft, CHUNK)
            draft.keep()

    def settle(self, keys):
        """Make safe what was kept `soon`; where nothing need be done, it is done."""


class Draft:
    """A file that is being written: .write(data), at the end .keep(), else it is forgotten.

    Kept `soon`, it is safe from a power failure only when the storage's settle() has been told of it, with others.
    """

    def __init__(self, file, keep, errors):
        self._file, self._keep, self._errors = file, keep, errors

    def write(self, data):
        with self._errors():
            self._file.write(data)

    def keep(self, soon=False):
        with self._errors():
            self._keep(soon)


class Directory(Storage):
    """A directory that web and workers share."""

    def __init__(self, path):
        self.root = Path(path).absolute()
        with suppress(OSError):
            self._forget_drafts()

    def _forget_drafts(self):
        for draft in (self.root / DRAFTS).iterdir():
            if draft.stat().st_mtime < time.time() - DRAFT_SECONDS:
                draft.unlink(missing_ok=True)

    @contextmanager
    def create(self, key):
        """A context that gives a Draft. Nobody sees the file before all of it is there."""
        path = self.root / checked(key)
        with _errors():
            (self.root / DRAFTS).mkdir(parents=True, exist_ok=True)
            file = tempfile.NamedTemporaryFile(dir=self.root / DRAFTS, delete=False)  # noqa: SIM115
        try:
            yield Draft(file, lambda soon: self._keep(file, path, soon), _errors)
        finally:
            with suppress(OSError):  # kept, it has another name by now
                Path(file.name).unlink(missing_ok=True)
                file.close()

    def _keep(self, file, path, soon):
        file.flush()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file.name, path)
        if not soon:
            self._settle([path])

    def settle(self, keys):
        """On the disk, with their names. Alone, each would make the disk's journal, and PostgreSQL, wait for it."""
        with _errors():
            self._settle([self.root / checked(key) for key in keys])

    def _settle(self, paths):
        folders = {folder for path in paths for folder in path.parents if folder.is_relative_to(self.root)}
        for path in (*paths, *folders):
            _sync(path)

    def open(self, key, start=0, length=None):
        """A Piece of a file, of `length` bytes or to its end. Raises Missing."""
        with _errors():
            file = (self.root / checked(key)).open('rb', buffering=0)
            file.seek(start)
            return Piece(file, self.size(key) - start if length is None else length)

    def size(self, key):
        with _errors():
            return (self.root / checked(key)).stat().st_size

    def delete(self, key):
        with _errors():
            (self.root / checked(key)).unlink(missing_ok=True)


def _sync(path):
    """A file, or a directory: a new name is safe only when that is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _errors():
    """What the operating system says, without the path."""
    try:
        yield
    except FileNotFoundError as error:
        raise Missing(Missing.__doc__) from error
    except OSError as error:
        raise StorageError(f'{StorageError.__doc__} ({error.strerror})') from error
