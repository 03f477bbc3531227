"""A request to the HTTP API without HTTP: the command line does what a caller could, no other way.

The same view, checks and errors; no key is needed, because whoever has the environment may read the
keys in it, too.
"""

import json
from typing import Any

from flask import current_app, g

from service.accounts.api_key import ROOT_KEY
from service.web.commands.gateway_command import Refused
from service.web.responses import JSONObject

PREFIX = '/whatsapp-cloud'


def ask(method: str, path: str, body: JSONObject | None = None, **query: Any) -> JSONObject:
    """The answer of the API to a root key; {} when it has none. Raises Refused.

    A parameter of the query that is None is left out.
    """
    given = {name: value for name, value in query.items() if value is not None}
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    context = app.test_request_context(PREFIX + path, method=method, json=body, query_string=given)
    with context:
        g.key = ROOT_KEY
        answer = app.full_dispatch_request()
        found: JSONObject = json.loads(answer.get_data() or b'{}')
        if answer.status_code >= 400:
            raise Refused(found)
        return found


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
