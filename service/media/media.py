"""Files as rows: those of messages that came in and those to be sent, and as callers see them."""

from collections.abc import Iterable
from typing import Any, Protocol, Self

from peewee import BigIntegerField, BlobField, DateTimeField, SmallIntegerField, TextField

from service.graph.error_class import ErrorClass
from service.graph.error_codes import explain, look_up
from service.runtime.db import execute
from service.runtime.errors import Conflict, Gone, NotFound
from service.runtime.model import JSON, Model

# Message types that bring a file; `voice` is an old one that is still seen.
FILE_TYPES = frozenset(('image', 'video', 'audio', 'voice', 'document', 'sticker'))
# Message types with a row here: of the last two, when Meta says why there is no file.
TYPES_WITH_MEDIA = FILE_TYPES | {'unsupported', 'unknown'}
NONE_OF_MESSAGE = 'There is no such message, or no media came with it.'
IS_GONE = "The file was deleted: it is older than the account's retention.media_days."
STILL_TRIED = 'Nothing to do: it is tried again by itself.'


class Media(Model):
    """A file. `message_id`: of the message that it came with, None when a caller gave it to us."""

    NOUN = 'media'

    id = TextField(primary_key=True)
    chatbot_id = TextField()
    message_id = TextField(null=True)
    status = TextField()
    mime_type = TextField(null=True)
    filename = TextField(null=True)
    sha256 = BlobField(null=True)
    size = BigIntegerField(null=True)
    storage_key = TextField(null=True)
    attempts = SmallIntegerField()
    error = JSON(null=True)
    due_at = DateTimeField(null=True)
    updated_at = DateTimeField()

    @classmethod
    def of_message(cls, message_id: str) -> Self:
        """The file that came with a message. Raises NotFound."""
        media: Self | None = cls.get_or_none(cls.message_id == message_id)
        if media is None:
            raise NotFound(NONE_OF_MESSAGE)
        return media


RESTART_FETCH = """
UPDATE media SET status = 'fetching', due_at = now(), attempts = 0, error = NULL, updated_at = now()
WHERE id = %(id)s AND meta_id IS NOT NULL
  AND (status = 'failed' OR status = 'fetching' AND error IS NOT NULL
    OR status = 'stored' AND %(is_lost)s)
"""


def fetch_again(media: Media, is_lost: bool = False) -> None:
    """Fetch a file from Meta once more, because a person asks for it.

    A file that a worker fetches just now is left to it. `is_lost`: it was stored, and the storage
    does not have it any more. Raises Conflict when there is nothing to fetch, Gone when it is kept
    no longer.
    """
    is_begun = execute(RESTART_FETCH, {'id': media.id, 'is_lost': is_lost})
    if is_begun or media.status == 'fetching':
        return
    if media.status == 'stored':
        raise Conflict('The file is stored already.')
    if media.status == 'gone':
        raise Gone(IS_GONE, code='media_gone')
    raise Conflict('Meta gave no file with this message.')


class MessageRow(Protocol):
    """What is read here of a row of messages (messages.message.Message)."""

    id: Any
    direction: Any
    echo: Any
    type: Any


def of_messages(messages: Iterable[MessageRow]) -> dict[str, dict[str, Any]]:
    """{message id: its file as callers see it}, without a query when none of them can have one.

    Messages that the gateway sent have none.
    """
    ids = [message.id for message in messages if _may_have_media(message)]
    if not ids:
        return {}
    found = Media.select().where(Media.message_id.in_(ids))
    return {str(media.message_id): serialize(media) for media in found}


def _may_have_media(message: MessageRow) -> bool:
    is_from_outside = message.direction == 'inbound' or message.echo
    return is_from_outside and message.type in TYPES_WITH_MEDIA


def serialize(media: Media) -> dict[str, Any]:
    """The file of a message as callers see it."""
    error = media.error and dict(media.error)
    sentences: dict[str, str | None] = {'explanation': None, 'fix': None}
    if error:
        code = error.pop('cause', None) or error['code']
        sentences |= explain(code)
        is_final = look_up(code).error_class == ErrorClass.PERMANENT
        if media.status == 'fetching' and is_final:  # final later: now it is still tried
            sentences['fix'] = STILL_TRIED
    return {
        'id': media.id,
        'status': media.status,
        'mime_type': media.mime_type,
        'size': media.size,
        'filename': media.filename,
        'sha256': media.sha256 and bytes(media.sha256).hex(),
        'url': f'/whatsapp-cloud/messages/{media.message_id}/media',
        'error': error,
        **sentences,
    }
