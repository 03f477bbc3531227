"""Sends messages that name files of ours, after their number got Meta's ids for the files.

This happens on the send pool's own thread, so that the order within a conversation holds. A file is
uploaded once for each number, however many messages and workers want it. Within a process the
others wait a moment for the thread that began; across processes there is a lease in media_upload,
and who comes too late releases the message and tries again later.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from service.content.graph_body import graph_body
from service.graph.client import GraphClient
from service.graph.multipart import Form
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.media import meta_upload
from service.media.file_references import with_meta_ids
from service.media.meta_upload import FileToSend
from service.media.storage import storage
from service.media.storage_interface import Missing, Piece, StorageError
from service.runtime.db import connection
from service.sending import takeover
from service.sending.dispatch import ClaimedMessage
from workers import loop

# For another thread's upload. A longer wait would keep other accounts' messages from this thread.
SHARED_WAIT_SECONDS = 2
RETRY_AFTER_SECONDS = 1  # until a message that was released is claimed again
RENEW_SECONDS = 5  # of an upload, after which its leases are renewed
ID_TRUSTED_SECONDS = 60  # a younger id has not expired, whatever Meta complains about
# Meta's codes for an id that it does not know (any more), among other things.
UNKNOWN_ID_CODES = (100, 131009, 131053)

FileAndNumber = tuple[str, str]


class NotNow(Exception):
    """Somebody else uploads the file, too little is left of the lease, or a person speaks now."""


class FileNotAccepted(Exception):
    """Meta did not take the file; nothing was sent. Has the Outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


class Attacher:
    """What a process's threads share. `lease`: seconds that a claim of a message lasts."""

    def __init__(self, graph: GraphClient, lease: float) -> None:
        self.lease = lease
        self._graph = graph
        self._uploads: dict[FileAndNumber, Future[str]] = {}  # what gives Meta's id
        self._lock = threading.Lock()

    def send(self, message: ClaimedMessage, token: str) -> Outcome:
        """Send one message with files of ours; `postponed` when Meta was not called for it."""
        try:
            outcome = self._send(message, token)
            stale = _stale_files(message, outcome)
            if stale:
                self._forget(stale)
                outcome = self._send(message, token)
        except FileNotAccepted as refusal:
            return refusal.outcome
        except (NotNow, *loop.AWAY):
            return Outcome(OutcomeKind.POSTPONED)
        return outcome

    def _send(self, message: ClaimedMessage, token: str) -> Outcome:
        files = self._uploaded_files(message, token)
        if message.expires_at and message.expires_at <= datetime.now(UTC):
            return Outcome(OutcomeKind.EXPIRED)
        if takeover.is_taken_over(message) or message.is_late:  # the next time all files are there
            raise NotNow
        content = with_meta_ids(message.type, message.content, files)
        body = graph_body(replace(message, content=content))
        return self._graph.send(message.phone_number_id, token, body)

    def _uploaded_files(self, message: ClaimedMessage, token: str) -> dict[str, FileToSend]:
        """The message's files, each with Meta's id. Raises FileNotAccepted or NotNow."""
        files = {}
        for media_id, file in message.files.items():
            if file is None:
                raise FileNotAccepted(_failed(f'The file {media_id} is not there any more'))
            if not file.meta_id:
                file.meta_id = self._upload_once(message, file, token)
                file.age = 0
            files[media_id] = file
        return files

    def _upload_once(self, message: ClaimedMessage, file: FileToSend, token: str) -> str:
        """Meta's id of a file, uploaded by this thread or by one that began before."""
        key = (file.media_id, file.number)
        with self._lock:
            is_mine = key not in self._uploads
            future = self._uploads.setdefault(key, Future())
        if not is_mine:
            try:
                return future.result(SHARED_WAIT_SECONDS)
            except TimeoutError:
                raise NotNow from None
        try:
            future.set_result(self._claim_and_upload(message, file, token))
        except BaseException as error:
            future.set_exception(error)
        with self._lock:
            del self._uploads[key]
        return future.result()

    def _claim_and_upload(self, message: ClaimedMessage, file: FileToSend, token: str) -> str:
        with connection():
            is_claimed = meta_upload.claim(file, self.lease)
            known_id = None if is_claimed else meta_upload.find_meta_id(file)
        if known_id:
            return known_id
        if not is_claimed:
            raise NotNow
        meta_id = None
        try:
            meta_id = self._upload(message, file, token)
        finally:
            with suppress(*loop.AWAY), connection():  # without the database the lease ends
                meta_upload.record(file, meta_id)
        return meta_id

    def _upload(self, message: ClaimedMessage, file: FileToSend, token: str) -> str:
        try:
            with storage().open(file.storage_key) as stored:
                form = Form(file, self._pieces(message, file, stored))
                outcome = self._graph.upload(file.number, token, form)
        except Missing:
            raise FileNotAccepted(_failed('The file is not there any more')) from None
        except StorageError as error:
            raise FileNotAccepted(_failed(str(error), OutcomeKind.RETRY)) from error
        if outcome.kind != OutcomeKind.ACCEPTED or outcome.media_id is None:
            raise FileNotAccepted(_with_file_named(outcome, file))
        return outcome.media_id

    def _pieces(self, message: ClaimedMessage, file: FileToSend, stored: Piece) -> Iterator[bytes]:
        """The file's bytes; the leases are renewed meanwhile.

        Raises NotNow when the process is to stop.
        """
        renewed = time.monotonic()
        for piece in stored:
            if loop.stopping.is_set():
                raise NotNow
            now = time.monotonic()
            if now - renewed > RENEW_SECONDS:
                renewed = now
                self._renew(message, file, now)
            yield piece

    def _renew(self, message: ClaimedMessage, file: FileToSend, now: float) -> None:
        """Renew the leases between two pieces, while Meta waits for the next one."""
        with suppress(*loop.AWAY), connection():
            if meta_upload.renew(message, file, self.lease):
                message.begin_by = now + self.lease / 2

    @staticmethod
    def _forget(files: list[FileToSend]) -> None:
        with connection():
            for file in files:
                meta_upload.forget(file)
                file.meta_id = None


def _stale_files(message: ClaimedMessage, outcome: Outcome) -> list[FileToSend]:
    """The files whose ids may have expired, when that may be what Meta complains about."""
    if outcome.kind != OutcomeKind.FAILED or outcome.code not in UNKNOWN_ID_CODES:
        return []
    files = (file for file in message.files.values() if file)
    return [file for file in files if (file.age or 0) > ID_TRUSTED_SECONDS]


def _failed(title: str, kind: OutcomeKind = OutcomeKind.FAILED) -> Outcome:
    return Outcome(kind, error=make_error(title, cause=meta_upload.MEDIA_UPLOAD_ERROR))


def _with_file_named(outcome: Outcome, file: FileToSend) -> Outcome:
    """The same outcome with the file in its details: a message may have several."""
    name = f'"{file.filename}"' if file.filename else file.media_id
    error = outcome.reason
    said = error['details'] or error['title']
    details = f'{name} ({file.mime_type}, {file.size:,} bytes) was not taken: {said}'
    return replace(outcome, error={**error, 'details': details})
