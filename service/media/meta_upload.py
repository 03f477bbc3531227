"""Meta's ids for the files that callers gave us (docs/meta.md, section 6.3).

Meta's id of a file belongs to one number and is good for 30 days. The row in media_upload says who
uploads the file to Meta: it is leased, and who comes too late for the lease tries again later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from service.media.file_references import TYPES_WITHOUT_FILES, find_references
from service.runtime.db import db, execute, fetch
from service.runtime.rows import Uuid, fetch_bulk_as

ID_HOURS = 29 * 24  # that Meta's id is used; Meta keeps it for 30 days
MEDIA_UPLOAD_ERROR = 131053  # Meta's code for a message whose file it does not have


@dataclass(slots=True)
class FileToSend:
    """A file of a claimed message, with Meta's id if its number has one.

    `age`: seconds since Meta gave the id.
    """

    media_id: str
    number: str
    storage_key: str
    mime_type: str
    filename: str | None
    size: int
    meta_id: str | None
    age: float | None


class MessageWithFiles(Protocol):
    """What is read here of a claimed message. `files`: by our id, None for one that is gone."""

    type: str
    content: Any
    phone_number_id: str
    files: dict[str, FileToSend | None]


@dataclass(frozen=True, slots=True, order=True)
class WantedFile:
    """A file and the number that is to send it."""

    media_id: Uuid
    number: str


FIND_FILES = """
SELECT n.media_id, n.number, m.storage_key, m.mime_type, m.filename, m.size, u.meta_id,
  extract(epoch FROM now() - u.uploaded_at)::float AS age
FROM {rows}
  JOIN media m ON m.id = n.media_id AND m.status = 'stored'
  LEFT JOIN media_upload u ON u.media_id = m.id AND u.phone_number_id = n.number
    AND u.uploaded_at > now() - %(id_hours)s * interval '1 hour'
"""


def attach_files(messages: Sequence[MessageWithFiles]) -> None:
    """Give claimed messages their `files`, with one query for all; none when they have no files."""
    for message in messages:
        message.files = dict.fromkeys(_media_ids(message))
    wanted = {
        WantedFile(media_id, message.phone_number_id)
        for message in messages
        for media_id in message.files
    }
    found = fetch_bulk_as(FileToSend, FIND_FILES, sorted(wanted), id_hours=ID_HOURS)
    files = {WantedFile(file.media_id, file.number): file for file in found}
    for message in messages:
        for media_id in message.files:
            file = files.get(WantedFile(media_id, message.phone_number_id))
            message.files[media_id] = file and replace(file)  # its own: threads change it


def _media_ids(message: MessageWithFiles) -> list[str]:
    if message.type in TYPES_WITHOUT_FILES:
        return []
    references = find_references({message.type: message.content})
    return [reference.media_id for reference in references]


# Free for whoever comes first: never uploaded, too old, or left by somebody who died meanwhile.
CLAIM_UPLOAD = """
INSERT INTO media_upload AS u (media_id, phone_number_id, lease_until)
VALUES (%(media_id)s, %(number)s, now() + %(lease)s * interval '1 second')
ON CONFLICT (media_id, phone_number_id) DO UPDATE
SET lease_until = excluded.lease_until, meta_id = NULL
WHERE (u.meta_id IS NULL OR u.uploaded_at <= now() - %(id_hours)s * interval '1 hour')
  AND (u.lease_until IS NULL OR u.lease_until <= now())
"""
FIND_META_ID = """
SELECT meta_id FROM media_upload
WHERE media_id = %(media_id)s AND phone_number_id = %(number)s AND meta_id IS NOT NULL
  AND uploaded_at > now() - %(id_hours)s * interval '1 hour'
"""
RECORD_UPLOAD = """
UPDATE media_upload SET meta_id = %(meta_id)s, lease_until = NULL,
  uploaded_at = CASE WHEN %(meta_id)s::text IS NOT NULL THEN now() END
WHERE media_id = %(media_id)s AND phone_number_id = %(number)s
"""
FORGET_META_ID = """
UPDATE media_upload SET meta_id = NULL, uploaded_at = NULL
WHERE media_id = %(media_id)s AND phone_number_id = %(number)s AND meta_id = %(meta_id)s
"""
FORGET_META_IDS = """
UPDATE media_upload SET meta_id = NULL, uploaded_at = NULL
WHERE media_id = ANY(%(media_ids)s::uuid[]) AND phone_number_id = %(number)s
"""


def claim(file: FileToSend, lease: float) -> bool:
    """Whether the file is ours to upload, for `lease` seconds."""
    values = {'media_id': file.media_id, 'number': file.number}
    return bool(execute(CLAIM_UPLOAD, values | {'lease': lease, 'id_hours': ID_HOURS}))


def find_meta_id(file: FileToSend) -> str | None:
    """Meta's id of a file that could not be claimed; None while somebody else uploads it."""
    values = {'media_id': file.media_id, 'number': file.number, 'id_hours': ID_HOURS}
    return next((meta_id for (meta_id,) in fetch(FIND_META_ID, values)), None)


def record(file: FileToSend, meta_id: str | None) -> None:
    """Keep Meta's id of an uploaded file and end the lease; None: Meta did not take the file."""
    values = {'media_id': file.media_id, 'number': file.number, 'meta_id': meta_id}
    execute(RECORD_UPLOAD, values)


def forget(file: FileToSend) -> None:
    """Forget an id that Meta does not know any more; a newer id of the same file stays."""
    values = {'media_id': file.media_id, 'number': file.number, 'meta_id': file.meta_id}
    execute(FORGET_META_ID, values)


class FailedMessage(Protocol):
    """What is read here of a row of messages (messages.message.Message)."""

    type: Any
    content: Any
    phone_number_id: Any
    error: Any


def forget_uploads_of(message: FailedMessage) -> None:
    """Forget Meta's ids of a message's files when Meta did not have them: they go up once more."""
    if (message.error or {}).get('code') != MEDIA_UPLOAD_ERROR:
        return
    references = find_references({message.type: message.content})
    media_ids = [reference.media_id for reference in references]
    if media_ids:
        values = {'media_ids': media_ids, 'number': message.phone_number_id}
        execute(FORGET_META_IDS, values)


class SendingMessage(Protocol):
    """What a claimed message holds while it is sent."""

    id: str
    conversation_id: str
    lease_ends: datetime


# As of dispatch.py: while the message is still ours.
RENEW_CONVERSATION = """
UPDATE conversation SET send_after = now() + %(lease)s * interval '1 second'
WHERE id = %(conversation_id)s AND EXISTS (
  SELECT 1 FROM message WHERE id = %(id)s AND status = 'sending' AND due_at = %(lease_ends)s)
"""
RENEW_MESSAGE = """
UPDATE message SET due_at = now() + %(lease)s * interval '1 second'
WHERE id = %(id)s AND status = 'sending' AND due_at = %(lease_ends)s RETURNING due_at
"""
RENEW_UPLOAD = """
UPDATE media_upload SET lease_until = now() + %(lease)s * interval '1 second'
WHERE media_id = %(media_id)s AND phone_number_id = %(number)s AND lease_until IS NOT NULL
"""


def renew(message: SendingMessage, file: FileToSend, lease: float) -> bool:
    """Renew all leases of an upload for `lease` seconds. False when one of them was lost."""
    values = {
        'lease': lease,
        'conversation_id': message.conversation_id,
        'id': message.id,
        'lease_ends': message.lease_ends,
        'media_id': file.media_id,
        'number': file.number,
    }
    with db.atomic():
        conversations = execute(RENEW_CONVERSATION, values)
        messages = fetch(RENEW_MESSAGE, values)
        uploads = execute(RENEW_UPLOAD, values)
    if messages:
        message.lease_ends = messages[0][0]
    return bool(conversations and messages and uploads)
