"""Messages due → the Graph API: what leaves, and what becomes of every kind of answer.

Retries: test_retries.py.
"""

import threading
from itertools import pairwise

import pytest

from tests.people import CHATBOT, CUSTOMER, envelope, sql, status_of
from tests.stack import PHONE_NUMBER_ID, free_port, wait_until

OTHER = '300112233445567'
TRANSIENT, PERMANENT = '+19991310161', '+19991310260'  # refused once, refused always
LOST, LOST_SILENT, RESET, HTML, NO_ID = (f'+1998000001{kind}' for kind in (1, 2, 3, 5, 6))


@pytest.fixture
def acme(backend, stand_in):
    backend.account()
    return backend


def deliver(backend, workers, to):
    """Send one message and let the back room do what is due; the message."""
    sent = backend.send(to)
    workers.send()
    return backend.message(sent['id'])


def due_now(*states):
    sql('UPDATE message SET due_at = now() WHERE status = ANY(%s)', list(states))
    sql('UPDATE conversation SET send_after = NULL')


def test_an_accepted_message_has_its_wamid_and_what_meta_made_of_the_number(acme, workers):
    message = deliver(acme, workers, '+1 (202) 555-0143')
    assert message['status'] == 'accepted'
    assert message['wamid'].startswith('wamid.')
    assert (message['wa_id'], message['attempts'], message['error']) == (CUSTOMER, 1, None)
    assert [one['status'] for one in message['statuses']] == ['queued', 'accepted']


def test_metas_send_body_arrives_with_our_id_and_the_accounts_token(acme, workers, stand_in):
    stand_in.config(tokens=['token-of-acme'])
    sent = acme.send('+12025550143', context={'message_id': 'wamid.X'}, client_reference='order-17')
    workers.send()
    (call,) = stand_in.sends()
    assert call['body'] == {
        'messaging_product': 'whatsapp',
        'recipient_type': 'individual',
        'to': '+12025550143',
        'type': 'text',
        'text': {'body': 'Hello'},
        'context': {'message_id': 'wamid.X'},
        'biz_opaque_callback_data': sent['id'],
    }
    assert (call['phone_number_id'], call['outcome'], call['token_tail']) == (
        PHONE_NUMBER_ID,
        'accepted',
        'acme',
    )


def test_bsuids_groups_templates_and_metas_extras_arrive_as_they_were_given(
    acme, workers, stand_in
):
    template = {'name': 'order_ready', 'language': {'code': 'en_US'}}
    parts = [
        {'recipient': 'US.13491208655302741918', 'text': {'body': 'x'}},
        {
            'to': 'Y2FwaV9ncm91cDox',
            'recipient_type': 'group',
            'type': 'template',
            'template': template,
        },
        {
            'to': '+12025550144',
            'text': {'body': 'a\x00b \ud83d \U0001f600'},
            'recipient_identity_key_hash': 'abc',
        },
    ]
    for part in parts:
        assert acme.post('/send', {'chatbot_id': CHATBOT, **part}).status_code == 202
    workers.send()
    bodies = {call['body'].get('to', 'bsuid'): call['body'] for call in stand_in.sends()}
    assert (bodies['bsuid']['recipient'], bodies['bsuid']['type']) == (
        'US.13491208655302741918',
        'text',
    )
    assert 'to' not in bodies['bsuid']
    group = bodies['Y2FwaV9ncm91cDox']
    assert (group['recipient_type'], group['template']) == ('group', template)
    person = bodies['+12025550144']
    assert (person['text'], person['recipient_identity_key_hash']) == (parts[2]['text'], 'abc')
    assert [one['status'] for one in acme.messages()] == ['accepted'] * 3


def test_a_permanent_error_fails_the_message_at_once(acme, workers, stand_in):
    message = deliver(acme, workers, PERMANENT)
    assert (message['status'], message['attempts'], message['wamid']) == ('failed', 1, None)
    assert message['error'].keys() == {'code', 'title', 'details', 'fbtrace_id'}
    assert (message['error']['code'], message['error']['details']) == (
        131026,
        'Message undeliverable.',
    )
    assert [one['status'] for one in message['statuses']] == ['queued', 'failed']
    due_now('failed')
    workers.sweep()
    workers.send()
    assert len(stand_in.sends()) == 1


def test_a_refused_token_holds_its_account_and_no_other(acme, workers, stand_in):
    acme.account('other', OTHER)
    acme.account(access_token='EXPIRED')
    first, second = acme.send('+12025550143'), acme.send('+12025550143')
    other = acme.send(chatbot_id='other')
    workers.send()
    account = acme.get(f'/account/{CHATBOT}').json
    assert (account['send_state'], account['send_state_reason']['code'], account['active']) == (
        'held',
        190,
        True,
    )
    assert account['send_state_since'].endswith('Z')
    assert [acme.message(one['id'])['status'] for one in (first, second, other)] == [
        'held',
        'held',
        'accepted',
    ]
    assert acme.message(first['id'])['error']['code'] == 190
    assert acme.send('+12025550144')['status'] == 'held'
    workers.sweep()
    workers.send()
    assert len(stand_in.sends()) == 2  # the account is tried once


@pytest.mark.parametrize('code', [368, 131031, 131042])
def test_every_class_c_error_holds_and_a_resume_sends_again(acme, workers, stand_in, code):
    message = deliver(acme, workers, f'+1999{code:06}1')  # refused once
    assert (message['status'], message['attempts'], message['error']['code']) == ('held', 1, code)
    assert acme.post(f'/account/{CHATBOT}/resume').json['send_state'] == 'ok'
    workers.send()
    message = acme.message(message['id'])
    assert (message['status'], message['error']) == ('accepted', None)


def test_a_late_refusal_of_the_old_token_does_not_hold_the_new_one(acme, workers, stand_in):
    """The answer to the old token is under way while the backend gives a new one."""
    acme.account(access_token='EXPIRED')
    stand_in.config(latency=0.4)
    sent = acme.send()
    sending = threading.Thread(target=workers.send)
    sending.start()
    wait_until(lambda: stand_in.sends())
    acme.account(access_token='fresh')
    sending.join()
    assert acme.get(f'/account/{CHATBOT}').json['send_state'] == 'ok'
    workers.sweep()
    workers.send()
    assert acme.message(sent['id'])['status'] == 'accepted'


def test_what_missed_the_release_of_its_account_is_found_by_the_sweep(acme, workers, stand_in):
    sent, gone = acme.send(), acme.send('+12025550144')
    sql(
        "UPDATE message SET status = 'held', hold_reason = 'account', due_at = NULL WHERE id = %s",
        sent['id'],
    )  # by a read before the release
    workers.sweep()
    workers.send()
    assert acme.message(sent['id'])['status'] == acme.message(gone['id'])['status'] == 'accepted'
    late = acme.send('+12025550145')
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")
    workers.sweep()
    assert acme.message(late['id'])['status'] == 'held'


@pytest.mark.parametrize('to', [LOST_SILENT, RESET, HTML, NO_ID])
def test_a_lost_answer_is_unknown_and_not_sent_again_while_a_status_may_arrive(
    acme, workers, stand_in, to
):
    message = deliver(acme, workers, to)
    assert (message['status'], message['wamid'], message['attempts']) == ('unknown', None, 1)
    assert message['error']['title']
    workers.sweep()
    workers.send()
    assert len(stand_in.sends()) == 1
    ((seconds,),) = sql('SELECT extract(epoch FROM due_at - now()) FROM message')
    assert 110 < seconds <= 120


@pytest.mark.parametrize('told', ['sent', 'delivered', 'read'])
def test_a_status_adopts_a_message_whose_answer_was_lost(acme, workers, meta, stand_in, told):
    message = deliver(acme, workers, LOST)
    meta.webhook(envelope(statuses=[status_of('wamid.adopted', told, opaque=message['id'])]))
    workers.incoming()
    message = acme.message(message['id'])
    assert (message['status'], message['wamid'], message['error']) == (told, 'wamid.adopted', None)
    due_now('unknown')
    workers.sweep()
    workers.send()
    assert len(stand_in.sends()) == 1
    assert acme.get('/usage', query_string={'chatbot_id': CHATBOT}).json['data'][0]['count'] == 1


def test_after_the_grace_it_is_sent_again_once_then_failed(acme, workers, stand_in):
    message = deliver(acme, workers, RESET)
    due_now('unknown')
    workers.sweep()
    workers.send()
    assert acme.message(message['id'])['status'] == 'unknown'
    assert [call['opaque'] for call in stand_in.sends()] == [message['id']] * 2
    due_now('unknown')
    workers.sweep()
    workers.send()
    message = acme.message(message['id'])
    assert (message['status'], len(stand_in.sends())) == ('failed', 2)
    assert message['error']['title']


def test_an_account_may_say_that_unknown_is_failed(acme, workers, stand_in):
    acme.account(on_unknown='fail')
    message = deliver(acme, workers, LOST)
    due_now('unknown')
    workers.sweep()
    workers.send()
    assert (acme.message(message['id'])['status'], len(stand_in.sends())) == ('failed', 1)


def test_a_time_out_is_unknown(acme, workers, stand_in, setting):
    setting('GRAPH_TIMEOUT', '0.3')
    assert deliver(acme, workers, '+19980020004')['status'] == 'unknown'


@pytest.mark.parametrize(
    'url',
    ['http://127.0.0.1:{port}', 'http://no-such-host.invalid', 'https://127.0.0.1:{stand_in}'],
    ids=['refused', 'dns', 'tls'],
)
def test_what_never_left_is_tried_again(acme, workers, setting, stand_in, url):
    setting('GRAPH_API_URL', url.format(port=free_port(), stand_in=stand_in.port))
    message = deliver(acme, workers, '+12025550143')
    assert (message['status'], message['attempts'], message['error']['code']) == ('queued', 1, None)
    assert message['error']['title'].startswith('Meta could not be reached')


def test_a_worker_that_died_in_mid_call_leaves_unknown_not_a_second_message(
    acme, workers, stand_in
):
    sent = acme.send()
    sql("UPDATE message SET status = 'sending', attempts = 1, due_at = now() + interval '1 minute'")
    workers.sweep()
    assert acme.message(sent['id'])['status'] == 'sending'
    due_now('sending')
    workers.sweep()
    message = acme.message(sent['id'])
    assert (message['status'], message['error']['title']) == (
        'unknown',
        'The worker stopped during the call',
    )
    workers.send()
    assert stand_in.sends() == []


def test_an_answer_that_comes_after_the_sweep_is_still_taken(acme, workers, stand_in):
    sent = acme.send('+19980004004')  # 0.4 s
    sending = threading.Thread(target=workers.send)
    sending.start()
    wait_until(lambda: acme.message(sent['id'])['status'] == 'sending')
    due_now('sending')
    workers.sweep()
    assert acme.message(sent['id'])['status'] == 'unknown'
    sending.join()
    message = acme.message(sent['id'])
    assert (message['status'], message['error']) == ('accepted', None)
    assert len(stand_in.sends()) == 1


def test_a_failed_status_that_was_faster_than_the_answer_keeps_its_error(
    acme, workers, meta, stand_in
):
    sent = acme.send('+19980004004')
    sending = threading.Thread(target=workers.send)
    sending.start()
    wait_until(lambda: stand_in.sends() and stand_in.sends()[0]['wamid'])
    wamid = stand_in.sends()[0]['wamid']
    error = {'code': 131026, 'title': 'Message undeliverable'}
    meta.webhook(envelope(statuses=[status_of(wamid, 'failed', opaque=sent['id'], errors=[error])]))
    workers.incoming()
    sending.join()
    message = acme.message(sent['id'])
    assert (message['status'], message['wamid'], message['error']['code']) == (
        'failed',
        wamid,
        131026,
    )


def test_messages_to_one_person_arrive_in_order_while_others_go_side_by_side(
    acme, workers, stand_in
):
    stand_in.config(latency=0.2)
    for n in range(10):
        acme.send('+12025550143', text=f'{n}')
        acme.send(f'+1202555020{n}')
    wait_until(lambda: workers.send() or acme.messages(status='queued') == [])
    calls = stand_in.sends()
    to_one = [call for call in calls if call['recipient'] == CUSTOMER]
    assert [call['body']['text']['body'] for call in to_one] == [str(n) for n in range(10)]
    gaps = [later['monotonic'] - earlier['monotonic'] for earlier, later in pairwise(to_one)]
    assert min(gaps) >= 0.2  # one is answered before the next leaves
    others = [call['monotonic'] for call in calls if call['recipient'] != CUSTOMER]
    assert max(others) < to_one[5]['monotonic']


def test_a_message_that_is_tried_again_keeps_those_behind_it_waiting(acme, workers, stand_in):
    first, second = acme.send(TRANSIENT, text='first'), acme.send(TRANSIENT, text='second')
    workers.send()
    assert [acme.message(one['id'])['status'] for one in (first, second)] == ['queued', 'queued']
    assert acme.message(second['id'])['attempts'] == 0
    due_now('queued')
    workers.send()
    texts = [
        call['body']['text']['body'] for call in stand_in.sends() if call['outcome'] == 'accepted'
    ]
    assert texts[0] == 'first'


def test_a_row_that_cannot_be_claimed_holds_up_its_own_account_alone(acme, workers):
    """Nothing that comes in by a door is like that; what once was may not stop everybody."""
    acme.account('other', '300112233445567')
    bad, good = acme.send('+12025550147'), acme.send(chatbot_id='other')
    sql(
        "UPDATE conversation SET last_inbound_at = '2020-01-01' WHERE id = %s",
        bad['conversation_id'],
    )
    poison = '{"name": "x", "language": {"code": "en"}, "\\u0000": 1}'  # ->> refuses it
    sql('UPDATE message SET fallback = %s WHERE id = %s', poison, bad['id'])
    workers.send()
    assert [acme.message(one['id'])['status'] for one in (bad, good)] == ['queued', 'accepted']
