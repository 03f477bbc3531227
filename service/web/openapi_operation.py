"""One operation of the OpenAPI document: a route and a method, as its view and its marks say."""

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from inspect import getdoc
from typing import Any

from flask import Flask
from marshmallow import Schema
from werkzeug.routing import BaseConverter, Rule, UnicodeConverter, UUIDConverter

from service.web.described import JSON, Description, Shape
from service.web.json_schema import Components, unwrapped
from service.web.openapi_refusals import header_references, refusals, refusals_as_meta
from service.web.problem_examples import STATUS_OF
from service.web.query_schemas import OF_VIEW, PARAMETERS, REQUIRED
from service.web.responses import JSONObject

PROBLEM = 'application/problem+json'
METHODS = ('GET', 'POST', 'PUT', 'DELETE')
# How a request may be refused before its view is asked.
TO_ALL = ('bad_request', 'internal_error')
TO_GUARDED = ('unauthorized', 'scope_missing', 'invalid', 'database_away')
WITH_BODY = ('body_incomplete', 'request_timeout', 'payload_too_large')
WITH_JSON = ('malformed_json', 'nested_too_deeply', 'unsupported_media_type', 'invalid')


def describe_operation(app: Flask, rule: Rule, method: str, components: Components) -> JSONObject:
    """The operation as an object of OpenAPI. A view without a description is a fault."""
    view: Any = app.view_functions[rule.endpoint]
    described: Description = view.description
    scope: str = getattr(view, 'scope', 'root')
    about = unwrapped(getdoc(view) or '')
    found: JSONObject = {
        'operationId': _operation_id(rule),
        'tags': [rule.endpoint.partition('.')[0]],
        'summary': about.partition('\n')[0],
        'description': about + _needs(scope),
        'security': [] if scope == 'public' else [{'key': [scope]}],
        'parameters': [
            *_path_parameters(rule),
            *_query_parameters(rule.endpoint, getattr(view, 'parameters', ())),
            *described.headers,
        ],
    }
    if described.bodies:
        found['requestBody'] = _request_body(described, components)
    codes = set(_codes(rule, method, scope, described))
    return found | {'responses': _responses(described, codes, components)}


def _operation_id(rule: Rule) -> str:
    """The name of the view; a rule that fixes an argument is the shorter of two."""
    return f'{rule.endpoint.replace(".", "_")}{"_shared" if rule.defaults else ""}'


def _needs(scope: str) -> str:
    if scope == 'public':
        return ''
    if scope == 'root':
        return '\n\nOnly a key of `API_KEYS` may do this.'
    return f'\n\nThe key needs the scope `{scope}`.'


def _path_parameters(rule: Rule) -> Iterator[JSONObject]:
    for name in sorted(rule.arguments - set(rule.defaults or ())):
        schema = {'type': 'string', **_form(rule._converters[name])}
        yield {'name': name, 'in': 'path', 'required': True, 'schema': schema}


def _form(converter: BaseConverter) -> JSONObject:
    if isinstance(converter, UUIDConverter):
        return {'format': 'uuid'}
    if isinstance(converter, UnicodeConverter):
        return {'minLength': 1}
    return {'pattern': f'^{converter.regex}$'}


def _query_parameters(endpoint: str, names: Iterable[str]) -> Iterator[JSONObject]:
    for name in names:
        schema, about = OF_VIEW.get((endpoint, name)) or PARAMETERS[name]
        is_required = (endpoint, name) in REQUIRED
        more = {'required': True} if is_required else {'allowEmptyValue': True}
        found = {'name': name, 'in': 'query', 'description': about, 'schema': schema}
        yield found | more


def _request_body(described: Description, components: Components) -> JSONObject:
    content: JSONObject = {}
    is_required = False
    for kind, taken in described.bodies.items():
        schema = components.refer(taken) if isinstance(taken, Schema) else taken
        is_required |= not isinstance(taken, Schema) or _has_required(taken)
        content[kind] = {'schema': schema}
        if kind == JSON and described.examples:
            examples = {name: {'value': value} for name, value in described.examples.items()}
            content[kind]['examples'] = examples
    return {'required': is_required, 'content': content}


def _has_required(schema: Schema) -> bool:
    return any(field.required for field in schema.fields.values())


def _codes(rule: Rule, method: str, scope: str, described: Description) -> Iterator[str]:
    """The code of every refusal of an operation."""
    yield from TO_ALL
    yield from described.problems
    if scope != 'public':
        yield from TO_GUARDED
    if method == 'POST':
        yield from WITH_BODY
    takes_no_body = method == 'POST' and not described.bodies and not described.refuses_as_meta
    if JSON in described.bodies or takes_no_body:
        yield from WITH_JSON
    if rule.arguments and scope != 'public':
        is_id = any(isinstance(one, UUIDConverter) for one in rule._converters.values())
        yield 'not_found' if is_id else 'unknown_chatbot'


def _responses(described: Description, codes: set[str], components: Components) -> JSONObject:
    found: JSONObject = {}
    for status, answer in described.answers.items():
        found[str(status)] = _answer(status, answer, described.also, components)
    known = [code for code in STATUS_OF if code in codes]
    if described.refuses_as_meta:
        return found | refusals_as_meta(known, components)
    for status, refusal in refusals(known).items():
        if str(status) in found:  # of /readyz, say, which answers 503 itself
            refusal['content'] |= found[str(status)]['content']
        found[str(status)] = refusal
    return found


def _answer(
    status: int,
    answer: tuple[str, Shape] | None,
    also: Mapping[str, JSONObject],
    components: Components,
) -> JSONObject:
    found: JSONObject = {
        'description': f'{HTTPStatus(status).phrase}.',
        'headers': header_references('Request-Id'),
    }
    if answer:
        kind, shape = answer
        found['content'] = {kind: {'schema': _schema(shape, components)}}
        found['content'] |= {other: {'schema': schema} for other, schema in also.items()}
    return found


def _schema(shape: Shape, components: Components) -> JSONObject:
    if isinstance(shape, tuple):
        return {'anyOf': [components.refer(one()) for one in shape]}
    return shape if isinstance(shape, dict) else components.refer(shape())
