"""The Graph door: existing clients of Meta's API, pointed at this gateway (docs/graph-door.md).

Messages are queued (graph_messages.py), everything else is handed on to Meta (graph_hand_on.py,
graph_files.py); what is refused is refused in Meta's form (graph_errors.py).
"""

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Blueprint
from werkzeug.routing import BaseConverter

from service.accounts.account import Account
from service.runtime.errors import BadRequest, NotFound
from service.web.auth import current_key, guard

# Of this door, however many slashes stand together.
DOOR_PATH = re.compile(r'(?:/+graph)?/+v[0-9]+\.[0-9]+(?:/|\Z)')
SLASHES = re.compile('/+')
NAME = re.compile(r'[A-Za-z0-9_.-]{1,255}')  # of an object or an edge in a path
NO_OBJECT = (
    "Unsupported request. Object with ID '{}' does not exist, cannot be loaded due to missing "
    'permissions, or does not support this operation.'
)


class OneSlash:
    """WSGI: a path of this door with slashes that stand together is served as if they were one.

    A client whose base address ends in a slash asks so, and few follow the redirect of a POST.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get('PATH_INFO', '')
        if '//' in path and DOOR_PATH.match(path):
            environ['PATH_INFO'] = SLASHES.sub('/', path)
        return self.application(environ, start_response)


class GraphVersion(BaseConverter):
    """The version that a path of Meta's begins with."""

    regex = r'v[0-9]{1,3}\.[0-9]{1,3}'


def graph_blueprint(name: str, module: str) -> Blueprint:
    """A guarded blueprint that leaves the query to Meta to judge."""
    return guard(Blueprint(name, module), any_query=True)


def find_account(graph_id: str) -> Account | None:
    """The account that a number or a WABA belongs to; None when it is neither's id.

    Raises NotFound when the key sees none of its accounts, BadRequest when none is active.
    """
    accounts = Account.of_graph_id(graph_id) if NAME.fullmatch(graph_id) else []
    visible = [one for one in accounts if current_key().sees(one.chatbot_id)]
    if accounts and not visible:
        raise no_object(graph_id)
    return require_active(visible[0]) if visible else None


def require_active(account: Account) -> Account:
    if not account.active:
        raise BadRequest('The account of this number is not active.', code='account_inactive')
    return account


def no_object(graph_id: str) -> NotFound:
    return NotFound(NO_OBJECT.format(graph_id[:255]))
