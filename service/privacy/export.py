"""Everything about one person as a zip: JSON and files, made while it is read.

Nothing of it is held as a whole: messages come in pages, files in pieces, and between two of them
no connection to the database is.
"""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeVar, cast

from service.content.file_names import for_people
from service.conversations import contact
from service.conversations.conversation import Conversation
from service.events import event, event_body
from service.media.media import Media
from service.media.storage import storage
from service.media.storage_interface import Piece, StorageError
from service.messages import whole_message
from service.messages.message import Message
from service.privacy import erased_events
from service.privacy.person import conversation_ids
from service.runtime.db import connection, fetch_dicts
from service.runtime.ids import FIRST_ID
from service.runtime.timestamps import to_rfc3339

PAGE = 100  # messages, events or files that are read at a time
MAX_BYTES = 2_000_000_000  # of files; one for which no room is left is named and left out
FIND_IDENTITIES = """
SELECT kind, value, seen_at FROM conversation_identity WHERE conversation_id = %s
ORDER BY kind, value
"""
FIND_RAW_STATUSES = """
SELECT message_id, status, timestamp, recipient, errors, pricing, received_at FROM message_status
WHERE message_id = ANY(%s::uuid[]) ORDER BY id
"""
Document = dict[str, Any]
T = TypeVar('T')


class _Pieces:
    """A file that nobody can seek in: what was written since the last look."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b''.join(pieces)


def stream(conversation: Conversation) -> Iterator[bytes]:
    """The bytes of the zip."""
    pieces = _Pieces()
    target = cast(IO[bytes], pieces)  # it needs no more of a file than this
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, pages in _documents(conversation):
            with archive.open(name, 'w') as entry:
                for text in _as_list(pages):
                    entry.write(text.encode())
                    yield pieces.take()
        yield from _files(archive, pieces, conversation)
    yield pieces.take()


def _documents(conversation: Conversation) -> Iterator[tuple[str, Iterable[Document]]]:
    yield 'contact.json', _profile(conversation)
    yield 'messages.json', _paged(_messages, conversation)
    yield 'statuses.json', _paged(_statuses, conversation)
    yield 'events.json', _events(conversation)


def _as_list(rows: Iterable[Document]) -> Iterator[str]:
    """A JSON list, row by row."""
    before = '['
    for row in rows:
        yield before + json.dumps(row, default=to_rfc3339, ensure_ascii=False, indent=1)
        before = ',\n'
    yield ']' if before != '[' else '[]'


def _profile(conversation: Conversation) -> Iterator[Document]:
    with connection():
        profile = {
            'contact': contact.serialize_with_history(conversation),
            'conversation': conversation.to_dict(),
            'identities': fetch_dicts(FIND_IDENTITIES, (conversation.id,)),
        }
    yield profile


def _paged(read: Callable[[list[str]], list[T]], conversation: Conversation) -> Iterator[T]:
    """What is read of all messages by their ids, the oldest first."""
    last = FIRST_ID
    while True:
        with connection():
            query = Message.select(Message.id).where(Message.conversation_id == conversation.id)
            page = query.where(Message.id > last).order_by(Message.id).limit(PAGE)
            ids = [message.id for message in page]
            found = read(ids) if ids else []
        if not ids:
            return
        yield from found
        last = ids[-1]


def _messages(ids: list[str]) -> list[Document]:
    messages = list(Message.select().where(Message.id.in_(ids)).order_by(Message.id))
    shown = whole_message.serialize(messages)
    senders = [{'sender': message.sender} for message in messages]
    return [row | sender for row, sender in zip(shown, senders, strict=True)]


def _statuses(ids: list[str]) -> list[Document]:
    return fetch_dicts(FIND_RAW_STATUSES, (ids,))


def _media(ids: list[str]) -> list[Media]:
    return list(Media.select().where(Media.message_id.in_(ids)).order_by(Media.id))


def _events(conversation: Conversation) -> Iterator[Document]:
    with connection():
        conversations = conversation_ids(conversation.id)
        ids = erased_events.find(conversation.chatbot_id, conversations)
    for first in range(0, len(ids), PAGE):
        with connection():
            bodies = event_body.bodies(event.find(ids[first : first + PAGE]))
        yield from bodies


def _files(
    archive: zipfile.ZipFile, pieces: _Pieces, conversation: Conversation
) -> Iterator[bytes]:
    """The files that came with the messages, and a list of those that are not here."""
    left_out: list[Document] = []
    room = MAX_BYTES
    for media in _paged(_media, conversation):
        found = _open(media, room)
        if isinstance(found, str):
            left_out.append({'id': media.id, 'message_id': media.message_id, 'why': found})
            continue
        room -= int(media.size or 0)
        name = for_people(str(media.filename or ''), str(media.mime_type or ''), otherwise='file')
        with found, archive.open(f'files/{media.id}/{name}', 'w') as entry:
            while data := found.read():
                entry.write(data)
                yield pieces.take()
    archive.writestr('left_out.json', json.dumps(left_out))
    yield pieces.take()


def _open(media: Media, room: int) -> Piece | str:
    """A file that fits into the room; else why it is left out."""
    if media.status != 'stored':
        return str(media.status)
    if int(media.size or 0) > room:
        return 'too_large'
    try:
        return storage().open(str(media.storage_key))
    except StorageError:
        return 'missing'
