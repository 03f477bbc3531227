"""Storage in a directory that web and workers share: file:///directory."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from service.media.storage_interface import Draft, Missing, Piece, Storage, StorageError, check_key

DRAFTS = '.drafts'  # beside the files and on their disk: a rename makes a draft one of them
DRAFT_SECONDS = 86400  # older ones were left by a process that died


class Directory(Storage):
    """A directory that web and workers share."""

    def __init__(self, path: str | Path) -> None:
        self.root = Path(path).absolute()
        with suppress(OSError):
            self._delete_old_drafts()

    def _delete_old_drafts(self) -> None:
        for draft in (self.root / DRAFTS).iterdir():
            if draft.stat().st_mtime < time.time() - DRAFT_SECONDS:
                draft.unlink(missing_ok=True)

    @contextmanager
    def create(self, key: str) -> Iterator[Draft]:
        path = self._path(key)
        with _storage_errors():
            (self.root / DRAFTS).mkdir(parents=True, exist_ok=True)
            file = tempfile.NamedTemporaryFile(dir=self.root / DRAFTS, delete=False)  # noqa: SIM115
        try:
            yield Draft(file, lambda soon: self._keep(file, path, soon), _storage_errors)
        finally:
            with suppress(OSError):  # kept, it has another name by now
                Path(file.name).unlink(missing_ok=True)
                file.close()

    def _keep(self, file: IO[bytes], path: Path, soon: bool) -> None:
        file.flush()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file.name, path)
        if not soon:
            self._fsync([path])

    def fsync(self, keys: list[str]) -> None:
        """Make files and their names safe from a power failure.

        Call it once for many: each call makes others wait for the disk, PostgreSQL among them.
        """
        with _storage_errors():
            self._fsync([self._path(key) for key in keys])

    def _fsync(self, paths: Sequence[Path]) -> None:
        parents = {folder for path in paths for folder in path.parents}
        folders = {folder for folder in parents if folder.is_relative_to(self.root)}
        for path in (*paths, *folders):
            _fsync_path(path)

    def open(self, key: str, start: int = 0, length: int | None = None) -> Piece:
        with _storage_errors():
            file = self._path(key).open('rb', buffering=0)
            file.seek(start)
            return Piece(file, self.size(key) - start if length is None else length)

    def size(self, key: str) -> int:
        with _storage_errors():
            return self._path(key).stat().st_size

    def delete(self, key: str) -> None:
        with _storage_errors():
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)


def _fsync_path(path: Path) -> None:
    """Sync a file, or a directory: a new name is safe only when its directory is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Turn what the operating system says into StorageError, without the path."""
    try:
        yield
    except FileNotFoundError as error:
        raise Missing(Missing.__doc__) from error
    except OSError as error:
        raise StorageError(f'{StorageError.__doc__} ({error.strerror})') from error
