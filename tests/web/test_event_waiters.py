"""Callers that wait for events at a real web process: they hold up nobody, and not its end."""

import threading
import time

import pytest
import requests

from service.web.events import MAX_WAITERS
from tests.events.published import PUBLISH
from tests.gateway import Http
from tests.people import CHATBOT, Meta, envelope, sql, text_message
from tests.stack import wait_until

KEY = {'Authorization': 'Bearer test-key'}
NEVER = 'ffffffff-ffff-ffff-ffff-ffffffffffff'


class Waiter:
    """A caller that waits in a thread of its own."""

    def __init__(self, url, after=NEVER):
        self.url = f'{url}/whatsapp-cloud/events?wait=20&after={after}'
        self.answer = None
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self):
        self.answer = requests.get(self.url, headers=KEY, timeout=40)

    def answered(self):
        self.thread.join(40)
        assert self.answer.status_code == 200, self.answer.text
        return self.answer.json()['data']


def ask(web, path):
    return requests.get(f'{web.url}{path}', headers=KEY, timeout=10)


@pytest.fixture
def waiters(backend, web):
    """As many as may wait."""
    backend.account(responder={'kind': 'none'})
    found = [Waiter(web.url) for _ in range(MAX_WAITERS + 1)]
    (refused,) = wait_until(lambda: [one for one in found if one.answer is not None], 15)
    assert refused.answer.status_code == 429
    return [one for one in found if one is not refused]


def stop(web):
    """SIGTERM; its exit code, and the seconds that it took."""
    began = time.monotonic()
    codes = web.processes.stop('web')
    return codes, time.monotonic() - began


def test_all_else_goes_on_beside_those_who_wait(web, waiters):
    meta = Meta(Http(web.url))
    for number in range(20):
        body = envelope([text_message('Hello', f'wamid.{number}')])
        assert meta.webhook(body).status_code == 200
        assert ask(web, '/whatsapp-cloud/accounts').status_code == 200
        assert ask(web, '/healthz').status_code == 200
    assert all(one.thread.is_alive() for one in waiters)
    codes, seconds = stop(web)
    assert codes == [0]
    assert seconds < 15  # they would have waited for 20
    assert [one.answered() for one in waiters] == [[]] * MAX_WAITERS
    web.processes.start('web')
    web.processes.wait_port(web.port)


def test_each_of_those_who_wait_is_told(backend, web):
    backend.account()
    after = backend.get('/events', query_string={'after': 'now'}).json['after']
    found = [Waiter(web.url, after) for _ in range(3)]
    sql(PUBLISH, 'batch.done', CHATBOT)
    answers = [one.answered() for one in found]
    assert [[event['type'] for event in events] for events in answers] == [['batch.done']] * 3
