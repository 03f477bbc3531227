"""Media that is expected → Meta's file servers → the storage: checked, in pieces, never whole in
memory.
"""

import hashlib
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service.graph.media_client import GONE, LARGEST, MediaClient, NotFetched, failure, too_large
from service.graph.outcome import OutcomeKind
from service.media import inbound_file
from service.media.storage import storage
from service.media.storage_interface import StorageError, key_of
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.db import connection
from service.runtime.untrusted import as_dict, clean
from workers import loop, pool

log = logging.getLogger(__name__)

THREADS = 32
BATCH_WINDOW = 0.2  # seconds; files that come within it are made safe together
FRESH = timedelta(minutes=4)  # an address in a webhook is good for five


def job():
    return pool.BackgroundJob(THREADS, *Fetcher().parts(), batch_window=BATCH_WINDOW)


@dataclass(slots=True)
class Stored:
    """What lies in the storage now."""

    key: str
    size: int
    sha256: bytes
    mime_type: str | None


class Fetcher:
    """This process's connections to Meta, and how long a claim lasts."""

    def __init__(self):
        self.client = MediaClient(THREADS)
        self.lease = 2 * settings.GRAPH_TIMEOUT + 20  # seconds; renewed while bytes arrive

    def parts(self):
        return lambda limit: inbound_file.claim(limit, self.lease), self.fetch, record

    def fetch(self, row):
        """The file into the storage, on a thread of the pool: Stored, or the Outcome that says why
        not.
        """
        try:
            return self._fetch(row, encryption.decrypt(row['access_token']))
        except NotFetched as reason:
            return reason.outcome
        except encryption.Undecryptable as error:
            return failure(OutcomeKind.HELD, str(error), 'undecryptable').outcome
        except StorageError as error:
            return failure(OutcomeKind.RETRY, str(error), 'storage').outcome

    def _fetch(self, row, token):
        """The address that came with the message saves a call; one that does not work is replaced,
        once at once.
        """
        if url := _given_address(row):
            with suppress(NotFetched):
                return self._download(row, url, token)
        described = self._describe(row, token)
        try:
            return self._download(row, described.url, token, described)
        except NotFetched as reason:
            if not reason.is_stale:
                raise
        described = self._describe(row, token)
        return self._download(row, described.url, token, described)

    def _describe(self, row, token):
        described = self.client.describe(row['meta_id'], row['phone_number_id'], token)
        if (described.size or 0) > LARGEST:
            raise too_large()
        return described

    def _download(self, row, url, token, described=None):
        """Into a draft, which becomes the file when it is what Meta announced."""
        key, digest, size = key_of(row['chatbot_id'], row['id']), hashlib.sha256(), 0
        with self.client.download(url, token) as answer, storage().create(key) as draft:
            for piece in self._pieces(row, answer):
                size += len(piece)
                if size > LARGEST:
                    raise too_large()
                digest.update(piece)
                draft.write(piece)
            _check(row, described, size, digest.digest())
            draft.keep(soon=True)
        mime_type = (
            described and described.mime_type or clean(answer.headers.get('Content-Type'), 255)
        )
        return Stored(key, size, digest.digest(), mime_type)

    def _pieces(self, row, answer):
        """The bytes as they arrive. The claim is renewed meanwhile; who lost it stops."""
        renewed = time.monotonic()
        for piece in self.client.pieces(answer):
            yield piece
            now = time.monotonic()
            if now - renewed > self.lease / 4:
                renewed = now
                _renew(row, self.lease)


def _renew(row, lease):
    with suppress(*loop.AWAY), connection():  # else the lease may end, and another fetches it too
        if not inbound_file.renew(row, lease):
            raise failure(OutcomeKind.RETRY, 'Another worker fetches the file', 'not_fetched')


def _given_address(row):
    is_fresh = row['attempts'] == 1 and datetime.now(UTC) - row['created_at'] < FRESH
    return clean(as_dict(as_dict(row['content'])).get('url')) if is_fresh else None


def _check(row, described, size, digest):
    """Against all that Meta has promised. Raises NotFetched: tried again, four times in all."""
    promised = {bytes(one) for one in (row['sha256'], described and described.sha256) if one}
    if described and described.size is not None and described.size != size:
        wrong = 'size'
    elif promised - {digest}:
        wrong = 'SHA-256'
    else:
        return
    is_last = row['attempts'] > inbound_file.RETRY.max
    raise failure(
        OutcomeKind.FAILED if is_last else OutcomeKind.RETRY,
        f'The file has another {wrong} than Meta announced',
        GONE,
    )


def record(batch):
    """Write what became of files, then log, a line each."""
    now, results, lost = datetime.now(UTC), [], _settle(batch)
    for row, result in batch:
        if lost and isinstance(result, Stored):
            result = failure(OutcomeKind.RETRY, str(lost), 'storage').outcome
        if isinstance(result, pool.Unrecordable):
            result = failure(OutcomeKind.FAILED, str(result), 'not_recorded').outcome
        if isinstance(result, Exception):
            result = failure(
                OutcomeKind.RETRY, f'internal error ({type(result).__name__})', 'not_fetched'
            ).outcome
        if isinstance(result, Stored):
            results.append((row, result, None))
        else:
            result.delay = inbound_file.delay_after(result, row, now)
            results.append((row, None, result))
    inbound_file.record(results)
    for one in results:
        _log(*one)


def _settle(batch):
    """Make the batch's files safe; the reason when the storage cannot."""
    try:
        storage().fsync([result.key for _, result in batch if isinstance(result, Stored)])
    except StorageError as reason:
        return reason
    return None


def _log(row, stored, outcome):
    line = {
        'message_id': row['message_id'],
        'chatbot_id': row['chatbot_id'],
        'attempt': row['attempts'],
    }
    if stored:
        log.info('media', extra=line | {'outcome': 'stored', 'size': stored.size})
    else:
        line |= {'outcome': 'failed' if outcome.delay is None else 'retry', 'due_in': outcome.delay}
        log.warning('media', extra=line | {name: outcome.error[name] for name in ('code', 'title')})
