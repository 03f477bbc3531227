"""The OpenAPI document of this API, made of its routes, their marks and the schemas."""

import re
from collections import defaultdict
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from importlib import import_module

from flask import Flask, current_app
from werkzeug.routing import Rule

from service.runtime import migrate
from service.web import problem_examples
from service.web.json_schema import Components, unwrapped
from service.web.openapi_operation import METHODS, describe_operation
from service.web.openapi_refusals import HEADERS
from service.web.openapi_webhooks import describe_webhooks
from service.web.operating_answers import Problem
from service.web.problem_examples import STATUS_OF
from service.web.responses import JSONObject

ABOUT = (
    'A gateway to the WhatsApp Cloud API: webhooks come in, conversations are kept, replies are '
    "asked for, messages go out in Meta's own form. Times are RFC 3339 UTC. Every refusal is a "
    'problem detail (RFC 9457) whose `code` is stable.'
)
VARIABLE = re.compile(r'<(?:[^:<>]+:)?([^<>]+)>')


def document(app: Flask) -> JSONObject:
    """The whole document, as JSON can hold it."""
    components = Components()
    components.refer(Problem())
    paths: defaultdict[str, JSONObject] = defaultdict(dict)
    for rule, method in _routes(app):
        paths[path_of(rule)][method.lower()] = describe_operation(app, rule, method, components)
    examples = {code: {'value': problem_examples.example(code)} for code in STATUS_OF}
    return {
        'openapi': '3.1.0',
        'info': {'title': 'WhatsApp gateway', 'version': _version(), 'description': ABOUT},
        'servers': [{'url': '/'}],
        'tags': list(_tags(app)),
        'paths': dict(paths),
        'webhooks': dict(describe_webhooks(components)),
        'components': {
            'securitySchemes': {'key': {'type': 'http', 'scheme': 'bearer'}},
            'examples': examples,
            'headers': HEADERS,
            'schemas': dict(sorted(components.schemas.items())),
        },
    }


def path_of(rule: Rule) -> str:
    """Its path as OpenAPI writes it."""
    return VARIABLE.sub(r'{\1}', rule.rule)


@cache
def text_of(app: Flask) -> str:
    """The document as JSON; it is the same as long as the process lives."""
    return app.json.dumps(document(app))


def current_text() -> str:
    return text_of(current_app._get_current_object())  # type: ignore[attr-defined]


def _routes(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Every route and method, but for those without a description, which are no part of the API."""
    for rule in app.url_map.iter_rules():
        is_described = hasattr(app.view_functions[rule.endpoint], 'description')
        for method in METHODS:
            if is_described and method in (rule.methods or ()):
                yield rule, method


def _tags(app: Flask) -> Iterator[JSONObject]:
    """The blueprints of the API: what each is for says the docstring of its module."""
    told = {rule.endpoint.partition('.')[0] for rule, _ in _routes(app)}
    for name in sorted(told, key=list(app.blueprints).index):
        blueprint = app.blueprints[name]
        about = import_module(blueprint.import_name).__doc__ or ''
        yield {'name': name, 'description': unwrapped(about)}


def _version() -> str:
    setup = ConfigParser()
    setup.read(migrate.FILE.with_name('setup.cfg'))
    return setup['metadata']['version']
