"""Lists in pages: `limit` says how many rows, `cursor` where the last page ended.

Every answer is {"data": [rows], "next_cursor": text, or null on the last page}.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import request
from peewee import ModelSelect

from service.accounts import owned_rows
from service.messages.message import Message
from service.messages.message_list import Cursor
from service.runtime.ids import is_id
from service.runtime.model import Model
from service.runtime.timestamps import from_rfc3339, to_rfc3339
from service.web.request_input import identifier, invalid, parameter
from service.web.responses import JSONObject

LIMIT_DEFAULT = 50
LIMIT_MAX = 200


def page(
    query: 'ModelSelect[Any]',
    model: type[Model],
    serialize: Callable[[list[Any]], list[JSONObject]],
    chatbots: list[str] | None = None,
) -> JSONObject:
    """One page of a query over a model, the newest rows first.

    `chatbots`: of these alone (auth.chatbots_to_list); None: of all.
    """
    limit = page_size()
    rows = owned_rows.newest(query, model, chatbots, identifier('cursor'), limit + 1)
    last = str(rows[limit - 1].id) if len(rows) > limit else None
    return {'data': serialize(rows[:limit]), 'next_cursor': last}


def page_of_rows(
    fetch: Callable[[str | None, int], list[JSONObject]],
    serialize: Callable[[JSONObject], JSONObject],
) -> JSONObject:
    """One page of rows that are dicts; `fetch(cursor, limit)` gives them, the newest first."""
    limit = page_size()
    rows = fetch(identifier('cursor'), limit + 1)
    last = rows[limit - 1]['id'] if len(rows) > limit else None
    return {'data': [serialize(row) for row in rows[:limit]], 'next_cursor': last}


def page_of_found(
    fetch: Callable[[str | None, int], list[Any]],
    serialize: Callable[[list[Any]], list[JSONObject]],
) -> JSONObject:
    """One page of rows of a model; `fetch(cursor, limit)` gives them, the newest first."""
    limit = page_size()
    rows = fetch(identifier('cursor'), limit + 1)
    last = rows[limit - 1].id if len(rows) > limit else None
    return {'data': serialize(rows[:limit]), 'next_cursor': last}


def page_of_changes(
    fetch: Callable[[Cursor, int], list[Message]],
    since: datetime,
    serialize: Callable[[list[Message]], list[JSONObject]],
) -> JSONObject:
    """One page in the order of changes; `fetch(cursor, limit)` gives the rows behind a Cursor."""
    limit = page_size()
    behind = time_cursor()
    rows = fetch(Cursor(*behind) if behind else Cursor(since), limit + 1)
    cursor = None
    if len(rows) > limit:
        last = rows[limit - 1]
        cursor = encode_cursor(to_rfc3339(last.updated_at), last.id)
    return {'data': serialize(rows[:limit]), 'next_cursor': cursor}


def page_size() -> int:
    """The query parameter `limit`. Raises Invalid."""
    value = request.args.get('limit', str(LIMIT_DEFAULT))
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= LIMIT_MAX:
        raise invalid('limit', f'Must be a whole number, 1 to {LIMIT_MAX}.')
    return int(value)


def encode_cursor(first: str, second: str) -> str:
    """Two values as one text without special characters."""
    return urlsafe_b64encode(json.dumps([first, second]).encode()).decode()


def decode_cursor(cursor: str) -> tuple[str, str] | None:
    """The values of a cursor, None when `encode_cursor` has not made it."""
    try:
        values = json.loads(urlsafe_b64decode(cursor))
    except (ValueError, RecursionError):
        return None
    match values:
        case [str(first), str(second)]:
            return first, second
    return None


def time_cursor() -> tuple[datetime, str] | None:
    """The time and id behind which a page in the order of times begins. Raises Invalid."""
    cursor = parameter('cursor')
    if cursor is None:
        return None
    pair = decode_cursor(cursor)
    at = from_rfc3339(pair[0]) if pair and is_id(pair[1]) else None
    if pair is None or at is None:
        raise invalid('cursor', 'Not a cursor of this list.')
    return at, pair[1]
