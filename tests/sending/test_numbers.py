"""Numbers: Meta gets a plus and digits; other forms of a number only lead to a conversation."""

import pytest

from tests.own_service import Platform
from tests.people import CHATBOT, contact, envelope, sql, text_message

PAIRS = [
    ('5511987654321', '551187654321'),  # Brazil: the ninth digit
    ('5215512345678', '525512345678'),  # Mexico: the 1
    ('5491123456789', '541123456789'),  # Argentina: the 9
    ('2250707123456', '22507123456'),  # Ivory Coast: the operator's digits
    ('2250544123456', '22544123456'),
    ('2250141091002', '22541091002'),
    ('2290197120016', '22997120016'),  # Benin: 01
    ('237676671338', '23776671338'),  # Cameroon: the 6
    ('24166123456', '24106123456'),  # Gabon: 6 or 7 for the 0
    ('24174123456', '24104123456'),
]


@pytest.fixture
def acme(backend, stand_in):
    backend.account()
    return backend


def writes(meta, workers, phone, user=None, wamid='wamid.A'):
    meta.webhook(
        envelope(
            [text_message(wamid=wamid, phone=phone, user=user)],
            contacts=[contact('Ines', phone, user)],
        )
    )
    workers.incoming()


GIVEN = {
    '+55 (11) 98765-4321': '+5511987654321',
    '5511987654321': '+5511987654321',
    '+551187654321': '+551187654321',
    '+1 202.555.0143': '+12025550143',
    '+1\u00a0202\u00a0555\u00a00143': '+12025550143',
    '31987654321': '+31987654321',
    '\u202a+1\u2011202\u2011555\u20110143\u202c': '+12025550143',
    '\ufeff12025550143\u2069': '+12025550143',
}


@pytest.mark.parametrize(('given', 'dialled'), GIVEN.items(), ids=ascii)
def test_meta_gets_a_plus_and_digits_however_a_number_is_written(
    acme, workers, stand_in, given, dialled
):
    sent = acme.send(given)
    workers.send()
    assert (
        stand_in.sends()[0]['body']['to'] == sent['to'] == acme.message(sent['id'])['to'] == dialled
    )


@pytest.mark.parametrize('given', GIVEN, ids=ascii)
def test_what_was_stored_by_an_earlier_version_leaves_with_a_plus_too(
    acme, workers, stand_in, given
):
    acme.send('+12025550143')
    sql('UPDATE message SET recipient_to = %s', given)
    workers.send()
    assert [call['body']['to'] for call in stand_in.sends()] == [GIVEN[given]]


def test_a_reply_to_what_an_earlier_version_took_for_a_phone_goes_to_the_bsuid(
    acme, workers, stand_in
):
    acme.send('+12025550143')
    sql("UPDATE message SET recipient_to = '+US.7700000000000001'")
    workers.send()
    (call,) = stand_in.sends()
    assert (call['body'].get('to'), call['body'].get('recipient')) == (None, 'US.7700000000000001')


@pytest.mark.parametrize('given', GIVEN, ids=ascii)
def test_the_rows_of_a_bulk_are_read_likewise(acme, workers, stand_in, given):
    text = {'type': 'text', 'text': {'body': 'Hi'}}
    rows = [given, {'to': given, 'client_reference': 'again'}, GIVEN[given]]
    batch = acme.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': text, 'recipients': rows}
    ).json
    assert (batch['accepted'], batch['duplicates']) == (1, 2)
    order = {'chatbot_id': CHATBOT, 'text': 'Hi'}
    csv = f'to,client_reference\n{given},7\n'.encode()
    answer = acme.post(
        '/send/bulk', data=csv, headers={'Content-Type': 'text/csv'}, query_string=order
    )
    assert answer.json['accepted'] == 1
    sql('UPDATE conversation SET send_after = NULL')
    workers.send()
    sql('UPDATE conversation SET send_after = NULL')
    workers.send()
    assert {call['body']['to'] for call in stand_in.sends()} == {GIVEN[given]}


@pytest.mark.parametrize(
    'given', ['US.7700000000000001\u200b', ' US.7700000000000001', 'US.ENT.77 ']
)
def test_a_bsuid_is_read_without_marks_too_and_never_goes_to_a_phone(
    acme, workers, stand_in, given
):
    body = {'chatbot_id': CHATBOT, 'text': {'body': 'x'}}
    assert acme.post('/send', body | {'to': given}).status_code == 422
    assert 'A phone number goes into "to"' in str(
        acme.post('/send', body | {'recipient': '+12025550143'}).json
    )
    sent = acme.post('/send', body | {'recipient': given}).json
    workers.send()
    assert stand_in.sends()[0]['body']['recipient'] == sent['recipient'] == given.strip(' \u200b')


def test_what_meta_made_of_the_number_is_kept_beside_it(acme, workers, setting):
    answer = {
        'contacts': [{'input': '+5511987654321', 'wa_id': '551187654321'}],
        'messages': [{'id': 'wamid.X'}],
    }
    with Platform() as graph:
        graph.answer(200, answer)
        setting('GRAPH_API_URL', graph.url)
        sent = acme.send('+5511987654321')
        workers.send()
    message = acme.message(sent['id'])
    assert (message['to'], message['wa_id'], message['status']) == (
        '+5511987654321',
        '551187654321',
        'accepted',
    )


@pytest.mark.parametrize(('long', 'short'), [*PAIRS, *(pair[::-1] for pair in PAIRS)])
@pytest.mark.parametrize('user', [None, 'BR.1'])
def test_the_answer_from_the_other_form_is_the_same_conversation(
    acme, workers, meta, long, short, user
):
    first = acme.send(f'+{long}')
    writes(meta, workers, short, user)
    (conversation,) = acme.conversations()
    assert conversation['id'] == first['conversation_id']
    assert (conversation['wa_id'], conversation['user_id']) == (short, user)
    for form in (long, short):
        assert acme.send(f'+{form}')['conversation_id'] == conversation['id']


@pytest.mark.parametrize(('long', 'short'), [*PAIRS, *(pair[::-1] for pair in PAIRS)])
def test_a_customer_who_wrote_first_is_found_under_the_other_form(
    acme, workers, meta, stand_in, long, short
):
    writes(meta, workers, short, 'BR.1')
    sent = acme.send(f'+{long}')
    (conversation,) = acme.conversations()
    assert sent['conversation_id'] == conversation['id']
    workers.send()
    assert f'+{long}' in [call['body']['to'] for call in stand_in.sends()]


@pytest.mark.parametrize(('long', 'short'), PAIRS)
def test_a_variant_with_another_bsuid_is_somebody_else(acme, workers, meta, long, short):
    writes(meta, workers, long, 'BR.1', 'wamid.1')
    writes(meta, workers, short, 'BR.2', 'wamid.2')
    known = {one['user_id']: one for one in acme.conversations()}
    assert {user: one['wa_id'] for user, one in known.items()} == {'BR.1': long, 'BR.2': short}
    for user, phone in (('BR.1', long), ('BR.2', short)):
        assert acme.send(f'+{phone}')['conversation_id'] == known[user]['id']


def test_an_exact_number_wins_over_a_variant(acme, workers, meta):
    long, short = PAIRS[0]
    writes(meta, workers, long, 'BR.1', 'wamid.1')
    writes(meta, workers, short, 'BR.2', 'wamid.2')
    writes(meta, workers, short, None, 'wamid.3')
    messages = {one['wamid']: one['conversation_id'] for one in acme.messages(direction='inbound')}
    assert messages['wamid.3'] == messages['wamid.2'] != messages['wamid.1']


# Lengths of no plan of today: a Congolese number without its 0, a Lebanese one with it, an Ivorian
# one of nobody's.
KNOWN = ['24205686000', '96103123456', '22510123456']


@pytest.mark.parametrize('wa_id', KNOWN)
def test_a_number_under_which_meta_knows_a_customer_is_never_refused(
    acme, workers, meta, stand_in, wa_id
):
    body = {'chatbot_id': CHATBOT, 'to': f'+{wa_id}', 'text': {'body': 'x'}}
    bulk = {
        'chatbot_id': CHATBOT,
        'message': {'text': {'body': 'x'}},
        'recipients': [f'+{wa_id}', {'to': f'{wa_id} '}],
    }
    assert [
        acme.post(path, one).status_code for path, one in (('/send', body), ('/send/bulk', bulk))
    ] == [422, 422]
    writes(meta, workers, wa_id)
    (conversation,) = acme.conversations()
    assert acme.post('/send', body).json['conversation_id'] == conversation['id']
    bulk['recipients'] += [{'to': '+1202555', 'client_reference': 'bad'}, '+22510123457']
    batch = acme.post('/send/bulk', bulk).json
    assert (batch['accepted'], batch['duplicates'], batch['rejected']) == (1, 1, 2)
    assert [row['line'] for row in batch['rejected_rows']] == [3, 4]
    assert acme.post('/send', body | {'text': {'body': ''}}).json['errors'].keys() == {'text.body'}
    acme.account('other', '42')
    assert acme.post('/send', body | {'chatbot_id': 'other'}).status_code == 422
    workers.send()
    assert stand_in.sends()[0]['body']['to'] == f'+{wa_id}'


def test_numbers_of_other_countries_have_no_variants(acme):
    ids = {
        acme.send(to)['conversation_id']
        for to in ('+4915112345678', '+49151123456789', '+12025550143')
    }
    assert len(ids) == 3


def test_a_reply_goes_to_the_number_that_wrote(acme, workers, meta, stand_in):
    long, short = PAIRS[0]
    acme.send(f'+{long}')
    workers.send()
    writes(meta, workers, short)
    workers.send()
    assert [call['body']['to'].lstrip('+') for call in stand_in.sends()] == [long, short]


BAD = [
    ('+1202555O143', 'no letters'),
    ('02025550143', 'country code'),
    ('+1202555', 'Too short'),
    ('+120255501430', 'Too long'),
    ('+55 11 98765', 'Too short'),
    ('+551198765432101', 'Too long'),
    ('+999123456789', 'No country'),
    ('+4401632960000', 'Leave out the 0'),
    ('+', 'missing'),
    ('   ', 'missing'),
    ('+1234567890123456', 'at most 15'),
    ('12025550143;12025550144', 'no more'),
    ('٠١٢', 'no more'),
    ('+1202+5550143', 'no more'),
]


def test_a_bad_number_is_refused_with_a_clear_sentence(acme):
    for to, sentence in BAD:
        answer = acme.post('/send', {'chatbot_id': CHATBOT, 'to': to, 'text': {'body': 'x'}})
        assert (to, answer.status_code) == (to, 422)
        assert sentence in answer.json['errors']['to'][0]
    assert acme.messages() == acme.conversations() == []
