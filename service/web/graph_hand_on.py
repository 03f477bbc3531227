"""What the Graph door hands on to Meta: everything but messages, with the account's own token.

Only what belongs to an account of the key: below its phone_number_id or waba_id, and its files
(graph_files.py). Meta's status and answer come back as they are. Links to further pages lead
through this door, where the client's key counts: Meta's have the token in them.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from urllib.parse import unquote_plus, urlencode

from flask import Response, request

from service.accounts.account import Account
from service.content.file_types import LIMITS
from service.graph.client import json_of
from service.graph.connections import Answer
from service.graph.pass_through import GraphCall, PassThrough
from service.media import graph_media
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.db import no_connection
from service.runtime.errors import BadRequest
from service.runtime.queues import ERRANDS, wake
from service.runtime.untrusted import identifier
from service.templates import template
from service.web.auth import current_key, scope
from service.web.bodies import STREAMED
from service.web.described import describe
from service.web.graph_door import NAME, find_account, graph_blueprint, no_object
from service.web.graph_errors import GRAPH_JSON
from service.web.graph_request import (
    CREDENTIALS,
    ONE_OBJECT,
    OTHERS_IN_BODY,
    JSONObject,
    dumps,
    plain,
    require_one_object,
)
from service.web.plain_shapes import METAS_ANSWER
from service.web.problem_examples import AT_META

blueprint = graph_blueprint('graph_hand_on', __name__)
EDGE = '/<graph_version:version>/<node>/<path:edge>'
CONCURRENCY = 32  # calls of one process: as many threads has the door for them
PIECE = 256 * 1024  # bytes in memory of an upload, at a time
IN_MEMORY = 1024 * 1024  # bytes of an upload; what is more goes to a temporary file
OVERHEAD = 1024 * 1024  # bytes of a form around its file
OTHER_OBJECTS = ('id', *OTHERS_IN_BODY)  # what names further objects in a query
PART_NAME = re.compile(  # of a form in parts
    rb'content-disposition:[^\r\n]{0,300}?[; \t]name="?(ids|batch)["\[;\r]', re.IGNORECASE
)
NAME_BYTES = 32  # of a name, which is not looked at further
HEAD_BYTES = 512  # that a piece of a form shares with the next one: such a line may begin in it
# Fields of a WABA through which Meta shows those of others whom the same token serves.
OTHERS_WABAS = re.compile(r'owner_business\s*[.{(]|whatsapp_business_accounts')
KEPT_HEADERS = (
    'Retry-After',
    'WWW-Authenticate',
    'ETag',
    'Facebook-API-Version',
    'X-App-Usage',
    'X-Business-Use-Case-Usage',
    'X-FB-Request-ID',
    'X-FB-Trace-ID',
)
# No browser runs what comes, whatever it is.
SAFETY_HEADERS = {
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "sandbox; default-src 'none'",
    'Cache-Control': 'private, no-cache',
}
Query = list[tuple[str, str]]


@blueprint.get(EDGE, endpoint='get_edge', strict_slashes=False)
@blueprint.post(EDGE, endpoint='post_edge', strict_slashes=False)
@blueprint.delete(EDGE, endpoint='delete_edge', strict_slashes=False)
@scope('send')
@describe(METAS_ANSWER, problems=AT_META, refuses_as_meta=True)
def hand_on(version: str, node: str, edge: str) -> Response:
    """Hand on a call about what belongs to an account's number or WABA."""
    account = find_account(node)
    if account is None:
        raise no_object(node)
    edge = edge.rstrip('/')
    answer = call_meta(version, account, f'{node}/{edge}', read_query())
    if answer.status == 200 and request.method != 'GET':
        _note_change(account, edge, answer)
    return to_client(answer)


def _note_change(account: Account, edge: str, answer: Answer) -> None:
    """Whose a new file is, and that templates are to be read again."""
    meta_id = identifier((json_of(answer) or {}).get('id'))
    if edge == 'media' and meta_id:
        graph_media.add_uploaded(meta_id, str(account.chatbot_id))
    if edge == 'message_templates':
        template.request_sync([account.waba_id], gap=0)
        wake(ERRANDS)


def read_query() -> Query:
    """The query without credentials, for the account's own count. Raises BadRequest."""
    given = list(request.args.items(multi=True))
    require_one_object([name for name, _ in given], OTHER_OBJECTS)
    if current_key().chatbot_ids is not None and any(OTHERS_WABAS.search(v) for _, v in given):
        raise BadRequest('This key does not see the other accounts of a business.')
    return [(name, value) for name, value in given if plain(name) not in CREDENTIALS]


def call_meta(version: str, account: Account, path: str, query: Query) -> Answer:
    """Meta's answer to this request, without its token. Raises NotFound or Unavailable.

    `path`: what stands behind the version; only plain names may, so that it leads nowhere else.
    """
    names = path.split('/')
    if not all(NAME.fullmatch(name) and name.strip('.') for name in names):
        raise no_object(names[0])
    path = f'{path}?{urlencode(query)}' if query else path
    call = GraphCall(request.method, version, path)
    token = token_of(account)
    with no_connection(), _body() as (body, size):
        headers = _body_headers(size)
        answer = _pass_through().call(replace(call, body=body, size=size, headers=headers), token)
    return replace(answer, data=_with_our_links(answer.data))


def post_json(version: str, account: Account, edge: str, body: JSONObject) -> Response:
    """Hand on a POST below the account's number whose body has been read."""
    path = f'{account.phone_number_id}/{edge}'
    headers = {'Content-Type': GRAPH_JSON}
    call = GraphCall('POST', version, path, dumps(body).encode(), headers=headers)
    with no_connection():
        return to_client(_pass_through().call(call, token_of(account)))


@cache
def _pass_through() -> PassThrough:
    return PassThrough(CONCURRENCY)


def token_of(account: Account) -> str:
    return encryption.decrypt(str(account.access_token))


def _body_headers(size: int) -> dict[str, str]:
    if not size:
        return {}
    content_type = request.headers.get('Content-Type', 'application/json')
    return {'Content-Type': content_type, 'Content-Length': str(size)}


@contextmanager
def _body() -> Iterator[tuple[bytes | Iterator[bytes] | None, int]]:
    """The body with its size; a form, which may hold a file, comes in pieces."""
    if request.mimetype not in STREAMED:
        data = request.get_data()
        require_one_object(_names_in(data), OTHERS_IN_BODY)
        yield data or None, len(data)
        return
    request.max_content_length = max(LIMITS.values()) + OVERHEAD
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        seen = b''
        while piece := request.stream.read(PIECE):
            seen = seen[-HEAD_BYTES:] + piece
            if found := PART_NAME.search(seen):
                raise BadRequest(ONE_OBJECT.format(found[1].decode()))
            file.write(piece)
        size = file.tell()
        file.seek(0)
        yield iter(partial(file.read, PIECE), b''), size


def _names_in(data: bytes) -> Iterable[str]:
    """The parameters in a body: of a JSON object, and of a form, whatever it is called."""
    try:
        value = json.loads(data) if data.lstrip().startswith(b'{') else None
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    fields = (field.partition(b'=')[0] for field in data.split(b'&'))
    return [unquote_plus(name[:NAME_BYTES].decode('latin-1')) for name in fields]


def to_client(answer: Answer) -> Response:
    """Meta's answer as the client gets it."""
    content_type = answer.headers.get('Content-Type', GRAPH_JSON)
    response = Response(answer.data, answer.status, SAFETY_HEADERS, content_type=content_type)
    for name in KEPT_HEADERS:
        if value := answer.headers.get(name):
            response.headers[name] = value
    return response


def our_address() -> str:
    """Where this door is, as the client has found it: it stands before the version."""
    by_proxy = request.headers.get('X-Forwarded-Proto', '').partition(',')[0].strip().lower()
    protocol = by_proxy if by_proxy in ('http', 'https') else request.scheme
    below = '/graph' if request.path.startswith('/graph/') else ''
    return f'{protocol}://{request.host}{below}'


def _with_our_links(data: bytes) -> bytes:
    """An answer whose links into the Graph API, to further pages, lead to this door."""
    ours = json.dumps(f'{our_address()}/v')[1:-1]
    for text in (theirs := f'{settings.GRAPH_API_URL}/v', theirs.replace('/', r'\/')):
        data = data.replace(f'"{text}'.encode(), f'"{ours}'.encode())
    return data
