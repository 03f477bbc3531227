"""Files that came with messages, while workers fetch them: claimed, stored, or given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from service.graph.outcome import Outcome, OutcomeKind
from service.runtime.db import execute, fetch
from service.runtime.durability import worked_out_again
from service.runtime.queues import RETRY, patient_delay
from service.runtime.rows import Integer, Json, Uuid, execute_bulk, fetch_as

KEPT_BY_META = timedelta(days=7)  # from the message on (docs/meta.md, section 6.3)

NEXT_DUE = "SELECT min(due_at) FROM media WHERE status = 'fetching'"
# A claimed file shows no error: what has one is waiting, and a release may make it due.
CLAIM_FILES = """
WITH due AS (
  SELECT id FROM media WHERE status = 'fetching' AND due_at <= now()
  ORDER BY due_at LIMIT (SELECT %(limit)s) FOR UPDATE SKIP LOCKED)
UPDATE media x SET due_at = now() + %(lease)s * interval '1 second',
  attempts = least(x.attempts + 1, 32767), error = NULL
FROM due, message m, whatsapp_cloud_account a
WHERE x.id = due.id AND m.id = x.message_id AND a.chatbot_id = x.chatbot_id
RETURNING x.id, x.chatbot_id, x.phone_number_id, x.message_id, x.meta_id, x.sha256, x.attempts,
  x.created_at, a.access_token, m.content,
  least(coalesce(m.timestamp, x.created_at), now()) AS written_at
"""
RENEW_CLAIM = """
UPDATE media SET due_at = now() + %(lease)s * interval '1 second'
WHERE id = %(id)s AND attempts = %(attempts)s AND status = 'fetching'
"""
RECORD_FETCHES = """
UPDATE media x SET status = n.status, due_at = now() + n.delay * interval '1 second',
  error = n.error, mime_type = coalesce(x.mime_type, n.mime_type),
  sha256 = coalesce(n.sha256, x.sha256), size = coalesce(n.size, x.size),
  storage_key = coalesce(n.storage_key, x.storage_key), updated_at = now()
FROM {rows}
WHERE x.id = n.id AND x.attempts = n.attempts AND x.status = 'fetching'
"""
FIND_ROWS = 'SELECT id FROM media WHERE id = ANY(%s::uuid[])'
# A file that a worker fetches just now shows no error, and is left to that worker.
RESUME_NUMBER = """
UPDATE media SET due_at = now() WHERE id IN (
  SELECT id FROM media WHERE status = 'fetching' AND error IS NOT NULL
    AND phone_number_id = coalesce(%s, phone_number_id)
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
"""
RESUME_ACCOUNT = """
UPDATE media SET due_at = now(), updated_at = now()
WHERE chatbot_id = %s AND status = 'fetching' AND error IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A file that this process fetches.

    `content`: what the message says of it; `written_at`: when the message was written.
    """

    id: str
    chatbot_id: str
    phone_number_id: str
    message_id: str
    meta_id: str
    sha256: memoryview | None
    attempts: int
    created_at: datetime
    access_token: str
    content: Any
    written_at: datetime


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What lies in the storage now."""

    key: str
    size: int
    sha256: bytes
    mime_type: str | None


@dataclass(frozen=True, slots=True)
class FetchRecord:
    """What became of one claim. `delay`: seconds until it is due again, None when it is not."""

    id: Uuid
    attempts: Integer
    status: str
    delay: float | None = None
    error: Json | None = None
    mime_type: str | None = None
    sha256: bytes | None = None
    size: int | None = None
    storage_key: str | None = None


FetchResult = tuple[ClaimedFile, StoredFile | Outcome]


@worked_out_again()
def claim(limit: int, lease: float) -> list[ClaimedFile]:
    """Take files that are due for `lease` seconds, and count the attempt."""
    return fetch_as(ClaimedFile, CLAIM_FILES, {'limit': limit, 'lease': lease})


@worked_out_again()
def renew(file: ClaimedFile, lease: float) -> bool:
    """Renew a claim for `lease` seconds. False when somebody else has it by now."""
    values = {'lease': lease, 'id': file.id, 'attempts': file.attempts}
    return bool(execute(RENEW_CLAIM, values))


@worked_out_again()
def record(results: Sequence[FetchResult]) -> list[str]:
    """Write what became of claimed files: each is stored, or has the Outcome that says why not.

    Returns the storage keys of those whose row is gone, because their person was erased.
    """
    in_order = sorted(results, key=lambda result: result[0].id)
    recorded = execute_bulk(RECORD_FETCHES, [_record(file, result) for file, result in in_order])
    if recorded == len(results):
        return []
    ids = [file.id for file, _ in results]
    there = {id_ for (id_,) in fetch(FIND_ROWS, (ids,))}
    return [
        result.key
        for file, result in results
        if isinstance(result, StoredFile) and file.id not in there
    ]


def _record(file: ClaimedFile, result: StoredFile | Outcome) -> FetchRecord:
    if isinstance(result, StoredFile):
        return FetchRecord(
            file.id,
            file.attempts,
            'stored',
            mime_type=result.mime_type,
            sha256=result.sha256,
            size=result.size,
            storage_key=result.key,
        )
    status = 'failed' if result.delay is None else 'fetching'
    return FetchRecord(file.id, file.attempts, status, delay=result.delay, error=result.error)


def delay_after(
    outcome: Outcome, attempts: int, written_at: datetime, now: datetime
) -> float | None:
    """Seconds until the next attempt, None when there is no use in one."""
    if outcome.kind == OutcomeKind.FAILED:
        return None
    # What a new token or a resume will end comes slowly from the first attempt on.
    skipped = RETRY.max if outcome.kind == OutcomeKind.HELD else 0
    delay = max(patient_delay(attempts + skipped), outcome.delay or 0)
    is_late = now + timedelta(seconds=delay) > written_at + KEPT_BY_META
    return None if is_late and attempts > RETRY.max else delay


def resume_number(phone_number_id: str | None) -> int:
    """Make failed files due, of one number or of all (None); returns how many."""
    return execute(RESUME_NUMBER, (phone_number_id,))


def resume_account(chatbot_id: str) -> None:
    """Make the account's failed files due: the cause of its hold is gone."""
    execute(RESUME_ACCOUNT, (chatbot_id,))
