"""At the edges of what may be sent: truth as text, texts that show nothing, no emoji, null, no
type, and too much.
"""

import pytest
from marshmallow import Schema, fields, validate

from service.content.fields import AsGiven, ByType, Count, Flag
from service.content.message_schema import MessageSchema, RecipientSchema, WindowSchema
from service.web import account_schemas, send_schemas, template_schemas
from tests.people import CHATBOT, CUSTOMER, sql

TO = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}'}
LINK = 'https://example.org/a.jpg'
INVISIBLE = [
    '   ',
    '\n\t',
    '\u00a0',
    '\u200b\u200c\u200d',
    '\u2060\ufeff',
    '\u00ad',
    '\u200e\u202a\u2066',
    '\u2800\u2800',
    '\u3164',
    '\u115f\u1160',
    '\uffa0',
    '\u034f',
    '\u180e',
    '\ufe0f',
    '\U000e0041\U000e007f',
    '\u3000',
    '\u2028',
    '\u17b4',
    '\x07',
]


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def send(acme, **message):
    return acme.post('/send', {**TO, **message})


def named(answer):
    assert answer.status_code == 422, answer.text
    return list(answer.json['errors'])


def template(*components):
    return {'name': 'sale', 'language': {'code': 'en_US'}, 'components': list(components)}


# ---- true and false


@pytest.mark.parametrize('value', ['true', 'false', 'yes', 'on', '1', '', 1, 0, 1.0, [True], {}])
def test_what_is_neither_true_nor_false_is_refused(acme, value):
    text = {'body': LINK}
    assert named(send(acme, text=text | {'preview_url': value})) == ['text.preview_url']
    assert named(send(acme, audio={'id': '1', 'voice': value})) == ['audio.voice']
    for name in ('validate', 'split', 'force'):
        assert named(send(acme, text=text, **{name: value})) == [name]
    order = {
        'chatbot_id': CHATBOT,
        'message': {'text': text, 'force': value},
        'recipients': [f'+{CUSTOMER}'],
    }
    assert named(acme.post('/send/bulk', order)) == ['message.force']
    assert acme.messages() == []


def test_a_query_has_nothing_but_texts(acme):
    def csv(force):
        query = {'chatbot_id': CHATBOT, 'text': 'Hi', 'force': force}
        data = f'to\n+{CUSTOMER}\n'
        return acme.request(
            'POST',
            '/send/bulk',
            query_string=query,
            data=data,
            headers={'Content-Type': 'text/csv'},
        )

    assert [csv(word).status_code for word in ('true', 'false', '1', 'No')] == [202] * 4
    assert named(csv('perhaps')) == ['message.force']


def test_no_schema_takes_a_text_for_true():
    """Whatever a caller may say yes to is a Flag."""
    found = [field for field in every_field() if isinstance(field, fields.Boolean)]
    assert len(found) > 5
    assert [field for field in found if not isinstance(field, Flag)] == []


# ---- texts


def button(title='Yes', **more):
    return {
        'type': 'button',
        'body': {'text': 'Well?'},
        'action': {'buttons': [{'type': 'reply', 'reply': {'id': 'y', 'title': title}}]},
        **more,
    }


@pytest.mark.parametrize('text', ['  ', '\u200b', '\u3164'])
def test_what_is_told_beside_a_message_shows_something_too(acme, text):
    assert named(send(acme, text={'body': 'Hi'}, client_reference=text)) == ['client_reference']
    row = {'to': f'+{CUSTOMER}', 'client_reference': text}
    order = {
        'chatbot_id': CHATBOT,
        'message': {'text': {'body': 'Hi'}},
        'recipients': [row, f'+{CUSTOMER}'],
    }
    (rejected,) = acme.post('/send/bulk', order).json['rejected_rows']
    assert list(rejected['errors']) == ['client_reference']
    for name, value in (('name', text), ('opt_out_words', [text]), ('opt_in_words', ['yes', text])):
        (field,) = named(acme.post('/account', {'chatbot_id': CHATBOT, name: value}))
        assert field.partition('.')[0] == name


@pytest.mark.parametrize('text', INVISIBLE, ids=ascii)
def test_a_text_that_shows_nothing_is_refused(acme, text):
    assert named(send(acme, text={'body': text})) == ['text.body']
    assert named(send(acme, text={'body': text}, split=True)) == ['text.body']
    assert named(send(acme, interactive=button(text))) == [
        'interactive.action.buttons.0.reply.title'
    ]
    assert named(send(acme, interactive=button(body={'text': text}))) == ['interactive.body.text']
    assert named(
        send(acme, contacts=[{'name': {'formatted_name': text, 'first_name': 'Leo'}}])
    ) == ['contacts.0.name.formatted_name']
    assert send(acme, text={'body': f'{text}.{text}'}).status_code == 202


@pytest.mark.parametrize('text', ['.', '0', '\u200eשלום', '👍', '\u0301', '日本', '©', '🇧🇷'])
def test_a_text_that_shows_something_is_taken(acme, text):
    assert send(acme, text={'body': text}).json['content'] == {'body': text}


def test_in_a_bulk_the_row_that_fills_in_nothing_to_see_is_rejected(acme):
    recipients = [
        {'to': f'+1202555010{at}', 'parameters': {'x': value}}
        for at, value in enumerate(['\u200b', 'a'])
    ]
    order = {
        'chatbot_id': CHATBOT,
        'message': {'text': {'body': '{{x}}'}},
        'recipients': recipients,
    }
    batch = acme.post('/send/bulk', order).json
    assert [(row['line'], list(row['errors'])) for row in batch['rejected_rows']] == [
        (1, ['text.body'])
    ]


def test_no_part_of_a_long_text_shows_nothing(acme):
    body = 'a' * 4096 + '\u200b' * 4096 + 'b' * 100
    parts = send(acme, text={'body': body}, split=True).json['parts']
    assert [acme.message(one)['content']['body'][:1] for one in parts] == ['a', 'b']


# ---- reactions and contact cards

EMOJI = [
    '👍',
    '❤',
    '❤️',
    '☺️',
    '©️',
    '™',
    '‼️',
    '1️⃣',
    '#⃣',
    '*️⃣',
    '🇧🇷',
    '🇦🇽',
    '🏴󠁧󠁢󠁳󠁣󠁴󠁿',
    '🏴‍☠️',
    '🏳️‍🌈',
    '🏳️‍⚧️',
    '👍🏽',
    '✌🏿',
    '☝🏻',
    '👨‍👩‍👧‍👦',
    '👩🏽‍🚀',
    '🧑🏻‍❤️‍💋‍🧑🏿',
    '👁️‍🗨️',
    '🐻‍❄️',
    '🚶🏽‍♀️‍➡️',
    '🫡',
    '🪿',
    '🫩',
    '😶‍🌫️',
    '🀄',
    '🈚',
    '㊗️',
    '⌚',
    '🫱🏻‍🫲🏿',
    '⛹🏾‍♂️',
    '🧔‍♀️',
]
NO_EMOJI = [
    ':+1:',
    'x',
    'ok',
    '1',
    '#',
    '*',
    '12',
    '!',
    '?',
    ':)',
    '<3',
    '★',
    '✓',
    '→',
    '♪',
    '❦',
    'é',
    '日',
    '+1',
    '👍👍',
    '👍 ',
    ' 👍',
    ' ',
    '\n',
    '\u200b',
    '\ufe0f',
    '\u200d',
    '🇧',
    '🇧🇷🇦🇷',
    '👍\u200d',
    '\u200d👍',
    '👍x',
    'x👍',
    '👍\n',
    '\u20e3',
    '❤\ufe0e',
    '\u0301',
    '👍' * 50,
    '\ud83d',
    '&#128077;',
]


@pytest.mark.parametrize('emoji', [*EMOJI, ''], ids=ascii)
def test_one_emoji_is_a_reaction_and_nothing_takes_it_back(acme, emoji):
    content = {'message_id': 'wamid.X', 'emoji': emoji}
    assert send(acme, reaction=content).json['content'] == content


@pytest.mark.parametrize('emoji', NO_EMOJI, ids=ascii)
def test_what_is_no_emoji_is_no_reaction(acme, emoji):
    assert named(send(acme, reaction={'message_id': 'wamid.X', 'emoji': emoji})) == [
        'reaction.emoji'
    ]


@pytest.mark.parametrize(
    'more', [{}, {'first_name': ''}, {'last_name': ' '}, {'suffix': '\u200b'}, {'prefix': None}]
)
def test_a_contact_needs_a_second_part_of_its_name(acme, more):
    card = {'name': {'formatted_name': 'Leo', **more}, 'phones': [{'phone': '+12025550111'}]}
    assert named(send(acme, contacts=[card])) == ['contacts.0.name']


@pytest.mark.parametrize('part', ['first_name', 'last_name', 'middle_name', 'suffix', 'prefix'])
def test_any_of_them_will_do(acme, part):
    assert (
        send(acme, contacts=[{'name': {'formatted_name': 'Leo', part: 'Leo'}}]).status_code == 202
    )


# ---- null


NULLS = [
    ({'type': None, 'text': {'body': 'x', 'preview_url': None}}, {'body': 'x'}),
    (
        {
            'text': {'body': 'x'},
            'image': None,
            'context': None,
            'client_reference': None,
            'recipient': None,
        },
        {'body': 'x'},
    ),
    (
        {
            'text': {'body': 'x'},
            'send_at': None,
            'expires_at': None,
            'split': None,
            'validate': None,
        },
        {'body': 'x'},
    ),
    (
        {'text': {'body': 'x'}, 'fallback_template': None, 'force': None, 'recipient_type': None},
        {'body': 'x'},
    ),
    ({'image': {'id': '1', 'link': None, 'caption': None}}, {'id': '1'}),
    ({'document': {'link': LINK, 'id': None, 'filename': None}}, {'link': LINK}),
    (
        {'location': {'latitude': 1, 'longitude': 2, 'name': None, 'address': None}},
        {'latitude': 1, 'longitude': 2},
    ),
    (
        {
            'contacts': [
                {
                    'name': {'formatted_name': 'A', 'first_name': 'A', 'suffix': None},
                    'phones': None,
                    'org': None,
                }
            ]
        },
        [{'name': {'formatted_name': 'A', 'first_name': 'A'}}],
    ),
    ({'interactive': button(header=None, footer=None)}, button()),
    (
        {
            'template': {
                'name': 'sale',
                'language': {'code': 'en', 'policy': None},
                'components': None,
                'namespace': None,
            }
        },
        {'name': 'sale', 'language': {'code': 'en'}},
    ),
    (
        {
            'template': template(
                {
                    'type': 'body',
                    'parameters': [{'type': 'text', 'text': 'a', 'parameter_name': None}],
                }
            )
        },
        template({'type': 'body', 'parameters': [{'type': 'text', 'text': 'a'}]}),
    ),
]


@pytest.mark.parametrize(('message', 'content'), NULLS)
def test_null_is_as_if_the_field_were_left_out(acme, message, content):
    answer = send(acme, **message)
    assert answer.status_code == 202, answer.text
    assert answer.json['content'] == content


def test_what_is_required_is_missing_when_it_is_null(acme):
    assert named(send(acme, text=None)) == ['text']
    assert named(send(acme, text={'body': None})) == ['text.body']
    assert named(send(acme, chatbot_id=None, text={'body': 'x'})) == ['chatbot_id']
    assert named(acme.post('/send', {**TO, 'to': None, 'text': {'body': 'x'}})) == ['to']


def test_an_address_that_is_null_is_none(acme):
    body = {**TO, 'to': None, 'recipient': 'US.13491208655302741918', 'text': {'body': 'x'}}
    assert acme.post('/send', body).json['to'] is None


def test_null_in_data_for_a_flow_and_in_what_is_not_checked_stays(acme):
    data = {'screen': 'ONE', 'data': {'name': None}}
    flow = {
        'name': 'flow',
        'parameters': {
            'flow_message_version': '3',
            'flow_id': '1',
            'flow_cta': 'Go',
            'flow_token': None,
            'flow_action_payload': data,
        },
    }
    content = send(acme, interactive={'type': 'flow', 'body': {'text': 'x'}, 'action': flow}).json[
        'content'
    ]
    assert content['action']['parameters']['flow_action_payload'] == data
    assert 'flow_token' not in content['action']['parameters']
    assert send(acme, type='poll', poll={'a': None}, validate=False).json['content'] == {'a': None}


def test_null_in_a_bulk_and_its_rows(acme):
    row = {'to': f'+{CUSTOMER}', 'recipient': None, 'client_reference': None, 'parameters': None}
    order = {
        'chatbot_id': CHATBOT,
        'send_at': None,
        'message': {'text': {'body': 'x'}, 'context': None},
        'recipients': [row],
    }
    assert acme.post('/send/bulk', order).json['accepted'] == 1
    order = {
        **order,
        'message': {'text': {'body': '{{x}}'}},
        'recipients': [row | {'parameters': {'x': None}}],
    }
    assert named(acme.post('/send/bulk', order)) == ['line 1, parameters.x']


def test_null_clears_what_can_be_cleared_of_an_account_or_brings_its_default_back(acme):
    acme.account(
        name='Acme',
        on_unknown='fail',
        max_mps=5,
        responder={'kind': 'http', 'url': LINK, 'secret': None},
    )
    changes = dict.fromkeys(
        ('phone_number_id', 'access_token', 'on_unknown', 'read_receipts', 'name', 'max_mps')
    )
    shown = acme.post('/account', {'chatbot_id': CHATBOT, **changes}).json
    assert (shown['name'], shown['max_mps'], shown['on_unknown'], shown['active']) == (
        None,
        None,
        'resend',
        True,
    )
    assert named(
        acme.post('/account', {'chatbot_id': 'new', 'phone_number_id': None, 'access_token': 'x'})
    ) == ['phone_number_id']


# ---- no type


@pytest.mark.parametrize(
    ('kind', 'content'),
    [
        ('image', {'id': '1'}),
        ('location', {'latitude': 1, 'longitude': 2}),
        ('reaction', {'message_id': 'x', 'emoji': '👍'}),
        ('contacts', [{'name': {'formatted_name': 'Leo', 'first_name': 'Leo'}}]),
        ('template', template()),
        ('interactive', button()),
        ('text', {'body': 'x'}),
        ('document', {'link': LINK}),
    ],
)
def test_a_type_that_was_forgotten_is_that_of_the_content(acme, kind, content):
    shown = send(acme, **{kind: content}).json
    assert (shown['type'], shown['content']) == (kind, content)
    order = {'chatbot_id': CHATBOT, 'message': {kind: content}, 'recipients': [f'+{CUSTOMER}']}
    batch = acme.post('/send/bulk', order).json
    assert [one['type'] for one in acme.messages(batch_id=batch['id'])] == [kind]


def test_of_several_contents_one_has_to_be_named(acme):
    answer = send(acme, image={'id': '1'}, text={'body': 'x'})
    assert named(answer) == ['type']
    assert answer.json['errors']['type'] == ['Missing, and it may be any of these: image, text.']
    assert named(send(acme, type='image', image={'id': '1'}, text={'body': 'x'})) == ['text']
    assert acme.messages() == []


def test_what_is_no_content_is_not_taken_for_one(acme):
    assert named(send(acme)) == ['text']
    assert named(send(acme, text={'body': 'x'}, colour={})) == ['colour']
    assert named(send(acme, text='x')) == ['text']
    assert named(send(acme, poll={'name': 'x'})) == ['type']
    assert send(acme, poll={'name': 'x'}, validate=False).json['type'] == 'poll'


# ---- too much


def every_schema():
    seen = {}
    waiting = [MessageSchema(), RecipientSchema(), WindowSchema()]
    for module in (send_schemas, account_schemas, template_schemas):
        waiting += [one for one in vars(module).values() if isinstance(one, Schema)]
    while waiting:
        schema = waiting.pop()
        if type(schema) not in seen:
            seen[type(schema)] = schema
            for field in schema.fields.values():
                waiting += inner_schemas(field)
            waiting += [
                inner
                for one in getattr(schema, 'KNOWN', {}).values()
                for inner in inner_schemas(one)
            ]
    assert len(seen) > 40
    return seen.values()


def inner_schemas(field):
    if isinstance(field, fields.List):
        return inner_schemas(field.inner)
    if isinstance(field, ByType):
        return list(field.schemas.values())
    return [field.schema] if isinstance(field, fields.Nested) else []


def every_field():
    for schema in every_schema():
        yield from schema.fields.values()
        yield from (
            field.inner for field in schema.fields.values() if isinstance(field, fields.List)
        )


FREE = (
    'flow_action_payload',
    'data',
    'values',
    'validation_errors',
    'action',
    'order_status',
    'extra',
)  # MAX_CONTENT bounds them; test_ai_settings.py has the limit of a responder's `extra`
BY_TYPE = 'type'  # has been compared with the names of schemas


@pytest.mark.parametrize('schema', every_schema(), ids=lambda schema: type(schema).__name__)
def test_every_text_and_every_list_has_a_most(schema):
    for name, field in schema.fields.items():
        if isinstance(field, fields.List):
            (most,) = [one for one in field.validators if isinstance(one, Count | validate.Length)]
            assert most.most if isinstance(most, Count) else most.max, name
        elif (
            isinstance(field, fields.String)
            and not isinstance(field, fields.AwareDateTime)
            and name != BY_TYPE
        ):
            for letter in 'xX1a /é':
                with pytest.raises(Exception, match='.'):
                    field.deserialize(letter * 300_000)
        elif isinstance(field, fields.Dict | AsGiven | fields.Raw):
            assert isinstance(field, AsGiven) or name in FREE, name


TOO_MUCH = [
    ('image.link', 2000, lambda n: {'image': {'link': 'https://example.org/' + 'x' * (n - 20)}}),
    (
        'interactive.action.parameters.url',
        2000,
        lambda n: {
            'interactive': {
                'type': 'cta_url',
                'body': {'text': 'x'},
                'action': {
                    'name': 'cta_url',
                    'parameters': {
                        'display_text': 'x',
                        'url': 'https://example.org/' + 'x' * (n - 20),
                    },
                },
            }
        },
    ),
    ('document.filename', 255, lambda n: {'document': {'id': '1', 'filename': 'x' * n}}),
    (
        'location.name',
        1000,
        lambda n: {'location': {'latitude': 1, 'longitude': 1, 'name': 'x' * n}},
    ),
    (
        'location.address',
        1000,
        lambda n: {'location': {'latitude': 1, 'longitude': 1, 'address': 'x' * n}},
    ),
    ('contacts.0.phones', 20, lambda n: card(phones=[{'phone': '+1'}] * n)),
    ('contacts.0.emails', 20, lambda n: card(emails=[{'email': 'a@example.org'}] * n)),
    ('contacts.0.urls', 20, lambda n: card(urls=[{'url': LINK}] * n)),
    ('contacts.0.addresses', 20, lambda n: card(addresses=[{'city': 'Rio'}] * n)),
    ('contacts.0.org.company', 1000, lambda n: card(org={'company': 'x' * n})),
    ('template.components', 25, lambda n: {'template': template(*[{'type': 'body'}] * n)}),
    (
        'template.components.0.parameters',
        250,
        lambda n: {
            'template': template(
                {'type': 'body', 'parameters': [{'type': 'text', 'text': 'x'}] * n}
            )
        },
    ),
    ('template.namespace', 1000, lambda n: {'template': template() | {'namespace': 'x' * n}}),
    (
        'interactive.action.parameters.flow_token',
        4096,
        lambda n: {
            'interactive': {
                'type': 'flow',
                'body': {'text': 'x'},
                'action': {
                    'name': 'flow',
                    'parameters': {
                        'flow_message_version': '3',
                        'flow_id': '1',
                        'flow_cta': 'Go',
                        'flow_token': 'x' * n,
                    },
                },
            }
        },
    ),
]


def card(**more):
    return {'contacts': [{'name': {'formatted_name': 'Leo', 'first_name': 'Leo'}, **more}]}


@pytest.mark.parametrize(('field', 'limit', 'build'), TOO_MUCH, ids=[one[0] for one in TOO_MUCH])
def test_the_most_is_kept_to_the_letter_and_named(acme, field, limit, build):
    assert send(acme, **build(limit)).status_code == 202
    answer = send(acme, **build(limit + 1))
    assert named(answer) == [field]
    assert f'{limit} ' in answer.json['errors'][field][0]


@pytest.mark.parametrize('message', [
    {'type': 'poll', 'poll': {'a': 'x' * 140_000}, 'validate': False},
    {'type': 'text', 'text': {'body': 'x' * 140_000}, 'validate': False},
    {'type': 'pin', 'pin': {'type': 'pin', 'message_id': 'x', 'more': ['x'] * 40_000}},
    {'type': 'interactive', 'interactive': {'type': 'order_details', 'body': {'text': 'x'},
        'action': {'a': 'x' * 140_000}}},
])  # fmt: skip
def test_a_content_as_a_whole_has_a_most_whatever_stands_in_it(acme, message):
    assert named(send(acme, **message)) == [message['type']]
    order = {'chatbot_id': CHATBOT, 'message': message, 'recipients': [f'+{CUSTOMER}']}
    assert named(acme.post('/send/bulk', order)) == [f'message.{message["type"]}']


def test_what_rows_fill_in_has_a_most_too(acme):
    message = {'type': 'poll', 'poll': {'name': '{{x}}' * 1000}, 'validate': False}
    rows = [
        {'to': f'+1202555010{at}', 'parameters': {'x': 'x' * count}}
        for at, count in enumerate([131, 132, 40_000])
    ]
    batch = acme.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': message, 'recipients': rows}
    ).json
    assert {row['line']: list(row['errors']) for row in batch['rejected_rows']} == {
        2: ['parameters'],
        3: ['parameters.x'],
    }


def test_placeholders_and_parameters_have_a_most(acme):
    def bulk(body, parameters):
        row = {'to': f'+{CUSTOMER}', 'parameters': parameters}
        return acme.post(
            '/send/bulk', {'chatbot_id': CHATBOT, 'message': body, 'recipients': [row]}
        )

    names = [f'n{at}' for at in range(251)]
    text = ''.join(f'{{{{{name}}}}}' for name in names)
    assert named(bulk({'text': {'body': text}}, dict.fromkeys(names, 'x'))) == ['message']
    body = {'template': {'name': 'sale', 'language': {'code': 'en_US'}}}
    assert named(bulk(body, dict.fromkeys(names, 'x'))) == ['line 1, parameters']


def test_empty_rows_of_a_csv_have_a_most(acme):
    def csv(empty):
        data = 'to,name\n+12025550143,Ana\n' + ',\n' * empty
        query = {'chatbot_id': CHATBOT, 'text': 'Hi {{name}}'}
        return acme.request(
            'POST',
            '/send/bulk',
            query_string=query,
            data=data,
            headers={'Content-Type': 'text/csv'},
        )

    assert csv(1000).status_code == 202
    assert named(csv(1001)) == ['file']
    assert sql('SELECT count(*) FROM message') == [(1,)]


def test_a_body_as_deep_as_may_be_is_taken_and_sent(acme, workers, stand_in):
    deep = 'x'
    for _ in range(480):
        deep = {'a': [deep]} if isinstance(deep, str) else {'a': deep}
    content = {'type': 'order_details', 'body': {'text': 'x'}, 'action': deep}
    sent = send(acme, interactive=content).json
    assert sent['content'] == content
    order = {
        'chatbot_id': CHATBOT,
        'message': {'interactive': content},
        'recipients': [f'+{CUSTOMER}'],
    }
    assert acme.post('/send/bulk', order).status_code == 202
    workers.send()
    assert [call['body']['interactive'] for call in stand_in.sends()] == [content, content]


def test_a_filter_has_a_most(acme):
    assert named(acme.get('/messages', query_string={'chatbot_id': 'x' * 2001})) == ['chatbot_id']
