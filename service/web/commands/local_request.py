"""A request to the HTTP API without HTTP: the command line does what a caller could, no other way.

The same view, checks and errors; no key is needed, because whoever has the environment may read the
keys in it, too.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Flask, current_app, g

from service.accounts.api_key import ROOT_KEY
from service.web.commands.gateway_command import Refused
from service.web.responses import JSONObject

PREFIX = '/whatsapp-cloud'


def ask(
    method: str,
    path: str,
    body: JSONObject | None = None,
    headers: Mapping[str, str] | None = None,
    **query: Any,
) -> JSONObject:
    """The answer of the API to a root key; {} when it has none. Raises Refused.

    A parameter of the query that is None is left out.
    """
    given = {name: value for name, value in query.items() if value is not None}
    status, found = _answer(
        PREFIX + path, method=method, json=body, headers=headers, query_string=given
    )
    if status >= HTTPStatus.BAD_REQUEST:
        raise Refused(found)
    return found


def account_path(chatbot_id: str) -> str:
    return f'/account/{quote(chatbot_id, safe="")}'


def ask_health(path: str) -> JSONObject:
    """What /readyz and the like answer, which is no refusal where something is away."""
    return _answer(path)[1]


def _answer(path: str, **request: Any) -> tuple[int, JSONObject]:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    with app.test_request_context(path, **request):
        g.key = ROOT_KEY
        answer = app.full_dispatch_request()
        return answer.status_code, json.loads(answer.get_data() or b'{}')


def pages(path: str, limit: int, **query: Any) -> JSONObject:
    """The first `limit` of a list, gathered over its pages: data, and next_cursor for the rest."""
    gathered: list[JSONObject] = []
    cursor = None
    while True:
        size = min(limit - len(gathered), 200)
        page = ask('GET', path, limit=size, cursor=cursor, **query)
        gathered += page['data']
        cursor = page['next_cursor']
        if cursor is None or len(gathered) >= limit:
            return {'data': gathered, 'next_cursor': cursor}
