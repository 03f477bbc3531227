"""What events say: the objects in `data` are those that their GET shows."""

import json

import pytest

from service.conversations.conversation import LIMITED
from tests.files import at_meta, comes_in, media_message
from tests.listeners import deliveries, new_endpoint
from tests.own_service import Platform
from tests.people import CHATBOT, CUSTOMER, WABA, contact, envelope, sql, text_message

PEOPLE = ['+12025550101', '+12025550102']


@pytest.fixture
def hears(workers, listener, told):
    """hears(): the events that have come since the last time, {type: data} of each."""
    seen = [0]

    def hears():
        workers.events()
        new = listener.heard[seen[0] :]
        seen[0] = len(listener.heard)
        assert all(body.keys() == BODY for body in new)
        assert all(body['chatbot_id'] == CHATBOT for body in new)
        return [(body['type'], body['data']) for body in new]

    return hears


BODY = {'id', 'type', 'timestamp', 'chatbot_id', 'data'}


def conversation_of(backend):
    (conversation,) = backend.conversations()
    return conversation


def test_a_reaction_is_told_with_the_message_that_it_is_about(
    backend, meta, workers, writes, hears
):
    writes('Hello')
    hears()
    (message,) = backend.messages()
    reaction = {'message_id': message['wamid'], 'emoji': '👍'}
    tell_of(meta, workers, {'type': 'reaction', 'reaction': reaction})
    ((type_, data),) = hears()
    assert type_ == 'message.changed'
    assert data['message'] == backend.message(message['id'])
    assert data['message']['reactions'][0]['emoji'] == '👍'
    change = next(one for one in backend.messages() if one['type'] == 'reaction')
    assert data['change'] == backend.message(change['id'])


def test_a_change_of_a_message_that_nobody_knows_is_told_without_it(meta, workers, hears):
    reaction = {'message_id': 'wamid.unknown', 'emoji': '👍'}
    tell_of(meta, workers, {'type': 'reaction', 'reaction': reaction})
    ((type_, data),) = hears()
    assert (type_, data['message'], data['change']['type']) == ('message.changed', None, 'reaction')


def tell_of(meta, workers, change):
    message = {**text_message(wamid='wamid.change'), **change}
    del message['text']
    assert meta.webhook(envelope([message])).status_code == 200
    workers.incoming()


def test_a_file_is_told_of_when_it_is_stored(backend, meta, workers, stand_in, hears):
    comes_in(meta, workers, media_message(at_meta(stand_in), 'image', content=b'a picture'))
    assert [type_ for type_, _ in hears()] == ['message.received']
    workers.errands()
    ((type_, data),) = hears()
    message = backend.message(data['message']['id'])
    assert type_ == 'media.stored'
    assert (data['message'], data['media']) == (message, message['media'])
    assert data['media']['status'] == 'stored'


def test_a_file_that_meta_could_not_take_is_told_of_at_once(backend, meta, workers, hears):
    message = text_message(type='video', errors=[{'code': 131052, 'title': 'too big'}])
    del message['text']
    comes_in(meta, workers, message)
    (received, _), (failed, data) = hears()
    assert (received, failed) == ('message.received', 'media.failed')
    assert data['media'] == backend.message(data['message']['id'])['media']
    assert data['media']['status'] == 'failed'


def test_people_who_take_over_and_give_back_are_told_of(backend, writes, hears):
    writes('Hello')
    hears()
    conversation = conversation_of(backend)
    path = f'/conversations/{conversation["id"]}'
    paused = backend.post(f'{path}/pause', {'minutes': None, 'assignee': 'maria'}).json
    assert hears() == [('conversation.paused', {'conversation': paused})]
    backend.post(f'{path}/pause', {'minutes': None, 'assignee': 'jo'})
    assert [type_ for type_, _ in hears()] == ['conversation.paused']
    resumed = backend.post(f'{path}/resume').json
    assert hears() == [('conversation.resumed', {'conversation': resumed})]
    backend.post(f'{path}/resume')
    assert hears() == []


def test_a_contact_is_told_of_when_it_changes_and_opts_out_and_in(
    backend, meta, workers, writes, hears
):
    writes('Hello')
    hears()
    path = f'/contacts/{conversation_of(backend)["id"]}'
    for verb in ('opt-out', 'opt-in'):
        shown = backend.post(f'{path}/{verb}').json
        type_ = f'contact.{verb.replace("opt-", "opted_")}'
        assert hears() == [(type_, {'contact': shown})]
    later = envelope([text_message('Hi', 'wamid.later')], contacts=[contact('Ines Maria')])
    meta.webhook(later)
    workers.incoming()
    found = dict(hears())
    assert found['contact.changed'] == {'contact': backend.get(path).json}
    assert found['contact.changed']['contact']['name'] == 'Ines Maria'


def test_what_a_webhook_says_of_a_person_is_told_of_once(meta, workers, hears):
    def hears_of(name, phone=CUSTOMER, **ids):
        person = contact(name) | {'wa_id': phone, **{f'{key}_id': id_ for key, id_ in ids.items()}}
        message = text_message(name, f'wamid.{name}', phone, **ids)
        meta.webhook(envelope([message], contacts=[person]))
        workers.incoming()
        return sorted(type_ for type_, _ in hears())

    assert hears_of('Ines') == ['message.received']
    both = ['contact.changed', 'message.received']
    assert hears_of('Ines Maria', user='US.1') == both
    assert hears_of('Maria', '12025550199', user='US.1') == both


def test_a_responder_that_is_given_up_on_is_told_of_with_the_error(backend, writes, hears):
    with Platform() as ai:
        responder = {'kind': 'openai', 'base_url': ai.url, 'model': 'm'}
        backend.account(responder=responder)
        ai.answer(400)
        writes('Hello')
    found = dict(hears())
    conversation = conversation_of(backend)
    assert found['reply.failed'] == {
        'conversation': conversation,
        'error': conversation['reply_error'],
    }
    assert found['reply.failed']['error']['final'] is True


def test_each_message_that_a_responder_is_given_up_on_is_told_of_once(backend, writes, hears):
    with Platform() as ai:
        backend.account(responder={'kind': 'openai', 'base_url': ai.url, 'model': 'm'})
        ai.answer(400)
        for text in ('Hello', 'Hello?', 'Is nobody there?'):
            writes(text)
            assert [type_ for type_, _ in hears()] == ['message.received', 'reply.failed']
        path = f'/conversations/{conversation_of(backend)["id"]}'
        backend.post(f'{path}/pause', {'minutes': None})
        writes('So people answer')
        backend.post(f'{path}/resume')
    assert [type_ for type_, _ in hears() if type_.startswith('reply')] == []


def test_a_conversation_that_has_had_its_turns_is_told_of_once(backend, writes, hears):
    with Platform() as platform:
        responder = {'kind': 'http', 'url': f'{platform.url}/reply'}
        backend.account(responder=responder, max_turns_a_day=1)
        platform.says('Hi!')
        for text in ('Hello', 'Again', 'And again'):
            writes(text)
    told = [data for type_, data in hears() if type_ == 'reply.limited']
    assert told == [{'conversation': conversation_of(backend)}]


def test_who_was_found_limited_when_their_turn_came_is_told_of_once(backend, writes, hears):
    """The responder's words of it are those of the API, but not letter by letter."""
    writes('Hello')
    limited = {'title': LIMITED, 'attempts': 1, 'final': True}
    for attempts in (1, 2):
        error = json.dumps(limited | {'attempts': attempts})
        sql('UPDATE conversation SET reply_error = %s::json', error)
    assert [type_ for type_, _ in hears()] == ['message.received', 'reply.limited']


def test_the_accounts_state_and_health_are_told_of(backend, meta, workers, hears):
    backend.account(waba_id=WABA)
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")
    account = backend.get(f'/account/{CHATBOT}').json
    assert hears() == [('account.held', {'account': account})]
    assert backend.post(f'/account/{CHATBOT}/resume').status_code == 200
    assert [type_ for type_, _ in hears()] == ['account.released']
    value = {'event': 'PARTNER_ADDED'}
    change = {
        'id': WABA,
        'time': 1790000000,
        'changes': [{'field': 'account_update', 'value': value}],
    }
    meta.webhook({'object': 'whatsapp_business_account', 'entry': [change]})
    workers.incoming()
    (health,) = backend.get(f'/account/{CHATBOT}/health').json['data']
    account = backend.get(f'/account/{CHATBOT}').json
    assert hears() == [('account.health', {'account': account, 'health': health})]


def test_a_template_is_told_of_when_meta_changes_it(backend, meta, workers, hears):
    backend.account(waba_id=WABA)
    meta.webhook(meta.payload('f_message_template_status_update'))
    workers.incoming()
    shown = backend.get(
        '/templates/order_ready', query_string={'chatbot_id': CHATBOT, 'language': 'en_US'}
    )
    assert hears() == [('template.changed', {'template': shown.json})]
    sql(READ, shown.json['category'], 'GREEN')
    assert hears() == []  # what a reading adds is no change
    sql(READ, 'AUTHENTICATION', 'GREEN')
    assert [data['template']['category'] for _, data in hears()] == ['AUTHENTICATION']


READ = 'UPDATE template SET synced_at = clock_timestamp(), category = %s, quality = %s'


def test_a_batch_is_told_of_when_it_is_paused_and_once_when_it_is_done(backend, workers, hears):
    order = {'chatbot_id': CHATBOT, 'message': {'text': {'body': 'Hi'}}, 'recipients': PEOPLE}
    batch = backend.post('/send/bulk', order).json
    path = f'/batches/{batch["id"]}'
    paused = backend.post(f'{path}/pause').json
    told = [one for one in hears() if one[0].startswith('batch')]
    assert told == [('batch.paused', {'batch': paused})]
    workers.sweep()
    backend.post(f'{path}/resume')
    workers.sweep()
    assert [one for one in hears() if one[0].startswith('batch')] == []
    workers.send()
    workers.sweep()
    workers.sweep()
    told = [one for one in hears() if one[0].startswith('batch')]
    assert told == [('batch.done', {'batch': backend.get(path).json})]
    assert told[0][1]['batch']['status'] == 'done'


def test_of_a_batch_of_a_held_account_nothing_is_done(backend, workers, hears):
    order = {'chatbot_id': CHATBOT, 'message': {'text': {'body': 'Hi'}}, 'recipients': PEOPLE}
    backend.post('/send/bulk', order)
    sql("UPDATE message SET status = 'held', hold_reason = 'account', due_at = NULL")
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")
    workers.sweep()
    assert 'batch.done' not in dict(hears())


def test_one_that_cannot_be_read_fails_alone(writes, workers, listener, told):
    sql(
        "INSERT INTO event (type, chatbot_id, data) VALUES ('template.changed', %s, %s)",
        CHATBOT,
        json.dumps({'nothing': 'here'}),
    )
    writes('Hello')
    workers.events()
    assert listener.types() == ['message.received']
    assert [status for status, _, _ in deliveries(told)] == ['waiting', 'delivered']
    ((error,),) = sql("SELECT error FROM event_delivery WHERE status = 'waiting'")
    assert error == 'what it tells could not be read'
    assert sql('SELECT failing_since FROM endpoint') == [(None,)]  # it is no fault of its own


def test_an_event_of_something_that_is_gone_is_told_with_null(workers, listener, told):
    sql(
        "INSERT INTO event (type, chatbot_id, message_id, data) VALUES ('message.status', %s,"
        " '0192a000-0000-7000-8000-000000000000', %s)",
        CHATBOT,
        json.dumps({'status': 'sent', 'previous_status': 'accepted'}),
    )
    workers.events()
    expected = {'message': None, 'status': 'sent', 'previous_status': 'accepted'}
    assert [body['data'] for body in listener.heard] == [expected]


def test_each_endpoint_hears_of_its_own_chatbot_alone(
    backend, meta, workers, listener, told, writes
):
    backend.account('other', '300155500044478', responder={'kind': 'none'})
    others = new_endpoint(backend, f'{listener.url}/other', chatbot_id='other')
    writes('Hello')
    workers.events()
    assert deliveries(others) == []
    hello = envelope([text_message('Hi', 'wamid.other', CUSTOMER)], number='300155500044478')
    meta.webhook(hello)
    workers.incoming()
    workers.events()
    assert [body['chatbot_id'] for body in listener.heard] == [CHATBOT, 'other', 'other']
    assert len(deliveries(others)) == 1
