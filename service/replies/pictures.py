"""Customers' pictures for models that see them: as data URLs, a few of the latest."""

import base64
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from service.content.file_types import plain_type
from service.media.storage import storage
from service.media.storage_interface import StorageError
from service.messages.view import Shown
from service.runtime.db import connection
from service.runtime.prepared import Prepared
from service.runtime.rows import fetch_as

log = logging.getLogger(__name__)

MOST = 5  # pictures in one question
MOST_BYTES = 6 * 2**20  # of all of them; WhatsApp takes one of 5 MB at most
WAIT_SECONDS = 5  # for a picture that is being fetched from Meta
LOOK_EVERY = 0.25  # seconds
SEEN_TYPES = frozenset(('image/jpeg', 'image/png', 'image/webp', 'image/gif'))

# What waits for another attempt (it shows an error) is not waited for.
FIND_PICTURES = Prepared("""
SELECT message_id, mime_type, size, storage_key, status = 'fetching' AND error IS NULL AS is_coming
FROM media WHERE message_id = ANY(%s::uuid[])
""")


@dataclass(frozen=True, slots=True)
class Picture:
    """The file of a customer's message of type image."""

    message_id: str
    mime_type: str | None
    size: int | None
    storage_key: str | None
    is_coming: bool

    @property
    def may_be_shown(self) -> bool:
        is_seen = plain_type(self.mime_type) in SEEN_TYPES
        return bool(self.storage_key and self.size) and is_seen


def latest(history: Sequence[Shown]) -> list[str]:
    """The messages with the customer's latest pictures, the newest last, without deleted ones."""
    found = [
        message['id']
        for message in history
        if message['direction'] == 'inbound'
        and message['type'] == 'image'
        and not message['revoked_at']
    ]
    return found[-MOST:]


def find(message_ids: Sequence[str]) -> dict[str, Picture]:
    """The pictures of messages, by the message's id."""
    rows = fetch_as(Picture, FIND_PICTURES, (list(message_ids),)) if message_ids else []
    return {picture.message_id: picture for picture in rows}


def as_data_urls(pictures: Sequence[Picture]) -> dict[str, str]:
    """{message id: data URL} of those that there are, the newest of them within MOST_BYTES.

    No database connection is held; one is taken for moments while a picture is being fetched.
    """
    urls: dict[str, str] = {}
    left = MOST_BYTES
    for picture in reversed(_when_here(pictures)):
        size = picture.size or 0
        if picture.may_be_shown and size <= left and (url := _data_url(picture)):
            urls[picture.message_id] = url
            left -= size
    return urls


def _when_here(pictures: Sequence[Picture]) -> Sequence[Picture]:
    """The same pictures once none of them is on its way any more, or after WAIT_SECONDS."""
    ids = [picture.message_id for picture in pictures]
    until = time.monotonic() + WAIT_SECONDS
    while any(picture.is_coming for picture in pictures) and time.monotonic() < until:
        time.sleep(LOOK_EVERY)
        with connection():
            found = find(ids)
        pictures = [found[message_id] for message_id in ids if message_id in found]
    return pictures


def _data_url(picture: Picture) -> str | None:
    try:
        data = b''.join(storage().open(picture.storage_key or ''))
    except (StorageError, OSError) as error:
        fields = {'message_id': picture.message_id, 'reason': type(error).__name__}
        log.warning('a picture cannot be shown to the AI', extra=fields)
        return None
    return f'data:{plain_type(picture.mime_type)};base64,{base64.b64encode(data).decode()}'
