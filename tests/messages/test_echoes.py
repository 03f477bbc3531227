"""What the business writes on its own phone: outbound messages of the conversation that nobody
answers or bills.
"""

import json
from itertools import permutations

import pytest

from service.runtime.db import connection
from tests.people import CHATBOT, CUSTOMER, contact, envelope, sql, status_of, text_message
from tests.stack import wait_until
from workers import send

START = 1790000000
TIME = '2026-09-21T14:13:20.000000Z'
SLOW = '19980008004'  # Meta answers after 800 ms


@pytest.fixture
def account(backend):
    backend.account(responder={'kind': 'none'})


@pytest.fixture
def deliver(account, meta, workers):
    def post_and_work_off(*bodies):
        for body in bodies:
            assert meta.webhook(body).status_code == 200
        workers.incoming()

    return post_and_work_off


def echoed(*messages, contacts=(), **more):
    """Meta's envelope around echoes."""
    body = envelope(contacts=contacts, **more)
    change = body['entry'][0]['changes'][0]
    change['field'] = 'smb_message_echoes'
    change['value']['message_echoes'] = list(messages)
    return body


def echo(body='On my way', wamid='wamid.E', to=CUSTOMER, user=None, at=START, **more):
    ids = {name: value for name, value in (('to', to), ('to_user_id', user)) if value}
    return {
        'from': '15550104477',
        **ids,
        'id': wamid,
        'timestamp': str(at),
        'type': 'text',
        'text': {'body': body},
        **more,
    }


def of_type(kind, content, **more):
    message = echo(**more)
    del message['text']
    return message | {'type': kind, kind: content}


def outbound(backend):
    return backend.messages(direction='outbound')[::-1]


def used(backend):
    return backend.get('/usage', query_string={'chatbot_id': CHATBOT}).json['data']


def test_an_echo_is_an_outbound_message_of_the_conversation(backend, meta, deliver):
    deliver(meta.payload('f_smb_message_echoes'), meta.payload('in_text'))
    (message,) = outbound(backend)
    (conversation,) = backend.conversations()
    assert (message['text'], message['type'], message['status']) == (
        'Sent from the phone app',
        'text',
        'sent',
    )
    assert (message['origin'], message['timestamp']) == ('business_app', TIME)
    assert (message['from'], message['to'], message['recipient']) == (
        '15550104477',
        CUSTOMER,
        'US.2468013579246801',
    )
    assert message['statuses'] == [{'status': 'sent', 'timestamp': TIME}]
    assert message['conversation_id'] == conversation['id']
    assert (conversation['name'], conversation['last_message_at']) == ('Ines Okafor', TIME)
    assert backend.outcomes() == [('message', 'stored'), ('change', 'stored')]


def test_an_echo_begins_a_conversation_but_opens_no_window_and_is_not_answered_or_billed(
    backend, meta, deliver, setting
):
    setting('AI_BASE_URL', 'http://127.0.0.1:9/v1')
    backend.account(responder=None)
    deliver(echoed(echo(user='US.1'), contacts=[contact('Ines', user='US.1', username='ines')]))
    (conversation,) = backend.conversations()
    assert (conversation['wa_id'], conversation['user_id']) == (CUSTOMER, 'US.1')
    assert (conversation['name'], conversation['username'], conversation['last_message_at']) == (
        'Ines',
        'ines',
        TIME,
    )
    assert (conversation['last_inbound_at'], conversation['reply_due_at']) == (None, None)
    deliver(
        envelope(
            statuses=[status_of('wamid.E', 'delivered', START + 1, pricing={'category': 'service'})]
        )
    )
    assert used(backend) == []
    assert outbound(backend)[0]['status'] == 'delivered'


def test_an_echo_comes_once_however_often_it_is_told(backend, deliver):
    body = echoed(echo(), echo())
    deliver(body, json.dumps(body, indent=1).encode(), echoed(echo(), echo('Another', 'wamid.F')))
    assert [message['text'] for message in outbound(backend)] == ['On my way', 'Another']
    assert backend.outcomes() == [('change', 'stored')] * 3


def test_an_echo_of_what_we_have_sent_ourselves_is_no_second_message(
    backend, deliver, workers, stand_in
):
    sent = backend.send()
    workers.send()
    deliver(echoed(echo('Hello', backend.message(sent['id'])['wamid']), echo()))
    first, second = outbound(backend)
    assert (first['id'], first['origin'], second['origin']) == (sent['id'], 'api', 'business_app')
    assert [(row['direction'], row['count']) for row in used(backend)] == [('outbound', 1)]


def under_way(backend, stand_in, to):
    """A message that Meta has, and whose answer is not here yet: its id and its wamid."""
    sent = backend.send(to=f'+{to}')
    with connection():
        send.sender().step()
    wait_until(lambda: stand_in.sends() and stand_in.sends()[0]['wamid'])
    return sent['id'], stand_in.sends()[0]['wamid']


def test_an_echo_that_is_faster_than_metas_answer_gives_way_to_the_message_itself(
    backend, deliver, workers, stand_in
):
    sent, wamid = under_way(backend, stand_in, SLOW)
    deliver(
        echoed(echo('Hello', wamid, to=SLOW)),
        envelope(statuses=[status_of(wamid, 'delivered', START + 1)]),
    )
    assert [message['origin'] for message in outbound(backend)] == ['api', 'business_app']
    workers.send()
    (message,) = outbound(backend)
    assert (message['id'], message['origin'], message['status']) == (sent, 'api', 'delivered')
    assert [one['status'] for one in message['statuses']] == ['queued', 'accepted', 'delivered']
    assert [row['count'] for row in used(backend)] == [1]


def test_an_echo_and_a_failure_that_are_faster_than_metas_answer_leave_the_message_alone(
    backend, deliver, workers, stand_in
):
    sent, wamid = under_way(backend, stand_in, SLOW)
    failure = [{'code': 131026, 'title': 'Message undeliverable'}]
    deliver(
        echoed(echo('Hello', wamid, to=SLOW)),
        envelope(statuses=[status_of(wamid, 'failed', START + 1, opaque=sent, errors=failure)]),
    )
    workers.send()
    (message,) = outbound(backend)
    assert (message['id'], message['status'], message['wamid']) == (sent, 'failed', wamid)


def test_the_file_of_an_echo_that_gave_way_can_still_be_passed_on(
    backend, deliver, workers, stand_in
):
    sent, wamid = under_way(backend, stand_in, SLOW)
    picture = {'id': '1055', 'mime_type': 'image/jpeg', 'sha256': 'x'}
    deliver(echoed(of_type('image', picture, wamid=wamid, to=SLOW)))
    sql("UPDATE media SET status = 'stored', storage_key = 'a', size = 1, due_at = NULL")
    sql("INSERT INTO media_upload SELECT id, phone_number_id, '77', NULL, now() FROM media")
    ((file,),) = sql('SELECT id FROM media')
    passed_on = {'to': '+12025550144', 'type': 'image', 'image': {'id': file}}
    assert backend.post('/send', {'chatbot_id': CHATBOT, **passed_on}).status_code == 202
    workers.send()
    assert {message['status'] for message in outbound(backend)} == {'accepted'}
    assert sorted(call['body']['type'] for call in stand_in.sends()) == ['image', 'text']
    assert backend.message(sent)['origin'] == 'api'


@pytest.mark.parametrize('order', list(permutations(range(3))))
def test_statuses_move_an_echo_forward_also_when_they_come_first(backend, deliver, workers, order):
    bodies = [
        echoed(echo()),
        envelope(statuses=[status_of('wamid.E', 'sent', START + 1)]),
        envelope(statuses=[status_of('wamid.E', 'read', START + 2)]),
    ]
    for n in order:
        deliver(bodies[n])
    (message,) = outbound(backend)
    assert message['status'] == 'read'
    assert [one['status'] for one in message['statuses']] == ['sent', 'read']
    assert used(backend) == []


@pytest.mark.parametrize('code', [131026, 130429, 131056, 131031, 190, 132015])
def test_an_echo_that_failed_is_failed_and_never_sent_from_here(
    backend, deliver, workers, stand_in, code
):
    deliver(
        echoed(echo()),
        envelope(statuses=[status_of('wamid.E', 'failed', errors=[{'code': code, 'title': 'No'}])]),
    )
    (message,) = outbound(backend)
    assert (message['status'], message['error']['code'], message['tries']) == ('failed', code, [])
    assert backend.get(f'/account/{CHATBOT}').json['send_state'] == 'ok'
    assert backend.post(f'/messages/{message["id"]}/retry').status_code == 409
    assert backend.post(f'/messages/{message["id"]}/cancel').status_code == 409
    workers.sweep()
    workers.send()
    assert stand_in.sends() == []


def test_what_the_phone_edits_deletes_and_reacts_to_is_folded_in(backend, deliver):
    revised = {'type': 'text', 'text': {'body': 'At noon'}}
    deliver(
        echoed(
            echo('At ten', 'wamid.1'),
            of_type(
                'edit',
                {'original_message_id': 'wamid.1', 'message': revised},
                wamid='wamid.2',
                at=START + 1,
            ),
            echo('Oops', 'wamid.3'),
            of_type('revoke', {'original_message_id': 'wamid.3'}, wamid='wamid.4', at=START + 2),
            of_type('reaction', {'message_id': 'wamid.A', 'emoji': '👍'}, wamid='wamid.5'),
            echo('Yes', 'wamid.6', context={'from': CUSTOMER, 'id': 'wamid.A'}),
        ),
        envelope([text_message(wamid='wamid.A')]),
    )
    said = {message['wamid']: message for message in backend.messages()}
    assert (said['wamid.1']['text'], said['wamid.3']['text']) == ('At noon', '[deleted]')
    (reaction,) = said['wamid.A']['reactions']
    assert (reaction['emoji'], reaction['direction'], reaction['from']) == (
        '👍',
        'outbound',
        '15550104477',
    )
    assert said['wamid.6']['reply_to'] == said['wamid.A']['id']
    assert len(said) == 7


def test_an_echo_goes_to_whom_it_was_written(backend, deliver):
    deliver(
        envelope(
            [
                text_message(wamid='wamid.A', user='US.1'),
                text_message(wamid='wamid.G', group_id='g'),
            ]
        ),
        echoed(
            echo('to the phone', 'wamid.1'),
            echo('to the BSUID', 'wamid.2', to=None, user='US.1'),
            echo('to the group', 'wamid.3', to=None, group_id='g'),
            echo('to somebody new', 'wamid.4', to=None, user='US.2'),
        ),
    )
    where = {message['wamid']: message['conversation_id'] for message in backend.messages()}
    assert where['wamid.1'] == where['wamid.2'] == where['wamid.A']
    assert where['wamid.3'] == where['wamid.G']
    assert len({where[wamid] for wamid in ('wamid.1', 'wamid.3', 'wamid.4')}) == 3


def test_the_file_of_an_echo_is_fetched_like_a_customers(backend, deliver):
    picture = {'id': '1055', 'mime_type': 'image/jpeg', 'sha256': 'x', 'caption': 'Here'}
    deliver(echoed(of_type('image', picture), echo(wamid='wamid.F')))
    image, text = outbound(backend)
    assert (image['text'], image['media']['status'], text['media']) == (
        '[image] Here',
        'fetching',
        None,
    )


BAD = {
    'no id': {'id': None},
    'an id of 600 characters': {'id': 'w' * 600},
    'nobody it went to': {'to': None},
    'an addressee that is an object': {'to': {'a': 1}},
    'a depth that nobody needs': {'x': json.loads('[' * 600 + ']' * 600)},
}
ODD = {
    'a type that is a list': {'type': ['text']},
    'a content that is a number': {'text': 5},
    'no time': {'timestamp': None},
    'a context that is text': {'context': 'x'},
    'text with NUL and a surrogate': {'text': {'body': '\x00\ud83d'}},
    'an id with NUL': {'id': 'wamid.\x00'},
}


@pytest.mark.parametrize(
    ('damage', 'stored'), [*((one, 2) for one in BAD.values()), *((one, 3) for one in ODD.values())]
)
def test_an_echo_that_cannot_be_used_costs_no_neighbour(backend, deliver, damage, stored):
    deliver(echoed(echo(wamid='good.1'), echo(wamid='odd') | damage, echo(wamid='good.2')))
    assert len(outbound(backend)) == stored
    (event,) = backend.events()
    (item,) = event['items']
    detail = None if stored == 3 else '1 of 3 messages could not be used'
    assert (item['kind'], item['outcome'], item['detail']) == ('change', 'stored', detail)


@pytest.mark.parametrize(
    'value', [None, 'x', [], {}, {'message_echoes': 'x'}, {'message_echoes': [None, 5]}]
)
def test_echoes_of_any_shape_cost_nothing(backend, deliver, value):
    body = echoed()
    metadata = body['entry'][0]['changes'][0]['value']['metadata']
    body['entry'][0]['changes'][0]['value'] = (
        {'metadata': metadata, **value} if isinstance(value, dict) else value
    )
    deliver(body)
    assert outbound(backend) == []
    assert backend.outcomes() == [('change', 'stored')]


def test_echoes_of_a_number_without_an_account_are_refused(backend, deliver):
    deliver(echoed(echo(), number='5'))
    assert backend.outcomes() == [('change', 'refused')]


def test_what_an_agent_or_the_past_has_written_is_no_message(backend, meta, deliver):
    deliver(meta.payload('f_standby_inbound'), meta.payload('f_history_media'))
    assert backend.messages() == []
    assert sql('SELECT count(*) FROM conversation') == [(0,)]
