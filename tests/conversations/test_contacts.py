"""The contacts door: a person by every id that Meta ever showed of them."""

import pytest

from tests.people import CHATBOT, contact, envelope, text_message

AT = 1790000000
ANA, BEN = 'US.1001', 'US.2002'
PHONE, OTHER_PHONE = '12025550143', '12025550199'
NOBODY = '01930000-0000-7000-8000-000000000000'


@pytest.fixture(autouse=True)
def account(backend):
    return backend.account()


@pytest.fixture
def write(meta, workers):
    """write('wamid', contact card, **text_message's): somebody writes, and a worker hears it."""

    def post(wamid, card=None, **message):
        body = envelope([text_message(wamid=wamid, **message)], contacts=[card] if card else ())
        assert meta.webhook(body).status_code == 200
        workers.incoming()

    return post


def contacts(backend, **query):
    return backend.get('/contacts', query_string=query).json['data']


def test_a_contact_is_everything_known_of_a_person(backend, write):
    write(
        'a',
        contact('Ana', PHONE, ANA, 'ana.1'),
        phone=PHONE,
        user=ANA,
        from_parent_user_id='US.ENT.9',
        at=AT,
    )
    (conversation,) = backend.conversations()
    one = backend.get(f'/contacts/{conversation["id"]}').json
    assert one.pop('history') == []
    assert [one] == contacts(backend)
    assert one['id'] == one['conversation_id'] == conversation['id']
    assert {
        name: one[name]
        for name in ('chatbot_id', 'name', 'username', 'wa_id', 'user_id', 'parent_user_id')
    } == {
        'chatbot_id': CHATBOT,
        'name': 'Ana',
        'username': 'ana.1',
        'wa_id': PHONE,
        'user_id': ANA,
        'parent_user_id': 'US.ENT.9',
    }
    assert [(phone['value'], phone['current']) for phone in one['phones']] == [(PHONE, True)]
    assert [(user['value'], user['current']) for user in one['user_ids']] == [(ANA, True)]


@pytest.mark.parametrize(
    ('query', 'found'),
    [
        ({'phone': '+1 (202) 555-0143'}, ['Ana', 'Ana elsewhere']),
        ({'phone': PHONE, 'chatbot_id': CHATBOT}, ['Ana']),
        ({'phone': '5511987654321'}, ['Bia']),
        ({'phone': '+55 11 8765-4321'}, ['Bia']),
        ({'user_id': ANA, 'chatbot_id': CHATBOT}, ['Ana']),
        ({'user_id': 'us.1001'}, []),
        ({'username': '@bia'}, ['Bia']),
        ({'username': 'bia', 'phone': PHONE}, []),
        ({'chatbot_id': 'other'}, ['Ana elsewhere']),
        ({'chatbot_id': 'nobody', 'phone': PHONE}, []),
    ],
    ids=str,
)
def test_contacts_are_found_by_whatever_is_known_of_them(
    meta, backend, write, workers, query, found
):
    backend.account('other', '42')
    write('a', contact('Ana', PHONE), phone=PHONE, user=ANA)
    write('b', contact('Bia', '551187654321', username='bia'), phone='551187654321')
    write('c', contact('Group member', PHONE), phone=PHONE, group_id='group')
    card = contact('Ana elsewhere', PHONE)
    assert (
        meta.webhook(
            envelope([text_message(phone=PHONE, user='US.7')], contacts=[card], number='42')
        ).status_code
        == 200
    )
    workers.incoming()
    assert sorted(one['name'] for one in contacts(backend, **query)) == found


def test_contacts_come_in_pages_and_a_group_is_none(backend, write):
    for n in range(3):
        write(f'w.{n}', phone=f'1202555000{n}')
    write('g', phone=PHONE, group_id='group')
    first = backend.get('/contacts', query_string={'limit': 2}).json
    second = backend.get(
        '/contacts', query_string={'limit': 2, 'cursor': first['next_cursor']}
    ).json
    assert [one['wa_id'] for one in first['data'] + second['data']] == [
        f'1202555000{n}' for n in (2, 1, 0)
    ]
    group = next(one for one in backend.conversations() if one['group_id'])
    assert backend.get(f'/contacts/{group["id"]}').status_code == 404
    assert backend.get(f'/contacts/{NOBODY}').status_code == 404


def test_the_id_of_a_conversation_that_was_merged_still_finds_the_person(backend, write):
    ours = backend.send(to=f'+{PHONE}')
    write('a', phone=None, user=ANA)
    write('b', phone=PHONE, user=ANA, at=AT + 5)
    (conversation,) = backend.conversations()
    gone = ours['conversation_id']
    assert gone != conversation['id']
    assert (
        backend.get(f'/conversations/{gone}').json
        == backend.get(f'/conversations/{conversation["id"]}').json
    )
    assert backend.get(f'/contacts/{gone}').json['id'] == conversation['id']
    assert len(backend.messages(conversation_id=gone)) == 3
    assert backend.message(ours['id'])['conversation_id'] == conversation['id']
