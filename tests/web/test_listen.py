"""`flask listen` against a real web process, with a real service behind it."""

import base64
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from service.runtime import standard_webhooks
from tests.events.published import PUBLISH
from tests.own_service import Platform
from tests.people import CHATBOT, sql
from tests.stack import ROOT, free_port, wait_until

FLASK = Path(sys.executable).parent / 'flask'
SECRET = 'whsec_' + base64.b64encode(b'a secret of the developer').decode()


class Listener:
    """The command as a process; `said()`: what it has written so far."""

    def __init__(self, directory, *options, **environ):
        self.log = directory / 'listen.log'
        kept = {name: os.environ[name] for name in ('PATH', 'HOME') if name in os.environ}
        with self.log.open('w') as log:
            self.process = subprocess.Popen(
                [FLASK, 'listen', *options],
                cwd=ROOT,
                env=kept | {'PYTHONUNBUFFERED': '1'} | environ,
                stdout=log,
                stderr=log,
                # who runs in the background may have been told to ignore Ctrl-C, as its children do
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )

    def said(self):
        return self.log.read_text()

    def ends(self):
        """Its exit code, once it ends by itself."""
        return self.process.wait(30)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)


@pytest.fixture
def listener(tmp_path):
    """listener('--forward-to', …): runs until the test ends, with a key in its environment."""
    started = []

    def start(*options, **environ):
        started.append(Listener(tmp_path, *options, **{'GATEWAY_KEY': 'test-key', **environ}))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def service():
    with Platform() as running:
        running.answer(200)
        yield running


def listen_to(web, service, listener, *options):
    """A listener that has asked once."""
    running = listener('--url', web.url, '--forward-to', f'{service.url}/hook', *options)
    wait_until(lambda: 'Ctrl-C ends it' in running.said(), 30, message=running.said)
    return running


def publish(type_='batch.done', chatbot_id=CHATBOT):
    sql(PUBLISH, type_, chatbot_id)


def test_events_are_handed_on_in_order_and_signed(backend, web, service, listener):
    backend.account()
    running = listen_to(web, service, listener, '--secret', SECRET)
    assert SECRET not in running.said()
    for type_ in ('batch.done', 'batch.paused', 'batch.done'):
        publish(type_)
    wait_until(lambda: len(service.asks) == 3, 30, message=running.said)
    shown = backend.get('/events').json['data']
    assert [ask['body'] for ask in service.asks] == shown
    for ask, event in zip(service.asks, shown, strict=True):
        at = int(ask['headers']['webhook-timestamp'])
        signed = standard_webhooks.signed_headers(event['id'], at, ask['raw'], [SECRET])
        assert {name: ask['headers'][name] for name in signed} == signed
    wait_until(lambda: running.said().count('-> 200') == 3, message=running.said)
    running.stop()
    assert f'--after {shown[-1]["id"]}' in running.said()


def test_a_secret_that_is_made_is_shown(backend, web, service, listener):
    backend.account()
    running = listen_to(web, service, listener)
    secret = running.said().partition('Signed with ')[2].partition(',')[0]
    publish()
    (ask,) = wait_until(lambda: service.asks, 30, message=running.said)
    at = int(ask['headers']['webhook-timestamp'])
    signed = standard_webhooks.signed_headers(ask['body']['id'], at, ask['raw'], [secret])
    assert ask['headers']['webhook-signature'] == signed['webhook-signature']


def test_only_what_is_asked_for_is_handed_on(backend, web, service, listener):
    backend.account()
    backend.account('other', '300155500044478')
    options = ('--chatbot-id', CHATBOT, '--type', 'batch.paused')
    running = listen_to(web, service, listener, *options)
    backend.get('/events')  # so that the others' are written, too
    publish('batch.paused', 'other')
    publish('batch.done')
    publish('batch.paused')
    (ask,) = wait_until(lambda: service.asks, 30, message=running.said)
    assert (ask['body']['type'], ask['body']['chatbot_id']) == ('batch.paused', CHATBOT)


def test_a_service_that_refuses_or_is_away_stops_nothing(backend, web, service, listener):
    backend.account()
    running = listen_to(web, service, listener)
    service.answer(500)
    publish()
    wait_until(lambda: '-> 500' in running.said(), 30, message=running.said)
    service.answer(302, Location=f'{service.url}/elsewhere')
    publish()
    wait_until(lambda: '-> 302' in running.said(), 30, message=running.said)
    assert len(service.asks) == 2


def test_it_waits_for_a_gateway_that_is_away(backend, web, service, listener):
    backend.account()
    running = listen_to(web, service, listener)
    web.processes.kill('web')
    wait_until(lambda: 'does not answer' in running.said(), 60, message=running.said)
    publish()
    web.processes.start('web')
    web.processes.wait_port(web.port)
    wait_until(lambda: service.asks, 60, message=running.said)


def test_it_begins_behind_an_event(backend, web, service, listener):
    backend.account()
    backend.get('/events')
    publish()
    publish()
    first, second = backend.get('/events').json['data']
    running = listen_to(web, service, listener, '--after', first['id'])
    (ask,) = wait_until(lambda: service.asks, 30, message=running.said)
    assert ask['body'] == second


@pytest.mark.parametrize(
    ('options', 'environ', 'told'),
    [
        ((), {'GATEWAY_KEY': 'wrong'}, 'Authorization'),
        ((), {'GATEWAY_KEY': ''}, 'Name a key'),
        (('--chatbot-id', 'nobody'), {}, 'There is no chatbot "nobody"'),
        (('--type', 'message.sent'), {}, 'message.status'),
        (('--after', 'yesterday'), {}, 'after is not valid'),
        (('--secret', 'word'), {}, 'whsec_'),
        (('--forward-to', 'localhost:3000'), {}, 'http://'),
        (('--url', f'http://127.0.0.1:{free_port()}'), {}, 'does not answer'),
    ],
)
def test_what_cannot_work_is_told_at_once(web, database, listener, options, environ, told):
    given = ('--url', f'{web.url}/whatsapp-cloud/', '--forward-to', 'http://127.0.0.1:9/')
    running = listener(*given, *options, **environ)
    assert running.ends() != 0
    assert told in running.said()
    assert 'Traceback' not in running.said()


def test_a_key_of_the_environment_of_the_gateway_is_taken(web, backend, service, listener):
    backend.account()
    options = ('--url', web.url, '--forward-to', service.url)
    running = listener(*options, GATEWAY_KEY='', API_KEYS='test-key,second-key')
    wait_until(lambda: 'Ctrl-C ends it' in running.said(), 30, message=running.said)


def test_the_gateway_is_looked_for_at_the_port_of_the_environment(web, backend, service, listener):
    backend.account()
    running = listener('--forward-to', service.url, PORT=str(web.port))
    wait_until(lambda: 'Ctrl-C ends it' in running.said(), 30, message=running.said)
    wrong = listener('--forward-to', service.url, PORT='none')
    assert wrong.ends() == 2
    assert 'PORT must be a number' in wrong.said()
