"""What may be sent as an interactive message, by its own type: what Meta allows, and each limit at
its edge.
"""

import pytest

from tests.people import CHATBOT

TO = {'chatbot_id': CHATBOT, 'to': '+12025550143'}
LINK = 'https://example.com/a'


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def post(backend, content, **more):
    return backend.post('/send', {**TO, 'type': 'interactive', 'interactive': content, **more})


def errors(answer):
    assert answer.status_code == 422, answer.text
    return {
        name.removeprefix('interactive.'): sentences
        for name, sentences in answer.json['errors'].items()
    }


def interactive(kind, action, body='Well?', **more):
    return {
        'type': kind,
        **({'body': {'text': body}} if body is not None else {}),
        'action': action,
        **more,
    }


def reply(at, title=None, form='reply', **more):
    return {'type': form, form: {'id': f'{at}', 'title': title or f'Title {at}', **more}}


def buttons(*given, **more):
    return interactive('button', {'buttons': list(given)}, **more)


def rows(count, first=0, **more):
    return [{'id': f'{at}', 'title': f'Row {at}', **more} for at in range(first, first + count)]


def section(given, **more):
    return {'title': 'Section', 'rows': given, **more}


def listed(*sections, button='Pick', **more):
    return interactive('list', {'button': button, 'sections': list(sections)}, **more)


def url(display_text='Open', url=LINK, **more):
    return interactive(
        'cta_url',
        {'name': 'cta_url', 'parameters': {'display_text': display_text, 'url': url}},
        **more,
    )


def flow(**parameters):
    given = {'flow_message_version': '3', 'flow_cta': 'Start', 'flow_id': '1', **parameters}
    given = {name: value for name, value in given.items() if value is not ...}
    return interactive('flow', {'name': 'flow', 'parameters': given})


def products(*counts, title='Section', **more):
    sections = [
        {'title': title, 'product_items': [{'product_retailer_id': f'{at}'} for at in range(count)]}
        for count in counts
    ]
    action = {'catalog_id': '1', 'sections': sections}
    return interactive(
        'product_list', action, **{'header': {'type': 'text', 'text': 'New'}, **more}
    )


def media(kind, **content):
    return {'type': kind, kind: content or {'link': LINK}}


def card(at, action=None, body='Card', **more):
    action = action or {'name': 'cta_url', 'parameters': {'display_text': 'Open', 'url': LINK}}
    return {
        'card_index': at,
        'type': 'cta_url',
        'header': media('image'),
        'body': {'text': body},
        'action': action,
        **more,
    }


def replies(*given):
    return {'buttons': [reply(at, form='quick_reply') for at in given]}


def product_card(at):
    return {
        'card_index': at,
        'type': 'product',
        'action': {'catalog_id': '1', 'product_retailer_id': f'{at}'},
    }


def carousel(*cards, **more):
    return interactive('carousel', {'cards': list(cards)}, **more)


def named(kind, name=None, **more):
    return interactive(kind, {'name': name or kind}, **more)


def call(**parameters):
    return interactive('voice_call', {'name': 'voice_call', 'parameters': parameters})


def address(**parameters):
    return interactive(
        'address_message',
        {'name': 'address_message', 'parameters': {'country': 'IN', **parameters}},
    )


FOOTER = {'footer': {'text': 'Acme'}}
GOOD = [
    buttons(reply(1), reply(2), reply(3), header=media('image', id='1'), **FOOTER),
    buttons(reply(1), header=media('document', link=LINK, filename='a.pdf')),
    buttons(reply(1), header=media('video')),
    listed(
        section(rows(6)),
        section(rows(4, 6, description='d')),
        header={'type': 'text', 'text': 'T'},
        **FOOTER,
    ),
    listed({'rows': rows(1)}),
    url(header={'type': 'text', 'text': 'T'}, **FOOTER),
    flow(
        flow_token='t',
        mode='draft',
        flow_action='navigate',
        flow_action_payload={'screen': 'ONE', 'data': {'a': 1}},
    ),
    flow(flow_id=..., flow_name='sign_up', flow_action='data_exchange'),
    interactive('product', {'catalog_id': '1', 'product_retailer_id': 'p'}, body=None, **FOOTER),
    products(20, 10, **FOOTER),
    interactive('catalog_message', {'name': 'catalog_message'}, **FOOTER),
    interactive(
        'catalog_message',
        {'name': 'catalog_message', 'parameters': {'thumbnail_product_retailer_id': 'p'}},
    ),
    carousel(card(0), card(1, header=media('image', id='1')), card(2, body=''))
    | {'body': {'text': 'Look'}},
    carousel(
        *(card(at, replies(1, 2), type='quick_reply', header=media('video')) for at in range(10))
    ),
    carousel(product_card(0), product_card(1)),
    named('location_request_message', 'send_location'),
    address(
        values={'name': 'Ana'},
        saved_addresses=[{'id': 'a', 'value': {}}],
        validation_errors={'name': 'No'},
    ),
    named('request_contact_info'),
    named('call_permission_request'),
    named('call_permission_request', body=None),
    call(display_text='Call', ttl_minutes=100, payload='x'),
    named('voice_call'),
    interactive(
        'order_details',
        {'name': 'review_and_pay', 'parameters': {'reference_id': 'r', 'order': {'x': 1}}},
        header=media('image'),
    ),
    interactive('order_status', {'name': 'review_order', 'parameters': {'reference_id': 'r'}}),
]
GOOD[12]['action']['cards'][2].pop('body')  # a card may have none


def test_what_meta_allows_arrives_as_it_was_given(acme, workers, stand_in):
    people = [f'+1202555{number:04}' for number in range(len(GOOD))]
    for to, content in zip(people, GOOD, strict=True):
        answer = post(acme, content, to=to)
        assert answer.status_code == 202, answer.text
        assert answer.json['content'] == content
    workers.send()
    calls = {call['body']['to']: call['body']['interactive'] for call in stand_in.sends()}
    assert [calls[to] for to in people] == GOOD


LIMITS = [
    ('body.text', 1024, lambda n: buttons(reply(1), body='x' * n)),
    ('footer.text', 60, lambda n: buttons(reply(1), footer={'text': 'x' * n})),
    ('header.text', 60, lambda n: buttons(reply(1), header={'type': 'text', 'text': 'x' * n})),
    (
        'header.image.caption',
        1024,
        lambda n: buttons(reply(1), header=media('image', id='1', caption='x' * n)),
    ),
    ('action.buttons', 3, lambda n: buttons(*map(reply, range(n)))),
    ('action.buttons.1.reply.title', 20, lambda n: buttons(reply(1), reply(2, 'x' * n))),
    ('action.buttons.0.reply.id', 256, lambda n: buttons(reply('x' * n, 'Yes'))),
    ('body.text', 4096, lambda n: listed(section(rows(1)), body='x' * n)),
    ('action.button', 20, lambda n: listed(section(rows(1)), button='x' * n)),
    ('action.sections', 10, lambda n: listed(*(section(rows(1, at)) for at in range(n)))),
    ('action.sections', 10, lambda n: listed(section(rows(5)), section(rows(n - 5, 5)))),
    ('action.sections.0.title', 24, lambda n: listed(section(rows(1), title='x' * n))),
    (
        'action.sections.0.rows.2.title',
        24,
        lambda n: listed(section([*rows(2), {'id': 'z', 'title': 'x' * n}])),
    ),
    (
        'action.sections.0.rows.0.description',
        72,
        lambda n: listed(section(rows(1, description='x' * n))),
    ),
    (
        'action.sections.0.rows.0.id',
        200,
        lambda n: listed(section([{'id': 'x' * n, 'title': 'x'}])),
    ),
    ('action.parameters.display_text', 20, lambda n: url('x' * n)),
    ('action.parameters.flow_cta', 30, lambda n: flow(flow_cta='x' * n)),
    ('action.sections', 30, lambda n: products(10, n - 10)),
    ('action.sections', 10, lambda n: products(*[1] * n)),
    ('action.sections.0.title', 24, lambda n: products(1, title='x' * n)),
    ('action.cards', 10, lambda n: carousel(*(card(at % 10) for at in range(n)))),
    ('action.cards.1.card_index', 9, lambda n: carousel(card(0), card(n))),
    ('action.cards.0.body.text', 160, lambda n: carousel(card(0, body='x' * n), card(1))),
    ('body.text', 1024, lambda n: carousel(card(0), card(1), body='x' * n)),
    ('action.parameters.display_text', 20, lambda n: call(display_text='x' * n)),
    ('action.parameters.ttl_minutes', 43200, lambda n: call(ttl_minutes=n)),
    ('action.parameters.payload', 512, lambda n: call(payload='x' * n)),
    ('body.text', 1024, lambda n: named('location_request_message', 'send_location', body='x' * n)),
]


@pytest.mark.parametrize(('field', 'limit', 'build'), LIMITS)
def test_a_limit_is_kept_to_the_letter_and_named(acme, field, limit, build):
    answer = post(acme, build(limit))
    assert answer.status_code == 202, answer.text
    found = errors(post(acme, build(limit + 1)))
    assert list(found) == [field]
    assert f'{limit} ' in f'{found[field][0]} '.replace('.', ' ')
    assert len(acme.messages()) == 1


BAD = [
    ({}, 'type'),
    ({'type': 7}, 'type'),
    ({'type': ['button']}, 'type'),
    ({'type': 'hologram', 'action': {}}, 'type'),
    (buttons(), 'action.buttons'),
    (buttons(reply(1), body=None), 'body'),
    (buttons(reply(1), body=''), 'body.text'),
    (buttons(reply(1, 'Yes'), reply(2, 'Yes')), 'action.buttons.1.reply.title'),
    (buttons(reply(1, 'Yes'), reply(2), reply(1, 'No')), 'action.buttons.2.reply.id'),
    (buttons({'type': 'url'}), 'action.buttons.0.type'),
    (buttons({'type': 'reply'}), 'action.buttons.0.reply'),
    (buttons(reply(1, colour='red')), 'action.buttons.0.reply.colour'),
    (buttons(reply(1), colour='red'), 'colour'),
    (buttons(reply(1), header='x'), 'header'),
    (buttons(reply(1), header=media('audio')), 'header.type'),
    (buttons(reply(1), header={'type': 'image'}), 'header.image'),
    (buttons(reply(1), header=media('image', id='1', link=LINK)), 'header.image'),
    (buttons(reply(1), header={'type': 'text', 'image': {'id': '1'}}), 'header.image'),
    (interactive('button', {}), 'action.buttons'),
    (interactive('button', None), 'action'),
    (listed(), 'action.sections'),
    (listed(section([])), 'action.sections.0.rows'),
    (listed(section(rows(1)), header=media('image')), 'header.type'),
    (listed({'rows': rows(1)}, {'rows': rows(1, 1)}), 'action.sections.0.title'),
    (listed(section(rows(1)), section(rows(1, 1), title='')), 'action.sections.1.title'),
    (products(1, 1, title=''), 'action.sections.0.title'),
    (listed(section(rows(2)), section(rows(1, 1))), 'action.sections.1.rows.0.id'),
    (url(url='example.com'), 'action.parameters.url'),
    (url(url='javascript:x'), 'action.parameters.url'),
    (
        interactive('cta_url', {'name': 'url', 'parameters': {'display_text': 'x', 'url': LINK}}),
        'action.name',
    ),
    (flow(flow_name='x'), 'action.parameters'),
    (flow(flow_id=...), 'action.parameters'),
    (flow(mode='live'), 'action.parameters.mode'),
    (flow(flow_action='fly'), 'action.parameters.flow_action'),
    (interactive('product', {'catalog_id': '1'}), 'action.product_retailer_id'),
    (
        interactive(
            'product', {'catalog_id': '1', 'product_retailer_id': 'p'}, header=media('image')
        ),
        'header',
    ),
    (products(), 'action.sections'),
    (products(0), 'action.sections.0.product_items'),
    (products(1, header=media('image')), 'header.type'),
    (interactive('product_list', products(1)['action']), 'header'),
    (carousel(card(0)), 'action.cards'),
    (carousel(card(0), card(0)), 'action.cards.1.card_index'),
    (carousel(card(0), card(1), header=media('image')), 'header'),
    (carousel(card(0), card(1), **FOOTER), 'footer'),
    (carousel(card(0), card(1, header=media('document'))), 'action.cards.1.header.type'),
    (carousel(card(0), card(1, replies(1))), 'action.cards.1.action'),
    (carousel(card(0, replies(1)), card(1, replies(1, 2))), 'action.cards.1.action'),
    (carousel(card(0, {'name': 'cta_url'}), card(1)), 'action.cards.0.action'),
    (carousel(card(0), card(1, {'buttons': []})), 'action.cards.1.action.buttons'),
    (
        carousel(*({'card_index': at, 'action': replies(1)} for at in range(2))),
        'action.cards.0.header',
    ),
    (
        carousel(
            card(0, {'name': 'cta_url', 'parameters': {'display_text': 'x', 'url': 'x'}}), card(1)
        ),
        'action.cards.0.action.parameters.url',
    ),
    (named('location_request_message', 'location_request_message'), 'action.name'),
    (named('request_contact_info', body=None), 'body'),
    (named('call_permission_request', 'call'), 'action.name'),
    (interactive('address_message', {'name': 'address_message'}), 'action.parameters'),
    (address(country='India'), 'action.parameters.country'),
    (call(ttl_minutes=0), 'action.parameters.ttl_minutes'),
    (interactive('order_details', None), 'action'),
]


@pytest.mark.parametrize(('content', 'field'), BAD)
def test_what_meta_would_refuse_is_422_and_named(acme, content, field):
    found = errors(post(acme, content))
    assert field in found, found
    assert acme.messages() == []


def test_every_breach_is_told_at_once(acme):
    content = buttons(
        reply(1, 'x' * 21), reply('x' * 257, 'Yes'), body='x' * 1025, footer={'text': ''}, more=1
    )
    assert errors(post(acme, content)).keys() == {
        'action.buttons.0.reply.title',
        'action.buttons.1.reply.id',
        'body.text',
        'footer.text',
        'more',
    }


def test_a_new_type_of_interactive_is_refused_with_the_way_round_it(acme):
    content = interactive('hologram', {'name': 'shine'})
    assert '"validate": false' in errors(post(acme, content))['type'][0]
    assert post(acme, content, validate=False).json['content'] == content


def bulk(backend, content, *values):
    recipients = [
        {'to': f'+120255501{at:02}', 'parameters': {'name': one}} for at, one in enumerate(values)
    ]
    message = {'type': 'interactive', 'interactive': content}
    return backend.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients}
    ).json


@pytest.mark.parametrize(
    ('content', 'good', 'bad', 'field'),
    [
        (buttons(reply(1), body='Hi {{name}}'), 'x' * 1021, 'x' * 1022, 'body.text'),
        (
            buttons(reply(1), header={'type': 'text', 'text': '{{name}}'}),
            'x' * 60,
            'x' * 61,
            'header.text',
        ),
        (
            buttons(reply(1), reply(2, '{{name}}')),
            'x' * 20,
            'x' * 21,
            'action.buttons.1.reply.title',
        ),
        (
            buttons(reply(1, 'Ana'), reply(2, '{{name}}')),
            'Bob',
            'Ana',
            'action.buttons.1.reply.title',
        ),
        (
            listed(section(rows(2, description='{{name}}'))),
            'x' * 72,
            'x' * 73,
            'action.sections.0.rows.1.description',
        ),
        (url(url='{{name}}'), LINK, 'no link', 'action.parameters.url'),
    ],
)
def test_a_value_of_a_bulk_is_checked_where_it_is_filled_in(acme, content, good, bad, field):
    (row,) = bulk(acme, content, good, bad)['rejected_rows']
    assert (row['line'], f'interactive.{field}' in row['errors']) == (2, True)
