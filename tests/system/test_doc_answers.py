"""The JSON that README and docs show is what the API says: each is a part of something in its
OpenAPI document, with fields, values and words of it. What commands answer is held against their
real answers in test_docs.py.
"""

import copy
import re

import pytest
from jsonschema_rs import Draft202012Validator

from service.web.problem_examples import STATUS_OF, example
from tests.doc_answers import LEFT_OUT, is_excerpt, json_blocks, shown

METAS_OWN = ('docs/meta.md',)  # bodies that Meta posts: tests/payloads has them
SHOWN = [(block, value) for block in json_blocks() for value in shown(block)]
OURS = [(block, value) for block, value in SHOWN if block.file not in METAS_OWN]
IDS = [f'{block} {at}' for at, (block, _) in enumerate(OURS)]


@pytest.fixture(scope='module')
def fits(application):
    """fits(value): the names of what it may be a part of."""
    document = copy.deepcopy(application.extensions['api_document'].document)
    schemas = document['components']['schemas']
    for schema in schemas.values():
        loosen(schema)
    schemas['Problem'] = {'properties': members_of_problems(), 'additionalProperties': False}
    for name, webhook in document['webhooks'].items():
        schemas[name] = loosened(webhook['post']['requestBody'])['content']['application/json'][
            'schema'
        ]
    components = {'components': document['components']}
    validators = {
        name: Draft202012Validator({'$ref': f'#/components/schemas/{name}'} | components)
        for name, schema in schemas.items()
        if 'allOf' in schema or schema.get('additionalProperties') is False
    }
    return lambda value: [name for name, one in validators.items() if one.is_valid(value)]


def loosened(schema):
    loosen(schema)
    return schema


def loosen(schema):
    """Nothing has to be there, nothing unknown may; and a … stands for any end of a text."""
    if isinstance(schema, list):
        for part in schema:
            loosen(part)
    if isinstance(schema, dict):
        schema.pop('required', None)
        schema.pop('pattern', None)
        if 'properties' in schema and 'const' not in schema.get('properties', {}).get('type', {}):
            schema.setdefault('additionalProperties', False)
        for part in list(schema.values()):
            loosen(part)


def members_of_problems():
    return {name: {} for code in STATUS_OF for name in example(code)}


@pytest.mark.parametrize(('block', 'value'), OURS, ids=IDS)
def test_what_is_shown_is_a_part_of_what_the_api_says(fits, block, value):
    assert fits(value) or fits_errors(value), value


def fits_errors(value):
    """Whether it is {field: [sentence]}, as `errors` of a problem are."""
    return all(
        isinstance(sentences, list) and all(isinstance(one, str) for one in sentences)
        for sentences in value.values()
    )


def test_a_wrong_name_or_kind_or_word_would_be_found(fits):
    message = {'id': '01a2', 'status': 'queued', 'attempts': 0}
    assert 'Message' in fits(message)
    for wrong in ({'attemps': 0}, {'attempts': 'none'}, {'status': 'gone', 'attempts': 0}):
        assert fits(message | wrong) == []


def test_what_is_left_out_is_understood():
    class Block:
        text = '{"a": 1, …, "b": {…}, "c": [1, …],\n "d": "x…", …}\n{"e": null}'

    assert shown(Block) == [{'a': 1, 'b': {}, 'c': [1], 'd': f'x{LEFT_OUT}'}, {'e': None}]


def test_an_excerpt_has_fields_of_the_whole_and_the_same_kinds():
    whole = {'id': 'x', 'list': [{'a': 1, 'b': 'c'}], 'none': None, 'more': True}
    assert is_excerpt({'id': 'y', 'list': [{'a': 2}], 'none': 'later'}, whole)
    for wrong in ({'name': 'y'}, {'id': 1}, {'list': [{'a': 'text'}]}, {'more': 1}):
        assert not is_excerpt(wrong, whole)


def test_there_are_examples():
    assert len(OURS) >= 45
    assert all(re.match(r'(README|docs/\w[\w-]*)\.md$', block.file) for block, _ in SHOWN)
