"""Errors as Meta writes them (docs/meta.md, section 7), ours and its own, for the Graph door."""

import json
import re
from http import HTTPStatus
from typing import Any

from flask import Response, request

from service.graph.outcome import ErrorDict
from service.runtime import logs
from service.runtime.untrusted import as_dict

JSONObject = dict[str, Any]
DOOR = re.compile(r'(?:/graph)?/v[0-9]+\.[0-9]+(?:/|$)')
MAX_DETAILS = 2000  # characters
GRAPH_JSON = 'application/json; charset=UTF-8'
INVALID_PARAMETER, WRONG_VALUE, TROUBLE = 100, 131009, 131000
# Codes of ours that have one of Meta's own; the others go by their HTTP status.
BY_CODE = {'window_closed': 131047, 'opted_out': 131050}
BY_STATUS = {
    HTTPStatus.UNAUTHORIZED: 190,
    HTTPStatus.FORBIDDEN: 10,
    HTTPStatus.CONFLICT: WRONG_VALUE,
    HTTPStatus.UNPROCESSABLE_ENTITY: WRONG_VALUE,
    HTTPStatus.TOO_MANY_REQUESTS: 130429,
}
TITLES = {
    10: 'Application does not have permission for this action',
    INVALID_PARAMETER: 'Invalid parameter',
    190: 'Invalid OAuth access token',
    130429: 'Rate limit hit',
    TROUBLE: 'Something went wrong',
    WRONG_VALUE: 'Parameter value is not valid',
    131047: 'Re-engagement message',
    131050: 'User has stopped receiving marketing messages from you',
}
# With these a refusal comes from Meta; our own 409 and 422 are none of its.
STATUSES = {HTTPStatus.CONFLICT: 400, HTTPStatus.UNPROCESSABLE_ENTITY: 400}
META_STATUSES = {
    **dict.fromkeys((0, 104, 190), 401),
    **dict.fromkeys((10, *range(200, 300), 368, 130497, 131005, 131031), 403),
    4: 429,
    132001: 404,
    **dict.fromkeys((1, 3, TROUBLE, 131016, 131045, 131057, 133000, 134102), 500),
    **dict.fromkeys((2, 133004), 503),
}


def graph_error(
    code: int, details: str | None = None, title: str | None = None, trace: str | None = None
) -> JSONObject:
    """The body of an error. `trace`: Meta's fbtrace_id; our Request-Id where Meta has no part."""
    title = title or TITLES.get(code) or TITLES[INVALID_PARAMETER]
    message = title if title.startswith('(#') else f'(#{code}) {title}'
    error: JSONObject = {'message': message, 'type': 'OAuthException', 'code': code}
    if details:
        error['error_data'] = {'messaging_product': 'whatsapp', 'details': details}
    return {'error': error | {'fbtrace_id': trace or logs.request_id.get()}}


def of_meta(error: ErrorDict | None) -> tuple[int, JSONObject]:
    """(HTTP status, body) of an error that is kept with a message; None: nobody knows why."""
    if error is None or error['code'] is None:
        details = ': '.join(filter(None, (error['title'], error['details']))) if error else None
        return 500, graph_error(TROUBLE, details)
    code = error['code']
    body = graph_error(code, error['details'], error['title'], error['fbtrace_id'])
    return META_STATUSES.get(code, 400), body


def as_the_caller_speaks(problem: Response) -> Response:
    """A refusal; in Meta's form to whoever asks below a version of Meta's."""
    return from_problem(problem) if DOOR.match(request.path) else problem


def from_problem(answer: Response) -> Response:
    """An error of this API (RFC 9457) in Meta's form, with Meta's code and status for it."""
    problem = as_dict(answer.get_json(force=True, silent=True))
    code = _code(answer.status_code, problem.get('code'))
    body = graph_error(code, _details(problem), None)
    answer.set_data(json.dumps(body))
    answer.content_type = GRAPH_JSON
    answer.status_code = STATUSES.get(HTTPStatus(answer.status_code), answer.status_code)
    return answer


def of_refusal(status: int, code: str, detail: str) -> str:
    """The body of a refusal that is made without Flask."""
    return json.dumps(graph_error(_code(status, code), detail))


def _code(status: int, code: object) -> int:
    if isinstance(code, int):  # Meta's own
        return code
    if isinstance(code, str) and code in BY_CODE:
        return BY_CODE[code]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TROUBLE
    return BY_STATUS.get(HTTPStatus(status), INVALID_PARAMETER)


def _details(problem: JSONObject) -> str:
    """Its sentence, and each field with what is wrong with it."""
    errors = as_dict(problem.get('errors'))
    fields = [f'{name}: {" ".join(map(str, sentences))}' for name, sentences in errors.items()]
    return ' '.join(fields or [str(problem.get('detail'))])[:MAX_DETAILS]
