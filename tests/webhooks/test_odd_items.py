"""Items that are odd, or of no use: each gets its outcome, and none costs its neighbours."""

import json

import pytest

from tests.people import CUSTOMER, contact, envelope, status_of, text_message
from tests.stack import PHONE_NUMBER_ID
from tests.webhooks.test_webhook_bodies import GOOD, nested

BAD_MESSAGES = {
    'no id': {'id': None},
    'an empty id': {'id': ''},
    'an id that is a number': {'id': 5},
    'an id of 600 characters': {'id': 'w' * 600},
    'an id of 512 emoji': {'id': '\U0001f389' * 512},
    'no sender': {'from': None},
    'a sender that is an object': {'from': {'wa_id': CUSTOMER}},
    'a sender of 300 digits': {'from': '1' * 300},
    'a sender with NUL': {'from': '1202\x005550143'},
    'a sender with letters': {'from': 'Ines'},
    'a sender of 4 digits': {'from': '1202'},
    'a sender of 16 digits': {'from': '1202555014312345'},
    'a sender that is a fraction': {'from': 12025550143.5},
    'a sender that is a list': {'from': [CUSTOMER]},
    'a BSUID in lower case': {'from': 'us.1001'},
}
ODD_MESSAGES = {
    'the number as a number': {'from': int(CUSTOMER)},
    'a time that is no time': {'timestamp': 'abc'},
    'a time far beyond': {'timestamp': 10**20},
    'a time in milliseconds': {'timestamp': '1790000000000'},
    'a time in the year 9999': {'timestamp': '253402300799'},
    'no time': {'timestamp': None},
    'a time that is a list': {'timestamp': [1]},
    'a negative time': {'timestamp': '-99999999999'},
    'no type': {'type': None},
    'a type that is a list': {'type': ['text']},
    'a type that is an object': {'type': {'text': 1}},
    'a type of 100 characters': {'type': 'x' * 100},
    'a type with NUL': {'type': 'te\x00xt'},
    'a type named like a common key': {'type': 'from'},
    'no content': {'text': None},
    'a content that is a number': {'text': 5},
    'a context that is text': {'context': 'x'},
    'an id of 512 characters': {'id': 'w' * 512},
    'an id with NUL and a surrogate': {'id': 'wamid.\x00\ud83d'},
    'a group that is an object': {'group_id': {'a': 1}},
    'a group of 300 characters': {'group_id': 'g' * 300},
    'a system message without its body': {'type': 'system', 'system': 'x'},
    'a parent BSUID that is a list': {'from_parent_user_id': []},
}


def between_good_ones(damage):
    messages = [
        text_message(wamid='good.1'),
        {**text_message(wamid='odd'), **damage},
        text_message(wamid='good.2'),
    ]
    return envelope(messages, [status_of('good.3', 'sent')])


@pytest.mark.parametrize('damage', BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_a_message_that_cannot_be_used_is_invalid_and_costs_no_neighbour(
    backend, accounts, deliver, damage
):
    deliver(between_good_ones(damage))
    assert [outcome for _, outcome in backend.outcomes()] == [
        'stored',
        'invalid',
        'stored',
        'orphan',
    ]
    assert [message['wamid'] for message in backend.messages()] == ['good.2', 'good.1']


@pytest.mark.parametrize('damage', ODD_MESSAGES.values(), ids=ODD_MESSAGES)
def test_an_odd_message_is_stored_and_can_be_looked_at(backend, accounts, deliver, damage):
    deliver(between_good_ones(damage))
    assert [outcome for _, outcome in backend.outcomes()] == [
        'stored',
        'stored',
        'stored',
        'orphan',
    ]
    assert len(backend.messages()) == 3
    assert len(backend.conversations('bot-' + PHONE_NUMBER_ID)) in (1, 2)


BAD_STATUSES = {
    'no id': {'id': None},
    'no status': {'status': None},
    'a status that is a list': {'status': ['sent']},
    'a status of 100 characters': {'status': 's' * 100},
    'an id of 600 characters': {'id': 'w' * 600},
}
ODD_STATUSES = {
    'a time that is no time': {'timestamp': 'abc'},
    'a time far beyond': {'timestamp': 10**20},
    'a status with NUL': {'status': 'se\x00nt'},
    'an opaque id that is a list': {'biz_opaque_callback_data': ['x']},
    'an opaque id that is nearly a UUID': {'biz_opaque_callback_data': '0-1-2-3-' + '4' * 28},
    'an opaque id with digits of elsewhere': {
        'biz_opaque_callback_data': '٠' * 8 + '-0000-0000-0000-' + '0' * 12
    },
    'an opaque id with NUL': {'biz_opaque_callback_data': '\x00'},
    'a long opaque id': {'biz_opaque_callback_data': 'x' * 5000},
    'errors that are no list': {'errors': {'code': 1}},
    'errors that are no objects': {'errors': ['x', None]},
    'an error full of objects': {
        'status': 'failed',
        'errors': [{'code': {}, 'title': [], 'error_data': 'x'}],
    },
    'pricing that is text': {'pricing': 'free'},
    'pricing of odd parts': {'pricing': {'category': '\x00', 'type': {}}},
    'a participant that is an object': {'recipient_participant_id': {}},
    'the longest ids that are let in': {
        'id': '\U0001f389' * 128,
        'recipient_participant_id': '\U0001f389' * 255,
    },
}


@pytest.mark.parametrize('damage', BAD_STATUSES.values(), ids=BAD_STATUSES)
def test_a_status_that_cannot_be_used_is_invalid_and_costs_no_neighbour(
    backend, accounts, deliver, damage
):
    deliver(
        envelope(
            statuses=[
                status_of('a', 'sent'),
                {**status_of('odd', 'sent'), **damage},
                status_of('b', 'read'),
            ]
        )
    )
    assert [outcome for _, outcome in backend.outcomes()] == ['orphan', 'invalid', 'orphan']


@pytest.mark.parametrize('damage', ODD_STATUSES.values(), ids=ODD_STATUSES)
def test_an_odd_status_is_kept(backend, accounts, deliver, damage):
    deliver(
        envelope(
            statuses=[
                status_of('a', 'sent'),
                {**status_of('odd', 'sent'), **damage},
                status_of('b', 'read'),
            ]
        )
    )
    assert [outcome for _, outcome in backend.outcomes()] == ['orphan'] * 3


@pytest.mark.parametrize(
    'contacts', [{'wa_id': CUSTOMER}, 'x', [None], [{'profile': 'x', 'wa_id': CUSTOMER}]]
)
def test_contacts_of_any_shape_cost_no_message(backend, accounts, deliver, contacts):
    body = envelope([text_message()])
    body['entry'][0]['changes'][0]['value']['contacts'] = contacts
    deliver(body)
    assert backend.outcomes() == [('message', 'stored')]


def test_names_that_no_column_holds_are_cleaned(backend, accounts, deliver):
    deliver(envelope([text_message()], contacts=[contact('I\x00nes \ud83d', username='u' * 400)]))
    (conversation,) = backend.conversations('bot-' + PHONE_NUMBER_ID)
    assert conversation['name'] == 'I\ufffdnes \ufffd'
    assert conversation['username'] == 'u' * 255


def test_nul_and_lone_surrogates_come_back_as_they_were_sent(meta, backend, accounts, deliver):
    deliver(
        meta.payload('edge_unicode_nul_and_surrogates'), meta.payload('in_text_escaped_unicode')
    )
    nice, raw = backend.messages()
    assert raw['content'] == {'body': 'a\x00b \ud83d end'}
    assert nice['content'] == {'body': 'Olá! Preço 50% <até> 10/10 @loja 🎉 日本'}
    assert backend.message(raw['id'])['content'] == raw['content']


def holding(value):
    """A webhook whose message holds a value, given as JSON text, under a key that nobody knows."""
    return (
        json.dumps(envelope([text_message(wamid='wamid.odd', odd='@')]))
        .replace('"@"', value)
        .encode()
    )


ODDITIES = {
    'a huge float': '1e999',
    'a tiny float': '1e-999',
    'a long integer': '9' * 300,
    'a very long integer': '-' + '9' * 6000,
    'a long fraction': '0.' + '1' * 6000,
    'nested 400 deep': nested(400),
    'nested 490 deep': nested(490),
    'surrogates': '"\\ud83d \\ude00\\ud83d"',
    'NULs': '{"\\u0000": "\\u0000"}',
    'equal keys': '{"a": 1, "a": 2}',
}


@pytest.mark.parametrize('value', ODDITIES.values(), ids=ODDITIES)
def test_an_odd_value_costs_neither_its_message_nor_the_lists(meta, backend, workers, value):
    backend.account()
    assert meta.webhook(holding(value)).status_code == 200
    assert meta.webhook(GOOD).status_code == 200
    workers.incoming()
    assert backend.outcomes() == [('message', 'stored')] * 2
    assert [message['wamid'] for message in backend.messages()] == ['wamid.neighbour', 'wamid.odd']


@pytest.mark.parametrize('value', ODDITIES.values(), ids=ODDITIES)
def test_an_odd_content_costs_neither_its_message_nor_the_lists(meta, backend, workers, value):
    backend.account()
    body = json.dumps(envelope([{**text_message(wamid='wamid.odd'), 'text': '@'}])).replace(
        '"@"', value
    )
    assert meta.webhook(body.encode()).status_code == 200
    workers.incoming()
    assert backend.outcomes() == [('message', 'stored')]
    assert [message['wamid'] for message in backend.messages()] == ['wamid.odd']
