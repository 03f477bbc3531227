"""What a template reads like with its parameters."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.templates.rendering import render
from tests.people import CHATBOT, CUSTOMER, sql

DEFINITION = [
    {'type': 'HEADER', 'format': 'TEXT', 'text': 'Order {{1}}'},
    {'type': 'BODY', 'text': 'Hello {{1}}, it costs {{2}} until {{3}}.', 'example': {}},
    {'type': 'FOOTER', 'text': 'Acme'},
    {
        'type': 'BUTTONS',
        'buttons': [
            {'type': 'QUICK_REPLY', 'text': 'Stop'},
            {'type': 'URL', 'text': 'Track', 'url': 'https://a.b/{{1}}'},
        ],
    },
]
COMPONENTS = [
    {'type': 'header', 'parameters': [{'type': 'text', 'text': '17'}]},
    {
        'type': 'BODY',
        'parameters': [
            {'type': 'text', 'text': 'Ana'},
            {
                'type': 'currency',
                'currency': {'fallback_value': '$10', 'code': 'USD', 'amount_1000': 10000},
            },
            {'type': 'date_time', 'date_time': {'fallback_value': 'noon'}},
        ],
    },
    {
        'type': 'button',
        'sub_type': 'url',
        'index': '1',
        'parameters': [{'type': 'text', 'text': 'x1'}],
    },
]


def test_header_body_footer_and_buttons_are_filled_in():
    assert render(DEFINITION, {'components': COMPONENTS}) == (
        'Order 17\nHello Ana, it costs $10 until noon.\nAcme\n[Stop] [Track] https://a.b/x1'
    )


def test_named_parameters_go_where_they_are_named_and_what_is_missing_stays_a_placeholder():
    definition = [{'type': 'BODY', 'text': '{{who}} and {{ what }} and {{why}}'}]
    parameters = [
        {'type': 'text', 'parameter_name': 'what', 'text': '{{who}}'},
        {'type': 'text', 'parameter_name': 'who', 'text': 'Ana'},
    ]
    assert (
        render(definition, {'components': [{'type': 'body', 'parameters': parameters}]})
        == 'Ana and {{who}} and {{why}}'
    )
    assert render(definition, {}) == '{{who}} and {{ what }} and {{why}}'


def test_a_picture_above_and_cards_below():
    card = {
        'components': [
            {'type': 'HEADER', 'format': 'IMAGE'},
            {'type': 'BODY', 'text': '{{1}}!'},
            {'type': 'BUTTONS', 'buttons': [{'type': 'COPY_CODE'}]},
        ]
    }
    definition = [
        {'type': 'HEADER', 'format': 'VIDEO'},
        {'type': 'BODY', 'text': 'Boats'},
        {'type': 'CAROUSEL', 'cards': [card, card]},
    ]
    sent = [
        {
            'card_index': n,
            'components': [{'type': 'body', 'parameters': [{'type': 'text', 'text': text}]}],
        }
        for n, text in enumerate(('Blue', 'Red'))
    ]
    assert render(definition, {'components': [{'type': 'carousel', 'cards': sent}]}) == (
        '[video]\nBoats\n1. [image]\nBlue!\n[copy code]\n2. [image]\nRed!\n[copy code]'
    )


@pytest.mark.parametrize(
    'definition', [None, [], 'x', [{'type': 'BODY'}], [{'type': 'BODY', 'text': 5.5}, None]]
)
def test_without_a_body_nothing_is_made_up(definition):
    assert render(definition, {'components': COMPONENTS}) in ('', '5.5')


def odd(template):
    """Anything in the place of any part of it."""
    if isinstance(template, dict):
        return st.fixed_dictionaries({name: odd(part) for name, part in template.items()}) | JUNK
    if isinstance(template, list):
        return st.tuples(*map(odd, template)).map(list) | JUNK
    return st.just(template) | JUNK


JUNK = st.sampled_from(
    [None, 5, True, 'x', '', [], [None], {}, {'type': []}, {'type': 'BODY', 'text': '{{1}}'}]
)


@given(definition=odd(DEFINITION), components=odd(COMPONENTS))
def test_no_definition_and_no_parameters_whatever_make_it_stumble(definition, components):
    assert isinstance(render(definition, {'components': components}), str)


def test_a_template_that_is_known_is_shown_with_its_text(backend):
    backend.account(waba_id='880')
    template = {'name': 'order', 'language': {'code': 'en'}, 'components': COMPONENTS}
    body = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'type': 'template', 'template': template}
    sent = backend.post('/send', body)
    assert sent.json['text'] == '[template order] 17, Ana, $10, noon, x1'
    values = "'880', 'order', 'en', 'APPROVED', %s"
    sql(
        f'INSERT INTO template (waba_id, name, language, status, components) VALUES ({values})',
        json.dumps(DEFINITION),
    )
    (message,) = backend.messages()
    assert message['text'].startswith('Order 17\nHello Ana, it costs $10')
    assert (
        backend.post('/send', body).json['text']
        == message['text']
        == backend.message(sent.json['id'])['text']
    )
