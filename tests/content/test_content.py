"""What may be sent, type by type: all that Meta allows arrives as given, each limit is named (not:
interactive).
"""

import pytest

from tests.people import CHATBOT

TO = {'chatbot_id': CHATBOT, 'to': '+12025550143'}
LINK = 'https://example.com/a.jpg?x=1'


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def post(backend, kind, content, **more):
    return backend.post('/send', {**TO, 'type': kind, kind: content, **more})


def errors(answer):
    assert answer.status_code == 422, answer.text
    return answer.json['errors']


def template(*components, **more):
    return 'template', {
        'name': 'sale',
        'language': {'code': 'en_US'},
        'components': list(components),
        **more,
    }


def part(kind, *parameters, **more):
    return {'type': kind, 'parameters': list(parameters), **more}


def button(*parameters, sub_type='url', index='0'):
    return part('button', *parameters, sub_type=sub_type, index=index)


def said(text, **more):
    return {'type': 'text', 'text': text, **more}


def holding(kind, value, **more):
    return {'type': kind, kind: value, **more}


def card(index, *components):
    return {'card_index': index, 'components': list(components)}


def person(**more):
    return {'name': {'formatted_name': 'Ana Lima', 'first_name': 'Ana'}, **more}


def cards(*cards):
    return {'type': 'carousel', 'cards': list(cards)}


FULL_CONTACT = {
    'name': {
        'formatted_name': 'Dr Ana M Lima II',
        'first_name': 'Ana',
        'last_name': 'Lima',
        'middle_name': 'M',
        'suffix': 'II',
        'prefix': 'Dr',
    },
    'phones': [{'phone': '+12025550143', 'wa_id': '12025550143', 'type': 'CELL'}, {'phone': '+1'}],
    'emails': [{'email': 'ana@example.com', 'type': 'WORK'}],
    'addresses': [
        {
            'street': '1 Hacker Way',
            'city': 'Menlo Park',
            'state': 'CA',
            'zip': '94025',
            'country': 'United States',
            'country_code': 'us',
            'type': 'HOME',
        }
    ],
    'org': {'company': 'Acme', 'department': 'Design', 'title': 'Manager'},
    'urls': [{'url': 'https://example.com', 'type': 'WORK'}],
    'birthday': '1990-12-31',
}
GOOD = [
    ('text', {'body': 'See https://example.com', 'preview_url': True}),
    ('image', {'id': '1234567890', 'caption': 'A shoe'}),
    ('image', {'link': LINK}),
    ('video', {'link': LINK, 'caption': 'A film'}),
    ('audio', {'id': '1234567890', 'voice': True}),
    ('audio', {'link': 'HTTP://example.com/a.ogg'}),
    ('document', {'link': LINK, 'caption': 'Yours', 'filename': 'Invoice 17.pdf'}),
    ('sticker', {'id': '1234567890'}),
    ('location', {'latitude': 0, 'longitude': -180, 'name': 'HQ', 'address': '1 Hacker Way'}),
    ('location', {'latitude': '37.44216251868683', 'longitude': '-122.16153582049394'}),
    ('contacts', [FULL_CONTACT, person()]),
    ('reaction', {'message_id': 'wamid.X', 'emoji': '👩🏽‍🚀'}),
    ('reaction', {'message_id': 'wamid.X', 'emoji': '🏴󠁧󠁢󠁥󠁮󠁧󠁿'}),
    ('reaction', {'message_id': 'wamid.X', 'emoji': ''}),
    template(),
    ('template', {'name': 'sale', 'language': {'code': 'en_US', 'policy': 'deterministic'}}),
    template(
        part('header', said('Sale', parameter_name='what')),
        part('body', said('Ana', parameter_name='name'), said('20%', parameter_name='rate')),
    ),
    template(
        part('HEADER', holding('image', {'link': LINK})),
        part(
            'BODY',
            holding('currency', {'fallback_value': '$1', 'code': 'USD', 'amount_1000': 1000}),
            holding(
                'date_time', {'fallback_value': 'Monday', 'day_of_week': 1, 'calendar': 'GREGORIAN'}
            ),
        ),
        button(said('orders/17')),
        button({'type': 'payload', 'payload': 'stop'}, sub_type='quick_reply', index=1),
        button({'type': 'coupon_code', 'coupon_code': 'SAVE20'}, sub_type='COPY_CODE', index='2'),
    ),
    template(
        part('header', holding('video', {'id': '1'})),
        part(
            'limited_time_offer',
            holding('limited_time_offer', {'expiration_time_ms': 1790000000000}),
        ),
    ),
    template(
        part('header', holding('document', {'id': '1', 'filename': 'a.pdf'})),
        button(
            {'type': 'action', 'action': {'flow_token': 't', 'flow_action_data': {'a': 1}}},
            sub_type='flow',
        ),
        button(
            {
                'type': 'action',
                'action': {'thumbnail_product_retailer_id': 'p', 'sections': [{'title': 'x'}]},
            },
            sub_type='mpm',
            index=1,
        ),
        button(sub_type='phone_number', index=2),
        button(
            {'type': 'ttl_minutes', 'ttl_minutes': 100},
            {'type': 'payload', 'payload': 'x'},
            sub_type='voice_call',
            index=3,
        ),
    ),
    template(
        part(
            'header',
            holding('location', {'latitude': '1.5', 'longitude': '2', 'name': 'n', 'address': 'a'}),
        )
    ),
    template(
        part('body', said('Ana')),
        {
            'type': 'carousel',
            'cards': [
                card(
                    0,
                    part('header', holding('image', {'id': '1'})),
                    part('body', said('x')),
                    button(said('a')),
                ),
                card(
                    1,
                    part(
                        'header',
                        holding('product', {'product_retailer_id': 'p', 'catalog_id': 'c'}),
                    ),
                ),
            ],
        },
    ),
    template(
        part(
            'order_status',
            holding('order_status', {'reference_id': 'r', 'order': {'status': 'shipped'}}),
        )
    ),
    template(
        part(
            'tap_target_configuration',
            {
                'type': 'tap_target_configuration',
                'tap_target_configuration': [{'url': LINK, 'title': 'Shop'}],
            },
        )
    ),
    ('pin', {'type': 'pin', 'message_id': 'wamid.X', 'expiration_days': 7}),
]


@pytest.mark.parametrize(
    ('kind', 'content'), GOOD, ids=lambda value: value if isinstance(value, str) else ''
)
def test_what_meta_allows_is_taken_and_kept_as_it_was_given(acme, kind, content):
    answer = post(acme, kind, content)
    assert answer.status_code == 202, answer.text
    assert (answer.json['type'], answer.json['content']) == (kind, content)
    assert acme.message(answer.json['id'])['content'] == content


def test_meta_gets_exactly_what_was_given(acme, workers, stand_in):
    people = [f'+1202555{number:04}' for number in range(len(GOOD))]
    for to, (kind, content) in zip(people, GOOD, strict=True):
        assert post(acme, kind, content, to=to).status_code == 202
    workers.send()
    calls = {call['body']['to']: call['body'] for call in stand_in.sends()}
    assert [
        (calls[to]['type'], calls[to][kind]) for to, (kind, _) in zip(people, GOOD, strict=True)
    ] == GOOD
    beside = {'messaging_product', 'recipient_type', 'to', 'type', 'biz_opaque_callback_data'}
    assert all(
        calls[to].keys() == {*beside, kind} for to, (kind, _) in zip(people, GOOD, strict=True)
    )


LIMITS = [
    ('text.body', 4096, lambda n: ('text', {'body': 'x' * n})),
    ('image.caption', 1024, lambda n: ('image', {'id': '1', 'caption': 'x' * n})),
    ('video.caption', 1024, lambda n: ('video', {'link': LINK, 'caption': 'x' * n})),
    ('document.caption', 1024, lambda n: ('document', {'id': '1', 'caption': 'ä' * n})),
    ('location.latitude', 90, lambda n: ('location', {'latitude': n, 'longitude': 1})),
    ('location.longitude', 180, lambda n: ('location', {'latitude': 1, 'longitude': n})),
    ('reaction.message_id', 512, lambda n: ('reaction', {'message_id': 'x' * n, 'emoji': '👍'})),
    ('contacts', 257, lambda n: ('contacts', [person()] * n)),
    ('template.name', 512, lambda n: ('template', {'name': 'x' * n, 'language': {'code': 'en'}})),
    (
        'template.language.code',
        64,
        lambda n: ('template', {'name': 'x', 'language': {'code': 'x' * n}}),
    ),
    ('template.components.0.index', 9, lambda n: template(button(said('a'), index=str(n)))),
    (
        'template.components.0.cards',
        10,
        lambda n: template(cards(*(card(i % 10) for i in range(n)))),
    ),
    ('template.components.0.cards.0.card_index', 9, lambda n: template(cards(card(n)))),
]


@pytest.mark.parametrize(('field', 'limit', 'build'), LIMITS, ids=[one[0] for one in LIMITS])
def test_a_limit_is_kept_to_the_letter_and_named(acme, field, limit, build):
    assert post(acme, *build(limit)).status_code == 202
    found = errors(post(acme, *build(limit + 1)))
    (sentence,) = found[field]
    assert str(limit) in sentence
    assert len(acme.messages()) == 1


BAD = [
    (('text', {}), 'text.body'),
    (('text', {'body': 7}), 'text.body'),
    (('text', []), 'text'),
    (('text', {'body': 'x', 'preview_url': 'perhaps'}), 'text.preview_url'),
    (('image', {}), 'image'),
    (('image', {'id': '1', 'link': LINK}), 'image'),
    (('image', {'id': ''}), 'image.id'),
    (('image', {'link': 'ftp://example.com/a'}), 'image.link'),
    (('image', {'link': 'example.com'}), 'image.link'),
    (('image', {'link': 'https://exa mple.com'}), 'image.link'),
    (('image', {'link': 'https://'}), 'image.link'),
    (('image', {'id': '1', 'filename': 'a.jpg'}), 'image.filename'),
    (('audio', {'id': '1', 'caption': 'x'}), 'audio.caption'),
    (('audio', {'id': '1', 'voice': 'x'}), 'audio.voice'),
    (('sticker', {'id': '1', 'caption': 'x'}), 'sticker.caption'),
    (('document', {'caption': 'x'}), 'document'),
    (('video', {'id': 1}), 'video.id'),
    (('location', {'latitude': 1}), 'location.longitude'),
    (('location', {'latitude': -91, 'longitude': 1}), 'location.latitude'),
    (('location', {'latitude': 1, 'longitude': 'east'}), 'location.longitude'),
    (('location', {'latitude': True, 'longitude': 1}), 'location.latitude'),
    (('location', {'latitude': 1, 'longitude': 1, 'altitude': 1}), 'location.altitude'),
    (('contacts', []), 'contacts'),
    (('contacts', {}), 'contacts'),
    (('contacts', [7]), 'contacts.0'),
    (('contacts', [person(), {}]), 'contacts.1.name'),
    (('contacts', [{'name': {}}]), 'contacts.0.name.formatted_name'),
    (('contacts', [person(phones=[{'number': '1'}])]), 'contacts.0.phones.0.number'),
    (('contacts', [person(birthday='31.12.1990')]), 'contacts.0.birthday'),
    (('reaction', {'message_id': 'wamid.X'}), 'reaction.emoji'),
    (('reaction', {'emoji': '👍'}), 'reaction.message_id'),
    (('reaction', {'message_id': 'wamid.X', 'emoji': 'thumbs up'}), 'reaction.emoji'),
    (('template', {'language': {'code': 'en'}}), 'template.name'),
    (('template', {'name': 'x', 'language': 'en'}), 'template.language'),
    (
        ('template', {'name': 'x', 'language': {'code': 'en'}, 'parameters': []}),
        'template.parameters',
    ),
    (template({'parameters': []}), 'template.components.0.type'),
    (template(part('neck')), 'template.components.0.type'),
    (template('body'), 'template.components.0'),
    (template(part('body', said(''))), 'template.components.0.parameters.0.text'),
    (template(part('body', said('a\x00b'))), 'template'),
    (template(part('body', {'type': 'text'})), 'template.components.0.parameters.0.text'),
    (
        template(part('body', {'type': 'words', 'words': 'x'})),
        'template.components.0.parameters.0.type',
    ),
    (template(part('body', said('x', name='n'))), 'template.components.0.parameters.0.name'),
    (template(part('body', said('x'), index=0)), 'template.components.0.index'),
    (
        template(part('body', holding('currency', {'code': 'USD', 'amount_1000': 1}))),
        'template.components.0.parameters.0.currency.fallback_value',
    ),
    (
        template(part('header', holding('image', {'id': '1', 'link': LINK}))),
        'template.components.0.parameters.0.image',
    ),
    (template(part('button', said('x'), index=0)), 'template.components.0.sub_type'),
    (template(part('button', said('x'), sub_type='url')), 'template.components.0.index'),
    (template(cards(card(0), card(0))), 'template.components.0.cards.1.card_index'),
    (template(cards(card(0, cards()))), 'template.components.0.cards.0.components.0.type'),
    (('pin', {'type': 'nail', 'message_id': 'wamid.X'}), 'pin.type'),
    (('pin', {'type': 'unpin'}), 'pin.message_id'),
]


@pytest.mark.parametrize(('message', 'field'), BAD)
def test_what_meta_would_refuse_is_422_and_named(acme, message, field):
    found = errors(post(acme, *message))
    assert list(found) == [field]
    assert acme.messages() == []


# ---- what we do not know yet

POLL = {'name': 'Lunch?', 'options': ['Pasta', {'text': 'a\x00b \ud83d'}]}


def test_an_unknown_type_is_refused_with_the_way_round_it(acme):
    (sentence,) = errors(post(acme, 'poll', POLL))['type']
    assert '"validate": false' in sentence


def test_with_validate_false_a_new_type_goes_out_as_it_was_given(acme, workers, stand_in):
    assert post(acme, 'poll', POLL, validate=False).json['content'] == POLL
    workers.send()
    (call,) = stand_in.sends()
    assert (call['body']['type'], call['body']['poll']) == ('poll', POLL)
    assert 'validate' not in call['body']


@pytest.mark.parametrize(
    ('kind', 'content'),
    [
        ('text', {'body': 'x' * 5000, 'colour': 'red'}),
        ('image', {'handle': 'h'}),
        ('reaction', ['x']),
        ('text', ['x']),
        ('interactive', {'type': 'hologram'}),
        ('template', {'name': 'x', 'language': {'code': 'en', 'x': 1}, 'y': [{}]}),
    ],
)
def test_with_validate_false_a_known_type_is_not_looked_into(
    acme, workers, stand_in, kind, content
):
    assert 'validate' not in errors(post(acme, kind, content, validate=True))
    message = post(acme, kind, content, validate=False).json
    assert message['content'] == content
    workers.send()
    assert stand_in.sends()[0]['body'][kind] == content
    assert acme.messages()[0]['content'] == content


@pytest.mark.parametrize(
    ('changes', 'field'),
    [
        ({'to': 'nobody'}, 'to'),
        ({'recipient': 'US.1'}, 'to'),
        ({'colour': 'red'}, 'colour'),
        ({'poll': 'x'}, 'poll'),
        ({'poll': {}}, 'poll'),
        ({'poll': ...}, 'poll'),
        ({'context': {}}, 'context.message_id'),
        ({'image': {}}, 'image'),
        ({'validate': 'no'}, 'validate'),
        ({'type': 'template', 'template': {'name': 'x'}, 'poll': ...}, 'template.language'),
    ],
)
def test_address_and_envelope_are_checked_all_the_same(acme, changes, field):
    body = {**TO, 'type': 'poll', 'poll': POLL, 'validate': False, **changes}
    assert field in errors(
        acme.post('/send', {name: value for name, value in body.items() if value is not ...})
    )


@pytest.mark.parametrize('name', ['validate', 'split', 'to', 'send_at'])
def test_a_field_of_ours_is_no_type(acme, name):
    assert 'type' in errors(acme.post('/send', {**TO, 'type': name, name: {'a': 1}}))


# ---- many


def bulk(backend, message, *parameters):
    recipients = [
        {'to': f'+120255501{at:02}', 'parameters': one} for at, one in enumerate(parameters)
    ]
    return backend.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients}
    )


def test_a_bulk_is_checked_and_may_say_that_it_shall_not(acme):
    message = {'type': 'poll', 'poll': {'name': 'Hi {{name}}'}}
    assert 'message.type' in errors(bulk(acme, message, {'name': 'Ana'}))
    assert bulk(acme, {**message, 'validate': False}, {'name': 'x' * 5000}).json['accepted'] == 1
    assert 'message.split' in errors(bulk(acme, {'text': {'body': 'x'}, 'split': True}, {}))


@pytest.mark.parametrize(
    ('kind', 'content', 'good', 'bad', 'field'),
    [
        ('image', {'link': '{{value_of_it}}'}, LINK, 'ftp://x', 'image.link'),
        ('image', {'link': 'https://x/{{value_of_it}}'}, 'a.jpg', 'a b.jpg', 'image.link'),
        (
            'location',
            {'latitude': '{{value_of_it}}', 'longitude': 1},
            '90',
            '91',
            'location.latitude',
        ),
        (
            'document',
            {'id': '1', 'caption': '{{value_of_it}}'},
            'x' * 1024,
            'x' * 1025,
            'document.caption',
        ),
        (
            'template',
            {'name': '{{value_of_it}}', 'language': {'code': 'en'}},
            'x',
            'x' * 513,
            'template.name',
        ),
    ],
)
def test_a_value_is_checked_where_it_is_filled_in(acme, kind, content, good, bad, field):
    batch = bulk(
        acme, {'type': kind, kind: content}, {'value_of_it': good}, {'value_of_it': bad}
    ).json
    assert [(row['line'], list(row['errors'])) for row in batch['rejected_rows']] == [(2, [field])]


def test_what_holds_no_placeholder_is_checked_with_the_order(acme):
    message = {'type': 'image', 'image': {'link': 'ftp://x', 'caption': '{{name}}'}}
    assert list(errors(bulk(acme, message, {'name': 'Ana'}))) == ['message.image.link']
