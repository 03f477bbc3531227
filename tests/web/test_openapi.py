"""The OpenAPI document: whole, true to the routes, and with an example of every error."""

import json
import re
from hashlib import sha256

import pytest

from service.events.event_types import TYPES
from service.runtime.errors import CODES, GatewayError
from service.web import documents, request_examples
from service.web.openapi import path_of
from service.web.problem_examples import METAS, STATUS_OF, example
from tests.people import WABA

NO_PART_OF_THE_API = {'documents.api_page_part'}  # what the page of the document is made of
HEALTH = {'get /healthz', 'get /readyz'}  # their 503 is an answer, not a refusal


@pytest.fixture
def document(backend):
    answer = backend.get('/openapi.json')
    assert answer.content_type == 'application/json'
    return answer.json


def operations(document):
    for path, methods in document['paths'].items():
        for method, operation in methods.items():
            yield f'{method} {path}', operation


def test_it_is_openapi_of_all_that_the_application_serves(application, document):
    assert document['openapi'] == '3.1.0'
    told = {operation['operationId'] for _, operation in operations(document)}
    assert len(told) == len(list(operations(document)))
    for rule in application.url_map.iter_rules():
        is_part = not rule.endpoint.startswith('dashboard_')
        if is_part and rule.endpoint not in NO_PART_OF_THE_API:
            name = rule.endpoint.replace('.', '_')
            assert {name, f'{name}_shared'} & told, rule.endpoint


def test_every_operation_says_what_it_does_takes_and_needs(application, document):
    for rule in application.url_map.iter_rules():
        view, path = application.view_functions[rule.endpoint], path_of(rule)
        for method in document['paths'].get(path, {}).keys() & set(map(str.lower, rule.methods)):
            operation = document['paths'][path][method]
            assert operation['summary'], path
            scopes = [] if view.scope == 'public' else [{'key': [view.scope]}]
            assert operation['security'] == scopes, path
            assert parameters(operation, 'query') == list(getattr(view, 'parameters', ())), path
            assert set(parameters(operation, 'path')) == set(re.findall(r'{(\w+)}', path)), path


def parameters(operation, place):
    return [one['name'] for one in operation['parameters'] if one['in'] == place]


def test_all_that_it_refers_to_is_there(document):
    text = json.dumps(document)
    for reference in set(re.findall(r'"#/components/(\w+/\w+)"', text)):
        kind, name = reference.split('/')
        assert name in document['components'][kind], reference


def test_every_error_has_an_example_that_looks_like_the_answers(document):
    examples = document['components']['examples']
    assert set(examples) == set(CODES) | set(METAS)
    for code, status in STATUS_OF.items():
        shown = examples[code]['value']
        assert shown == example(code)
        assert shown['status'] == status
        assert shown['code'] == METAS.get(code, code)
        assert shown.keys() >= {'type', 'title', 'status', 'code', 'detail'}
    for kind in GatewayError.__subclasses__():
        assert STATUS_OF[kind.code] == kind.status


def test_a_refusal_of_an_operation_has_an_example_of_each_code(document):
    for name, operation in operations(document):
        for status, answer in operation['responses'].items():
            content = answer.get('content', {})
            is_answer = status < '400' or status == '412' or name in HEALTH
            if is_answer or 'default' in operation['responses']:
                continue
            for code, shown in content['application/problem+json']['examples'].items():
                assert STATUS_OF[code] == int(status), (name, code)
                assert shown == {'$ref': f'#/components/examples/{code}'}


def test_the_graph_door_refuses_in_the_form_of_meta(document):
    answers = document['paths']['/{version}/{number}/messages']['post']['responses']
    refused = answers['400']['content']['application/json']['examples']['window_closed']['value']
    assert refused['error']['code'] == 131047
    assert answers['default']['content']['application/json']['schema'] == {
        '$ref': '#/components/schemas/GraphError'
    }


def test_every_type_of_event_is_told_as_a_webhook(document):
    assert set(document['webhooks']) == {*TYPES, 'reply.requested'}


def test_its_version_is_that_of_the_package(document):
    assert re.fullmatch(r'\d+\.\d+\.\d+', document['info']['version'])


@pytest.mark.parametrize('name', request_examples.MESSAGES)
def test_an_example_of_a_message_is_taken(backend, name):
    backend.account(waba_id=WABA)
    answer = backend.post('/send', request_examples.MESSAGES[name])
    assert answer.status_code == 202, answer.text


def test_the_other_examples_of_requests_are_taken(backend, meta):
    for example_of_account in request_examples.ACCOUNTS.values():
        assert backend.post('/account', example_of_account).status_code in (200, 201)
    for bulk in request_examples.BULK.values():
        answer = backend.post('/send/bulk', bulk)
        assert (answer.status_code, answer.json['accepted']) == (202, 2)
    for sync in request_examples.SYNC.values():
        assert backend.post('/templates/sync', sync).status_code == 202
    for key in request_examples.KEYS.values():
        assert backend.post('/keys', key).status_code == 201
    for body in request_examples.ENDPOINTS.values():
        endpoint = backend.post('/endpoints', body)
        assert endpoint.status_code == 201, endpoint.text
    for path, examples in (
        ('', request_examples.ENDPOINT_CHANGES),
        ('/replay', request_examples.REPLAY),
    ):
        for body in examples.values():
            answer = backend.post(f'/endpoints/{endpoint.json["id"]}{path}', body)
            assert answer.status_code < 300, answer.text
    conversation = backend.send()['conversation_id']
    for verb, examples in (('pause', request_examples.PAUSE), ('resume', request_examples.RESUME)):
        for body in examples.values():
            answer = backend.post(f'/conversations/{conversation}/{verb}', body)
            assert answer.status_code == 200, answer.text


def test_an_example_of_a_template_is_taken_by_meta(backend, stand_in):
    backend.account(waba_id=WABA)
    for template in request_examples.TEMPLATES.values():
        answer = backend.post('/templates', template | {'name': 'order_ready_again'})
        assert answer.status_code == 201, answer.text


BUNDLE = 'swagger-ui-bundle.js'
VIEWER = {
    BUNDLE: 'e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2',
    'swagger-ui.css': '5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d',
    f'{BUNDLE}.LICENSE.txt': '37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb',
    'LICENSE': 'cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30',
    'NOTICE': '0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2',
}  # SHA-256, as they come in swagger-ui-dist-5.35.0.tgz


def test_the_viewer_is_what_its_makers_released():
    found = {name: sha256((documents.VIEWER / name).read_bytes()).hexdigest() for name in VIEWER}
    assert found == VIEWER


def test_the_page_takes_nothing_from_outside_and_nothing_that_stands_in_it(backend):
    page = backend.get('/docs')
    policy = page.headers['Content-Security-Policy'].split('; ')
    assert "default-src 'none'" in policy
    assert all('unsafe' not in one and '*' not in one and 'http' not in one for one in policy)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert address == 'data:,' or backend.get(f'/{address}').status_code == 200
    assert '<script>' not in page.text
    assert 'style=' not in page.text


def test_a_stranger_gets_a_field_for_a_key_and_a_program_its_refusal(application):
    client = application.test_client()
    for accepted in ('text/html; charset=utf-8', 'text/html,*/*;q=0.8'):
        page = client.get('/whatsapp-cloud/docs', headers={'Accept': accepted})
        assert (page.status_code, page.mimetype) == (401, 'text/html')
    assert 'data-key="asked"' in page.text
    assert 'Content-Security-Policy' in page.headers
    for path in ('docs', 'docs/errors', 'openapi.json'):
        refused = client.get(f'/whatsapp-cloud/{path}')
        assert (refused.status_code, refused.json['code']) == (401, 'unauthorized')


def test_every_field_of_a_request_says_what_it_is_for(document):
    """The fix for a failure: a line in service/web/input_descriptions.py."""
    for name, operation in operations(document):
        for kind in operation.get('requestBody', {}).get('content', {}).values():
            reference = kind['schema'].get('$ref', '').rpartition('/')[2]
            fields = document['components']['schemas'].get(reference, {}).get('properties', {})
            assert [one for one in fields if 'description' not in fields[one]] == [], name
