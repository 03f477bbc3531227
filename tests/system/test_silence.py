"""PostgreSQL falls silent, or Redis: nothing closes, nothing is refused, no answer comes.

The processes bear it.
"""

import signal
import threading
import time
from functools import partial

import pytest
import requests

from tests.gateway import ENTRIES, Gateway
from tests.people import contact, envelope, text_message
from tests.proxy import Proxy
from tests.stack import wait_until

pytestmark = pytest.mark.alone
BACK_WITHIN = 30  # seconds after the server's return
STOP_WITHIN = 25  # seconds after SIGTERM


@pytest.fixture
def gateway(tmp_path):
    gateway = Gateway(tmp_path, REPLY_QUIET_SECONDS='0', GRAPH_TIMEOUT='5')
    with Proxy(gateway.postgres.port) as proxy:
        gateway.proxy = proxy
        gateway.processes.env['DATABASE_URL'] = proxy.before(gateway.postgres.url)
        with gateway:
            gateway.backend.account()
            yield gateway


def webhook(number):
    phone = f'1202555{number:04}'
    return envelope(
        [text_message(f'hello {number}', f'wamid.{number}', phone)], contacts=[contact(phone=phone)]
    )


def answer_of(call):
    """A status code, None when there was none in 40 s."""
    try:
        return call().status_code
    except requests.RequestException:
        return None


class Traffic:
    """Meta and the backend go on asking all the while; .codes says what each got."""

    def __init__(self, gateway):
        self.gateway, self.over, self.codes = gateway, threading.Event(), []
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(6)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, number):
        count = number * 1000
        while not self.over.wait(0.05):
            count += 1
            self.codes.append(answer_of(partial(self.gateway.meta.webhook, webhook(count))))
            self.codes.append(answer_of(partial(self.gateway.backend.get, '/messages')))


def health(gateway, path):
    """By a connection of its own, so that every worker is asked sooner or later."""
    return answer_of(lambda: requests.get(gateway.url + path, timeout=15))


def delivered(gateway):
    return {call['body']['text']['body'] for call in gateway.stand_in.sends() if call['wamid']}


def test_everything_goes_on_within_30_s_of_its_return(gateway):
    with Traffic(gateway) as traffic:
        wait_until(lambda: len(traffic.codes) > 30, 30)
        gateway.proxy.silence()
        wait_until(lambda: health(gateway, '/healthz') == 503, 30, message='/healthz stays green')
        wait_until(lambda: health(gateway, '/readyz') == 503, 30, message='/readyz stays green')
        time.sleep(
            20
        )  # it lasts for a while: every wait has an end, also of those who try to connect
        gateway.proxy.speak()
        back = time.monotonic()
        wait_until(lambda: health(gateway, '/readyz') == 200, BACK_WITHIN)
        gateway.meta.webhook(webhook(9000))
        sent = gateway.backend.send('+12025550199')
        wait_until(
            lambda: 'You said: hello 9000' in delivered(gateway),
            BACK_WITHIN - (time.monotonic() - back),
            message=lambda: ''.join(gateway.processes.logs(name)[-3000:] for name in ENTRIES),
        )
        wait_until(
            lambda: gateway.backend.get(f'/messages/{sent["id"]}').json['wamid'], BACK_WITHIN
        )
        wait_until(lambda: {health(gateway, '/healthz') for _ in range(6)} == {200}, 20)
    assert None not in traffic.codes
    assert set(traffic.codes) <= {200, 503}
    for name in ENTRIES:
        assert gateway.processes.running(name), name


def test_sigterm_is_heard_while_it_is_silent(gateway):
    with Traffic(gateway) as traffic:
        wait_until(lambda: len(traffic.codes) > 30, 30)
        gateway.proxy.silence()
        time.sleep(2)
        began = time.monotonic()
        codes = gateway.processes.stop_all(STOP_WITHIN)
        took = time.monotonic() - began
    assert codes == {'release': [0], **{name: [0] for name in ENTRIES}}, took


def test_who_starts_while_it_is_silent_waits_hears_sigterm_and_begins_when_it_speaks(gateway):
    assert gateway.processes.stop_all(STOP_WITHIN) == {
        'release': [0],
        **{name: [0] for name in ENTRIES},
    }
    gateway.proxy.silence()
    for _ in range(2):
        for name in ENTRIES:
            gateway.processes.start(name)
        wait_until(lambda: health(gateway, '/readyz') == 503, 30, message='/readyz does not answer')
        for name in ENTRIES[1:]:
            wait_until(
                lambda name=name: 'timeout expired' in gateway.processes.logs(name),
                30,
                message=name,
            )
        if len(gateway.processes.children['web']) == 2:
            assert set(sum(gateway.processes.stop_all(STOP_WITHIN).values(), [])) == {0}
    gateway.proxy.speak()
    wait_until(lambda: health(gateway, '/readyz?deep=1') == 200, BACK_WITHIN)
    gateway.backend.send()
    wait_until(lambda: gateway.stand_in.sends(), 20)


def test_sigterm_is_heard_while_redis_is_silent(gateway):
    with Traffic(gateway) as traffic:
        wait_until(lambda: len(traffic.codes) > 30, 30)
        gateway.redis._child.send(signal.SIGSTOP)
        try:
            time.sleep(2)
            codes = gateway.processes.stop_all(STOP_WITHIN)
        finally:
            gateway.redis._child.send(signal.SIGCONT)
    assert codes == {'release': [0], **{name: [0] for name in ENTRIES}}
    assert set(traffic.codes) <= {
        200,
        None,
    }  # nobody outside heard of it, until there was no web any more
