"""Deletes files that have to go, on a thread beside the clock: a storage that hangs holds no clock.

The thread asks the storage alone. What is in the database the clock reads and writes itself.
"""

import logging
import threading
import time
from concurrent.futures import Future

from service.media import file_deletion
from service.media.file_deletion import SECONDS, Claim, Deletion

log = logging.getLogger(__name__)
PAUSE = 60  # seconds until the next look when nothing is to be deleted, or the storage is away


class FileDeleter:
    """Which files its thread has in hand, one lot at a time, and when it looks for others."""

    def __init__(self) -> None:
        self._under_way: tuple[Claim, Future[Deletion]] | None = None
        self._next_at = 0.0  # monotonic: not before it looks again
        self._count = 0  # deleted since the last pause

    def step(self) -> None:
        """Record what the thread has done, and give it the next files; waits for nothing."""
        if self._under_way:
            claimed, deletion = self._under_way
            if not deletion.done():
                return
            self._record(claimed, deletion)
        if time.monotonic() >= self._next_at:
            self._begin()

    def _begin(self) -> None:
        claimed = file_deletion.claim()
        if claimed is None:
            self._pause()
            return
        deletion: Future[Deletion] = Future()
        arguments = (claimed.keys, deletion)
        threading.Thread(target=_delete, args=arguments, name='files', daemon=True).start()
        self._under_way = claimed, deletion

    def _record(self, claimed: Claim, deletion: Future[Deletion]) -> None:
        if error := deletion.exception():  # the claim ends by itself
            log.error('files could not be deleted', exc_info=error)
        count = 0 if error else file_deletion.record(claimed, deletion.result())
        self._under_way = None
        self._count += count
        if not count:
            self._pause()

    def _pause(self) -> None:
        self._next_at = time.monotonic() + PAUSE
        if self._count:
            log.info('retention', extra={'files': self._count})
        self._count = 0


def _delete(keys: list[str], deletion: Future[Deletion]) -> None:
    """Ask the storage, on the thread."""
    try:
        deletion.set_result(file_deletion.delete(keys, SECONDS))
    except Exception as error:  # a fault of ours
        deletion.set_exception(error)


deleter = FileDeleter()  # of this process
