"""Which parts of a webhook an event of type relay is written of, and for which chatbot."""

import json

import pytest

from service.webhooks import relays
from tests.people import WABA, envelope, sql, status_of, text_message
from tests.stack import PHONE_NUMBER_ID

OTHER_NUMBER, OTHER_WABA = '300155500099999', '990011223344556'
SET_DISPLAY = 'UPDATE whatsapp_cloud_account SET display_phone_number = %s'


def relayed():
    """{chatbot: [places of each event]}, in the order of the events."""
    found = {}
    for chatbot_id, data in sql(
        "SELECT chatbot_id, data FROM event WHERE type = 'relay' ORDER BY id"
    ):
        found.setdefault(chatbot_id, []).append(data['places'])
    return found


@pytest.fixture
def acme(backend):
    backend.account(waba_id=WABA)
    return backend


@pytest.fixture
def both(acme):
    """Two chatbots of one WABA, each with a relay."""
    acme.account('beta', OTHER_NUMBER, waba_id=WABA)
    acme.relay('acme')
    acme.relay('beta')
    return acme


@pytest.fixture
def tell(meta, workers):
    def tell(body, path='', secret=None):
        answer = meta.webhook(body, path, **({'secret': secret} if secret else {}))
        assert answer.status_code == 200, answer.text
        workers.incoming()

    return tell


def text_to(number, wamid='wamid.A'):
    return envelope([text_message(wamid=wamid)], number=number)['entry'][0]['changes'][0]


def change_of(field, **value):
    return {'field': field, 'value': value}


def body_of(*changes, waba_id=WABA):
    entry = {'id': waba_id, 'time': 1790000000, 'changes': list(changes)}
    return {'object': 'whatsapp_business_account', 'entry': [entry]}


def test_without_a_relay_nothing_is_written(acme, tell):
    tell(envelope([text_message()]))
    assert sql('SELECT count(*) FROM event') == [(0,)]


def test_the_whole_of_a_webhook_is_its_chatbots(acme, tell):
    acme.relay('acme')
    tell(envelope([text_message()]))
    assert relayed() == {'acme': [None]}
    assert sql('SELECT count(*) FROM event_delivery') == [(1,)]


def test_each_chatbot_gets_the_parts_of_its_number(both, tell):
    tell(body_of(text_to(PHONE_NUMBER_ID), text_to(OTHER_NUMBER), text_to(PHONE_NUMBER_ID, 'w.2')))
    assert relayed() == {'acme': [[[0, 0], [0, 2]]], 'beta': [[[0, 1]]]}


def test_who_relays_for_all_gets_one_body(both, tell):
    both.relay()
    tell(body_of(text_to(PHONE_NUMBER_ID), text_to(OTHER_NUMBER)))
    tell(body_of(text_to('123'), text_to(OTHER_NUMBER, 'w.2')))
    assert relayed() == {
        'acme': [[[0, 0]]],
        'beta': [[[0, 1]], [[0, 1]]],
        '': [None, [[0, 1]]],
    }
    assert sql('SELECT count(*) FROM event_delivery') == [(5,)]


def test_nobody_gets_what_is_nobodys(acme, tell):
    acme.relay('acme')
    acme.relay()
    tell(body_of(text_to('123')))
    tell(body_of(change_of('account_update', event='VERIFIED_ACCOUNT'), waba_id='123'))
    assert relayed() == {}


def test_what_is_of_a_whole_waba_goes_to_each_of_its_chatbots(both, tell):
    both.account('far', '300155500088888', waba_id=OTHER_WABA)
    both.relay('far')
    template = change_of(
        'message_template_status_update', message_template_name='x', message_template_language='en'
    )
    for change in (
        template,
        change_of('account_update', event='VERIFIED_ACCOUNT'),
        change_of('something_new', anything=[1]),
        {'field': 'something_new', 'value': 'text'},
        {'field': 'no value'},
    ):
        tell(body_of(change))
    tell({'entry': [{'id': WABA, 'messaging': [{'text': 'x'}]}]})
    assert relayed() == {'acme': [None] * 6, 'beta': [None] * 6}


def test_an_entry_that_tells_nothing_is_left_out(acme, tell):
    """Meta's clients read the first change without looking whether there is one."""
    acme.relay('acme')
    tell(body_of())
    tell({'entry': [{'id': WABA}]})
    body = body_of(text_to(PHONE_NUMBER_ID))
    body['entry'].append({'id': WABA, 'time': 1790000000})
    tell(body)
    assert relayed() == {'acme': [[[0, 0]]]}


def test_what_is_of_one_number_goes_to_that_one(both, tell):
    displays = {'acme': '15550104477', 'beta': '15550109999'}
    for chatbot_id, display in displays.items():
        sql(f'{SET_DISPLAY} WHERE chatbot_id = %s', display, chatbot_id)
    tell(body_of(change_of('phone_number_quality_update', display_phone_number='+1 555-010-9999')))
    settings = {'phone_number_id': PHONE_NUMBER_ID}
    tell(body_of(change_of('account_settings_update', phone_number_settings=settings)))
    tell(body_of(change_of('history', metadata={'phone_number_id': OTHER_NUMBER})))
    assert relayed() == {'acme': [None], 'beta': [None, None]}


def test_an_app_of_its_own_speaks_for_its_own_account_alone(both, tell):
    both.account('own', '300155500077777', waba_id=WABA, app_secret='own-secret')
    both.relay('own')
    tell(body_of(text_to('300155500077777')))
    tell(body_of(change_of('account_update', event='VERIFIED_ACCOUNT')))
    assert relayed() == {'acme': [None], 'beta': [None]}
    tell(body_of(text_to('300155500077777')), '/own', 'own-secret')
    tell(body_of(text_to(PHONE_NUMBER_ID)), '/own', 'own-secret')
    tell(body_of(change_of('account_update', event='DISABLED')), '/own', 'own-secret')
    tell(body_of(change_of('something_new')), '/own', 'own-secret')
    tell(body_of(change_of('something_new'), waba_id=OTHER_WABA), '/own', 'own-secret')
    assert relayed() == {'acme': [None], 'beta': [None], 'own': [None, None, None]}


def test_a_webhook_that_is_processed_again_is_relayed_once(acme, tell, workers):
    acme.relay('acme')
    tell(body_of(text_to(PHONE_NUMBER_ID), text_to(OTHER_NUMBER)))
    assert relayed() == {'acme': [[[0, 0]]]}
    acme.account('beta', OTHER_NUMBER)
    acme.relay('beta')
    (event,) = acme.events()
    assert acme.post(f'/webhook-events/{event["id"]}/replay').status_code == 202
    workers.incoming()
    assert relayed() == {'acme': [[[0, 0]]], 'beta': [[[0, 1]]]}


def test_parts_that_cannot_be_used_cost_no_neighbour(acme, tell):
    acme.relay('acme')
    deep = json.loads('[' * 600 + ']' * 600)
    body = body_of(text_to(PHONE_NUMBER_ID), 'junk', change_of('new', deep=deep))
    body['entry'] += ['junk', {'id': WABA, 'deep': deep}, {'id': WABA, 'changes': 'none'}]
    tell(body)
    assert relayed() == {'acme': [[[0, 0]]]}


@pytest.mark.parametrize('body', [{}, {'entry': 7}, {'entry': [{'id': {}}]}, {'entry': [[]]}, []])
def test_an_odd_body_breaks_nothing(acme, tell, body):
    acme.relay('acme')
    acme.relay()
    tell(body)
    assert relayed() == {}


def test_bodies_about_one_conversation_share_its_lane(acme, tell):
    acme.relay('acme')
    tell(envelope([text_message(wamid='w.1')]))
    tell(envelope(statuses=[status_of('w.2', 'sent')]))
    tell(body_of(change_of('account_update', event='VERIFIED_ACCOUNT')))
    ((conversation,),) = sql('SELECT id FROM conversation')
    assert sql('SELECT conversation_id FROM event ORDER BY id') == [
        (conversation,),
        (conversation,),
        (None,),
    ]
    assert sql('SELECT conversation_id FROM event_delivery ORDER BY event_id') == [
        (conversation,),
        (conversation,),
        (None,),
    ]


def test_an_event_that_is_taken_alone_is_relayed_too(acme, tell, monkeypatch):
    acme.relay('acme')
    calls, publish = [], relays.publish

    def fails_once(events):
        calls.append(len(events))
        if len(calls) == 1:
            raise ValueError('a fault')
        return publish(events)

    monkeypatch.setattr(relays, 'publish', fails_once)
    tell(envelope([text_message()]))
    assert (calls[:2], relayed()) == ([1, 1], {'acme': [None]})


def test_what_customers_write_to_many_chatbots_keeps_its_order(both, tell, meta, workers):
    both.relay()
    for number in range(20):
        meta.webhook(body_of(text_to((PHONE_NUMBER_ID, OTHER_NUMBER)[number % 2], f'w.{number}')))
    workers.incoming()
    told = sql(
        """SELECT convert_from(w.body, 'utf8')::json #>> '{entry,0,changes,0,value,messages,0,id}'
        FROM event e JOIN webhook_event w ON w.id = (e.data ->> 'webhook_event_id')::uuid
        WHERE e.chatbot_id = '' ORDER BY e.id"""
    )
    assert [wamid for (wamid,) in told] == [f'w.{number}' for number in range(20)]
