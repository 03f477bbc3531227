"""The refusals of an operation in the OpenAPI document, with an example of each."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from flask import Response, json

from service.runtime.errors import CODES
from service.web import graph_errors, problem_examples
from service.web.described import JSON
from service.web.json_schema import REFERENCE, Components
from service.web.operating_answers import GraphError
from service.web.problem_examples import METAS, STATUS_OF
from service.web.responses import JSONObject

PROBLEM = 'application/problem+json'
TRACE = 'AXkgc5mGFwzdQ'  # in the place of a Request-Id
HEADERS: JSONObject = {
    'Request-Id': {
        'description': 'Stands in the lines of the log about this request.',
        'schema': {'type': 'string'},
    },
    'Retry-After': {
        'description': 'Seconds; trying again sooner does not help.',
        'schema': {'type': 'integer'},
    },
}
RETRY_STATUSES = (429, 503)


def refusals(codes: Iterable[str]) -> dict[int, JSONObject]:
    """By HTTP status, as problem details."""
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[STATUS_OF[code]].append(code)
    return {status: _refusal(status, shown) for status, shown in sorted(by_status.items())}


def _refusal(status: int, codes: list[str]) -> JSONObject:
    examples = {code: {'$ref': f'#/components/examples/{code}'} for code in codes}
    return {
        'description': f'{problem_examples.title(status)}.\n\n{_meanings(codes)}',
        'headers': _headers_of(status),
        'content': {PROBLEM: {'schema': {'$ref': f'{REFERENCE}Problem'}, 'examples': examples}},
    }


def refusals_as_meta(codes: Iterable[str], components: Components) -> JSONObject:
    """By HTTP status, in the form of Meta's errors; Meta's own may have any status."""
    schema = components.refer(GraphError())
    examples: defaultdict[int, JSONObject] = defaultdict(dict)
    for code in codes:
        status, body = _as_meta(code)
        examples[status][code] = {'value': body}
    found: JSONObject = {
        str(status): {
            'description': f'{_meanings(shown)}',
            'headers': _headers_of(status),
            'content': {JSON: {'schema': schema, 'examples': shown}},
        }
        for status, shown in sorted(examples.items())
    }
    found['404']['content'][PROBLEM] = {'schema': {'$ref': f'{REFERENCE}Problem'}}  # no such path
    found['default'] = {
        'description': 'Whatever Meta refuses, as Meta says it.',
        'content': {JSON: {'schema': schema}},
    }
    return found


def _as_meta(code: str) -> tuple[int, JSONObject]:
    """The HTTP status and the body of a refusal at the Graph door, as it makes the real ones."""
    problem = Response(json.dumps(problem_examples.example(code)), STATUS_OF[code])
    answer = graph_errors.from_problem(problem)
    body: JSONObject = answer.get_json()
    body['error']['fbtrace_id'] = TRACE
    return answer.status_code, body


def _meanings(codes: Iterable[str]) -> str:
    return '\n'.join(f'- `{METAS.get(code, code)}`: {_meaning(code)}' for code in codes)


def _meaning(code: str) -> str:
    if code in METAS:
        return "Meta has refused it; the code is Meta's own."
    return ' '.join(CODES[code])


def _headers_of(status: int) -> dict[str, Any]:
    is_later = status in RETRY_STATUSES
    return header_references('Request-Id', *(['Retry-After'] if is_later else []))


def header_references(*names: str) -> dict[str, Any]:
    return {name: {'$ref': f'#/components/headers/{name}'} for name in names}
