"""What every storage of files does alike: keys, pieces, drafts, and its two errors."""

import hashlib
import re
import shutil

CHUNK = 256 * 1024  # bytes in memory at a time
KEY = re.compile(r'[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*')  # never a name that a person gave


class StorageError(Exception):
    """The storage cannot be used now"""


class Missing(StorageError):
    """The file is not in the storage"""


def key_of(chatbot_id, media_id):
    """The same for each attempt, so that none leaves a file behind.

    An id begins with its time: a folder for 4.7 h.
    """
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
        """Keep what is left to read of a binary file under a key, in the place of what may lie
        there.
        """
        with self.create(key) as draft:
            shutil.copyfileobj(file, draft, CHUNK)
            draft.keep()

    def settle(self, keys):
        """Make safe what was kept `soon`; where nothing need be done, it is done."""


class Draft:
    """A file that is being written: .write(data), at the end .keep(), else it is forgotten.

    Kept `soon`, it is safe from a power failure only when the storage's settle() has been told of
    it, with others.
    """

    def __init__(self, file, keep, errors):
        self._file, self._keep, self._errors = file, keep, errors

    def write(self, data):
        with self._errors():
            self._file.write(data)

    def keep(self, soon=False):
        with self._errors():
            self._keep(soon)
