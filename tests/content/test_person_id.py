"""What a value names somebody by: a BSUID in any field, a phone however it is written."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.content.person_id import PersonId, in_place, named, read
from service.content.phone_numbers import problem
from tests.own_service import Platform
from tests.people import (
    CHATBOT,
    CUSTOMER,
    Customers,
    contact,
    envelope,
    sql,
    status_of,
    text_message,
)

PHONE = '15550001111'
MARKS = {
    'no-break space': '\u00a0',
    'thin space': '\u2009',
    'narrow no-break space': '\u202f',
    'wide space': '\u3000',
    'non-breaking hyphen': '\u2011',
    'dash': '\u2013',
    'minus': '\u2212',
    'full-width hyphen': '\uff0d',
    'left-to-right mark': '\u200e',
    'right-to-left mark': '\u200f',
    'embedding': '\u202a',
    'pop': '\u202c',
    'override': '\u202e',
    'isolate': '\u2066',
    'end of isolate': '\u2069',
    'byte order mark': '\ufeff',
    'zero width space': '\u200b',
    'joiner': '\u200d',
    'word joiner': '\u2060',
    'soft hyphen': '\u00ad',
    'Arabic letter mark': '\u061c',
    'line separator': '\u2028',
    'variation selector': '\ufe0f',
    'filler': '\u3164',
}


@pytest.mark.parametrize('mark', MARKS.values(), ids=MARKS)
def test_a_mark_that_nobody_sees_changes_nothing_wherever_it_stands(mark):
    written = f'{mark}+{mark}1{mark}555{mark}000{mark}1111{mark}{mark}'
    assert problem(written) is None
    assert read(written) == PersonId('phone', PHONE)


@pytest.mark.parametrize(
    'value', [PHONE, f'+{PHONE}', int(PHONE), '+1 (555) 000-1111', '(+1) 555.000.1111']
)
def test_a_phone_is_its_digits(value):
    assert read(value) == PersonId('phone', PHONE)


BSUIDS = {
    'US.7700000000000001': 'user',
    'BR.aB9': 'user',
    'US.ENT.77': 'parent',
    'US.ENTx': 'user',
    'US.ENT': 'user',
}


@pytest.mark.parametrize(('value', 'kind'), BSUIDS.items())
def test_a_bsuid_is_one_wherever_it_stands(value, kind):
    assert read(value) == read(f' {value}\u200b') == read(f'+{value}') == PersonId(kind, value)


NOTHING = [
    None,
    '',
    ' ',
    '+',
    'Ines',
    'us.1001',
    'US.',
    'US.ENT.',
    'U.1',
    'USA.1',
    'US.1-2',
    'US.' + 'x' * 200,
    '1234',
    '1' * 16,
    '012025550143',
    '+0012025550143',
    '١٢٠٢٥٥٥٠١٤٣',
    '１２０２５５５０１４３',
    '1202\x005550143',
    12025550143.0,
    1e11,
    True,
    -12025550143,
    10**16,
    10**400,
    [PHONE],
    {'wa_id': PHONE},
    (),
    '1 202 555 0143 ext 5',
    '12025550143@s.whatsapp.net',
    '+' * 300,
    ' ' * 300 + PHONE,
    '\ud83d',
]


@pytest.mark.parametrize('value', NOTHING, ids=lambda value: ascii(value)[:30])
def test_everything_else_names_nobody(value):
    assert read(value) is None


@given(st.one_of(st.text(), st.integers(), st.floats(), st.lists(st.text()), st.none()))
def test_whatever_is_read_is_a_bsuid_or_digits(value):
    found = read(value)
    assert found is None or found == read(found.value)
    assert found is None or (found.value.isdigit() and 5 <= len(found.value) <= 15) == (
        found.kind == 'phone'
    )


def test_of_several_values_the_first_of_each_kind_counts():
    assert named('US.2', None, 'hello', '+1 555 000 1111', 'US.ENT.1', 'US.3', '12025550143') == {
        'user': 'US.2',
        'phone': PHONE,
        'parent': 'US.ENT.1',
    }
    assert named() == named(None, []) == {}


@pytest.mark.parametrize(
    ('given', 'shown'),
    [
        ({'from': 'US.1'}, (None, 'US.1')),
        ({'from': 'US.1', 'from_user_id': 'US.1'}, (None, 'US.1')),
        ({'from': f'+{PHONE}', 'from_user_id': 'US.1'}, (PHONE, 'US.1')),
        ({'from_user_id': PHONE}, (PHONE, None)),
        ({'from': 'US.ENT.1'}, (None, 'US.ENT.1')),
        ({'from': 'Ines', 'from_user_id': [1]}, ('Ines', [1])),
        ({}, (None, None)),
    ],
)
def test_each_id_of_a_sender_is_shown_where_it_belongs(given, shown):
    assert tuple(in_place(given).values()) == shown


# ---- through the door


ANA, PARENT = 'US.7700000000000001', 'US.ENT.77'
AT = 1790000000


@pytest.fixture
def acme(backend, stand_in):
    backend.account(responder=None)  # the AI of the environment
    return backend


@pytest.fixture
def people(acme, meta, workers):
    yield Customers(meta, workers)
    assert (
        sql(
            "SELECT value FROM conversation_identity WHERE kind IN ('phone', 'former') AND value "
            "~ '[^0-9]'"
        )
        == []
    )
    assert sql("SELECT wa_id FROM conversation WHERE wa_id ~ '[^0-9]'") == []
    assert (
        sql(
            "SELECT recipient_to FROM message WHERE recipient_to !~ '^[+]?[0-9]+$' AND NOT extra "
            'IS NOT NULL'
        )
        == []
    )
    assert sql("SELECT answer_wa_id FROM message WHERE answer_wa_id ~ '[^0-9]'") == []


def ids(one):
    return one['wa_id'], one['user_id'], one['parent_user_id']


def only(backend):
    (conversation,) = backend.conversations()
    return ids(conversation)


def without(message, *names):
    return {name: value for name, value in message.items() if name not in names}


BSUID_AS_PHONE = {
    'in from and wa_id': ({'from': ANA}, {'wa_id': ANA, 'user_id': ANA}),
    'in from alone': ({'from': ANA}, None),
    'in wa_id': ({'from_user_id': ANA}, {'wa_id': ANA}),
    'in from beside itself': ({'from': ANA, 'from_user_id': ANA}, {'wa_id': ANA, 'user_id': ANA}),
    'with blanks around it': ({'from': f' {ANA}\u200b'}, None),
}


@pytest.mark.parametrize(('sender', 'card'), BSUID_AS_PHONE.values(), ids=BSUID_AS_PHONE)
def test_a_bsuid_where_a_phone_stood_is_no_phone_and_the_answer_goes_to_it(
    acme, people, workers, stand_in, sender, card
):
    message = without(text_message(), 'from') | sender
    people.tell(
        envelope([message], contacts=[{'profile': {'name': 'Ines'}, **card}] if card else ())
    )
    assert only(acme) == (None, ANA, None)
    workers.send()
    (sent,) = stand_in.sends()
    assert (sent['body'].get('to'), sent['body'].get('recipient')) == (None, ANA)
    written = acme.messages(direction='inbound')[0]
    assert written['from'] is None
    assert written['from_user_id'] == ANA
    people.write('Again', phone=CUSTOMER, user=ANA)
    assert only(acme) == (CUSTOMER, ANA, None)


SEEN = {
    'bsuid_in_from': (None, 'US.7700000000000001', None),
    'in_text_phone_with_plus': ('12025557703', None, None),
    'in_text_benin_old_number': ('22997120016', None, None),
}


@pytest.mark.parametrize('name', SEEN)
def test_bodies_that_were_seen_in_the_field_name_whom_they_mean(acme, people, name):
    people.tell(people.meta.payload(name))
    assert only(acme) == SEEN[name]


def test_a_name_in_contacts_is_found_by_a_bsuid_in_any_field(acme, people):
    message = without(text_message(), 'from') | {'from': ANA}
    people.tell(
        envelope(
            [message],
            contacts=[contact('Ben', '12025550177'), {**contact('Ana', None), 'user_id': ANA}],
        )
    )
    assert acme.conversations()[0]['name'] == 'Ana'


def test_a_parent_bsuid_in_from_is_a_parent(acme, people):
    people.tell(envelope([text_message(phone=PARENT, user=ANA)]))
    assert only(acme) == (None, ANA, PARENT)


WRITTEN = [
    f'+{CUSTOMER}',
    '+1 (202) 555-0143',
    '\u202a+1\u00a0202\u2011555\u20110143\u202c',
    int(CUSTOMER),
]


@pytest.mark.parametrize('written', WRITTEN, ids=ascii)
def test_a_phone_is_one_however_meta_writes_it(acme, people, workers, stand_in, written):
    ours = acme.send(force=True)
    people.tell(envelope([text_message(phone=written)], contacts=[contact('Ines', written)]))
    (conversation,) = acme.conversations()
    assert (conversation['id'], conversation['name']) == (ours['conversation_id'], 'Ines')
    assert conversation['wa_id'] == acme.messages(direction='inbound')[0]['from'] == CUSTOMER
    workers.send()
    assert {call['body']['to'] for call in stand_in.sends()} == {f'+{CUSTOMER}'}


@pytest.mark.parametrize(
    'ids_', [{'recipient_id': ANA}, {'recipient_id': ANA, 'recipient_user_id': ANA}]
)
def test_a_status_that_calls_a_bsuid_a_phone_teaches_none(acme, people, workers, stand_in, ids_):
    body = {'chatbot_id': CHATBOT, 'recipient': ANA, 'text': {'body': 'Hi'}}
    sent = acme.post('/send', body).json
    workers.send()
    wamid = acme.message(sent['id'])['wamid']
    told = [
        without(status_of(wamid, name, int(time.time())), 'recipient_id') | ids_
        for name in ('sent', 'delivered')
    ]
    people.tell(envelope(statuses=told, contacts=[{**contact('Ana', None), 'wa_id': ANA}]))
    assert only(acme) == (None, ANA, None)
    assert acme.conversations()[0]['name'] == 'Ana'
    people.tell(envelope([without(text_message(), 'from') | {'from_user_id': ANA}]))
    workers.send()
    assert [call['body'].get('to') for call in stand_in.sends()] == [None, None]


def test_a_status_with_a_plus_speaks_of_the_person_who_has_the_number(acme, people, workers):
    sent = acme.send()
    told = status_of('wamid.1', 'delivered', int(time.time()), opaque=sent['id'])
    people.tell(
        envelope(statuses=[told | {'recipient_id': f'+{CUSTOMER}', 'recipient_user_id': ANA}])
    )
    assert only(acme) == (CUSTOMER, ANA, None)


ANSWERS = {
    'a BSUID as wa_id': ({'recipient': ANA}, {'input': ANA, 'wa_id': ANA}, (None, ANA, None)),
    'a BSUID as wa_id of a phone': ({'to': f'+{CUSTOMER}'}, {'wa_id': ANA}, (CUSTOMER, ANA, None)),
    'a phone with a plus': (
        {'to': f'+{CUSTOMER}'},
        {'wa_id': f'+{CUSTOMER}'},
        (CUSTOMER, None, None),
    ),
    'a parent as wa_id': (
        {'recipient': PARENT},
        {'input': PARENT, 'wa_id': PARENT},
        (None, None, PARENT),
    ),
    'a name': ({'to': f'+{CUSTOMER}'}, {'wa_id': 'Ines', 'user_id': ['x']}, (CUSTOMER, None, None)),
}


@pytest.mark.parametrize(('to', 'answer', 'known'), ANSWERS.values(), ids=ANSWERS)
def test_what_meta_answers_is_looked_at_before_it_is_believed(
    acme, people, workers, setting, to, answer, known
):
    with Platform() as graph:
        graph.answer(200, {'contacts': [answer], 'messages': [{'id': 'wamid.X'}]})
        setting('GRAPH_API_URL', graph.url)
        sent = acme.post('/send', {'chatbot_id': CHATBOT, 'text': {'body': 'Hi'}, **to}).json
        workers.send()
    assert only(acme) == known
    assert acme.message(sent['id'])['wa_id'] in (None, CUSTOMER)


def test_an_echo_to_a_bsuid_goes_into_that_conversation(acme, people):
    written = {'from': '15550104477', 'timestamp': str(AT), 'type': 'text', 'text': {'body': 'x'}}
    whom = {'wamid.E': ANA, 'wamid.F': f'+{CUSTOMER}', 'wamid.G': 'x'}
    people.field(
        'smb_message_echoes',
        message_echoes=[{**written, 'id': id_, 'to': to} for id_, to in whom.items()],
    )
    assert sorted(map(ids, acme.conversations()), key=str) == [
        (CUSTOMER, None, None),
        (None, ANA, None),
    ]
    assert [(one['to'], one['recipient']) for one in acme.messages()] == [
        (CUSTOMER, None),
        (None, ANA),
    ]


NEWS = {
    'the BSUID of before in from': {'from': ANA, 'system': {'wa_id': CUSTOMER, 'user_id': 'US.2'}},
    'the new BSUID as wa_id': {'from_user_id': ANA, 'system': {'wa_id': 'US.2'}},
    'the BSUID of before as the customer': {
        'system': {'customer': ANA, 'user_id': 'US.2', 'wa_id': 'US.2'}
    },
    'both with a blank': {'system': {'previous_user_id': f'{ANA} ', 'user_id': ' US.2'}},
}


@pytest.mark.parametrize('news', NEWS.values(), ids=NEWS)
def test_news_of_new_ids_is_read_whatever_field_they_stand_in(acme, people, news):
    people.write('Hi', ago=60, phone=None, user=ANA)
    system = {'type': 'user_changed_user_id', 'body': 'x', **news['system']}
    people.tell(
        envelope(
            [
                without(text_message(wamid='wamid.N'), 'from', 'text')
                | news
                | {'type': 'system', 'system': system}
            ]
        )
    )
    (conversation,) = acme.conversations()
    assert conversation['user_id'] == 'US.2'
    assert conversation['wa_id'] in (None, CUSTOMER)


def test_the_withdrawn_field_is_read_so_too(acme, people):
    people.write('Hi', ago=60, phone=None, user=ANA)
    update = {'wa_id': 'US.2', 'user_id': {'previous': ANA}, 'timestamp': str(int(time.time()))}
    people.field('user_id_update', user_id_update=[update])
    assert only(acme) == (None, 'US.2', None)


def test_wishes_and_calls_find_the_person_by_a_bsuid_in_any_field(acme, people):
    people.write('Hi', ago=90_000, phone=None, user=ANA)
    people.prefer('stop', wa_id=ANA)
    call = {
        'id': 'wacid.1',
        'from': ANA,
        'event': 'connect',
        'direction': 'USER_INITIATED',
        'timestamp': str(int(time.time())),
    }
    people.field('calls', calls=[call])
    (conversation,) = acme.conversations()
    assert (ids(conversation), conversation['window_open']) == ((None, ANA, None), True)
    assert acme.get(f'/contacts/{conversation["id"]}').json['marketing']['by'] == 'user_preferences'
    people.prefer('resume', wa_id=f'+{CUSTOMER}', user_id=ANA)
    assert only(acme) == (CUSTOMER, ANA, None)


def test_people_of_a_group_are_told_apart_by_bsuids_in_any_field(acme, people):
    people.tell(
        envelope(
            [
                text_message(wamid='wamid.A', phone=ANA, group_id='g'),
                text_message(wamid='wamid.B', group_id='g'),
            ]
        )
    )
    assert [(one['from'], one['from_user_id']) for one in acme.messages(direction='inbound')] == [
        (CUSTOMER, None),
        (None, ANA),
    ]
    ours = acme.send(to='g', recipient_type='group')
    group = {'recipient_type': 'group', 'recipient_id': 'g'}
    whom = (
        {'recipient_participant_id': ANA},
        {'recipient_participant_id': f'+{CUSTOMER}'},
        {'participant_recipient_id': CUSTOMER},
    )
    people.tell(
        envelope(
            statuses=[
                status_of('wamid.G', 'read', opaque=ours['id'], **group, **who) for who in whom
            ]
        )
    )
    told = [
        one.get('participant')
        for one in acme.message(ours['id'])['statuses']
        if one['status'] == 'read'
    ]
    assert sorted(told) == [CUSTOMER, ANA]


@pytest.mark.parametrize(
    'value',
    ['Ines', '1202', '1' * 16, 12025550143.5, [CUSTOMER], {'a': 1}, True, '+', 'us.1'],
    ids=str,
)
def test_what_names_nobody_makes_nobody_known_and_spoils_nothing(acme, people, value):
    people.write('Hi', user=ANA)
    sent = acme.send()
    card = {'profile': {'name': 'Ines'}, 'wa_id': value, 'user_id': value}
    message = text_message(wamid='wamid.odd', phone=value)
    status = status_of('wamid.S', 'sent', opaque=sent['id'], recipient_user_id=value) | {
        'recipient_id': value
    }
    people.tell(envelope([message], [status], [card]))
    people.prefer('stop', wa_id=value)
    assert only(acme) == (CUSTOMER, ANA, None)
    assert acme.outcomes()[:3] == [
        ('change', 'stored'),
        ('message', 'invalid'),
        ('status', 'stored'),
    ]


def test_contacts_are_found_by_whatever_way_an_id_is_written(acme, people):
    people.write('Hi', user=ANA)
    for query in (
        {'phone': '+1\u00a0202\u00a0555\u00a00143'},
        {'phone': ANA},
        {'user_id': f'{ANA} '},
        {'user_id': CUSTOMER},
    ):
        found = acme.get('/contacts', query_string=query).json['data']
        assert [one['user_id'] for one in found] == [ANA], query
    for nobody in ('Ines', '+', '1202', 'us.7700000000000001'):
        assert acme.get('/contacts', query_string={'phone': nobody}).json['data'] == []
