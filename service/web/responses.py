"""Answers: JSON with times in RFC 3339, and one shape for every error (RFC 9457)."""

import json
import logging
import re
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from flask.json.provider import DefaultJSONProvider
from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from werkzeug.exceptions import HTTPException

from service.runtime import logs, migrate, strict_json
from service.runtime.db import CONNECTION_LOST, close_idle_if_lost, reason, sqlstate
from service.runtime.errors import CODES, GatewayError, Unavailable
from service.runtime.timestamps import to_rfc3339
from service.web import graph_errors

log = logging.getLogger(__name__)
JSONObject = dict[str, Any]
Answer = tuple[JSONObject, int]  # with its HTTP status
DATABASE_AWAY = 'The database is away; nothing was stored. Try again.'
SCHEMA_BEHIND = 'The database is not ready yet; nothing was stored. Try again.'
RUN_THE_RELEASE = 'the tables are not those that this code needs: run the release'
ERRORS_PAGE = '/whatsapp-cloud/docs/errors'
HTTP_CODES = {
    404: 'not_found',
    405: 'method_not_allowed',
    413: 'payload_too_large',
    415: 'unsupported_media_type',
    416: 'range_not_satisfiable',
}  # of werkzeug's own refusals
# Longer than a phone number, because the id stands in the log.
PROXY_REQUEST_ID = re.compile(r'[A-Za-z0-9_-]{20,128}')


class JSONProvider(DefaultJSONProvider):
    default = staticmethod(to_rfc3339)
    sort_keys = False
    compact = True

    def loads(self, s: str | bytes, **options: object) -> object:
        """Refuse NaN and the infinities: Python reads them, but no json column takes them."""
        return strict_json.loads(s, **options)


def init_app(app: Flask) -> None:
    app.json = JSONProvider(app)
    app.before_request(set_request_id)
    app.after_request(add_request_id)
    app.after_request(redirect_in_place)
    app.teardown_request(forget_request_id)
    for kind, refuse in REFUSALS:
        app.register_error_handler(kind, refuse)


def set_request_id() -> None:
    """Give every line that is logged for this request its id.

    A proxy's own id is kept, so that its log fits ours.
    """
    from_proxy = request.headers.get('X-Request-Id', '')
    logs.request_id.set(from_proxy if PROXY_REQUEST_ID.fullmatch(from_proxy) else uuid.uuid4().hex)


def add_request_id(answer: Response) -> Response:
    answer.headers['Request-Id'] = logs.request_id.get() or ''
    return answer


def redirect_in_place(answer: Response) -> Response:
    """Lead `//` in a path to `/` by the path alone.

    Behind a proxy that ends TLS the whole address would begin with http:, and whoever follows it
    would send their key in the clear.
    """
    if answer.location and answer.location.startswith(request.host_url):
        answer.location = answer.location[len(request.host_url) - 1 :]
        answer.set_data(b'')
    return answer


def forget_request_id(error: BaseException | None) -> None:
    logs.request_id.set(None)


def problem_body(
    status: int,
    title: str,
    detail: str | None = None,
    errors: JSONObject | None = None,
    code: str | int = 'internal_error',
    **members: object,
) -> str:
    """The JSON of an error (RFC 9457); `type` leads to its code in docs/errors.md, served by us."""
    page = f'{ERRORS_PAGE}#{code if code in CODES else "metas-codes"}'
    body = {
        'type': page,
        'title': title,
        'status': status,
        'code': code,
        'detail': detail or title,
        **members,
    }
    return json.dumps(body | ({'errors': errors} if errors else {}), default=to_rfc3339)


def problem(
    status: int,
    title: str,
    detail: str | None = None,
    errors: JSONObject | None = None,
    code: str | int = 'internal_error',
    **members: object,
) -> Response:
    """The answer to a request that failed, with the body of problem_body."""
    body = problem_body(status, title, detail, errors, code, **members)
    answer = Response(body, status, content_type='application/problem+json')
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers['WWW-Authenticate'] = 'Bearer'
    return graph_errors.as_the_caller_speaks(answer)


def on_gateway_error(error: GatewayError) -> Response:
    if not error.is_logged:
        log_refusal(error.status, error.code, fields=len(error.errors or ()))
    answer = problem(
        error.status, error.title, error.detail, error.errors, error.code, **error.members
    )
    if error.retry_after:
        answer.headers['Retry-After'] = str(error.retry_after)
    return answer


def log_refusal(status: int, code: str | int, **extra: object) -> None:
    """Write the one line of a refused request.

    Neither the path nor a field's name stands in it: both may hold what a caller wrote.
    """
    known = {'status': status, 'code': code, 'method': request.method, 'route': _route()}
    log.warning('request refused', extra={**known, **extra})


def _route() -> str | None:
    return request.url_rule.rule if request.url_rule else None


def on_http_exception(error: HTTPException) -> Response | HTTPException:
    """Answer for werkzeug's own errors (404, 405, 413, 415, …).

    Their text is about the protocol, never about our inside, so callers may see it.
    """
    if error.response is not None or error.code is None or error.code < 400:
        return error
    code = HTTP_CODES.get(error.code, 'bad_request' if error.code < 500 else 'internal_error')
    log_refusal(error.code, code)
    answer = problem(error.code, error.name, error.description, code=code)
    answer.headers.extend(
        (name, value) for name, value in error.get_headers() if name in ('Allow', 'Content-Range')
    )
    return answer


def on_database_error(error: Exception) -> Response:
    if migrate.is_behind(error):
        log.warning(RUN_THE_RELEASE, extra={'route': _route(), 'sqlstate': sqlstate(error)})
    elif isinstance(error, (*CONNECTION_LOST, MaxConnectionsExceeded)):
        log.error('database away', extra={'route': _route(), 'reason': reason(error)})
        close_idle_if_lost(error)  # after a restart of the server each would fail a request
    else:
        return on_unexpected_error(error)
    away = Unavailable(why_away(error), code='database_away')
    away.is_logged = True
    return on_gateway_error(away)


def why_away(error: Exception) -> str:
    return SCHEMA_BEHIND if migrate.is_behind(error) else DATABASE_AWAY


def database_away(error: Exception) -> str:
    """The body of the same answer, for code that runs outside Flask."""
    title = Unavailable.__doc__ or ''
    return problem_body(503, title, why_away(error), code='database_away')


def on_unexpected_error(error: Exception) -> Response:
    log.error('unexpected error', exc_info=error, extra={'route': _route()})
    return problem(500, 'Internal error', 'Something unexpected happened; it was logged.')


# What is answered to each kind of error.
REFUSALS: tuple[tuple[type[Exception], Callable[[Any], Any]], ...] = (
    (GatewayError, on_gateway_error),
    (HTTPException, on_http_exception),
    (PeeweeException, on_database_error),
    (MaxConnectionsExceeded, on_database_error),
    (Exception, on_unexpected_error),
)
