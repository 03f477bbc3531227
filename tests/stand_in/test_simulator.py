"""The stand-in for Meta does what its README says.

The other tests and the benchmarks lean on it.
"""

import hashlib
import hmac
import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from base64 import b64decode, b64encode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.simulator.statuses import pricing

ROOT = Path(__file__).parents[2]
SECRET = 'simulator-test-secret'
PATIENCE = 8  # seconds
NUMBERS = itertools.count()


class Gateway(ThreadingHTTPServer):
    """Takes webhooks and remembers them; answers with `answers` first, then with 200."""

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Receiver)
        self.posts, self.answers, self.path = [], [], '/'
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_address[1]}{self.path}'

    def begin(self, test):
        """A path for each test: what an earlier one still had on its way is nobody's then."""
        self.posts, self.answers, self.path = [], [], f'/webhook-of-test/{test}/'

    def statuses(self):
        return [status for value in self.values() for status in value.get('statuses', ())]

    def names(self):
        return [status['status'] for status in self.statuses()]

    def messages(self):
        return [message for value in self.values() for message in value.get('messages', ())]

    def values(self):
        return [change['value'] for changes in self.changes() for change in changes]

    def changes(self):
        bodies = [json.loads(raw) for _, raw in list(self.posts)]
        return [entry['changes'] for body in bodies for entry in body['entry']]


class Receiver(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        raw = self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(self.taken(raw))
        self.send_header('Content-Length', '0')
        self.end_headers()

    def taken(self, raw):
        if not self.path.startswith(self.server.path):
            return 200
        self.server.posts.append((self.headers, raw))
        return self.server.answers.pop(0) if self.server.answers else 200

    def log_message(self, *_):
        pass


class Simulator:
    def __init__(self, base):
        self.base = base

    def ask(self, method, path, body=None, headers=None):
        """HTTP status, headers and the body as JSON (or as bytes, where it is none)."""
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        request = urllib.request.Request(self.base + path, data, dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.headers, decoded(answer.read())
        except HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers, decoded(refusal.read())

    def get(self, path):
        return self.ask('GET', path)[2]

    def post(self, path, body):
        return self.ask('POST', path, body)[2]

    def configure(self, **changes):
        status, _, answer = self.ask('POST', '/control/config', changes)
        assert status == 200, answer

    def send(self, to='+12025550143', token='good', **more):
        addressed = {} if 'recipient' in more else {'to': to}
        body = (
            {'messaging_product': 'whatsapp', 'type': 'text', 'text': {'body': 'Hello'}}
            | addressed
            | more
        )
        return self.ask(
            'POST', '/v26.0/300112233445566/messages', body, {'Authorization': f'Bearer {token}'}
        )

    def write(self, wa_id='12025550143', **body):
        return self.post(f'/control/customers/{wa_id}/messages', body)

    def at_rest(self):
        return wait_until(lambda: self.get('/control/undelivered')['pending'] == 0)


def decoded(raw):
    try:
        return json.loads(raw)
    except ValueError:
        return raw


def signature(raw, secret=SECRET):
    return 'sha256=' + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def wait_until(condition):
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until, 'waited in vain'
        time.sleep(0.01)
    return found


@contextmanager
def running(*flags):
    command = [sys.executable, '-m', 'tests.simulator', '--port', '0', *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip().split()[-1].removesuffix('/phone')
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope='module')
def server():
    gateway = Gateway()
    flags = ('--app-secret', SECRET, '--latency', '0', '--token', 'good')
    with running(*flags) as (_, base):
        yield Simulator(base), gateway
    gateway.shutdown()
    gateway.server_close()


@pytest.fixture
def simulator(server):
    simulator, gateway = server
    simulator.post('/control/reset', {})
    gateway.begin(next(NUMBERS))
    simulator.configure(status_delay=0.01, webhook_url=gateway.url)
    return simulator


@pytest.fixture
def gateway(server, simulator):
    return server[1]


def test_a_send_is_answered_like_meta_does(simulator):
    status, _, answer = simulator.send('+1 (202) 555-0143', biz_opaque_callback_data='m-1')
    assert status == 200
    assert answer['contacts'] == [{'input': '+1 (202) 555-0143', 'wa_id': '12025550143'}]
    wamid = answer['messages'][0]['id']
    assert b'12025550143' in b64decode(wamid.removeprefix('wamid.'))
    [send] = simulator.get('/control/sends')['data']
    assert (send['outcome'], send['wamid'], send['opaque'], send['token_tail']) == (
        'accepted',
        wamid,
        'm-1',
        'good',
    )


def test_a_bsuid_is_answered_with_its_user_id_and_has_no_phone_in_its_statuses(simulator, gateway):
    _, _, answer = simulator.send(recipient='US.9081726354453627')
    assert answer['contacts'] == [
        {'input': 'US.9081726354453627', 'user_id': 'US.9081726354453627'}
    ]
    wait_until(lambda: len(gateway.statuses()) == 3)
    assert all(s['recipient_user_id'] == 'US.9081726354453627' for s in gateway.statuses())
    assert not any('recipient_id' in s for s in gateway.statuses())
    assert not any('wa_id' in card for value in gateway.values() for card in value['contacts'])


def test_a_bsuid_in_to_is_taken_and_never_heard_of_again(simulator, gateway):
    assert simulator.send('US.9081726354453627')[0] == 200
    assert simulator.get('/control/undelivered')['pending'] == 0
    assert gateway.posts == []


@pytest.mark.parametrize('token', ['', 'bad', 'EXPIRED-good'])
def test_a_wrong_token_is_error_190(simulator, token):
    status, _, answer = simulator.send(token=token)
    assert status == 401
    assert answer['error']['code'] == 190
    assert answer['error']['fbtrace_id'].startswith('A')


def test_tokens_can_be_changed_while_it_runs(simulator):
    simulator.configure(tokens=['newer'])
    assert [simulator.send(token=token)[0] for token in ('good', 'newer')] == [401, 200]


@pytest.mark.parametrize(
    ('more', 'code'),
    [
        ({'messaging_product': 'sms'}, 100),
        ({'to': ''}, 100),
        ({'recipient': '+12025550143'}, 131009),
        ({'type': 'image'}, 100),
        ({'type': 'telepathy', 'telepathy': {}}, 100),
        ({'text': {'body': 'x' * 4097}}, 100),
        ({'biz_opaque_callback_data': 'x' * 513}, 100),
    ],
)
def test_a_wrong_body_is_refused(simulator, more, code):
    status, _, answer = simulator.send(**more)
    assert (status, answer['error']['code']) == (400, code)


def test_what_is_not_json_is_refused(simulator):
    status, _, answer = simulator.ask(
        'POST', '/v26.0/1/messages', b'{', {'Authorization': 'Bearer good'}
    )
    assert (status, answer['error']['code']) == (400, 100)


def test_statuses_are_signed_and_echo_the_opaque_data(simulator, gateway):
    _, _, answer = simulator.send(biz_opaque_callback_data='gw:é/@')
    wait_until(lambda: len(gateway.posts) == 3)
    for headers, raw in gateway.posts:
        assert headers['X-Hub-Signature-256'] == signature(raw)
        assert rb'gw:\u00e9\/\u0040' in raw
    assert set(gateway.names()) == {'sent', 'delivered', 'read'}
    assert {status['id'] for status in gateway.statuses()} == {answer['messages'][0]['id']}
    assert {s['status'] for s in gateway.statuses() if 'pricing' in s} == {'sent', 'delivered'}
    assert all(value['contacts'][0]['wa_id'] == '12025550143' for value in gateway.values())


@pytest.mark.parametrize(
    ('at', 'kind', 'billable', 'category', 'price'),
    [
        ('1790812799', 'text', False, 'service', 'free_customer_service'),
        ('1790812800', 'text', True, 'service', 'regular'),
        ('1790812800', 'interactive', True, 'service', 'regular'),
        ('1790812799', 'template', True, 'utility', 'regular'),
    ],
)
def test_since_october_2026_every_message_has_its_price(at, kind, billable, category, price):
    told = pricing(kind, at)
    assert (told['billable'], told['category'], told['type']) == (billable, category, price)


def test_statuses_can_keep_the_opaque_data_to_themselves(simulator, gateway):
    simulator.configure(status_opaque=False)
    simulator.send(biz_opaque_callback_data='m-1')
    wait_until(lambda: len(gateway.posts) == 3)
    assert not any('biz_opaque_callback_data' in status for status in gateway.statuses())


def test_statuses_can_be_doubled_and_chosen(simulator, gateway):
    simulator.configure(status_double=True, statuses=['sent', 'read'])
    simulator.send()
    wait_until(lambda: len(gateway.names()) == 4)
    assert sorted(gateway.names()) == ['read', 'read', 'sent', 'sent']


def test_statuses_can_be_batched(simulator, gateway):
    simulator.configure(status_batch=1000, status_delay=0)
    for _ in range(10):
        simulator.send()
    wait_until(lambda: len(gateway.names()) == 30)
    assert len(gateway.posts) < 15
    assert all(len(value['statuses']) == 1 for value in gateway.values())


def test_statuses_can_be_out_of_order(simulator, gateway):
    simulator.configure(status_shuffle=True, status_batch=3, status_delay=0)
    simulator.send()
    wait_until(lambda: len(gateway.names()) == 3)
    assert sorted(gateway.names()) == ['delivered', 'read', 'sent']


def test_statuses_can_come_before_the_answer(simulator, gateway):
    simulator.configure(status_before_answer=True)
    simulator.send()
    assert len(gateway.names()) == 3


def test_webhooks_can_be_switched_off(simulator, gateway):
    simulator.configure(webhooks=False)
    simulator.send()
    assert simulator.get('/control/undelivered')['pending'] == 0
    assert gateway.posts == []


def test_a_webhook_is_repeated_until_the_gateway_says_200(simulator, gateway):
    simulator.configure(statuses=['sent'])
    gateway.answers[:] = [503, 400]
    simulator.send()
    wait_until(lambda: len(gateway.posts) == 3)
    assert len({raw for _, raw in gateway.posts}) == 1
    simulator.at_rest()
    assert simulator.get('/control/undelivered')['undelivered'] == 0


def test_a_number_may_have_a_webhook_and_a_secret_of_its_own(simulator, gateway):
    own = {'webhook_url': gateway.url + 'acme', 'app_secret': 'own', 'waba_id': '42'}
    simulator.configure(numbers={'300112233445566': own}, statuses=['sent'])
    simulator.send()
    headers, raw = wait_until(lambda: gateway.posts and gateway.posts[0])
    assert headers['X-Hub-Signature-256'] == signature(raw, 'own')
    assert json.loads(raw)['entry'][0]['id'] == '42'


def test_a_magic_number_answers_an_error_n_times(simulator):
    to = '19991304292'
    answers = [simulator.send(to, biz_opaque_callback_data='m-1') for _ in range(3)]
    assert [status for status, _, _ in answers] == [400, 400, 200]
    assert answers[0][2]['error']['code'] == 130429
    assert simulator.send(to, biz_opaque_callback_data='m-2')[0] == 400
    assert simulator.get('/control/sends?counts=1')['accepted_by_opaque'] == {'m-1': 1}


@pytest.mark.parametrize(
    ('to', 'status', 'code'), [('19990001900', 401, 190), ('19991310000', 500, 131000)]
)
def test_a_magic_number_may_answer_an_error_always(simulator, to, status, code):
    for _ in range(2):
        answer = simulator.send(to)
        assert (answer[0], answer[2]['error']['code']) == (status, code)


def test_throttling_may_carry_retry_after(simulator):
    simulator.configure(retry_after=7)
    assert simulator.send('19991304290')[1]['Retry-After'] == '7'
    assert simulator.send('19991310470')[1]['Retry-After'] is None


def test_magic_works_for_a_bsuid_and_may_be_followed_by_a_serial_number(simulator):
    assert simulator.send(recipient='US.19991310470')[2]['error']['code'] == 131047
    assert simulator.send('199913104700042')[2]['error']['code'] == 131047
    assert simulator.send('1999131047')[0] == 200


def test_a_lost_answer_is_accepted_and_its_statuses_come(simulator, gateway):
    with pytest.raises(http.client.RemoteDisconnected):
        simulator.send('19980000001', biz_opaque_callback_data='m-1')
    wait_until(lambda: len(gateway.names()) == 3)
    [send] = simulator.get('/control/sends')['data']
    assert (send['outcome'], send['answer']) == ('accepted', None)


@pytest.mark.parametrize('to', ['19980000002', '19980000009'])
def test_an_accepted_message_may_stay_without_statuses(simulator, gateway, to):
    if to.endswith('2'):
        with pytest.raises(http.client.RemoteDisconnected):
            simulator.send(to)
    else:
        assert simulator.send(to)[0] == 200
    assert simulator.get('/control/sends?counts=1')['accepted'] == 1
    assert simulator.get('/control/undelivered')['pending'] == 0
    assert gateway.posts == []


def test_a_reset_accepts_nothing(simulator, gateway):
    with pytest.raises(ConnectionResetError):
        simulator.send('19980000003')
    counts = simulator.get('/control/sends?counts=1')
    assert (counts['accepted'], counts['by_outcome']) == (0, {'reset': 1})
    assert gateway.posts == []


def test_a_slow_answer_takes_its_milliseconds(simulator):
    started = time.monotonic()
    assert simulator.send('19980003004')[0] == 200
    assert time.monotonic() - started >= 0.3


def test_an_html_500_accepts_nothing(simulator):
    status, headers, answer = simulator.send('19980000005')
    assert (status, headers.get_content_type()) == (500, 'text/html')
    assert answer.startswith(b'<!DOCTYPE html>')
    assert simulator.get('/control/sends?counts=1')['accepted'] == 0


def test_an_answer_may_lack_the_id(simulator, gateway):
    status, _, answer = simulator.send('19980000006')
    assert (status, 'messages' in answer) == (200, False)
    wait_until(lambda: len(gateway.names()) == 3)


def test_a_magic_number_has_its_statuses_before_the_answer(simulator, gateway):
    simulator.send('19980000007')
    assert len(gateway.names()) == 3


def test_a_magic_number_has_its_statuses_doubled_and_in_reverse(simulator, gateway):
    simulator.configure(status_delay=0.05)
    simulator.send('19980000008')
    wait_until(lambda: len(gateway.names()) == 6)
    assert gateway.names() == ['read', 'read', 'delivered', 'delivered', 'sent', 'sent']


def test_a_magic_number_fails_after_it_was_accepted(simulator, gateway):
    for expected in (1, 4):
        assert simulator.send('19971310261')[0] == 200
        wait_until(lambda expected=expected: len(gateway.names()) == expected)
    failed = gateway.statuses()[0]
    assert (failed['status'], failed['errors'][0]['code']) == ('failed', 131026)
    assert 'contacts' not in gateway.values()[0]
    assert 'failed' not in gateway.names()[1:]


def test_a_customer_writes(simulator, gateway):
    answer = simulator.write(text='Olá', name='Ines', context_id='wamid.x')
    assert answer['gateway_status'] == 200
    [message], [value] = gateway.messages(), gateway.values()
    assert message['id'] == answer['wamid']
    assert (message['from'], message['text']) == ('12025550143', {'body': 'Olá'})
    assert message['context'] == {'from': '15550104477', 'id': 'wamid.x'}
    assert value['contacts'][0]['profile'] == {'name': 'Ines'}
    assert value['contacts'][0]['user_id'] == message['from_user_id']
    assert rb'Ol\u00e1' in gateway.posts[0][1]


def test_a_customer_may_hide_the_phone_and_be_answered_by_bsuid(simulator, gateway):
    simulator.write('12025550178', text='Hi', hide_phone=True, username='quiet.harbor')
    [message], [value] = gateway.messages(), gateway.values()
    assert 'from' not in message
    assert value['contacts'][0].keys() == {'profile', 'user_id'}
    simulator.send(recipient=message['from_user_id'])
    chat = simulator.get('/phone/messages?wa_id=12025550178')['messages']
    assert [entry['direction'] for entry in chat] == ['inbound', 'outbound']


def test_a_customers_message_may_come_twice_and_be_of_any_type(simulator, gateway):
    answer = simulator.write(
        message={'type': 'location', 'location': {'latitude': 0, 'longitude': 1.5}}, double=True
    )
    assert answer['gateway_statuses'] == [200, 200]
    assert gateway.posts[0][1] == gateway.posts[1][1]
    assert gateway.messages()[0]['location'] == {'latitude': 0, 'longitude': 1.5}


def test_what_the_business_writes_on_its_own_phone_is_an_echo(simulator, gateway):
    simulator.write(text='I call you', echo=True)
    ((change,),) = gateway.changes()
    (echo,) = change['value']['message_echoes']
    assert change['field'] == 'smb_message_echoes'
    assert (echo['from'], echo['to'], echo['text']) == (
        '15550104477',
        '12025550143',
        {'body': 'I call you'},
    )
    assert echo['to_user_id'].startswith('US.')


def test_an_unsupported_message_says_why(simulator, gateway):
    simulator.write(message={'type': 'unsupported'})
    (message,) = gateway.messages()
    assert (message['unsupported'], message['errors'][0]['code']) == (
        {'type': 'poll_creation'},
        131051,
    )


@pytest.mark.parametrize('hidden', [False, True])
def test_a_customer_changes_the_number(simulator, gateway, hidden):
    simulator.write(text='Hello', name='Ines')
    simulator.post(
        '/control/customers/12025550143/changes-number', {'to': '12025550199', 'hide_phone': hidden}
    )
    first, system = gateway.messages()
    news = system['system']
    assert (news['previous_user_id'], news['user_id'] != first['from_user_id']) == (
        first['from_user_id'],
        True,
    )
    wanted = (
        ('user_changed_user_id', None, None)
        if hidden
        else ('user_changed_number', '12025550199', '12025550143')
    )
    assert (news['type'], news.get('wa_id'), system.get('from')) == wanted


def test_a_customer_stops_marketing_and_takes_it_up_again(simulator, gateway):
    path, template = (
        '/control/customers/12025550143/preferences',
        {'name': 'news', 'language': {'code': 'en_US'}},
    )
    made = {'name': 'news', 'language': 'en_US', 'category': 'MARKETING', 'components': []}
    simulator.ask(
        'POST', '/v26.0/880011223344556/message_templates', made, {'Authorization': 'Bearer good'}
    )
    for value, status in (('stop', 400), ('resume', 200)):
        assert simulator.post(path, {'value': value}) == {'gateway_status': 200}
        (wish,) = gateway.values()[-1]['user_preferences']
        assert (wish['value'], wish['category'], wish['wa_id']) == (
            value,
            'marketing_messages',
            '12025550143',
        )
        assert simulator.send(type='template', template=template)[0] == status
        wait_until(lambda: not simulator.get('/control/undelivered')['pending'])
        gateway.posts.clear()
    assert 'error' in simulator.post(path, {'value': 'perhaps'})


def test_meta_judges_a_template_and_tells_of_the_account(simulator, gateway):
    simulator.post(
        '/control/templates', {'name': 'hello_world', 'status': 'PAUSED', 'reason': 'LOW_QUALITY'}
    )
    simulator.post(
        '/control/account',
        {'field': 'account_review_update', 'value': {'decision': 'APPROVED'}, 'time': 5},
    )
    (verdict,), (review,) = gateway.changes()
    assert (verdict['field'], verdict['value']['event']) == (
        'message_template_status_update',
        'PAUSED',
    )
    assert verdict['value']['message_template_id'] == 1192339204654487
    assert review == {'field': 'account_review_update', 'value': {'decision': 'APPROVED'}}
    assert json.loads(gateway.posts[-1][1])['entry'][0]['time'] == 5
    assert 'error' in simulator.post('/control/templates', {'name': 'nothing', 'status': 'PAUSED'})


def test_a_refused_customers_message_is_reported_and_tried_again(simulator, gateway):
    gateway.answers[:] = [503]
    assert simulator.write(text='Hi')['gateway_status'] == 503
    wait_until(lambda: len(gateway.posts) == 2)


def test_a_customers_media_can_be_fetched_with_the_token_only(simulator, gateway):
    data = b64encode(b'a picture').decode()
    simulator.write(
        message={'type': 'image', 'image': {'data_base64': data, 'mime_type': 'image/png'}}
    )
    [message] = gateway.messages()
    bearer = {'Authorization': 'Bearer good'}
    _, _, found = simulator.ask('GET', f'/v26.0/{message["image"]["id"]}', None, bearer)
    assert found['sha256'] == b64decode(message['image']['sha256']).hex()
    path = found['url'].removeprefix(simulator.base)
    assert simulator.ask('GET', path, None, bearer)[2] == b'a picture'
    assert simulator.ask('GET', path)[0] == 401


def test_a_media_url_expires_and_media_can_be_deleted(simulator):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="messaging_product"\r\n\r\nwhatsapp\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
        b'Content-Type: text/plain\r\n\r\nhello\r\n--x--\r\n'
    )
    bearer = {'Authorization': 'Bearer good'}
    headers = bearer | {'Content-Type': 'multipart/form-data; boundary=x'}
    _, _, uploaded = simulator.ask('POST', '/v26.0/300112233445566/media', form, headers)
    simulator.configure(media_url_ttl=0)
    _, _, found = simulator.ask('GET', f'/v26.0/{uploaded["id"]}', None, bearer)
    assert (found['mime_type'], found['file_size']) == ('text/plain', 5)
    assert simulator.ask('GET', found['url'].removeprefix(simulator.base), None, bearer)[0] == 404
    assert simulator.ask('DELETE', f'/v26.0/{uploaded["id"]}', None, bearer)[2] == {'success': True}
    assert simulator.ask('GET', f'/v26.0/{uploaded["id"]}', None, bearer)[0] == 400


def test_templates_are_listed_created_and_deleted(simulator):
    bearer, path = {'Authorization': 'Bearer good'}, '/v26.0/880011223344556/message_templates'
    made = {'name': 'late', 'language': 'en_US', 'category': 'UTILITY', 'components': []}
    assert simulator.ask('POST', path, made, bearer)[2]['status'] == 'APPROVED'
    assert (
        simulator.ask('GET', f'{path}?name=late', None, bearer)[2]['data'][0]['language'] == 'en_US'
    )
    assert simulator.ask('DELETE', f'{path}?name=late', None, bearer)[2] == {'success': True}
    assert simulator.ask('DELETE', f'{path}?name=late', None, bearer)[0] == 404


def test_a_read_receipt_succeeds_and_is_no_send(simulator):
    wamid = simulator.write(text='Hi')['wamid']
    body = {'messaging_product': 'whatsapp', 'status': 'read', 'message_id': wamid}
    bearer = {'Authorization': 'Bearer good'}
    assert simulator.ask('POST', '/v26.0/300112233445566/messages', body, bearer)[2] == {
        'success': True
    }
    assert simulator.get('/control/sends')['data'] == []
    assert simulator.get('/control/reads')['data'] == [body]
    assert simulator.get('/phone/messages?wa_id=12025550143')['messages'][0]['read'] is True


def test_any_body_can_be_posted_to_the_webhook(simulator, gateway):
    raw = b'not json \xff'
    assert simulator.post('/control/webhook', {'raw_base64': b64encode(raw).decode()}) == {
        'gateway_status': 200
    }
    simulator.post('/control/webhook', {'body': {'a': 'é'}, 'signature': None})
    (first_headers, first), (second_headers, second) = gateway.posts
    assert first == raw
    assert first_headers['X-Hub-Signature-256'] == signature(raw)
    assert second == rb'{"a":"\u00e9"}'
    assert second_headers['X-Hub-Signature-256'] is None


def test_a_wrong_setting_changes_nothing(simulator):
    status, _, answer = simulator.ask(
        'POST', '/control/config', {'latency': 1, 'latancy': 2, 'status_batch': 'many'}
    )
    assert (status, sorted(answer['errors'])) == (
        422,
        ['latancy: unknown', 'status_batch: wrong type'],
    )
    assert simulator.get('/control/config')['latency'] == 0


def test_reset_drops_sends_settings_and_what_is_on_its_way(simulator, gateway):
    simulator.configure(status_delay=60, latency=0.01)
    simulator.send()
    assert simulator.get('/control/undelivered')['pending'] == 3
    simulator.post('/control/reset', {})
    assert simulator.get('/control/undelivered')['pending'] == 0
    assert simulator.get('/control/sends')['data'] == []
    assert simulator.get('/control/config')['status_delay'] == 0.2


def test_sends_can_be_counted(simulator):
    for number in range(4):
        simulator.send(biz_opaque_callback_data=f'm-{number % 3}')
    counts = simulator.get('/control/sends?counts=1')
    assert counts['accepted_by_opaque'] == {'m-0': 2, 'm-1': 1, 'm-2': 1}
    assert counts['accepted_by_recipient'] == {'12025550143': 4}
    assert counts['max_per_second']['300112233445566'] == 4
    assert [send['index'] for send in simulator.get('/control/sends?since=3')['data']] == [3]


def ask_ai(simulator, text, key='Bearer k'):
    body = {
        'model': 'm',
        'messages': [{'role': 'system', 'content': 's'}, {'role': 'user', 'content': text}],
    }
    return simulator.ask(
        'POST', '/v1/chat/completions', body, {'Authorization': key} if key else {}
    )


def test_the_ai_says_what_it_was_told(simulator):
    answer = ask_ai(simulator, 'hello')[2]
    assert answer['choices'][0]['message']['content'] == 'You said: hello'
    assert ask_ai(simulator, 'hello', key=None)[0] == 401
    assert [ask['status'] for ask in simulator.get('/control/ai')['data']] == [200, 401]


def test_the_ai_fails_when_it_is_told_to(simulator):
    assert [ask_ai(simulator, 'please fail 2')[0] for _ in range(3)] == [500, 500, 200]
    assert ask_ai(simulator, 'ai-garbage')[2] == b'<html>not JSON'
    assert ask_ai(simulator, 'ai-empty')[2]['choices'][0]['message']['content'] == ''


@pytest.mark.parametrize(
    ('word', 'told'),
    [
        ('ai-parts', b'"type": "text"'),
        ('ai-refusal', b"I can't help"),
        ('ai-tool', b'"tool_calls"'),
        ('ai-think', b'<think>'),
        ('ai-markdown', b'**Kayak**'),
    ],
)
def test_the_ai_answers_in_every_shape(simulator, word, told):
    status, _, answer = ask_ai(simulator, f'hello {word}')
    assert status == 200
    assert told in json.dumps(answer).encode()


def test_the_ai_streams_and_refuses_when_it_is_told_to(simulator):
    _, headers, raw = ask_ai(simulator, 'hello ai-stream')
    assert headers.get_content_type() == 'text/event-stream'
    assert raw.endswith(b'data: [DONE]\n\n')
    assert b'"hello "' in raw
    assert ask_ai(simulator, 'ai-nothing')[2] == b'data: [DONE]\n\n'
    status, headers, _ = ask_ai(simulator, 'ai-status 429')
    assert (status, headers['Retry-After']) == (429, '2')
    assert ask_ai(simulator, 'ai-status 404')[0] == 404


def ask_platform(simulator, text, secret):
    key = b64decode(secret.removeprefix('whsec_'))
    body = json.dumps({'messages': [{'direction': 'inbound', 'text': {'body': text}}]}).encode()
    stamp = str(int(time.time()))
    mark = b64encode(hmac.digest(key, f'msg_1.{stamp}.'.encode() + body, 'sha256')).decode()
    headers = {'webhook-id': 'msg_1', 'webhook-timestamp': stamp, 'webhook-signature': f'v1,{mark}'}
    status, _, answer = simulator.ask('POST', '/responder', body, headers)
    return status, [
        message['text']['body'] for message in answer['messages']
    ] if status == 200 else None


def test_the_platform_checks_the_signature_and_answers(simulator):
    right, wrong = ('whsec_' + b64encode(key).decode() for key in (b'right', b'wrong'))
    simulator.configure(responder_secret=right)
    assert ask_platform(simulator, 'hi', right) == (200, ['From the platform: hi'])
    assert ask_platform(simulator, 'hi', wrong)[0] == 401
    assert ask_platform(simulator, 'none', right)[0] == 204
    assert len(ask_platform(simulator, 'two', right)[1]) == 2
    assert simulator.ask('POST', '/responder', {})[0] == 401
    assert len(simulator.get('/control/responder')['data']) == 5


def read_events(stream, number):
    """The next `number` events but for those of the wire."""
    events = []
    while len(events) < number:
        line = stream.readline().decode().strip()
        if line.startswith('event: '):
            name, data = line.removeprefix('event: '), stream.readline().decode()
            if name != 'wire':
                events.append((name, json.loads(data.removeprefix('data: '))))
    return events


def test_the_page_hears_of_messages_and_statuses_as_they_come(simulator):
    with urllib.request.urlopen(
        f'{simulator.base}/phone/events?wa_id=12025550143', timeout=PATIENCE
    ) as stream:
        assert stream.headers.get_content_type() == 'text/event-stream'
        assert stream.readline() == b'retry: 1000\n'
        wamid = simulator.write(text='Hi')['wamid']
        (name, past), (_, fresh), (_, taken) = read_events(stream, 3)
        assert (name, past['messages']) == ('past', [])
        assert (fresh['id'], fresh['gateway_status'], taken['gateway_status']) == (wamid, None, 200)
        simulator.configure(statuses=['sent'])
        simulator.send()
        [_, _, (_, last)] = read_events(stream, 3)
        assert [(line['status'], line['gateway_status']) for line in last['statuses']] == [
            ('sent', 200)
        ]


def test_the_page_is_self_contained(simulator):
    status, headers, page = simulator.ask('GET', '/phone')
    assert (status, headers.get_content_type()) == (200, 'text/html')
    for outside in (b'src="http', b'href="http', b'@import', b'innerHTML'):
        assert outside not in page


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(number):
    with running() as (process, _):
        process.send_signal(number)
        assert process.wait(timeout=15) == 0


def test_flags_may_come_from_the_environment():
    environment = {**os.environ, 'SIMULATOR_LATENCY': '0.25', 'SIMULATOR_TOKEN': 'a,b'}
    code = (
        'from tests.simulator.settings import arguments as a; f = a([]); print(f.latency, f.token)'
    )
    printed = subprocess.check_output(
        [sys.executable, '-c', code], cwd=ROOT, env=environment, text=True
    )
    assert printed.split() == ['0.25', "['a',", "'b']"]
