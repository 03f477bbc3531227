"""How this house answers: JSON with RFC 3339 times, one shape for every error (RFC 9457), lists
with a cursor.
"""

import json
import logging
import re
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from flask import Response, request
from flask.json.provider import DefaultJSONProvider
from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from werkzeug.exceptions import BadRequest as NotJSON
from werkzeug.exceptions import HTTPException

from service.messages.message_list import Cursor
from service.runtime import logs, strict_json
from service.runtime.db import CONNECTION_LOST, db, reason
from service.runtime.errors import (
    CODES,
    BadRequest,
    GatewayError,
    Invalid,
    Unauthorized,
    Unavailable,
)
from service.runtime.timestamps import given, plain
from service.runtime.untrusted import UNSTORABLE, is_deep
from service.web.auth import NO_KEY, has_key

log = logging.getLogger(__name__)
DATABASE_AWAY = 'The database is away; nothing was stored. Try again.'
ERRORS_PAGE = '/whatsapp-cloud/docs/errors'
HTTP_CODES = {
    404: 'not_found',
    405: 'method_not_allowed',
    413: 'payload_too_large',
    415: 'unsupported_media_type',
    416: 'range_not_satisfiable',
}  # of werkzeug's own refusals
LIMIT_DEFAULT, LIMIT_MAX = 50, 200
PARAMETER_MAX = 2000  # characters
TOO_DEEP = 'The body is nested too deeply.'
REQUEST_ID = re.compile(
    r'[A-Za-z0-9_-]{20,128}'
)  # longer than a phone number: it stands in the log
GUARDED = re.compile(r'/whatsapp-cloud/(?!webhook(/|$))')


class JSONProvider(DefaultJSONProvider):
    default = staticmethod(plain)
    sort_keys = False
    compact = True

    def loads(self, text, **options):
        """Without what Python knows and JSON does not, NaN and the infinities: no json column takes
        them.
        """
        return strict_json.loads(text, **options)


def init_app(app):
    app.json = JSONProvider(app)
    app.before_request(name_request)
    app.after_request(tell_request_id)
    app.teardown_request(forget_request)
    app.register_error_handler(GatewayError, on_gateway_error)
    app.register_error_handler(HTTPException, on_http_exception)
    app.register_error_handler(PeeweeException, on_database_error)
    app.register_error_handler(MaxConnectionsExceeded, on_database_error)
    app.register_error_handler(Exception, on_surprise)


def name_request() -> None:
    """Every line that is logged for this request bears its id.

    A proxy's own is kept, so that its log fits ours.
    """
    given = request.headers.get('X-Request-Id', '')
    logs.request_id.set(given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)


def tell_request_id(answer: Response) -> Response:
    answer.headers['Request-Id'] = logs.request_id.get()
    return answer


def forget_request(error: BaseException | None) -> None:
    logs.request_id.set(None)


def problem_body(status, title, detail=None, errors=None, code='internal_error', **members):
    """RFC 9457. `type` leads to the code's entry in docs/errors.md, which this gateway serves."""
    page = f'{ERRORS_PAGE}#{code if code in CODES else "metas-codes"}'
    body = {
        'type': page,
        'title': title,
        'status': status,
        'code': code,
        'detail': detail or title,
        **members,
    }
    return json.dumps(body | ({'errors': errors} if errors else {}), default=plain)


def problem(status, title, detail=None, errors=None, retry_after=None, **members):
    body = problem_body(status, title, detail, errors, **members)
    answer = Response(body, status, content_type='application/problem+json')
    if retry_after:
        answer.headers['Retry-After'] = str(retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers['WWW-Authenticate'] = 'Bearer'
    return answer


def on_gateway_error(error):
    if not error.is_logged:
        log_refusal(error.status, error.code, fields=len(error.errors or ()))
    members = {'code': error.code, **error.members}
    return problem(
        error.status, error.title, error.detail, error.errors, error.retry_after, **members
    )


def log_refusal(status: int, code: str | int, **extra: object) -> None:
    """The one line of a refused request.

    Neither the path nor a field's name: both may hold what a caller wrote.
    """
    known = {'status': status, 'code': code, 'method': request.method, 'route': _route()}
    log.warning('request refused', extra={**known, **extra})


def _route() -> str | None:
    return request.url_rule.rule if request.url_rule else None


def on_http_exception(error):
    """Werkzeug's own (404, 405, 413, 415 …): its text is about the protocol, never about our
    inside.
    """
    if error.response is not None or error.code is None or error.code < 400:
        return error
    if request.url_rule is None and GUARDED.match(request.path) and not has_key():
        return on_gateway_error(
            Unauthorized(NO_KEY)
        )  # a stranger does not learn which addresses exist
    code = HTTP_CODES.get(error.code, 'bad_request' if error.code < 500 else 'internal_error')
    log_refusal(error.code, code)
    answer = problem(error.code, error.name, error.description, code=code)
    answer.headers.extend(
        (name, value) for name, value in error.get_headers() if name in ('Allow', 'Content-Range')
    )
    return answer


def on_database_error(error):
    if not isinstance(error, (*CONNECTION_LOST, MaxConnectionsExceeded)):
        return on_surprise(error)
    log.error('database away', extra={'route': _route(), 'reason': reason(error)})
    db.close_idle()  # after a restart of the server each of them would fail a request
    away = Unavailable(DATABASE_AWAY, code='database_away')
    away.is_logged = True
    return on_gateway_error(away)


def database_away():
    """The same answer's body, for where there is no Flask around."""
    return problem_body(503, Unavailable.__doc__, DATABASE_AWAY, code='database_away')


def on_surprise(error):
    log.error('unexpected error', exc_info=error, extra={'route': _route()})
    return problem(500, 'Internal error', 'Something unexpected happened; it was logged.')


def json_object():
    """The request's body as a dict. Raises 400 for malformed JSON, 415 for another content type."""
    try:
        body = request.get_json()
    except RecursionError:
        raise BadRequest(TOO_DEEP, code='nested_too_deeply') from None
    except NotJSON:
        raise BadRequest('The body is not valid JSON.', code='malformed_json') from None
    if not isinstance(body, dict):
        raise BadRequest('The body is not a JSON object.', code='malformed_json')
    if is_deep(body):  # it could be stored, and never be shown again
        raise BadRequest(TOO_DEEP, code='nested_too_deeply')
    return body


def optional_object():
    """The request's body as a dict, empty when there is none."""
    return json_object() if request.get_data() else {}


def parameter(name):
    """A query parameter, None when it is absent.

    Raises Invalid for characters that no stored text holds.
    """
    value = request.args.get(name)
    if value is not None and UNSTORABLE.search(value):
        raise Invalid(f'{name} is not valid.', {name: ['Holds a character that is not allowed.']})
    if value is not None and len(value) > PARAMETER_MAX:
        raise Invalid(
            f'{name} is not valid.', {name: [f'At most {PARAMETER_MAX:,} characters are allowed.']}
        )
    return value or None


def choice(name, allowed):
    value = parameter(name)
    if value is not None and value not in allowed:
        raise Invalid(f'{name} is not valid.', {name: [f'Must be one of: {", ".join(allowed)}.']})
    return value


def identifier(name):
    """A query parameter that is one of our ids."""
    value = parameter(name)
    try:
        return value and str(uuid.UUID(value))
    except ValueError:
        raise Invalid(f'{name} is not valid.', {name: ['Not an id of ours.']}) from None


def moment(name: str) -> datetime | None:
    """A query parameter that is a time with its offset."""
    value = (parameter(name) or '').replace(' ', '+')  # a plus that was not escaped
    found = given(value)
    if value and found is None:
        raise Invalid(f'{name} is not valid.', {name: ['Not a time like 2026-11-22T17:00:00Z.']})
    return found


def page(query, model, show):
    """One page of a query, newest first: {"data": […], "next_cursor": … or null}.

    `show`: rows → list of dicts.
    """
    limit, cursor = page_size(), identifier('cursor')
    query = query.order_by(model.id.desc()).limit(limit + 1)
    rows = list(query.where(model.id < cursor) if cursor else query)
    return {
        'data': show(rows[:limit]),
        'next_cursor': str(rows[limit - 1].id) if len(rows) > limit else None,
    }


def page_of(fetch, show):
    """The same for rows as dicts: `fetch(cursor, limit)` gives them, the newest first; `show`: row
    → dict.
    """
    limit, cursor = page_size(), identifier('cursor')
    rows = fetch(cursor, limit + 1)
    return {
        'data': list(map(show, rows[:limit])),
        'next_cursor': rows[limit - 1]['id'] if len(rows) > limit else None,
    }


def page_size():
    value = request.args.get('limit', str(LIMIT_DEFAULT))
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= LIMIT_MAX:
        raise Invalid(
            'limit is not valid.', {'limit': [f'Must be a whole number, 1 to {LIMIT_MAX}.']}
        )
    return int(value)


def page_of_changes(fetch: Callable, since: datetime, show: Callable) -> dict:
    """One page in the order of changes: `fetch(place, limit)` gives the rows behind a Cursor."""
    limit = page_size()
    rows = fetch(_cursor(since), limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    cursor = (
        last and urlsafe_b64encode(json.dumps([plain(last.updated_at), last.id]).encode()).decode()
    )
    return {'data': show(rows[:limit]), 'next_cursor': cursor}


def _cursor(since: datetime) -> Cursor:
    cursor = parameter('cursor')
    if cursor is None:
        return Cursor(since)
    try:
        at, id_ = json.loads(urlsafe_b64decode(cursor))
        at, id_ = given(at), str(uuid.UUID(id_))
    except (ValueError, RecursionError, TypeError, AttributeError):
        at = None
    if at is None:
        raise Invalid('cursor is not valid.', {'cursor': ['Not a cursor of this list.']})
    return Cursor(at, id_)
