"""Schemathesis asks every operation of the OpenAPI document what no person would think of: what
fits the document and what does not, the same each time.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.web.app import create_app
from service.web.openapi import document
from tests.people import WABA

# Of each operation, in either mode; more of them, and others each time, when somebody searches.
EXAMPLES = int(os.environ.get('SCHEMATHESIS_EXAMPLES', '8'))
IS_SEARCH = EXAMPLES > 8
KEY = {'Authorization': 'Bearer test-key'}
ANY_TEXT = {'type': 'string', 'minLength': 1}
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not IS_SEARCH,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def questions():
    """(operation, mode): where any text is taken, none can be wrong."""
    for path, methods in document(create_app())['paths'].items():
        for method, operation in methods.items():
            schemas = [one['schema'] for one in operation['parameters']]
            takes_any = 'requestBody' not in operation and all(one == ANY_TEXT for one in schemas)
            for mode in [GenerationMode.POSITIVE] if takes_any else GenerationMode:
                yield pytest.param(path, method, mode, id=f'{method} {path} {mode}')


@pytest.fixture
def ids(backend):
    """Ids that lead to something."""
    backend.account(waba_id=WABA, responder={'kind': 'none'})
    message = backend.send()
    endpoint = backend.post('/endpoints', {'url': 'http://127.0.0.1:9/'}).json
    return {
        'chatbot_id': 'acme',
        'message_id': message['id'],
        'conversation_id': message['conversation_id'],
        'contact_id': message['conversation_id'],
        'endpoint_id': endpoint['id'],
    }


def without_keys(api_document):
    """The same with nothing about keys: wrong ones are tried by tests/system/test_layout.py."""
    for methods in api_document['paths'].values():
        for operation in methods.values():
            operation['security'] = []
    return api_document


@pytest.mark.parametrize(('path', 'method', 'mode'), list(questions()))
def test_an_operation_keeps_to_the_document(application, stand_in, ids, path, method, mode):
    api = schemathesis.openapi.from_dict(without_keys(document(application)))
    api.app = application

    @BOUNDED
    @given(case=api[path][method].as_strategy(generation_mode=mode), is_known=st.booleans())
    def ask(case, is_known):
        if is_known and mode.is_positive:
            case.path_parameters |= {
                name: ids[name] for name in ids.keys() & case.path_parameters.keys()
            }
        if 'wait' in (case.query or {}):
            case.query['wait'] = 0
        answer = case.call_and_validate(headers=KEY, checks=CHECKS)
        assert answer.status_code != 500

    ask()
