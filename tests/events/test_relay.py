"""What services that were written against Meta get of its webhooks."""

import json
from collections import Counter

import pytest

from service.events import event, relay
from service.runtime.db import connection
from service.webhooks.payload import flatten, parse
from tests.people import CHATBOT, MANIFEST, WABA, envelope, sql, status_of, text_message
from tests.stack import PHONE_NUMBER_ID

OTHER_NUMBER = '300155500099999'
OWN = 'order 17 / "é" \U0001f600'


@pytest.fixture
def acme(backend):
    backend.account(waba_id=WABA)
    backend.relay(CHATBOT)
    return backend


@pytest.fixture
def tell(meta, workers):
    def tell(*bodies):
        for body in bodies:
            assert meta.webhook(body).status_code == 200
        workers.incoming()

    return tell


def relayed(chatbot_id=CHATBOT):
    """The bodies of a chatbot's events, in their order."""
    rows = sql(
        "SELECT id FROM event WHERE type = 'relay' AND chatbot_id = %s ORDER BY id", chatbot_id
    )
    with connection():
        events = event.find([id_ for (id_,) in rows])
        found = relay.bodies(events)
    return [found[one.id] for one in events]


def accepted(acme, workers, **more):
    """A message that Meta has accepted."""
    sent = acme.send(**more)
    workers.send()
    return acme.message(sent['id'])


def told_of(message, status='delivered', opaque=None):
    return status_of(message['wamid'], status, opaque=opaque or message['id'])


def statuses(raw):
    entries = json.loads(raw)['entry']
    return [
        status
        for entry in entries
        for change in entry['changes']
        for status in change['value']['statuses']
    ]


@pytest.mark.parametrize('text', ['é \U0001f600 / <&>', 'a\x00 \ud83d', '\\/ "'])
def test_a_message_goes_out_byte_for_byte(acme, tell, text):
    spaced = json.dumps(envelope([text_message(text)]), indent=1).encode()
    tell(spaced)
    assert relayed() == [spaced]


def test_raw_letters_stay_as_they_came(acme, tell):
    raw = json.dumps(envelope([text_message('é \U0001f600')]), ensure_ascii=False).encode()
    tell(raw)
    assert relayed() == [raw]


def test_a_status_has_the_callers_own_again(acme, tell, workers, stand_in):
    sent = accepted(acme, workers, biz_opaque_callback_data=OWN)
    body = envelope(statuses=[told_of(sent)])
    tell(body)
    (raw,) = relayed()
    expected = envelope(statuses=[status_of(sent['wamid'], 'delivered', opaque=OWN)])
    assert json.loads(raw) == expected
    assert sent['id'].encode() not in raw


def test_where_the_caller_gave_none_there_is_none(acme, tell, workers, stand_in):
    sent = accepted(acme, workers)
    tell(envelope(statuses=[told_of(sent), told_of(sent, 'read', sent['id'].upper())]))
    (raw,) = relayed()
    plain = [status_of(sent['wamid'], 'delivered'), status_of(sent['wamid'], 'read')]
    assert statuses(raw) == plain


def test_an_empty_one_comes_back_too(acme, tell, workers, stand_in):
    sent = accepted(acme, workers, biz_opaque_callback_data='')
    tell(envelope(statuses=[told_of(sent)]))
    assert statuses(relayed()[0])[0]['biz_opaque_callback_data'] == ''


@pytest.mark.parametrize('opaque', ['order-17', '0192a000-0000-4000-8000-000000000017', 'é'])
def test_what_is_no_id_of_ours_changes_nothing(acme, tell, opaque):
    raw = json.dumps(envelope(statuses=[status_of('wamid.X', 'sent', opaque=opaque)])).encode()
    tell(raw)
    assert relayed() == [raw]


def test_another_chatbots_own_is_not_shown(acme, tell, workers, stand_in):
    acme.account('beta', OTHER_NUMBER)
    sent = accepted(acme, workers, chatbot_id='beta', biz_opaque_callback_data='secret')
    tell(envelope(statuses=[status_of('wamid.X', 'sent', opaque=sent['id'])]))
    assert statuses(relayed()[0]) == [status_of('wamid.X', 'sent')]


def test_who_relays_for_all_gets_every_callers_own(acme, tell, workers, stand_in):
    acme.relay()
    acme.account('beta', OTHER_NUMBER)
    sent = [
        accepted(acme, workers, chatbot_id=chatbot_id, biz_opaque_callback_data=chatbot_id)
        for chatbot_id in (CHATBOT, 'beta')
    ]
    body = envelope(statuses=[told_of(sent[0])])
    body['entry'] += envelope(statuses=[told_of(sent[1])], number=OTHER_NUMBER)['entry']
    tell(body)
    (raw,) = relayed('')
    assert [one['biz_opaque_callback_data'] for one in statuses(raw)] == [CHATBOT, 'beta']
    assert [one['biz_opaque_callback_data'] for one in statuses(relayed()[0])] == [CHATBOT]


def test_a_mixed_body_is_made_again_with_its_items_alone(acme, tell):
    ours = text_message('Ours: é / \U0001f600', 'wamid.1')
    body = envelope([ours])
    (entry,) = body['entry']
    entry |= {'time': 1790000000}
    theirs = envelope([text_message('Theirs', 'wamid.2')], number=OTHER_NUMBER)['entry'][0]
    entry['changes'] += theirs['changes']
    body['entry'] += [{'id': 'another', 'changes': theirs['changes']}]
    body |= {'unknown': [theirs]}
    tell(body)
    (raw,) = relayed()
    assert json.loads(raw) == {
        'object': 'whatsapp_business_account',
        'entry': [{**envelope([ours])['entry'][0], 'time': 1790000000}],
    }
    assert raw.isascii()
    assert rb'Ours: \u00e9 \/ \ud83d\ude00' in raw
    assert b'Theirs' not in raw
    assert b': ' not in raw.replace(b'Ours: ', b'')


def test_many_statuses_are_parted_by_their_owners(acme, tell, meta):
    tell(meta.payload('batch_1000_statuses'))
    assert relayed()
    raw = meta.payload('batch_1000_statuses')
    assert len(statuses(b''.join(relayed()))) == len(statuses(raw))


@pytest.mark.parametrize('name', [one['file'] for one in MANIFEST['files']])
def test_of_every_payload_a_chatbot_gets_its_items_and_no_others(backend, tell, meta, name):
    """Each number's account gets what was stored or looked at as its own, unchanged."""
    numbers = (PHONE_NUMBER_ID, '300112233445577', '300998877665544')
    raw = meta.payload(name)
    for number in numbers:
        backend.account(f'bot-{number}', number)
        backend.relay(f'bot-{number}')
    tell(raw)
    for number in numbers:
        expected = Counter(
            item.key for item in flatten(parse(raw)) if item.phone_number_id == number
        )
        got = relayed(f'bot-{number}')
        found = Counter(
            item.key for one in got for item in flatten(parse(one)) if item.phone_number_id
        )
        assert found == expected
        if expected and {item.phone_number_id for item in flatten(parse(raw))} == {number}:
            assert got == [raw]


def test_what_is_no_longer_kept_or_too_large_is_missing(acme, tell):
    raw = json.dumps(envelope([text_message()])).encode()
    tell(raw)
    ((id_,),) = sql('SELECT id FROM event')
    with connection():
        events = event.find([id_])
        assert relay.bodies(events, len(raw)) == {id_: raw}
        assert relay.bodies(events, len(raw) - 1) == {}
        sql('DELETE FROM webhook_event')
        assert relay.bodies(events) == {}
