"""Templates that Meta pauses: what waits for them, and who may say that they go again."""

import time

import pytest

from tests.people import CHATBOT, sql

OTHER_NUMBER, WABA = '300112233445567', '880011223344556'
TEMPLATE = {'name': 'sale', 'language': {'code': 'pt_BR'}}


@pytest.fixture
def acme(backend, stand_in):
    backend.account(waba_id=WABA)
    return backend


def template_event(event, waba=WABA, name='sale', language='pt_BR'):
    value = {
        'event': event,
        'message_template_id': 1,
        'message_template_name': name,
        'message_template_language': language,
        'reason': 'NONE',
    }
    change = {'field': 'message_template_status_update', 'value': value}
    return {
        'object': 'whatsapp_business_account',
        'entry': [{'id': waba, 'time': int(time.time()), 'changes': [change]}],
    }


@pytest.mark.parametrize('event', ['APPROVED', 'REINSTATED'])
def test_a_paused_template_waits_for_its_webhook_and_only_for_that(acme, workers, meta, event):
    body = {'chatbot_id': CHATBOT, 'to': '+19991320151', 'type': 'template', 'template': TEMPLATE}
    sent = acme.post('/send', body).json
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['hold_reason'], message['error']['code']) == (
        'held',
        'template',
        132015,
    )
    assert acme.get(f'/account/{CHATBOT}').json['send_state'] == 'ok'
    others = (
        template_event('PAUSED'),
        template_event(event, waba='1'),
        template_event(event, name='other'),
        template_event(event, language='en_US'),
    )
    for webhook in others:
        meta.webhook(webhook)
    workers.incoming()
    workers.sweep()
    workers.send()
    assert acme.message(sent['id'])['status'] == 'held'
    meta.webhook(template_event(event))
    workers.incoming()
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['hold_reason'], message['error']) == ('accepted', None, None)


def test_an_app_of_its_own_cannot_speak_of_anothers_templates(acme, workers, meta):
    acme.account('own', OTHER_NUMBER, app_secret='own-secret', waba_id='1')
    sent = acme.post(
        '/send',
        {'chatbot_id': CHATBOT, 'to': '+19991320151', 'type': 'template', 'template': TEMPLATE},
    ).json
    workers.send()
    meta.webhook(template_event('APPROVED'), path='/own', secret='own-secret')
    meta.webhook(template_event('APPROVED', waba='1'), path='/own', secret='own-secret')
    workers.incoming()
    assert sorted(acme.outcomes()) == [('change', 'refused'), ('change', 'stored')]
    assert acme.message(sent['id'])['status'] == 'held'
    assert sql('SELECT waba_id FROM template') == [('1',)]
