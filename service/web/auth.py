"""Who may come in: the backend by a bearer key, Meta by its signature.

A view names the scope that a key needs for it with `@scope`; without that mark it is refused to
everybody. Keys and signatures are compared in constant time.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, TypeVar

from flask import Blueprint, Flask, current_app, g, request
from peewee import Field, ModelSelect

from service.accounts import api_key
from service.accounts.account import Account
from service.accounts.api_key import ROOT, ROOT_KEY, Key
from service.runtime.config import settings
from service.runtime.db import db
from service.runtime.errors import Forbidden, NotFound, Unauthorized
from service.web import bodies
from service.web.known_keys import known_keys
from service.web.request_input import check_body, check_query

PREFIX = 'sha256='
GUARDED = re.compile(r'/whatsapp-cloud/(?!webhook(/|$))|(?:/graph)?/v[0-9.]+(?:/|$)')
NO_KEY = 'Send "Authorization: Bearer <key>" with one of API_KEYS, or one made of them.'


NOBODY = ''  # no chatbot has this id
Scope = Literal['send', 'read', 'manage', 'root', 'public']
View = TypeVar('View', bound=Callable[..., Any])
Row = TypeVar('Row', bound='OwnedRow')
Query = TypeVar('Query', bound='ModelSelect[Any]')


class OwnedRow(Protocol):
    """A row of a model that belongs to a chatbot."""

    chatbot_id: Any

    @classmethod
    def missing(cls) -> str: ...


def init_app(app: Flask) -> None:
    app.before_request(refuse_strangers)


def refuse_strangers() -> None:
    """Raise Unauthorized also where there is no view: a stranger learns of no addresses."""
    if request.url_rule is None and GUARDED.match(request.path) and find_key() is None:
        raise Unauthorized(NO_KEY)


def scope(name: Scope) -> Callable[[View], View]:
    """Mark a view with the scope that a key needs; `root`: only a key of API_KEYS may.

    `public`: nobody is asked for a key, because the view looks at something else or tells nothing.
    """

    def mark(view: View) -> View:
        view.scope = name  # type: ignore[attr-defined]
        return view

    return mark


def guard(blueprint: Blueprint, any_query: bool = False) -> Blueprint:
    """Let in requests with a key and a known query; then give them a database connection.

    The connection comes last, when the body is there, so that a slow sender holds none.
    `any_query`: what stands in query and body is not ours to judge.
    """
    blueprint.before_request(require_key)
    blueprint.before_request(bodies.read)
    if not any_query:
        blueprint.before_request(check_query)
        blueprint.before_request(check_body)
    give_connection(blueprint)
    return blueprint


def give_connection(blueprint: Blueprint) -> None:
    """From here on, its requests have a database connection."""
    blueprint.before_request(_connect)
    blueprint.teardown_request(_disconnect)


def require_key() -> None:
    """Raise Unauthorized without a key, Forbidden when it lacks the scope of the view."""
    key = find_key()
    if key is None:
        raise Unauthorized(NO_KEY)
    view = current_app.view_functions[request.endpoint or '']
    needed = getattr(view, 'scope', None)
    if needed is None or needed not in key.scopes:
        raise Forbidden(_refusal(needed), code='scope_missing', scope=needed)


def _refusal(needed: str | None) -> str:
    if needed is None:
        return 'This address is open to no key yet.'
    if needed == ROOT:
        return 'Only a key of API_KEYS may do this.'
    return f'The key lacks the scope "{needed}".'


def find_key() -> Key | None:
    """The key that came with this request; None when there is none, or none of ours."""
    if 'key' not in g:
        g.key = key_of_text(bearer_token())
    key: Key | None = g.key
    return key


def bearer_token() -> str:
    """What came with this request as `Authorization: Bearer …`; empty without it."""
    kind, _, text = request.headers.get('Authorization', '').partition(' ')
    return text.strip() if kind.lower() == 'bearer' else ''


def key_of_text(text: str) -> Key | None:
    """The key that this is; None for none of ours."""
    return ROOT_KEY if is_one_of(text, settings.API_KEYS) else known_keys.find(text)


def key_of_digest(digest: bytes) -> Key | None:
    """The key with this SHA-256; None for none of ours."""
    roots = {api_key.digest_of(text) for text in settings.API_KEYS}
    return ROOT_KEY if digest in roots else known_keys.find_digest(digest)


def require_key_still() -> None:
    """Raise Unauthorized when the key of a request that waits has been deleted meanwhile."""
    g.pop('key', None)
    current_key()


def current_key() -> Key:
    """The key of this request, in a view of a guarded blueprint."""
    key = find_key()
    if key is None:
        raise Unauthorized(NO_KEY)
    return key


def require_chatbot(chatbot_id: str) -> None:
    """Raise NotFound, as for a chatbot that there is not, when the key does not see this one."""
    if not current_key().sees(chatbot_id):
        raise Account.not_found(chatbot_id)


def find_account(chatbot_id: str) -> Account:
    """The account of a chatbot. Raises NotFound, also when the key does not see it."""
    account = Account.find(chatbot_id)
    require_chatbot(chatbot_id)
    return account


def find_active_account(chatbot_id: str) -> Account:
    """The same for an account that may send. Raises NotFound or BadRequest."""
    account = find_account(chatbot_id)
    account.require_active()
    return account


def visible(row: Row, missing: str | None = None) -> Row:
    """A row that was found by its id. Raises NotFound, as for an unknown id, to other tenants.

    `row` has a chatbot_id; `missing`: what is said of an unknown id, if not what its model says.
    """
    check_visible(row.chatbot_id, missing or row.missing())
    return row


def check_visible(chatbot_id: str | None, missing: str) -> None:
    """Raise NotFound with this sentence when the key does not see what belongs to a chatbot."""
    if not current_key().sees(chatbot_id):
        raise NotFound(missing)


def chatbots_to_list(given: str | None) -> list[str] | None:
    """The chatbots whose rows a list shows; None: of all. `given`: the one that the query names.

    One that the key does not see is looked for like one that there is not.
    """
    key = current_key()
    if given is not None:
        return [given if key.sees(given) else NOBODY]
    return None if key.chatbot_ids is None else sorted(key.chatbot_ids)


def restrict(query: Query, chatbot_id: Field) -> Query:
    """A query for the rows of those chatbots alone that the key sees; `chatbot_id`: its column."""
    chatbot_ids = current_key().chatbot_ids
    return query if chatbot_ids is None else query.where(chatbot_id.in_(sorted(chatbot_ids)))


def _connect() -> None:
    db.connect()  # it returns True, which must not become Flask's answer


def _disconnect(error: BaseException | None) -> None:
    if not db.is_closed():
        db.close()


def is_one_of(given: str, secrets: Iterable[str]) -> bool:
    """Whether it is one of the secrets; each is compared, so that the time tells nothing."""
    candidate = given.encode('utf-8', 'surrogatepass')
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(candidate, secret.encode())
    return found


def sign(body: bytes, secret: str) -> str:
    """X-Hub-Signature-256 of a raw body (section 1.2)."""
    return PREFIX + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verified_digest(body: bytes, header: str | None, secrets: Iterable[str]) -> bytes | None:
    """The HMAC of a body that one of the app secrets signed, None when none did."""
    if not header or not header.startswith(PREFIX):
        return None
    given = header[len(PREFIX) :].encode('utf-8', 'surrogatepass')
    found = None
    for secret in secrets:
        digest = hmac.digest(secret.encode(), body, 'sha256')
        if hmac.compare_digest(given, digest.hex().encode()):
            found = digest
    return found
