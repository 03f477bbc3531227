"""Our files in a message that is about to leave: Meta's ids for them, which its number may first
have to get.

On the send pool's own thread, so that the order within a conversation holds. One upload for a file
and a number, however many messages and workers want it: in a process they wait for the one that
began, for a moment; across processes it is a lease in media_upload, and who comes too late gives
his message back and comes again.
"""

import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from service.content.message_schema import graph_body
from service.graph.multipart import Form
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.media import outbound_file, storage, storage_interface
from service.runtime.db import connection
from workers import loop

# seconds for another thread's upload: longer would keep other accounts' messages from this thread
WAIT = 2
AGAIN = 1  # seconds until a message that was given back comes again
RENEW = 5  # seconds of an upload after which its leases are renewed
FRESH = 60  # seconds; an id that is younger has not expired, whatever Meta complains about
COMPLAINTS = (
    100,
    131009,
    131053,
)  # Meta's codes for an id that it does not know (any more), among other things


class NotNow(Exception):
    """Somebody else uploads the file, or too little is left of the message's lease"""


class FileNotAccepted(Exception):
    """Meta did not take the file; nothing was sent. Has the Outcome."""

    def __init__(self, outcome):
        super().__init__(outcome.kind)
        self.outcome = outcome


class Attacher:
    """What a process's threads share. `graph`: the client; `lease`: seconds that a claim lasts."""

    def __init__(self, graph, lease):
        self._graph, self.lease = graph, lease
        self._uploads, self._lock = {}, threading.Lock()  # (file, number): a Future with Meta's id

    def send(self, row, token):
        """One message with files of ours: the Outcome, `postponed` when it was not called for."""
        try:
            outcome = self._send(row, token)
            if stale := _stale(row, outcome):
                self._forget(stale)
                outcome = self._send(row, token)
        except FileNotAccepted as refusal:
            return refusal.outcome
        except (NotNow, *loop.AWAY):
            return Outcome(OutcomeKind.POSTPONED)
        return outcome

    def _send(self, row, token):
        for media_id, file in row.files.items():
            if file is None:
                raise FileNotAccepted(_failed(f'The file {media_id} is not there any more'))
            if not file['meta_id']:
                file |= {'meta_id': self._shared(row, file, token), 'age': 0}
        if row.expires_at and row.expires_at <= datetime.now(UTC):
            return Outcome(OutcomeKind.EXPIRED)
        if row.leased_until - time.monotonic() < self.lease / 2:
            # it might be anybody's before the answer is here; the next time all is uploaded
            raise NotNow
        content = outbound_file.with_meta_ids(row.type, row.content, row.files)
        return self._graph.send(
            row.phone_number_id, token, graph_body(replace(row, content=content))
        )

    def _shared(self, row, file, token):
        """Meta's id, uploaded by this thread or by one that began before."""
        key = file['media_id'], file['number']
        with self._lock:
            mine = key not in self._uploads
            future = self._uploads.setdefault(key, Future())
        if not mine:
            try:
                return future.result(WAIT)
            except TimeoutError:
                raise NotNow from None
        try:
            future.set_result(self._upload(row, file, token))
        except BaseException as error:
            future.set_exception(error)
        with self._lock:
            del self._uploads[key]
        return future.result()

    def _upload(self, row, file, token):
        with connection():
            claimed = outbound_file.claim(file, self.lease)
        if claimed is not True:
            if claimed is None:
                raise NotNow
            return claimed
        meta_id = None
        try:
            meta_id = self._uploaded(row, file, token)
        finally:
            with suppress(*loop.AWAY), connection():  # else the lease sees to it
                outbound_file.finish(file, meta_id)
        return meta_id

    def _uploaded(self, row, file, token):
        try:
            with storage.storage().open(file['storage_key']) as stored:
                form = Form(file, self._pieces(row, file, stored))
                outcome = self._graph.upload(file['number'], token, form)
        except storage_interface.Missing:
            raise FileNotAccepted(_failed('The file is not there any more')) from None
        except storage_interface.StorageError as error:
            raise FileNotAccepted(_failed(str(error), OutcomeKind.RETRY)) from error
        if outcome.kind != OutcomeKind.ACCEPTED:
            raise FileNotAccepted(_naming(outcome, file))
        return outcome.media_id

    def _pieces(self, row, file, stored):
        """The file's bytes; meanwhile, what it holds is held on to.

        Raises NotNow when the process is to stop.
        """
        renewed = time.monotonic()
        for piece in stored:
            if loop.stopping.is_set():
                raise NotNow
            if time.monotonic() - renewed > RENEW:
                renewed = time.monotonic()
                self._renew(row, file, renewed)
            yield piece

    def _renew(self, row, file, now):
        """Between two pieces; Meta waits for the next one, and the connection is back before it
        goes.
        """
        with suppress(*loop.AWAY), connection():
            if outbound_file.renew(row, file, self.lease):
                row.leased_until = now + self.lease

    @staticmethod
    def _forget(files):
        with connection():
            for file in files:
                outbound_file.forget(file)
                file['meta_id'] = None


def _stale(row, outcome):
    """The files whose ids may have expired, when that may be what Meta complains about."""
    if outcome.kind != OutcomeKind.FAILED or outcome.error['code'] not in COMPLAINTS:
        return []
    return [file for file in row.files.values() if file['age'] > FRESH]


def _failed(title, kind=OutcomeKind.FAILED):
    return Outcome(
        kind,
        error=make_error(title, cause=131053),
    )


def _naming(outcome, file):
    """The same with the file in it: which of a message's, and what it is."""
    name = f'"{file["filename"]}"' if file['filename'] else file['media_id']
    said = outcome.error['details'] or outcome.error['title']
    outcome.error['details'] = (
        f'{name} ({file["mime_type"]}, {file["size"]:,} bytes) was not taken: {said}'
    )
    return outcome
