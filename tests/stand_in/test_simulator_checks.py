"""The stand-in refuses what Meta refuses: contents beyond the limits, media and templates that are
not there.
"""

import pytest
import requests

from tests.content import test_content, test_content_edges, test_interactive
from tests.people import CHATBOT, CUSTOMER
from tests.stack import PHONE_NUMBER_ID, wait_until

WABA = '880011223344556'
AUTH = {'Authorization': 'Bearer good'}


@pytest.fixture
def strict(stand_in):
    stand_in.config(strict=True)
    return stand_in


def send(stand_in, kind, content, number=PHONE_NUMBER_ID):
    """The error code, None when it was accepted."""
    body = {'messaging_product': 'whatsapp', 'to': f'+{CUSTOMER}', 'type': kind, kind: content}
    answer = requests.post(
        f'{stand_in.url}/v26.0/{number}/messages', json=body, headers=AUTH, timeout=10
    )
    return answer.json().get('error', {}).get('code')


def upload(stand_in, number=PHONE_NUMBER_ID):
    answer = requests.post(
        f'{stand_in.url}/v26.0/{number}/media',
        data={'messaging_product': 'whatsapp', 'type': 'image/png'},
        files={'file': ('a.png', b'pixels', 'image/png')},
        headers=AUTH,
        timeout=10,
    )
    return answer.json()['id']


def interactive(kind, action, **more):
    return 'interactive', {'type': kind, 'body': {'text': 'Choose'}, 'action': action, **more}


def reply_buttons(*titles):
    return {
        'buttons': [
            {'type': 'reply', 'reply': {'id': str(n), 'title': t}} for n, t in enumerate(titles)
        ]
    }


def a_list(rows, **more):
    return {
        'button': 'Pick',
        'sections': [{'title': 'A', 'rows': [{'id': str(n), 'title': 'T'} for n in range(rows)]}],
        **more,
    }


CARD = {'card_index': 0, 'type': 'cta_url', 'body': {'text': 'A card'}}
GOOD = [
    ('image', {'link': 'https://example.com/a.png', 'caption': 'c' * 1024}),
    ('audio', {'link': 'https://example.com/a.ogg', 'voice': True}),
    ('location', {'latitude': 0, 'longitude': 0}),
    ('contacts', [{'name': {'formatted_name': 'Ines', 'first_name': 'Ines'}}]),
    ('reaction', {'message_id': 'wamid.A', 'emoji': ''}),
    interactive(
        'button', reply_buttons('Yes', 'No', 'W' * 20), header={'type': 'text', 'text': 'H' * 60}
    ),
    interactive('list', a_list(10), body={'text': 'b' * 4096}),
    interactive(
        'cta_url',
        {'name': 'cta_url', 'parameters': {'display_text': 'Open', 'url': 'https://example.com'}},
    ),
    interactive(
        'flow', {'parameters': {'flow_message_version': '3', 'flow_id': '1', 'flow_cta': 'Go'}}
    ),
    interactive('product', {'catalog_id': '1', 'product_retailer_id': 'x'}),
    interactive(
        'product_list',
        {
            'catalog_id': '1',
            'sections': [{'title': 'A', 'product_items': [{'product_retailer_id': 'x'}]}],
        },
        header={'type': 'text', 'text': 'Ours'},
    ),
    interactive('catalog_message', {'name': 'catalog_message'}),
    interactive('carousel', {'cards': [CARD, CARD]}),
    interactive('location_request_message', {'name': 'send_location'}),
    interactive('address_message', {'name': 'address_message', 'parameters': {'country': 'IN'}}),
    interactive('call_permission_request', {'name': 'call_permission_request'}),
    interactive('request_contact_info', {'name': 'request_contact_info'}),
]
WRONG = [
    ('image', {'link': 'https://example.com/a.png', 'caption': 'c' * 1025}, 131009),
    ('image', {'link': 'ftp://example.com/a.png'}, 100),
    ('audio', {'link': 'https://example.com/a.ogg', 'caption': 'no'}, 100),
    ('location', {'latitude': 1}, 131008),
    ('location', {'latitude': 'x', 'longitude': 1}, 131009),
    ('contacts', [], 131008),
    ('reaction', {'emoji': 'x'}, 131008),
    (*interactive('button', reply_buttons(*'abcd')), 131009),
    (*interactive('button', reply_buttons('W' * 21)), 131009),
    (*interactive('button', reply_buttons('a', 'a')), 131009),
    (*interactive('button', reply_buttons()), 131009),
    (*interactive('button', reply_buttons('a'), body={'text': 'b' * 1025}), 131009),
    (*interactive('button', reply_buttons('a'), footer={'text': 'b' * 61}), 131009),
    (*interactive('button', reply_buttons('a'), header={'type': 'image', 'image': {}}), 131008),
    (*interactive('list', a_list(11)), 131009),
    (*interactive('list', a_list(1, button='W' * 21)), 131009),
    (*interactive('list', {'button': 'Pick'}), 131009),
    (*interactive('list', a_list(1), header={'type': 'image', 'image': {'id': '1'}}), 131009),
    (*interactive('carousel', {'cards': [CARD]}), 131009),
    (*interactive('location_request_message', {'name': 'x'}), 131009),
    (*interactive('poll', {}), 131009),
    ('interactive', {'type': 'button', 'body': {'text': 'b'}}, 131008),
]  # fmt: skip


@pytest.mark.parametrize(('kind', 'content'), GOOD)
def test_what_the_limits_allow_is_accepted(strict, kind, content):
    assert send(strict, kind, content) is None


@pytest.mark.parametrize(('kind', 'content', 'code'), WRONG)
def test_what_is_beyond_the_limits_is_refused(strict, kind, content, code):
    assert send(strict, kind, content) == code
    strict.config(strict=False)
    assert send(strict, kind, content) is None


def test_a_media_id_has_to_be_that_of_a_file_of_the_number(strict):
    media_id = upload(strict)
    assert send(strict, 'image', {'id': media_id}) is None
    assert send(strict, 'image', {'id': '1234567'}) == 100
    assert send(strict, 'image', {'id': media_id}, number='300112233445567') == 100
    for number, found in ((PHONE_NUMBER_ID, True), ('300112233445567', False)):
        query = {'phone_number_id': number}
        answer = requests.get(
            f'{strict.url}/v26.0/{media_id}', params=query, headers=AUTH, timeout=10
        )
        assert answer.ok == found
    requests.delete(f'{strict.url}/v26.0/{media_id}', headers=AUTH, timeout=10)
    assert send(strict, 'image', {'id': media_id}) == 100


def test_a_parameter_of_an_upload_may_stand_in_the_query(strict):
    """As whatsapp-api-js has it."""
    url = f'{strict.url}/v26.0/{PHONE_NUMBER_ID}/media'
    part = {'file': ('a.png', b'pixels', 'image/png')}
    query = {'messaging_product': 'whatsapp'}
    for params, status in ((query, 200), ({}, 400)):
        answer = requests.post(url, params=params, files=part, headers=AUTH, timeout=10)
        assert answer.status_code == status, answer.text


def test_a_link_that_cannot_be_fetched_fails_later(strict):
    assert send(strict, 'image', {'link': 'https://files.invalid/a.png'}) is None
    strict.config(webhooks=True, webhook_url='http://127.0.0.1:9/', status_delay=0)
    assert send(strict, 'image', {'link': 'https://files.invalid/a.png'}) is None

    def told():
        messages = requests.get(f'{strict.url}/phone/messages?wa_id={CUSTOMER}', timeout=10).json()[
            'messages'
        ]
        return [status['code'] for status in messages[-1]['statuses']]

    wait_until(lambda: told() == [131053])


SALE = {
    'name': 'sale',
    'language': 'pt_BR',
    'category': 'MARKETING',
    'components': [
        {'type': 'HEADER', 'format': 'IMAGE', 'example': {'header_handle': ['4::aW']}},
        {
            'type': 'BODY',
            'text': 'Olá {{1}}, {{2}} hoje',
            'example': {'body_text': [['Eva', '10%']]},
        },
        {'type': 'FOOTER', 'text': 'Acme'},
        {
            'type': 'BUTTONS',
            'buttons': [
                {'type': 'QUICK_REPLY', 'text': 'Sim'},
                {
                    'type': 'URL',
                    'text': 'Ver',
                    'url': 'https://example.com/{{1}}',
                    'example': ['https://example.com/a'],
                },
            ],
        },
    ],
}
IMAGE = {
    'type': 'header',
    'parameters': [{'type': 'image', 'image': {'link': 'https://example.com/a.png'}}],
}
BODY = {
    'type': 'body',
    'parameters': [{'type': 'text', 'text': 'Ana'}, {'type': 'text', 'text': '20%'}],
}
URL = {
    'type': 'button',
    'sub_type': 'url',
    'index': '1',
    'parameters': [{'type': 'text', 'text': 'x'}],
}


def said(name):
    return {
        'type': 'body',
        'parameters': [{'type': 'text', 'text': name}, {'type': 'text', 'text': '20%'}],
    }


def use(*components, name='sale', language='pt_BR'):
    return {'name': name, 'language': {'code': language}, 'components': list(components)}


@pytest.fixture
def sale(strict):
    requests.post(
        f'{strict.url}/v26.0/{WABA}/message_templates', json=SALE, headers=AUTH, timeout=10
    )
    return strict


@pytest.mark.parametrize(
    ('template', 'code'),
    [
        (use(IMAGE, BODY, URL), None),
        (use(IMAGE, BODY, URL, name='other'), 132001),
        (use(IMAGE, BODY, URL, language='en_US'), 132001),
        (use(IMAGE, {**BODY, 'parameters': BODY['parameters'][:1]}, URL), 132000),
        (use(IMAGE, URL), 132000),
        (use(BODY, URL), 132012),
        (use({**IMAGE, 'parameters': [{'type': 'text', 'text': 'x'}]}, BODY, URL), 132012),
        (use(IMAGE, BODY), 131008),
        ({**use(), 'components': 'nonsense'}, 100),
        (use(IMAGE, said('Ana\nMaria'), URL), 132018),
        (use(IMAGE, said('Ana\tMaria'), URL), 132018),
        (use(IMAGE, said('Ana     Maria'), URL), 132018),
        (use(IMAGE, said('    '), URL), 132018),
        (use(IMAGE, said('Ana    Maria'), URL), None),
        (use(IMAGE, BODY, {**URL, 'parameters': [{'type': 'text', 'text': 'a\nb'}]}), 132018),
    ],
)
def test_a_template_wants_its_parameters(sale, template, code):
    assert send(sale, 'template', template) == code


@pytest.mark.parametrize(
    ('status', 'code'),
    [('PAUSED', 132015), ('DISABLED', 132016), ('PENDING', 132001), ('REINSTATED', None)],
)
def test_a_template_has_to_be_approved(sale, status, code):
    sale.config(webhook_url='http://127.0.0.1:9/')
    sale.post('/templates', {'name': 'sale', 'status': status})
    assert send(sale, 'template', use(IMAGE, BODY, URL)) == code


def test_the_phone_gets_the_template_filled_in(sale):
    send(sale, 'template', use(IMAGE, BODY, URL))
    messages = requests.get(f'{sale.url}/phone/messages?wa_id={CUSTOMER}', timeout=10).json()[
        'messages'
    ]
    assert messages[-1]['message']['rendered'] == {
        'header': {'type': 'image', 'image': {'link': 'https://example.com/a.png'}},
        'body': 'Olá Ana, 20% hoje',
        'footer': 'Acme',
        'buttons': [
            {'type': 'quick_reply', 'text': 'Sim', 'payload': 'Sim'},
            {'type': 'url', 'text': 'Ver', 'url': 'https://example.com/x'},
        ],
        'cards': [],
    }


def test_an_answer_may_name_both_ids(strict):
    strict.config(answer_both_ids=True)
    body = {
        'messaging_product': 'whatsapp',
        'to': f'+{CUSTOMER}',
        'type': 'text',
        'text': {'body': 'x'},
    }
    answer = requests.post(
        f'{strict.url}/v26.0/{PHONE_NUMBER_ID}/messages', json=body, headers=AUTH, timeout=10
    ).json()
    assert answer['contacts'][0]['wa_id'] == CUSTOMER
    assert answer['contacts'][0]['user_id'].startswith('US.')


NUMBERS = [
    ('+12025550143', '12025550143'),
    ('+5511987654321', '5511987654321'),
    ('+5531987654321', '553187654321'),
    ('+553187654321', '553187654321'),
    ('+525512345678', '5215512345678'),
    ('+5215512345678', '5215512345678'),
    ('+541123456789', '5491123456789'),
    ('+2250707123456', '2250707123456'),
    ('+22507123456', '22507123456'),
]


@pytest.mark.parametrize(('dialled', 'wa_id'), NUMBERS)
def test_the_answer_names_the_id_that_whatsapp_has_for_a_number(strict, dialled, wa_id):
    body = {'messaging_product': 'whatsapp', 'to': dialled, 'type': 'text', 'text': {'body': 'x'}}
    answer = requests.post(
        f'{strict.url}/v26.0/{PHONE_NUMBER_ID}/messages', json=body, headers=AUTH, timeout=10
    ).json()
    assert answer['contacts'] == [{'input': dialled, 'wa_id': wa_id}]


@pytest.mark.parametrize(
    ('dialled', 'wa_id'),
    [
        ('+2250707123456', '22507123456'),
        ('+2290197120016', '22997120016'),
        ('+5531987654321', '5531987654321'),
        ('+525512345678', '525512345678'),
    ],
)
def test_who_wrote_from_one_form_is_found_under_the_other(strict, dialled, wa_id):
    strict.config(webhook_url='http://127.0.0.1:9/')
    strict.customer_writes('Hi', wa_id, retry=False)
    body = {'messaging_product': 'whatsapp', 'to': dialled, 'type': 'text', 'text': {'body': 'x'}}
    answer = requests.post(
        f'{strict.url}/v26.0/{PHONE_NUMBER_ID}/messages', json=body, headers=AUTH, timeout=10
    ).json()
    assert answer['contacts'] == [{'input': dialled, 'wa_id': wa_id}]
    assert (
        len(
            requests.get(f'{strict.url}/phone/messages?wa_id={wa_id}', timeout=10).json()[
                'messages'
            ]
        )
        == 2
    )


@pytest.mark.parametrize(
    ('name', 'mime_type', 'is_taken'),
    [
        ('a.png', 'image/png', True),
        ('A.PNG', 'image/png', True),
        ('a.jpeg', 'image/jpeg', True),
        ('a.png', 'image/jpeg', False),
        ('voice-note.mp4', 'audio/ogg', False),
        ('note.ogg', 'audio/ogg; codecs=opus', True),
        ('cotizacion', 'application/pdf', False),
        ('a.csv', 'text/plain', False),
        ('a.txt', 'text/plain', True),
        ('a.exe', 'application/pdf', False),
    ],
)
def test_an_upload_is_called_by_its_type(strict, name, mime_type, is_taken):
    def answer():
        return requests.post(
            f'{strict.url}/v26.0/{PHONE_NUMBER_ID}/media',
            data={'messaging_product': 'whatsapp', 'type': mime_type},
            files={'file': (name, b'x', mime_type)},
            headers=AUTH,
            timeout=10,
        ).json()

    assert answer().get('error', {}).get('code') == (None if is_taken else 100)
    strict.config(strict=False)
    assert 'id' in answer()


def make(stand_in, *components, name='new'):
    body = {
        'name': name,
        'language': 'en_US',
        'category': 'UTILITY',
        'components': list(components),
    }
    return requests.post(
        f'{stand_in.url}/v26.0/{WABA}/message_templates', json=body, headers=AUTH, timeout=10
    ).json()


VARIABLE, FIXED = {'type': 'BODY', 'text': 'Hi {{1}}'}, {'type': 'BODY', 'text': 'Hi'}
LINKED = {'type': 'URL', 'text': 'x', 'url': 'https://example.com/{{1}}'}


@pytest.mark.parametrize(
    'component',
    [
        VARIABLE,
        VARIABLE | {'example': {'header_text': ['x']}},
        {'type': 'HEADER', 'format': 'IMAGE'},
        {'type': 'HEADER', 'format': 'TEXT', 'text': 'For {{1}}'},
        {'type': 'BUTTONS', 'buttons': [LINKED]},
        {'type': 'CAROUSEL', 'cards': [{'components': [VARIABLE]}]},
    ],
)
def test_a_new_template_needs_an_example_of_what_is_variable(strict, component):
    error = make(strict, FIXED, component)['error']
    assert (error['code'], 'example' in error['error_data']['details']) == (100, True)
    strict.config(strict=False)
    assert make(strict, FIXED, component)['status'] == 'APPROVED'


def test_with_its_examples_it_is_made(strict):
    named = {
        'type': 'BODY',
        'text': 'Hi {{who}}',
        'example': {'body_text_named_params': [{'param_name': 'who', 'example': 'Ana'}]},
    }
    buttons = {'type': 'BUTTONS', 'buttons': [LINKED | {'example': ['https://example.com/a']}]}
    header = {
        'type': 'HEADER',
        'format': 'TEXT',
        'text': 'For {{1}}',
        'example': {'header_text': ['you']},
    }
    assert make(strict, header, named, buttons)['status'] == 'APPROVED'


def test_the_list_tells_its_summary_to_who_asks(strict):
    def listed(**query):
        return requests.get(
            f'{strict.url}/v26.0/{WABA}/message_templates', params=query, headers=AUTH, timeout=10
        ).json()

    assert 'summary' not in listed()
    summary = listed(limit=1, summary='total_count,message_template_limit,nonsense')['summary']
    assert summary == {'total_count': 2, 'message_template_limit': 250}


TAKEN = [
    *test_content.GOOD, *(('interactive', content) for content in test_interactive.GOOD),
    *(next(iter(build(limit).items())) for _, limit, build in test_content_edges.TOO_MUCH),
]  # fmt: skip
MESSAGES = [
    (kind, content) for kind, content in TAKEN if kind != 'template' and 'id' not in content
]


@pytest.mark.parametrize(('kind', 'content'), MESSAGES)
def test_what_our_door_takes_the_stand_in_takes(strict, kind, content):
    assert send(strict, kind, content) is None


def test_from_our_door_it_arrives(strict, backend, workers):
    backend.account()
    people = [f'+1202555{number:04}' for number in range(len(MESSAGES))]
    for to, (kind, content) in zip(people, MESSAGES, strict=True):
        answer = backend.post(
            '/send', {'chatbot_id': CHATBOT, 'to': to, 'type': kind, kind: content}
        )
        assert answer.status_code == 202, answer.text
    workers.send()
    assert {call['outcome'] for call in strict.sends()} == {'accepted'}
