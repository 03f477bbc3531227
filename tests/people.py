"""Who takes part in a test: the platform's backend, Meta, the back room, and the stand-in on the
far side.
"""

import base64
import json
import threading
import time
from pathlib import Path

import requests

from service.runtime.db import connection, db
from service.web.auth import sign
from service.webhooks import inbox, process
from tests.stack import PHONE_NUMBER_ID, Processes, free_port
from workers import background, chores, clock, incoming, replies, retention, send, send_events

PAYLOADS = Path(__file__).parent / 'payloads'
MANIFEST = json.loads((PAYLOADS / 'MANIFEST.json').read_text())
APP_SECRET = MANIFEST['test_app_secret']
CHATBOT = 'acme'
CUSTOMER = '12025550143'
WABA = '880011223344556'


def sql(statement, *parameters):
    """Run one statement on the test's database; its rows as tuples, if it has any."""
    with connection():
        cursor = db.execute_sql(statement, parameters)
        # It is () where rows have no columns.
        return cursor.fetchall() if cursor.description is not None else []


class Backend:
    """Speaks to the API with a key.

    `transport` is a Flask test client or an object with the same methods.
    """

    def __init__(self, transport, key='test-key'):
        self.transport, self.headers = transport, {'Authorization': f'Bearer {key}'}

    def get(self, path, **options):
        return self.request('GET', path, **options)

    def post(self, path, body=None, **options):
        return self.request('POST', path, json=body, **options)

    def request(self, method, path, headers=None, **options):
        if options.get('json') is None:
            options.pop('json', None)
        return self.transport.open(
            f'/whatsapp-cloud{path}',
            method=method,
            headers={**self.headers, **(headers or {})},
            **options,
        )

    def account(self, chatbot_id=CHATBOT, phone_number_id=PHONE_NUMBER_ID, **more):
        """Create or update an account; the answer's JSON."""
        body = {
            'chatbot_id': chatbot_id,
            'phone_number_id': phone_number_id,
            'access_token': 'token-of-' + chatbot_id,
            **more,
        }
        answer = self.post('/account', body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json

    def relay(self, chatbot_id=None, url='http://127.0.0.1:9/hook', **more):
        """Create an endpoint of kind relay; its JSON, with the secret that is made for it."""
        body = {'kind': 'relay', 'url': url, 'chatbot_id': chatbot_id, **more}
        answer = self.post('/endpoints', body)
        assert answer.status_code == 201, answer.text
        return answer.json

    def send(self, to=f'+{CUSTOMER}', text='Hello', chatbot_id=CHATBOT, **more):
        """Queue a text; the message's JSON."""
        answer = self.post(
            '/send',
            {'chatbot_id': chatbot_id, 'to': to, 'type': 'text', 'text': {'body': text}, **more},
        )
        assert answer.status_code == 202, answer.text
        return answer.json

    def message(self, message_id):
        return self.get(f'/messages/{message_id}').json

    def messages(self, **query):
        return self.get('/messages', query_string={'limit': 200, **query}).json['data']

    def conversations(self, chatbot_id=CHATBOT):
        return self.get(
            '/conversations', query_string={'limit': 200, 'chatbot_id': chatbot_id}
        ).json['data']

    def events(self, **query):
        return self.get('/webhook-events', query_string={'limit': 200, **query}).json['data']

    def outcomes(self):
        """(kind, outcome) of every item of every event, the newest event first."""
        return [
            (item['kind'], item['outcome']) for event in self.events() for item in event['items']
        ]


class Meta:
    """Posts webhooks as Meta does: signed over the raw bytes."""

    def __init__(self, transport):
        self.transport = transport

    def webhook(self, body, path='', secret=APP_SECRET, **headers):
        """Post a body (bytes, or JSON to dump); the answer."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {
            'X-Hub-Signature-256': sign(raw, secret),
            'Content-Type': 'application/json',
            **headers,
        }
        return self.transport.post(f'/whatsapp-cloud/webhook{path}', data=raw, headers=headers)

    @staticmethod
    def payload(name):
        return (PAYLOADS / f'{name.removesuffix(".json")}.json').read_bytes()


def envelope(messages=(), statuses=(), contacts=(), number=PHONE_NUMBER_ID, errors=()):
    """Meta's envelope around messages, statuses or errors of one number."""
    value = {
        'messaging_product': 'whatsapp',
        'metadata': {'display_phone_number': '15550104477', 'phone_number_id': number},
    }
    parts = {'contacts': contacts, 'messages': messages, 'statuses': statuses, 'errors': errors}
    value |= {name: list(part) for name, part in parts.items() if part}
    return {
        'object': 'whatsapp_business_account',
        'entry': [{'id': WABA, 'changes': [{'field': 'messages', 'value': value}]}],
    }


def text_message(body='Hello', wamid='wamid.A', phone=CUSTOMER, user=None, at=None, **more):
    """One inbound text, of now unless `at` is given; `phone` or `user` may be None, as Meta leaves
    them out.
    """
    at = int(time.time()) if at is None else at
    ids = {name: value for name, value in (('from', phone), ('from_user_id', user)) if value}
    return {
        **ids,
        'id': wamid,
        'timestamp': str(at),
        'type': 'text',
        'text': {'body': body},
        **more,
    }


def contact(name='Ines', phone=CUSTOMER, user=None, username=None):
    ids = {key: value for key, value in (('wa_id', phone), ('user_id', user)) if value}
    return {'profile': {'name': name, **({'username': username} if username else {})}, **ids}


def status_of(wamid, status, at=1790000000, opaque=None, **more):
    """One status of an outbound message."""
    extra = {'biz_opaque_callback_data': opaque} if opaque else {}
    return {
        'id': wamid,
        'status': status,
        'timestamp': str(at),
        'recipient_id': CUSTOMER,
        **extra,
        **more,
    }


class Customers:
    """What customers do and what Meta tells of them, worked off at once."""

    def __init__(self, meta, workers):
        self.meta, self.workers = meta, workers

    def write(self, body, ago=0, phone=CUSTOMER, **more):
        wamid = more.pop('wamid', f'wamid.{time.time_ns()}')
        self.tell(envelope([text_message(body, wamid, phone, at=int(time.time()) - ago, **more)]))

    def tell(self, body):
        self.meta.webhook(body)
        self.workers.incoming()

    def prefer(self, value, ago=0, **more):
        told = {
            'wa_id': CUSTOMER,
            'detail': '…',
            'category': 'marketing_messages',
            'value': value,
            'timestamp': int(time.time()) - ago,
            **more,
        }
        self.field('user_preferences', user_preferences=[told])

    def field(self, name, **value):
        metadata = {'display_phone_number': '15550104477', 'phone_number_id': PHONE_NUMBER_ID}
        value = {'messaging_product': 'whatsapp', 'metadata': metadata, **value}
        self.tell(
            {
                'object': 'whatsapp_business_account',
                'entry': [{'id': WABA, 'changes': [{'field': name, 'value': value}]}],
            }
        )


def work_off_by(count):
    """So many incoming workers at once, until no event is left; what one of them raises fails the
    test.
    """
    errors = []

    def work():
        try:
            while sql("SELECT 1 FROM webhook_event WHERE status = 'received' LIMIT 1"):
                with connection():
                    process.process_due()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


def call_bus():
    """Make statuses due that wait for the next full fifth of a second."""
    sql(
        "UPDATE webhook_event SET due_at = now() WHERE status = 'received' AND due_at > now()"
        " AND due_at <= received_at + %s * interval '1 second'",
        inbox.BUS_SECONDS,
    )


class Workers:
    """The drains without RQ around them, for tests of what they do; test_journeys.py has the real
    processes.
    """

    def __enter__(self):
        self._forget()
        return self

    def __exit__(self, *exception):
        for room in (incoming, send, background, send_events):
            assert room.close(10), 'calls were still in flight at the end of the test'
        self._forget()

    @staticmethod
    def _forget():
        pools = [send.sender().pool] if send.sender.cache_info().currsize else []
        if background.jobs_of_this_process.cache_info().currsize:
            pools += [job.pool for job in background.jobs_of_this_process().jobs]
        if send_events.deliveries_of_this_process.cache_info().currsize:
            pools.append(send_events.deliveries_of_this_process().pool)
        for pool in pools:  # a suite of thousands of tests would leave tens of thousands of threads
            pool.dismiss()
        # it knows settings of this test; the pool that asks for replies knows none
        send.sender.cache_clear()
        background.jobs_of_this_process.cache_clear()
        send_events.deliveries_of_this_process.cache_clear()

    def incoming(self):
        """Work off all events that are due, then ask for the replies that are due and wait for
        them.
        """
        call_bus()
        self._until_idle(incoming.step, lambda: replies.replies_of_this_process().pool)

    def send(self):
        """Send everything that is due and wait for the results."""
        self._until_idle(send.sender().step, lambda: send.sender().pool)

    def errands(self):
        """Do every background job that is due and wait for the results."""
        self._until_idle(background.jobs_of_this_process().step, background.jobs_of_this_process)

    def events(self):
        """Tell endpoints everything that is due, and wait for the results."""
        deliveries = send_events.deliveries_of_this_process()
        self._until_idle(deliveries.step, lambda: deliveries.pool)

    @staticmethod
    def _until_idle(step, pool):
        while True:
            with connection():
                found = step()
            if not found:
                assert pool().close(10), 'calls did not end within 10 s'
                with connection():
                    if not step():
                        return

    @staticmethod
    def promote():
        with connection():
            chores.do_often()

    @staticmethod
    def sweep():
        with connection():
            chores.sweep()
            retention.step()

    @staticmethod
    def tidy():
        with connection():
            clock.tidy()


class StandIn:
    """The simulator as a process of its own, and its control API."""

    def __init__(self, directory, **environ):
        self.port = free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.processes = Processes(directory, environ)

    def __enter__(self):
        self.start()
        return self

    def start(self, webhook_url='http://127.0.0.1:9/', **flags):
        flags = {
            'port': self.port,
            'webhook-url': webhook_url,
            'app-secret': APP_SECRET,
            'verify-token': 'verify-me',
            'latency': 0,
        } | flags
        words = ' '.join(f'--{name.replace("_", "-")} {value}' for name, value in flags.items())
        self.processes.start('simulator', command=f'python -m tests.simulator {words}')
        self.processes.wait_port(self.port)

    def __exit__(self, *exception):
        self.processes.stop_all()

    def get(self, path, **query):
        return requests.get(f'{self.url}/control{path}', params=query, timeout=10).json()

    def post(self, path, body=None):
        answer = requests.post(f'{self.url}/control{path}', json=body or {}, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    def reset(self, **config):
        self.post('/reset')
        self.post('/config', config)

    def config(self, **config):
        self.post('/config', config)

    def sends(self):
        """Every send call that arrived: body, outcome, wamid, opaque, time."""
        return self.get('/sends')['data']

    def customer_writes(self, text, wa_id=CUSTOMER, **options):
        return self.post(f'/customers/{wa_id}/messages', {'text': text, **options})

    def raw_webhook(self, raw):
        return self.post('/webhook', {'raw_base64': base64.b64encode(raw).decode()})
