"""An operator sees what slows an account down, and lifts it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.runtime import queues
from service.sending.rate_limit import scope_keys, slow_down
from tests.people import CHATBOT, sql
from tests.stack import PHONE_NUMBER_ID, ROOT

WABA = '880011223344556'
KEYS = scope_keys(PHONE_NUMBER_ID, WABA, None)


@pytest.fixture
def acme(backend, stand_in):
    backend.account(waba_id=WABA)
    return backend


def brakes(backend):
    return backend.get(f'/account/{CHATBOT}/brakes').json['data']


def throttled(backend, workers, stand_in, code=130429):
    """A message that Meta wants to wait for an hour, and one behind it to the same person."""
    stand_in.config(retry_after=3600)
    first, second = (backend.send(f'+1999{code:06}1') for _ in range(2))  # refused once
    workers.send()
    stand_in.config(retry_after=None)
    return first, second


@pytest.mark.parametrize(('code', 'scope'), [(130429, 'number'), (80007, 'waba'), (4, 'app')])
def test_a_brake_is_shown_and_lifted_and_what_waited_goes(acme, workers, stand_in, code, scope):
    first, second = throttled(acme, workers, stand_in, code)
    (brake,) = brakes(acme)
    assert brake['scope'] == scope
    assert 0.4 < brake['factor'] < 0.6
    assert brake['paused_until'].endswith('Z')
    answer = acme.post(f'/account/{CHATBOT}/brakes/lift')
    assert (answer.status_code, answer.json['messages'], answer.json['probe']) == (200, 1, False)
    assert [one['scope'] for one in answer.json['lifted']] == [scope]
    assert brakes(acme) == []
    workers.send()
    assert acme.message(first['id'])['status'] == 'accepted'
    assert (
        acme.message(second['id'])['attempts'] == 1
    )  # it goes behind the first, and is refused as often


def test_all_three_brakes_at_once(acme):
    for key in KEYS:
        slow_down(key, 60)
    assert [brake['scope'] for brake in brakes(acme)] == ['number', 'waba', 'app']
    assert len(acme.post(f'/account/{CHATBOT}/brakes/lift').json['lifted']) == 3
    assert brakes(acme) == []
    assert acme.post(f'/account/{CHATBOT}/brakes/lift').json['lifted'] == []


def test_a_brake_of_an_app_of_its_own_is_its_own(acme):
    acme.account('own', '300112233445567', app_secret='secret-of-its-own')
    slow_down(scope_keys('300112233445567', None, 'own')[2])
    assert brakes(acme) == []
    assert [one['scope'] for one in acme.get('/account/own/brakes').json['data']] == ['app']


def test_a_wait_that_no_brake_made_stays(acme, workers, stand_in):
    sent = acme.send('+19991310490')  # a day
    workers.send()
    assert acme.post(f'/account/{CHATBOT}/brakes/lift').json['messages'] == 0
    workers.send()
    assert acme.message(sent['id'])['status'] == 'queued'


def test_a_lift_probes_where_meta_is_away(acme, workers, stand_in):
    for n in range(10):
        acme.send(f'+19991310160{n:02}')
    workers.send()
    good = acme.send('+12025550143')
    workers.send()
    assert acme.message(good['id'])['status'] == 'queued'
    assert acme.post(f'/account/{CHATBOT}/brakes/lift').json['probe'] is True
    workers.send()
    assert acme.message(good['id'])['status'] == 'accepted'


def test_without_redis_it_is_503_and_an_unknown_account_404(acme, setting):
    assert acme.post('/account/nobody/brakes/lift').status_code == 404
    setting('REDIS_URL', 'redis://127.0.0.1:9/0')
    queues._clients.clear()
    try:
        assert acme.get(f'/account/{CHATBOT}/brakes').status_code == 503
        assert acme.post(f'/account/{CHATBOT}/brakes/lift').status_code == 503
    finally:
        queues._clients.clear()


def flask(*arguments):
    command = [Path(sys.executable).parent / 'flask', '--app', 'wsgi', *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_does_the_same(acme, workers, stand_in):
    throttled(acme, workers, stand_in)
    code, output = flask('lift-brakes', CHATBOT)
    assert code == 0, output
    assert re.search('number: was at [5-7][0-9]% ', output)  # it recovers in a minute
    assert '1 brakes lifted, 1 messages due.' in output
    assert brakes(acme) == []
    assert sql("SELECT count(*) FROM message WHERE status = 'queued' AND due_at <= now()") == [(2,)]


def test_the_command_names_an_account_that_is_not_there(database):
    code, output = flask('lift-brakes', 'nobody')
    assert (code, 'There is no chatbot "nobody".' in output, 'Traceback' in output) == (
        1,
        True,
        False,
    ), output
