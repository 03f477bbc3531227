"""What a send gives its template against what the template wants; pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.templates.template import Template
from service.templates.validation import problems


def definition(*components):
    return Template('order_ready', 'en_US', 'APPROVED', 'utility', list(components), None, None)


def body(text):
    return {'type': 'BODY', 'text': text}


def header(**more):
    return {'type': 'HEADER', **more}


def buttons(*some):
    return {'type': 'BUTTONS', 'buttons': list(some)}


def sent(*components):
    return {'name': 'order_ready', 'language': {'code': 'en_US'}, 'components': list(components)}


def texts(*values, kind='body'):
    return {'type': kind, 'parameters': [{'type': 'text', 'text': value} for value in values]}


def names(kind='body', **values):
    parameters = [
        {'type': 'text', 'parameter_name': name, 'text': value} for name, value in values.items()
    ]
    return {'type': kind, 'parameters': parameters}


def button(index, sub_type, *parameters):
    return {'type': 'button', 'index': index, 'sub_type': sub_type, 'parameters': list(parameters)}


TWO = body('Hello {{1}}, your order {{2}} is ready. Bye {{1}}')
NAMED = body('Hello {{name}}, {{day}}')
PHOTO = {'type': 'image', 'image': {'id': '1'}}
URL = {'type': 'URL', 'text': 'Track', 'url': 'https://example.org/{{1}}'}
COUPON = {'type': 'COPY_CODE', 'example': 'X'}
TEXT, CODE = {'type': 'text', 'text': 'a'}, {'type': 'coupon_code', 'coupon_code': 'A'}
OFFER = {
    'type': 'LIMITED_TIME_OFFER',
    'limited_time_offer': {'text': 'Now', 'has_expiration': True},
}
ENDS = {
    'type': 'limited_time_offer',
    'parameters': [{'type': 'limited_time_offer', 'limited_time_offer': {'expiration_time_ms': 1}}],
}


@pytest.mark.parametrize(
    ('wanted', 'given'),
    [
        ([body('Hello')], []),
        ([TWO], [texts('Ana', '17')]),
        ([TWO], [{**texts('Ana', '17'), 'type': 'BODY'}]),
        ([NAMED], [names(day='Monday', name='Ana')]),
        ([header(format='TEXT', text='No {{1}}'), body('Hi')], [texts('5', kind='header')]),
        ([header(format='IMAGE'), body('Hi')], [{'type': 'header', 'parameters': [PHOTO]}]),
        ([body('Hi'), buttons({'type': 'PHONE_NUMBER'}, URL)], [button('1', 'url', TEXT)]),
        ([body('Hi'), buttons(COUPON)], [button(0, 'copy_code', CODE)]),
        ([body('Hi'), buttons({'type': 'QUICK_REPLY', 'text': 'Yes'})], []),
        (
            [body('Hi'), buttons({'type': 'QUICK_REPLY', 'text': 'Yes'})],
            [button(0, 'quick_reply', {'type': 'payload', 'payload': 'y'})],
        ),
        (
            [body('Hi'), buttons({'type': 'FLOW'}, {'type': 'CATALOG'})],
            [button(0, 'flow', {'type': 'action'})],
        ),
        (
            [body('Hi'), buttons({'type': 'MPM'})],
            [button(0, 'mpm', {'type': 'action', 'action': {}})],
        ),
        (
            [body('Hi'), buttons({'type': 'SOMETHING_NEW'})],
            [button(0, 'something_new', TEXT, TEXT)],
        ),
        ([OFFER, body('Hi')], [ENDS]),
        ([header(format='SOMETHING_NEW'), body('Hi')], []),
        (
            [
                body('Hi'),
                {'type': 'CAROUSEL', 'cards': [{'components': [header(format='PRODUCT')]}]},
            ],
            [{'type': 'carousel', 'cards': [{'card_index': 0}, {'card_index': 1}]}],
        ),
        ([{'type': 'BODY', 'add_security_recommendation': True}], [texts('123456')]),
    ],
)
def test_what_fits_is_not_spoken_of(wanted, given):
    assert problems(definition(*wanted), sent(*given)) == {}


@pytest.mark.parametrize(
    ('wanted', 'given', 'path', 'sentence'),
    [
        (
            [TWO],
            [texts('Ana')],
            'body.parameters',
            'The template order_ready has 2 variables in its body, 1 was given.',
        ),
        (
            [TWO],
            [],
            'body.parameters',
            'The template order_ready has 2 variables in its body, none was given.',
        ),
        (
            [body('Hi {{1}}')],
            [texts('a', 'b')],
            'body.parameters',
            'The template order_ready has 1 variable in its body, 2 were given.',
        ),
        (
            [body('Hi')],
            [texts('a')],
            'body.parameters',
            'The template order_ready has no variables in its body, 1 was given.',
        ),
        (
            [NAMED],
            [names(name='Ana')],
            'body.parameters',
            'The template order_ready has the variable day in its body, and it was not given.',
        ),
        (
            [NAMED],
            [names(name='Ana', day='Monday', week='1')],
            'body.parameters',
            'The template order_ready has no variable week in its body.',
        ),
        (
            [header(format='TEXT', text='No {{1}}'), body('Hi')],
            [],
            'header.parameters',
            'The template order_ready has 1 variable in its header, none was given.',
        ),
        (
            [header(format='IMAGE'), body('Hi')],
            [{'type': 'header', 'parameters': [TEXT]}],
            'header.parameters',
            'The template order_ready has a header of format image: it wants exactly one '
            'parameter of that type.',
        ),
        (
            [body('Hi')],
            [{'type': 'header', 'parameters': [PHOTO]}],
            'header.parameters',
            'The template order_ready has no variables in its header, 1 was given.',
        ),
        (
            [body('Hi'), buttons(URL)],
            [],
            'buttons.0',
            'The template order_ready has a button of type url at index 0: it wants exactly one '
            'parameter of type text.',
        ),
        (
            [body('Hi'), buttons(URL | {'url': 'https://example.org'})],
            [button(0, 'url', TEXT)],
            'buttons.0',
            'The template order_ready has a button of type url at index 0: its address has no '
            'variable, and a parameter '
            'was given.',
        ),
        (
            [body('Hi'), buttons(COUPON)],
            [button(0, 'url', TEXT)],
            'buttons.0',
            'The template order_ready has a button of type copy_code at index 0: the component '
            'for it has another '
            'sub_type, url.',
        ),
        (
            [body('Hi')],
            [button(3, 'url', TEXT)],
            'buttons.3',
            'The template order_ready has no button at index 3.',
        ),
        (
            [OFFER, body('Hi')],
            [],
            'limited_time_offer.parameters',
            'The template order_ready has an offer that ends: say when.',
        ),
        (
            [body('Hi')],
            [{'type': 'carousel', 'cards': [{}]}],
            'carousel.cards',
            'The template order_ready has no cards, 1 was given.',
        ),
    ],
)
def test_what_does_not_fit_is_named(wanted, given, path, sentence):
    assert problems(definition(*wanted), sent(*given)) == {
        f'template.components.{path}': [sentence]
    }


def test_parameters_without_a_name_are_not_enough_for_a_named_template():
    found = problems(definition(NAMED), sent(texts('Ana', 'Monday')))
    assert found['template.components.body.parameters'] == [
        'The template order_ready has the variable name in its body, and it was not given.',
        'The template order_ready has the variable day in its body, and it was not given.',
        'Each parameter of this template needs a parameter_name.',
    ]


def card(index, *components):
    return {'card_index': index, 'components': list(components)}


CAROUSEL = {
    'type': 'CAROUSEL',
    'cards': [
        {'components': [header(format='IMAGE'), body('{{1}} left'), buttons(URL)]},
        {
            'components': [
                header(format='IMAGE'),
                body('Sold'),
                buttons({'type': 'QUICK_REPLY', 'text': 'Stop'}),
            ]
        },
    ],
}
FIRST = card(0, {'type': 'header', 'parameters': [PHOTO]}, texts('3'), button(0, 'url', TEXT))
SECOND = card(1, {'type': 'header', 'parameters': [PHOTO]})


def test_each_card_of_a_carousel_is_looked_at():
    carousel = definition(body('Look'), CAROUSEL)

    def given(*cards):
        return problems(carousel, sent({'type': 'carousel', 'cards': list(cards)}))

    path = 'template.components.carousel.cards'
    assert given(FIRST, SECOND) == given(SECOND, FIRST) == {}
    assert given(FIRST) == {path: ['The template order_ready has 2 cards, 1 was given.']}
    assert given(FIRST, {**SECOND, 'card_index': 7}) == {
        f'{path}.1': ['The template order_ready has a card of index 1, and none was given.']
    }
    assert given(card(0, {'type': 'header', 'parameters': [PHOTO]}), card(1)) == {
        f'{path}.0.body.parameters': [
            'Card 0 of the template order_ready has 1 variable in its body, none was given.'
        ],
        f'{path}.0.buttons.0': [
            'Card 0 of the template order_ready has a button of type url at index 0: it wants '
            'exactly one parameter of '
            'type text.'
        ],
        f'{path}.1.header.parameters': [
            'Card 1 of the template order_ready has a header of format image: it wants exactly '
            'one parameter of that '
            'type.'
        ],
    }


def test_what_nobody_knows_is_left_to_meta():
    assert (
        problems(None, sent())
        == problems(Template('a', 'b', None, None, None, None, None), sent())
        == {}
    )


WORDS = st.sampled_from(
    [
        'type',
        'BODY',
        'HEADER',
        'BUTTONS',
        'CAROUSEL',
        'URL',
        'text',
        'format',
        'buttons',
        'cards',
        'parameters',
        'index',
        'card_index',
        'components',
        'parameter_name',
        '{{1}}',
        '{{n}}',
    ]
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=5)),
    max_leaves=25,
)


@given(ANYTHING, ANYTHING)
def test_whatever_meta_or_a_caller_sends_nothing_is_raised(components, given):
    known = Template('order_ready', 'en_US', None, None, [components], None, None)
    for content in (given, {'components': given}, {'components': [given]}):
        assert isinstance(problems(known, content), dict)
