"""What a person would read in a message: every type, both directions, and junk."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.content.plain_text import READERS, read
from tests.stack import ROOT

ROW = re.compile(r'^\| (\w+) \| `(.+?)` \| `(.+?)` \|', re.MULTILINE)
PAGE = (ROOT / 'docs' / 'messages.md').read_text().partition('## What comes in')[2]
DOCUMENTED = [
    (kind, json.loads(content), text.replace(' ↵ ', '\n'))
    for kind, content, text in ROW.findall(PAGE)
]


def test_the_page_tells_of_every_type_that_comes_in():
    assert {kind for kind, _, _ in DOCUMENTED} >= READERS.keys() - {'template'}
    replies = {content['type'] for kind, content, _ in DOCUMENTED if kind == 'interactive'}
    assert replies == {'button_reply', 'list_reply', 'nfm_reply', 'call_permission_reply'}


@pytest.mark.parametrize(('kind', 'content', 'text'), DOCUMENTED)
def test_what_the_page_says_is_what_is_read(kind, content, text):
    assert read(kind, content) == text


def interactive(kind, action, **more):
    return {'type': kind, 'body': {'text': 'Shall we?'}, 'action': action} | more


BUTTONS = [
    {'type': 'reply', 'reply': {'id': 'y', 'title': 'Yes'}},
    {'type': 'reply', 'reply': {'id': 'n', 'title': 'No'}},
]
ROWS = [{'id': '1', 'title': 'Tue', 'description': 'Dock B'}, {'id': '2', 'title': 'Wed'}]
PRODUCTS = [{'product_retailer_id': 'k7'}]
CARD = {
    'header': {'type': 'image', 'image': {'link': 'x'}},
    'body': {'text': 'Blue'},
    'action': {'buttons': BUTTONS[:1]},
}
OURS = {
    'buttons': (
        interactive(
            'button',
            {'buttons': BUTTONS},
            header={'type': 'text', 'text': 'Boats'},
            footer={'text': 'Bye'},
        ),
        'Boats\nShall we?\nBye\n[Yes] [No]',
    ),
    'a picture above': (
        interactive('button', {'buttons': BUTTONS}, header={'type': 'image', 'image': {'id': '1'}}),
        '[image]\nShall we?\n[Yes] [No]',
    ),
    'a list': (
        interactive('list', {'button': 'Pick', 'sections': [{'title': 'Days', 'rows': ROWS}]}),
        'Shall we?\n[Pick]\nDays\n- Tue: Dock B\n- Wed',
    ),
    'a link': (
        interactive(
            'cta_url',
            {'name': 'cta_url', 'parameters': {'display_text': 'Open', 'url': 'https://a.b'}},
        ),
        'Shall we?\n[Open] https://a.b',
    ),
    'a flow': (
        interactive('flow', {'name': 'flow', 'parameters': {'flow_cta': 'Start'}}),
        'Shall we?\n[Start]',
    ),
    'a product': (
        interactive('product', {'product_retailer_id': 'kayak-07'}),
        'Shall we?\n[product kayak-07]',
    ),
    'products': (
        interactive('product_list', {'sections': [{'title': 'Boats', 'product_items': PRODUCTS}]}),
        'Shall we?\nBoats\n- k7',
    ),
    'a catalog': (
        interactive('catalog_message', {'name': 'catalog_message'}),
        'Shall we?\n[catalog message]',
    ),
    'cards': (
        interactive('carousel', {'cards': [CARD, CARD]}),
        'Shall we?\n1. [image]\nBlue\n[Yes]\n2. [image]\nBlue\n[Yes]',
    ),
    'a wish for a place': (
        interactive('location_request_message', {'name': 'send_location'}),
        'Shall we?\n[send location]',
    ),
    'a call': (
        interactive(
            'voice_call', {'name': 'voice_call', 'parameters': {'display_text': 'Ring us'}}
        ),
        'Shall we?\n[Ring us]',
    ),
    'nothing in it': ({'type': 'hologram'}, '[interactive: hologram]'),
}


@pytest.mark.parametrize(('content', 'text'), OURS.values(), ids=OURS)
def test_an_interactive_message_of_ours_reads_as_it_looks(content, text):
    assert read('interactive', content) == text


def test_a_template_reads_as_its_name_and_parameters():
    parameters = [
        {'type': 'text', 'parameter_name': 'n', 'text': 'Ana'},
        {
            'type': 'currency',
            'currency': {'fallback_value': '$10', 'code': 'USD', 'amount_1000': 10000},
        },
        {'type': 'image', 'image': {'link': 'https://a.b/c.png'}},
        {'type': 'payload', 'payload': 'YES'},
    ]
    content = {'name': 'order_ready', 'components': [{'type': 'body', 'parameters': parameters}]}
    assert read('template', content) == '[template order_ready] n: Ana, $10, [image], YES'
    assert read('template', {'name': 'hello', 'language': {'code': 'en'}}) == '[template hello]'


@pytest.mark.parametrize(
    ('items', 'text'),
    [
        ([], '[order]'),
        (
            [{'product_retailer_id': 'a', 'quantity': 3, 'item_price': 0.1, 'currency': 'EUR'}],
            '[order]\n3 × a at 0.10 EUR\nTotal 0.30 EUR',
        ),
        ([{'quantity': '2', 'item_price': 5, 'currency': 'EUR'}], '[order]\n2 × ? at 5 EUR'),
        (
            [
                {'quantity': 1, 'item_price': 1, 'currency': 'EUR'},
                {'quantity': 1, 'item_price': 1, 'currency': 'USD'},
            ],
            '[order]\n1 × ? at 1 EUR\n1 × ? at 1 USD',
        ),
        (
            [{'quantity': 10**999, 'item_price': 1.5, 'currency': 'EUR'}],
            f'[order]\n{10**999} × ? at 1.50 EUR',
        ),
        ([{}, None, 5], '[order]\n? × ?'),
    ],
)
def test_an_order_is_summed_up_where_it_can_be(items, text):
    assert read('order', {'product_items': items}) == text


@pytest.mark.parametrize(
    ('given', 'answers'),
    [
        (
            '{"flow_token": "x", "when": {"day": "Tue", "hour": 10}, "with": ["a", 2, null], '
            '"ok": false}',
            'when: day: Tue, hour: 10\nwith: a, 2, null\nok: no',
        ),
        ('not JSON', 'not JSON'),
        ('[1, 2]', '[1, 2]'),
        ('{"a": NaN}', 'a: nan'),
        ({'a': {'b': [{'c': 'ñ'}]}}, 'a: b: [{"c": "ñ"}]'),
    ],
)
def test_a_forms_answers_are_read_out_of_the_json_within_the_json(given, answers):
    reply = {
        'type': 'nfm_reply',
        'nfm_reply': {'name': 'flow', 'body': 'Sent', 'response_json': given},
    }
    assert read('interactive', reply) == f'Sent\n{answers}'


@pytest.mark.parametrize(
    'given', ['[' * 100_000, '{"a":' * 600 + '1' + '}' * 600, f'{{"a": {"9" * 5000}}}', 5, None, []]
)
def test_a_forms_answers_that_are_a_trap_cost_nothing(given):
    reply = {
        'type': 'nfm_reply',
        'nfm_reply': {'name': 'flow', 'body': 'Sent', 'response_json': given},
    }
    assert read('interactive', reply) == (f'Sent\n{given}' if isinstance(given, str) else 'Sent')


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (
            {'response': 'accept', 'expiration_timestamp': 1790000000},
            '[calls allowed until 2026-09-21T14:13:20.000000Z]',
        ),
        (
            {'response': 'accept', 'is_permanent': True, 'expiration_timestamp': 0},
            '[calls allowed for good]',
        ),
        ({'response': 'accept', 'expiration_timestamp': []}, '[calls allowed]'),
        ({'response': 'reject'}, '[calls refused]'),
    ],
)
def test_a_call_permission_says_until_when(content, text):
    assert (
        read('interactive', {'type': 'call_permission_reply', 'call_permission_reply': content})
        == text
    )


def test_what_somebody_wrote_is_not_touched():
    assert read('text', {'body': '  two\n lines \x00 \ud83d '}) == '  two\n lines \x00 \ud83d '
    assert read('text', {'body': ' \n'}) == read('text', {}) == '[text]'
    assert read('hologram', {'depth_mm': 42, 'title': 'Hi'}) == '[hologram] Hi'
    assert read('document', {'filename': '../../etc/passwd'}) == '[document] ../../etc/passwd'
    assert read('location', {'latitude': 0, 'longitude': 0}) == '[location] (0, 0)'


NAMES = (
    'type',
    'body',
    'text',
    'caption',
    'filename',
    'name',
    'action',
    'parameters',
    'buttons',
    'sections',
    'rows',
    'cards',
    'header',
    'footer',
    'components',
    'product_items',
    'quantity',
    'item_price',
    'currency',
    'phones',
    'emails',
    'org',
    'message',
    'edit',
    'interactive',
    'template',
    'button_reply',
    'nfm_reply',
    'response_json',
    'list_reply',
    'emoji',
    'call_permission_reply',
    'response',
    'expiration_timestamp',
    'image',
    'latitude',
    'longitude',
    'voice',
    'reply',
)
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(NAMES)
    | st.just(10**900)
    | st.just('accept'),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(kind=st.sampled_from([*READERS, 'hologram']), content=JUNK)
def test_no_content_whatever_makes_it_stumble(kind, content):
    text = read(kind, content)
    assert isinstance(text, str)
    assert text


@given(
    content=JUNK,
    kind=st.sampled_from(
        ['nfm_reply', 'button_reply', 'list_reply', 'call_permission_reply', 'list']
    ),
)
def test_no_interactive_content_either(content, kind):
    assert read(
        'interactive',
        {'type': kind, kind: content, 'action': content, 'body': content, 'header': content},
    )
