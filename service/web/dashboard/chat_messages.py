"""The messages of a conversation as a page shows them."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from flask import url_for

from service.content.file_types import kind_of
from service.media.media import FILE_TYPES
from service.messages import view
from service.messages.message import Message
from service.messages.whole_message import serialize_without_history
from service.runtime.ids import is_id
from service.runtime.untrusted import as_dict, get_text
from service.web.responses import JSONObject

# What is about another message stands there, if that is on the page.
ABOUT_ANOTHER = ('reaction', 'edit', 'revoke')
PICTURES = ('image', 'sticker')
HOLDS = {
    'account': 'The account cannot send now. It leaves by itself once the account can.',
    'batch': 'Its batch is paused.',
    'template': 'Meta has paused its template. It leaves by itself once the template may be used.',
}


def shown(messages: Sequence[Message]) -> list[JSONObject]:
    """Messages, the newest first, as a page shows them: the oldest first, with more than the API.

    `by`: who wrote it; `file`, `quote`: None, or what to show; `trouble`: a sentence; `version`:
    changes with anything that is shown.
    """
    rows = dict(zip([one.id for one in messages], serialize_without_history(messages), strict=True))
    quotes = _quotes(rows)
    on_page = {one.wamid for one in messages if one.wamid}
    return [
        _shown(message, rows[message.id], quotes)
        for message in reversed(messages)
        if message.type not in ABOUT_ANOTHER or message.refers_to not in on_page
    ]


def version_of(value: object) -> str:
    """A short text that is another one for whatever is different in a value of JSON."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


def _shown(message: Message, row: JSONObject, quotes: dict[str, JSONObject]) -> JSONObject:
    file = _file(row)
    more: JSONObject = {
        'said_at': message.said_at,
        'by': _writer(row),
        'file': file,
        'text': _caption(row) if file else row['text'],
        'quote': quotes.get(row['reply_to'] or ''),
        'trouble': _trouble(row),
    }
    return row | more | {'version': version_of(row | more)}


def _quotes(rows: dict[str, JSONObject]) -> dict[str, JSONObject]:
    """The messages that others answer, by their ids."""
    ids = {row['reply_to'] for row in rows.values() if row['reply_to']}
    away = ids - rows.keys()
    others = list(Message.select().where(Message.id.in_(away))) if away else []
    return rows | {row['id']: row for row in view.serialize(others)}


def _writer(row: JSONObject) -> str:
    """Who wrote it, as far as a page can say in a word or two."""
    if row['direction'] == 'inbound':
        return str(row['from'] or '') if row['group_id'] else ''
    if row['origin'] == 'business_app':
        return 'Business app'
    if row['batch_id']:
        return 'Batch'
    return 'A person' if row['from_human'] else ''


def _file(row: JSONObject) -> JSONObject | None:
    """The file of a message: its kind, its name, and where it is, or why it is not there."""
    if row['type'] not in FILE_TYPES or row['revoked_at']:
        return None
    content, media = as_dict(row['content']), row['media']
    file: JSONObject = {'kind': row['type'], 'name': get_text(content, 'filename')}
    if media:
        file['name'] = media['filename'] or file['name']
        file |= {'size': media['size'], 'status': media['status']}
        file['trouble'] = _sentences(media['explanation'], media['fix'])
        if media['status'] == 'stored':
            file['url'] = url_for('dashboard_files.of_message', message_id=row['id'])
            file['kind'] = _kind(row['type'], media['mime_type'])
    elif is_id(content.get('id')):
        file['url'] = url_for('dashboard_files.uploaded', media_id=content['id'])
    else:
        link = get_text(content, 'link')
        file['link'] = link if link.startswith(('https://', 'http://')) else ''
    if file['kind'] in PICTURES:
        file['kind'] = 'image'
    return file


def _kind(kind: str, mime_type: str | None) -> str:
    """How a file that came in is shown: by what it is, and as a document what is none of these."""
    return 'document' if kind == 'document' else kind_of(mime_type) or 'document'


def _caption(row: JSONObject) -> str:
    return get_text(row['content'], 'caption')


def _trouble(row: JSONObject) -> str:
    """Why it has not arrived, and what to do, in sentences; '' when all is well."""
    if row['error']:
        title: Any = row['error'].get('title')
        return _sentences(row['explanation'] or title, row['fix'])
    if row['status'] == 'held':
        return HOLDS.get(row['hold_reason'], '')
    return ''


def _sentences(*texts: str | None) -> str:
    return ' '.join(filter(None, texts))
