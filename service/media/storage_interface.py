"""What every storage of files does alike: keys, pieces, drafts, and its two errors."""

import hashlib
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, Self

CHUNK = 256 * 1024  # bytes in memory at a time
KEY = re.compile(r'[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*')  # never a name that a person gave


class StorageError(Exception):
    """The storage cannot be used now"""


class Missing(StorageError):
    """The file is not in the storage"""


class Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class ByteStream(Readable, Protocol):
    def close(self) -> object: ...


class Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


def key_of(chatbot_id: str, media_id: str) -> str:
    """The storage key of a file: the same for each attempt, so that none leaves a file behind.

    An id begins with its time, so a folder holds the files of 4.7 hours.
    """
    return f'{hashlib.sha256(chatbot_id.encode()).hexdigest()[:16]}/{media_id[:6]}/{media_id}'


def check_key(key: str) -> str:
    """The key, if it is one that we make. Raises ValueError."""
    if not KEY.fullmatch(key):
        raise ValueError('not a storage key')
    return key


class Piece:
    """A stretch of a file: iterate over it to its end, or read() it and close it."""

    def __init__(self, stream: ByteStream, length: int) -> None:
        self._stream = stream
        self.left = length

    def read(self, size: int = CHUNK) -> bytes:
        data = self._stream.read(min(size if size >= 0 else self.left, self.left))
        self.left -= len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        with self:
            while data := self.read():
                yield data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()


class Draft:
    """A file that is being written: .write(data), at the end .keep(), else it is forgotten.

    `keep`: what .keep(soon) calls; `errors`: a context that turns errors into StorageError.
    """

    def __init__(
        self,
        file: Writable,
        keep: Callable[[bool], None],
        errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._file = file
        self._keep = keep
        self._errors = errors

    def write(self, data: bytes) -> None:
        with self._errors():
            self._file.write(data)

    def keep(self, soon: bool = False) -> None:
        """Make the draft the file of its key.

        With `soon` a power failure may lose it until Storage.fsync() was called for it, with
        others.
        """
        with self._errors():
            self._keep(soon)


class Storage(ABC):
    """Where files lie. All methods raise StorageError."""

    @abstractmethod
    def create(self, key: str) -> AbstractContextManager[Draft]:
        """A context that gives a Draft. Nobody sees the file before all of it is there."""

    @abstractmethod
    def open(self, key: str, start: int = 0, length: int | None = None) -> Piece:
        """A Piece of a file, of `length` bytes or to its end. Raises Missing."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Bytes of a file. Raises Missing."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete a file, if it is there."""

    @abstractmethod
    def fsync(self, keys: list[str]) -> None:
        """Make safe from a power failure what was kept `soon`."""

    def put(self, key: str, file: Readable) -> None:
        """Keep what is left to read of a binary file under a key; an older file is replaced."""
        with self.create(key) as draft:
            shutil.copyfileobj(file, draft, CHUNK)
            draft.keep()
