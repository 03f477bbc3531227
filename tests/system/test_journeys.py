"""The two journeys through the processes of the Procfile, as they are deployed; and how they start
and stop.
"""

import base64
import hashlib
import hmac
import signal
import time

import pytest

from tests.gateway import ENTRIES, Gateway
from tests.listeners import Listener
from tests.people import CUSTOMER
from tests.stack import wait_until

SECRET = 'whsec_' + base64.b64encode(b'the key of the service').decode()


@pytest.fixture(scope='module')
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp('gateway')) as running:
        running.backend.account()
        running.stand_in.config(latency=0.02, status_delay=0.05)
        yield running


def history(message):
    return [entry['status'] for entry in message['statuses']]


def test_a_customer_writes_the_ai_answers_and_the_customer_reads_it(gateway):
    wamid = gateway.stand_in.customer_writes('Is it open today?')['wamid']
    wait_until(lambda: [m['status'] for m in gateway.backend.messages()] == ['read', 'received'])
    reply, question = gateway.backend.messages()
    assert (question['wamid'], question['content']) == (wamid, {'body': 'Is it open today?'})
    assert (reply['content'], reply['to']) == (
        {'body': 'You said: Is it open today?'},
        f'+{CUSTOMER}',
    )
    assert history(reply) == ['queued', 'accepted', 'sent', 'delivered', 'read']
    (conversation,) = gateway.backend.conversations()
    assert (conversation['wa_id'], conversation['reply_due_at'], conversation['reply_error']) == (
        CUSTOMER,
        None,
        None,
    )
    usage = gateway.backend.get('/usage', query_string={'chatbot_id': 'acme'}).json['data']
    assert sorted((row['direction'], row['count']) for row in usage) == [
        ('inbound', 1),
        ('outbound', 1),
    ]


def test_a_service_that_was_written_against_meta_hears_of_both_journeys(gateway):
    with Listener() as service:
        made = gateway.backend.relay('acme', service.url)
        wamid = gateway.stand_in.customer_writes('Do you see me, too?', wa_id='12025550160')[
            'wamid'
        ]
        own = gateway.backend.send('+12025550161', biz_opaque_callback_data='order-17')
        expected = {('read', 'order-17'), ('read', None)}  # of the send, and of the AI's answer
        wait_until(lambda: expected <= set(ticks(service)) and wamid in inbound(service), 30)
        assert {opaque for _, opaque in ticks(service)} == {'order-17', None}
        assert all(is_signed(ask, made['secret']) for ask in service.asks)
        assert gateway.backend.message(own['id'])['status'] == 'read'
        assert gateway.backend.request('DELETE', f'/endpoints/{made["id"]}').status_code == 204


def values(service):
    return [
        change['value']
        for body in service.heard
        for entry in body['entry']
        for change in entry['changes']
    ]


def ticks(service):
    """(status, biz_opaque_callback_data) of each status that a service was told."""
    told = [status for value in values(service) for status in value.get('statuses', [])]
    return [(status['status'], status.get('biz_opaque_callback_data')) for status in told]


def inbound(service):
    return [message['id'] for value in values(service) for message in value.get('messages', [])]


def is_signed(ask, secret):
    digest = hmac.new(secret.encode(), ask['raw'], hashlib.sha256).hexdigest()
    return ask['headers']['X-Hub-Signature-256'] == f'sha256={digest}'


def test_the_backend_sends_and_learns_every_fate(gateway):
    fine = gateway.backend.send('+12025550150', 'Your order is ready')
    closed = gateway.backend.send('+19991310470', 'Too late')
    lost = gateway.backend.send('+19980000001', 'The answer to this is lost')
    assert fine['status'] == 'queued'
    wait_until(lambda: gateway.backend.message(fine['id'])['status'] == 'read')
    wait_until(lambda: gateway.backend.message(closed['id'])['error'])
    assert gateway.backend.message(closed['id'])['error']['code'] == 131047
    wait_until(lambda: gateway.backend.message(lost['id'])['status'] == 'read')
    assert [
        call['answer'] for call in gateway.stand_in.sends() if call['opaque'] == lost['id']
    ] == [None]


def test_a_burst_of_sends_arrives_in_order_and_once(gateway):
    ids = [gateway.backend.send('+12025550151', f'part {number}')['id'] for number in range(8)]
    wait_until(lambda: all(gateway.backend.message(id_)['status'] == 'read' for id_ in ids), 20)
    assert [call['opaque'] for call in gateway.stand_in.sends() if call['opaque'] in ids] == ids


def test_sigterm_to_every_process_finishes_what_is_in_flight(tmp_path):
    with Gateway(tmp_path) as gateway:
        gateway.backend.account()
        slow = gateway.backend.send('+19980015004', 'answered after 1.5 s')
        wait_until(lambda: gateway.backend.message(slow['id'])['status'] == 'sending')
        began = time.monotonic()
        for name in ENTRIES:
            gateway.processes.kill(name, signal.SIGTERM)
        for name in ENTRIES:
            gateway.processes.kill(
                name, signal.SIGTERM
            )  # a host that signals the group as well as its leader
        codes = gateway.processes.stop_all()
        assert {name: codes[name] for name in ENTRIES} == {name: [0] for name in ENTRIES}
        assert time.monotonic() - began < 25
        with gateway.postgres.connect() as database, database.cursor() as cursor:
            cursor.execute('SELECT status, attempts FROM message WHERE id = %s', [slow['id']])
            assert cursor.fetchone() == ('accepted', 1)


def test_processes_start_before_the_servers_and_in_any_order(tmp_path):
    gateway = Gateway(tmp_path)
    for name in reversed(ENTRIES):
        gateway.processes.start(name)
    gateway.processes.wait_port(gateway.port)
    wait_until(lambda: 'waiting' in gateway.processes.logs('worker_send'))
    assert not gateway.is_ready()
    try:
        with gateway.entered_late():
            gateway.backend.account()
            gateway.stand_in.customer_writes('Anybody there?')
            wait_until(
                lambda: [m['status'] for m in gateway.backend.messages()] == ['read', 'received'],
                20,
            )
    finally:
        assert all(codes == [0] for codes in gateway.codes.values()), gateway.codes


def test_a_service_of_the_platforms_answers_later(gateway):
    url = gateway.url
    gateway.stand_in.config(gateway_url=url, api_key='test-key')
    responder = {'kind': 'http', 'url': f'{gateway.stand_in.url}/responder', 'secret': SECRET}
    gateway.backend.account('later', '300112233445599', responder=responder)
    gateway.stand_in.customer_writes('later 0.5', phone_number_id='300112233445599')

    def answered():
        return gateway.backend.messages(chatbot_id='later', direction='outbound', status='read')

    wait_until(answered)
    (answer,) = answered()
    (question,) = gateway.backend.messages(chatbot_id='later', direction='inbound')
    assert (answer['in_reply_to'], answer['text']) == (
        question['id'],
        'From the platform: later 0.5',
    )
    (ask,) = gateway.stand_in.get('/responder')['data']
    assert (ask['status'], ask['later']['status']) == (202, 202)
