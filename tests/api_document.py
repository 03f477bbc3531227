"""Whether what the API answers is what its OpenAPI document says.

The whole suite is held against it: see `application` and `told_in_the_document` in conftest.py.
"""

import json
from functools import cached_property

from flask import request
from jsonschema_rs import Draft202012Validator

from service.web.openapi import document, path_of
from service.web.problem_examples import METAS

PROBLEM = 'application/problem+json'


class ApiDocument:
    """The document of an application; .problems are the answers that it does not tell of."""

    def __init__(self, app):
        self.app, self.problems = app, []
        app.after_request(self._hold)

    @cached_property
    def document(self):
        return json.loads(self.app.json.dumps(document(self.app)))

    def _hold(self, answer):
        if request.url_rule and request.method in ('GET', 'POST', 'DELETE', 'PUT'):
            problem = self.problem(request.url_rule, request.method, answer)
            if problem:
                self.problems.append(f'{request.method} {request.full_path}: {problem}')
        return answer

    def problem(self, rule, method, answer):
        """What the document does not say of an answer, as a sentence."""
        operation = self.document['paths'].get(path_of(rule), {}).get(method.lower())
        if operation is None:
            return None  # no part of the API; test_openapi.py counts those
        answers = operation['responses']
        told = answers.get(str(answer.status_code)) or answers.get('default')
        if told is None:
            return f'answers {answer.status_code}: {answer.get_data(as_text=True)[:300]}'
        if 'content' not in told or answer.direct_passthrough or not answer.content_length:
            return None
        content = told['content'].get(answer.mimetype) or told['content'].get('*/*')
        if content is None:
            return f'answers {answer.status_code} as {answer.mimetype}'
        if 'json' not in answer.mimetype:
            return None
        if answer.mimetype == PROBLEM and (found := self._untold_code(answer, content)):
            return found
        return self._misfit(answer.json, content['schema'])

    def _untold_code(self, answer, content):
        code = answer.json['code']
        told = set(content['examples'])
        if code not in told and not (isinstance(code, int | None) and told & set(METAS)):
            return f'refuses with {answer.status_code} {code}, told are {sorted(told)}'
        return None

    def _misfit(self, body, schema):
        errors = self._validator(json.dumps(schema)).iter_errors(body)
        found = [f'{"/".join(map(str, one.instance_path))}: {one.message[:200]}' for one in errors]
        return f'the body does not fit {schema}: {found}' if found else None

    def _validator(self, schema):
        if schema not in self._validators:
            whole = json.loads(schema) | {'components': self._closed}
            self._validators[schema] = Draft202012Validator(whole, validate_formats=True)
        return self._validators[schema]

    @cached_property
    def _validators(self):
        return {}

    @cached_property
    def _closed(self):
        """The components, as if an answer could have nothing more than they say."""
        components = json.loads(json.dumps(self.document['components']))
        for name, schema in components['schemas'].items():
            if name != 'Problem':  # which has members of each code
                schema.setdefault('additionalProperties', False)
        components['schemas']['GraphError'] = {}  # Meta's own may be anything
        return components
