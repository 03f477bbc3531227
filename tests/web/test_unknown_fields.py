"""A field that a POST does not know is refused and named, also where it takes no body."""

import pytest

from service.web.openapi import path_of
from tests.web.tenants import fill

METAS = '<graph_version:version>'  # in a path: Meta judges the body
NOT_JSON = ('/whatsapp-cloud/webhook', '/whatsapp-cloud/media')  # Meta's own, and a form's
OPEN = '/whatsapp-cloud/templates'  # what the gateway does not know of a template Meta may know
NOTHING = ('', ' \r\n', '{}', ' { }\n')
OF_BODIES = ('malformed_json', 'nested_too_deeply', 'unsupported_media_type', 'invalid')
TYPES = (None, 'application/json', 'application/x-www-form-urlencoded', 'text/plain')


@pytest.fixture
def acme(backend, meta, workers):
    """What there is of every kind of one tenant."""
    return fill(backend, meta, workers)['acme']


def routes(application, acme):
    """(rule, path) of every POST that takes JSON, or no body."""
    for rule in application.url_map.iter_rules():
        is_page = rule.endpoint.startswith('dashboard_')  # test_dashboard_doors.py
        is_ours = not rule.rule.startswith(NOT_JSON) and METAS not in rule.rule and not is_page
        if 'POST' in rule.methods and is_ours:
            values = {name: getattr(acme, name) for name in rule.arguments}
            yield rule, rule.build(values)[1]


@pytest.mark.parametrize('value', ['red', None])
def test_every_post_names_a_field_that_it_does_not_know(application, backend, acme, value):
    found = list(routes(application, acme))
    assert len(found) >= 28
    for rule, path in found:
        if rule.rule == OPEN:
            continue
        answer = backend.post(path.removeprefix('/whatsapp-cloud'), {'colour': value})
        assert (answer.status_code, answer.json['code']) == (422, 'invalid'), (rule, answer.text)
        assert 'Unknown field.' in answer.json['errors'].get('colour', [''])[0], (rule, answer.text)


def test_where_no_body_is_needed_one_that_says_nothing_is_fine(application, backend, acme):
    operations = backend.get('/openapi.json').json['paths']
    tried = set()
    for rule, path in routes(application, acme):
        described = operations[path_of(rule)]['post']
        if described.get('requestBody', {}).get('required'):
            continue
        tried.add(rule.rule)
        for body in NOTHING:
            for kind in TYPES:
                answer = backend.transport.post(
                    path, data=body, content_type=kind, headers=backend.headers
                )
                assert answer.json.get('code') not in OF_BODIES, (rule, body, kind, answer.text)
    assert len(tried) >= 20


@pytest.mark.parametrize(
    ('body', 'kind', 'status'),
    [
        ('{"x": 1}', None, 415),
        ('x=1', 'application/x-www-form-urlencoded', 415),
        ('{', 'application/json', 400),
        ('[]', 'application/json', 400),
        ('{"x": 1}', 'application/json; charset=utf-8', 422),
    ],
)
def test_what_is_no_json_object_is_refused_where_no_body_is_taken(
    backend, acme, body, kind, status
):
    for path in (f'/endpoints/{acme.endpoint_id}/resume', f'/messages/{acme.message_id}/read'):
        answer = backend.request('POST', path, data=body, content_type=kind)
        assert answer.status_code == status, (path, answer.text)


def test_many_unknown_fields_and_long_names_are_named_in_few_characters(backend, acme):
    answer = backend.post(f'/endpoints/{acme.endpoint_id}/pause', {'x' * 1000: 1, 'y': None})
    assert sorted(answer.json['errors']) == ['x' * 100, 'y']
