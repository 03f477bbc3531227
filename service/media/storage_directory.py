"""Storage in a directory that web and workers share: file:///directory."""

import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from service.media.storage_interface import Draft, Missing, Piece, Storage, StorageError, checked

DRAFTS = '.drafts'  # beside the files and on their disk: a rename makes a draft one of them
DRAFT_SECONDS = 86400  # older ones were left by a process that died


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
        """On the disk, with their names.

        Alone, each would make the disk's journal, and PostgreSQL, wait for it.
        """
        with _errors():
            self._settle([self.root / checked(key) for key in keys])

    def _settle(self, paths):
        folders = {
            folder for path in paths for folder in path.parents if folder.is_relative_to(self.root)
        }
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
