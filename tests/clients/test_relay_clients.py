"""pywa's own webhook server, written to stand behind Meta, hears by a relay endpoint."""

import json
import subprocess
from contextlib import contextmanager

import pytest

from tests.people import CHATBOT
from tests.stack import free_port, port_open, wait_until

pytestmark = pytest.mark.clients

CUSTOMER = '12025550144'
SECRET = '0f' * 16


class Listener:
    """pywa's server; what it heard so far: .heard()."""

    def __init__(self, output):
        self._output = output

    def heard(self):
        return [json.loads(line) for line in self._output.read_text().splitlines()]

    def wait_for(self, **wanted):
        """The first that it heard with these values."""
        wait_until(lambda: self._found(wanted), 20, message=self._output.read_text)
        return self._found(wanted)[0]

    def _found(self, wanted):
        return [one for one in self.heard() if wanted.items() <= one.items()]


@contextmanager
def listening(packages, environ, folder, kind, secret=SECRET):
    port, output, errors = free_port(), folder / 'heard', folder / 'errors'
    command = packages.command('listen_pywa.py', kind)
    environ = packages.environ(**environ, PORT=str(port), APP_SECRET=secret)
    with (
        output.open('w') as out,
        errors.open('w') as err,
        subprocess.Popen(command, env=environ, stdout=out, stderr=err) as process,
    ):
        try:
            wait_until(lambda: port_open(port), 30, message=errors.read_text)
            yield f'http://127.0.0.1:{port}/hook', Listener(output)
        finally:
            process.kill()


@contextmanager
def endpoint(backend, url):
    body = {'kind': 'relay', 'url': url, 'chatbot_id': CHATBOT, 'secret': SECRET}
    made = backend.post('/endpoints', body)
    assert made.status_code == 201, made.text
    yield made.json
    assert backend.request('DELETE', f'/endpoints/{made.json["id"]}').status_code == 204


@pytest.mark.parametrize('kind', ['sync', 'async'])
def test_pywas_server_hears_messages_and_statuses(door, environ, packages, tmp_path, kind):
    with (
        listening(packages, environ, tmp_path, kind) as (url, listener),
        endpoint(door.gateway.backend, url),
    ):
        wamid = door.customer_writes(CUSTOMER, 'Olá 🎉 — 日本語')
        assert listener.wait_for(id=wamid)['text'] == 'Olá 🎉 — 日本語'
        told = packages.run('drive_pywa.py', **environ, CUSTOMER=CUSTOMER, WAMID=wamid)
        said = json.loads(told)
        for status in ('sent', 'delivered', 'read'):
            heard = listener.wait_for(id=said['text'], status=status)
            assert heard['tracker'] == 'order-17'  # the caller's own, as it was sent
            assert listener.wait_for(id=said['buttons'], status=status)['tracker'] is None
    heard = [json.dumps(one) for one in listener.heard()]
    assert sorted(heard) == sorted(set(heard))  # each of them once


def test_pywas_server_refuses_another_secret(door, environ, packages, tmp_path):
    """The control of the above: it does look at the signature."""
    backend = door.gateway.backend
    with (
        listening(packages, environ, tmp_path, 'sync', secret='f0' * 16) as (url, listener),
        endpoint(backend, url) as made,
    ):
        door.customer_writes(CUSTOMER)
        deliveries = f'/endpoints/{made["id"]}/deliveries'
        wait_until(lambda: _statuses(backend.get(deliveries).json) == [403], 20)
        assert listener.heard() == []


def _statuses(page):
    return [one['response_status'] for one in page['data'] if one['attempts']]
