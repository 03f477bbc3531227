"""Fetches the files that are due from Meta's file servers into the storage, in pieces."""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from service.graph.media_client import (
    GONE,
    LARGEST,
    Described,
    Download,
    MediaClient,
    NotFetched,
    failure,
    too_large,
)
from service.graph.outcome import Outcome, OutcomeKind
from service.media import file_deletion, inbound_file
from service.media.inbound_file import ClaimedFile, FetchResult, StoredFile
from service.media.storage import storage
from service.media.storage_interface import StorageError, key_of
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.db import connection
from service.runtime.queues import RETRY
from service.runtime.untrusted import as_dict, clean
from workers import loop, pool

log = logging.getLogger(__name__)

THREADS = 32
BATCH_WINDOW = 0.2  # seconds; files that come within it are made safe together
DELETE_SECONDS = 3  # for files of people who were erased meanwhile; the clock deletes them, too
URL_TRUSTED = timedelta(minutes=4)  # an address in a webhook is good for five


def job() -> pool.BackgroundJob:
    """The background job: see workers/background.py."""
    fetcher = Fetcher()
    claim = partial(inbound_file.claim, lease=fetcher.lease)
    return pool.BackgroundJob(THREADS, claim, fetcher.fetch, record, batch_window=BATCH_WINDOW)


class Fetcher:
    """This process's connections to Meta, and how long a claim lasts."""

    def __init__(self) -> None:
        self.client = MediaClient(THREADS)
        self.lease: float = 2 * settings.GRAPH_TIMEOUT + 20  # seconds; renewed while bytes arrive

    def fetch(self, file: ClaimedFile) -> StoredFile | Outcome:
        """Bring the file into the storage, on a thread of the pool; else say why not."""
        try:
            return self._fetch(file, encryption.decrypt(file.access_token))
        except NotFetched as reason:
            return reason.outcome
        except encryption.DecryptionError as error:
            return failure(OutcomeKind.HELD, str(error), 'undecryptable').outcome
        except StorageError as error:
            return failure(OutcomeKind.RETRY, str(error), 'storage').outcome

    def _fetch(self, file: ClaimedFile, token: str) -> StoredFile:
        """Download from the message's own address, which saves a call, or ask Meta for one.

        Meta is asked once more when that address does not work any more.
        """
        if url := _given_url(file):
            with suppress(NotFetched):
                return self._download(file, url, token)
        described = self._describe(file, token)
        try:
            return self._download(file, described.url, token, described)
        except NotFetched as reason:
            if not reason.is_stale:
                raise
        described = self._describe(file, token)
        return self._download(file, described.url, token, described)

    def _describe(self, file: ClaimedFile, token: str) -> Described:
        described = self.client.describe(file.meta_id, file.phone_number_id, token)
        if (described.size or 0) > LARGEST:
            raise too_large()
        return described

    def _download(
        self, file: ClaimedFile, url: str, token: str, described: Described | None = None
    ) -> StoredFile:
        """Write it into a draft, which becomes the file when it is what Meta announced."""
        key = key_of(file.chatbot_id, file.id)
        digest = hashlib.sha256()
        size = 0
        with self.client.download(url, token) as answer, storage().create(key) as draft:
            for piece in self._pieces(file, answer):
                size += len(piece)
                if size > LARGEST:
                    raise too_large()
                digest.update(piece)
                draft.write(piece)
            _check(file, described, size, digest.digest())
            draft.keep(soon=True)
        mime_type = described and described.mime_type
        return StoredFile(key, size, digest.digest(), mime_type or _content_type(answer))

    def _pieces(self, file: ClaimedFile, answer: Download) -> Iterator[bytes]:
        """The bytes as they arrive. The claim is renewed meanwhile; who lost it stops."""
        renewed = time.monotonic()
        for piece in self.client.pieces(answer):
            yield piece
            now = time.monotonic()
            if now - renewed > self.lease / 4:
                renewed = now
                _renew(file, self.lease)


def _renew(file: ClaimedFile, lease: float) -> None:
    """Renew the claim; while the database is away it may end, and another worker begins as well."""
    with suppress(*loop.AWAY), connection():
        if not inbound_file.renew(file, lease):
            raise failure(OutcomeKind.RETRY, 'Another worker fetches the file', 'not_fetched')


def _given_url(file: ClaimedFile) -> str | None:
    """The address that came with the message, while it is good."""
    is_fresh = file.attempts == 1 and datetime.now(UTC) - file.created_at < URL_TRUSTED
    return clean(as_dict(file.content).get('url')) if is_fresh else None


def _content_type(answer: Download) -> str | None:
    return clean(answer.headers.get('Content-Type'), 255)


def _check(file: ClaimedFile, described: Described | None, size: int, digest: bytes) -> None:
    """Compare the file with what Meta announced. Raises NotFetched, final at the fourth attempt."""
    promised = [file.sha256, described and described.sha256]
    digests = {bytes(one) for one in promised if one}
    if described and described.size is not None and described.size != size:
        wrong = 'size'
    elif digests - {digest}:
        wrong = 'SHA-256'
    else:
        return
    kind = OutcomeKind.FAILED if file.attempts > RETRY.max else OutcomeKind.RETRY
    raise failure(kind, f'The file has another {wrong} than Meta announced', GONE)


PoolResult = tuple[ClaimedFile, StoredFile | Outcome | Exception]  # an exception: a fault of ours


def record(batch: Sequence[PoolResult]) -> None:
    """Write what became of files, then log a line for each."""
    now = datetime.now(UTC)
    lost = _fsync(batch)
    results: list[FetchResult] = []
    for file, result in batch:
        if isinstance(result, Exception):
            result = _outcome_of_fault(result)
        elif lost and isinstance(result, StoredFile):
            result = failure(OutcomeKind.RETRY, str(lost), 'storage').outcome
        if isinstance(result, Outcome):
            result.delay = inbound_file.delay_after(result, file.attempts, file.written_at, now)
        results.append((file, result))
    if erased := inbound_file.record(results):
        file_deletion.delete(erased, DELETE_SECONDS)
    for file, fetched in results:
        _log(file, fetched)


def _outcome_of_fault(fault: Exception) -> Outcome:
    if isinstance(fault, pool.Unrecordable):
        return failure(OutcomeKind.FAILED, str(fault), 'not_recorded').outcome
    title = f'internal error ({type(fault).__name__})'
    return failure(OutcomeKind.RETRY, title, 'not_fetched').outcome


def _fsync(batch: Sequence[PoolResult]) -> StorageError | None:
    """Make the batch's files safe; the reason when the storage cannot."""
    try:
        storage().fsync([result.key for _, result in batch if isinstance(result, StoredFile)])
    except StorageError as reason:
        return reason
    return None


def _log(file: ClaimedFile, result: StoredFile | Outcome) -> None:
    line: dict[str, object] = {
        'message_id': file.message_id,
        'chatbot_id': file.chatbot_id,
        'attempt': file.attempts,
    }
    if isinstance(result, StoredFile):
        log.info('media', extra=line | {'outcome': 'stored', 'size': result.size})
        return
    error = result.reason
    line['outcome'] = 'failed' if result.delay is None else 'retry'
    line['due_in'] = result.delay
    log.warning('media', extra=line | {'code': error['code'], 'title': error['title']})
