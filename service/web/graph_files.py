"""Objects of Meta's that the Graph door hands on: a number, a WABA, and files by their media ids.

A file's address leads through this door, for Meta's own takes no key of ours.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from urllib.parse import quote

from flask import Response, request

from service.accounts import account_list
from service.accounts.account import Account
from service.content.file_signatures import UNKNOWN
from service.content.file_types import KINDS, plain_type
from service.graph.client import json_of
from service.graph.connections import Answer
from service.graph.media_client import Described, Download, MediaClient, NotFetched
from service.media import graph_media
from service.runtime.db import db
from service.runtime.errors import BadRequest
from service.web import graph_errors
from service.web.auth import current_key, scope
from service.web.described import describe
from service.web.graph_door import NAME, find_account, graph_blueprint, no_object, require_active
from service.web.graph_errors import GRAPH_JSON
from service.web.graph_hand_on import (
    CONCURRENCY,
    SAFETY_HEADERS,
    Query,
    call_meta,
    our_address,
    read_query,
    to_client,
    token_of,
)
from service.web.graph_request import dumps
from service.web.plain_shapes import FILE, METAS_ANSWER
from service.web.problem_examples import AT_META

blueprint = graph_blueprint('graph_files', __name__)
OBJECT = '/<graph_version:version>/<node>'
NAME_THE_NUMBER = 'Nobody here knows whose file this is: add ?phone_number_id=<the number>.'


@blueprint.get(OBJECT, endpoint='get_object', strict_slashes=False)
@blueprint.post(OBJECT, endpoint='post_object', strict_slashes=False)
@blueprint.delete(OBJECT, endpoint='delete_object', strict_slashes=False)
@scope('send')
@describe(METAS_ANSWER, problems=AT_META, refuses_as_meta=True)
def hand_on_object(version: str, node: str) -> Response:
    """Hand on a call about an account's number or WABA itself, or about one of its files."""
    query = read_query()
    account = find_account(node)
    if account:
        return to_client(call_meta(version, account, node, query))
    owner = _known_owner(node)
    account = owner or _asking_account(node)
    query = _narrowed(query, account, bool(owner))
    answer = call_meta(version, account, node, query)
    _require_file(answer, node, bool(owner))
    return to_client(_with_our_address(answer, version, node))


@blueprint.get(f'{OBJECT}/content')
@scope('send')
@describe(FILE, content_type='*/*', problems=AT_META, refuses_as_meta=True)
def content(version: str, node: str) -> Response:
    """Answer with a file's bytes as they come from Meta: here its address leads."""
    account = _known_owner(node) or _asking_account(node)
    token = token_of(account)
    number = str(account.phone_number_id)
    db.close()  # Meta may be slow, and so may the client
    opened = ExitStack()
    try:
        found = _media_client().describe(node, number, token)
        file = opened.enter_context(_media_client().download(found.url, token))
    except NotFetched as failure:
        opened.close()
        status, error = graph_errors.of_meta(failure.outcome.error)
        return Response(dumps(error), failure.http_status or status, content_type=GRAPH_JSON)
    answer = Response(_pieces(opened, file), 200, SAFETY_HEADERS, direct_passthrough=True)
    answer.call_on_close(opened.close)  # of a HEAD nobody asks for a piece
    answer.content_type = _content_type(found)
    if file.length_remaining is not None:
        answer.content_length = file.length_remaining
    return answer


def _pieces(opened: ExitStack, file: Download) -> Iterator[bytes]:
    with opened:
        yield from _media_client().pieces(file)


def _known_owner(meta_id: str) -> Account | None:
    """The account of the key whose file it is; None when nobody here has heard of the file.

    Raises NotFound for a file of another tenant's, or of another number than the one named.
    """
    owners = graph_media.owners(meta_id) if NAME.fullmatch(meta_id) else set()
    if not owners:
        return None
    named = _named_account()
    visible = [one for one in sorted(owners) if current_key().sees(one)]
    if named:
        visible = [one for one in visible if one == named.chatbot_id]
    if not visible:
        raise no_object(meta_id)
    return require_active(Account.find(visible[0]))


def _asking_account(meta_id: str) -> Account:
    """The account with whose token Meta is asked about an object that is not known here.

    A key that sees some accounts alone may read what belongs to a number that it names: accounts
    may share a token, so that Meta would give it all that is theirs together.
    """
    if not NAME.fullmatch(meta_id):
        raise no_object(meta_id)
    named = _named_account()
    is_limited = current_key().chatbot_ids is not None
    if is_limited and (named is None or request.method != 'GET'):
        raise no_object(meta_id)
    if named:
        return named
    accounts = account_list.newest(None, None, None, 2)
    if not accounts:
        raise no_object(meta_id)
    if len(accounts) > 1:
        raise BadRequest(NAME_THE_NUMBER)
    return require_active(accounts[0])


def _named_account() -> Account | None:
    """The account of the query's phone_number_id, if there is one. Raises NotFound."""
    number = request.args.get('phone_number_id')
    if not number:
        return None
    account = find_account(number)
    if account is None or account.phone_number_id != number:
        raise no_object(number)
    return account


def _narrowed(query: Query, account: Account, is_known: bool) -> Query:
    """The query as such a key may ask: about a file of the number, which Meta checks.

    Also of a file that is known here: an account with an app of its own may say what it likes.
    """
    if current_key().chatbot_ids is None:
        return query
    others = [one for one in query if is_known and not one[0].startswith('phone_number_id')]
    return [*others, ('phone_number_id', str(account.phone_number_id))]


def _require_file(answer: Answer, meta_id: str, is_known: bool) -> None:
    """Raise NotFound to such a key for an object that is no file: Meta checks no number there."""
    if is_known or current_key().chatbot_ids is None or answer.status != 200:
        return
    found = json_of(answer) or {}
    if not isinstance(found.get('url'), str) or 'mime_type' not in found:
        raise no_object(meta_id)


def _with_our_address(answer: Answer, version: str, meta_id: str) -> Answer:
    """What Meta says of a file, with an address at which a key of ours counts."""
    found = json_of(answer)
    if answer.status != 200 or not found or not isinstance(found.get('url'), str):
        return answer
    address = f'{our_address()}/{version}/{meta_id}/content'
    if number := request.args.get('phone_number_id', ''):
        address += f'?phone_number_id={quote(number, safe="")}'
    return replace(answer, data=dumps(found | {'url': address}).encode())


@cache
def _media_client() -> MediaClient:
    return MediaClient(CONCURRENCY)


def _content_type(found: Described) -> str:
    """A type of Meta's own list, else a neutral one: a sender's word is not to be believed."""
    mime_type = plain_type(found.mime_type)
    return mime_type if mime_type in KINDS else UNKNOWN
