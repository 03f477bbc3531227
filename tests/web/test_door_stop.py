"""The end of a web process: what is under way is finished, and nobody who is silent holds it up."""

import os
import signal
import socket
import time

import psutil
import pytest

from tests.stack import wait_until
from tests.web.clients import order, serves, status, webhook

HELD_UP = 20  # seconds; gunicorn gives up after `graceful_timeout`, 25


@pytest.mark.alone
@pytest.mark.parametrize(
    'raw', [b'', webhook()[:60], order()[:-5]], ids=['nothing', 'half a head', 'half a body']
)
def test_a_silent_connection_does_not_hold_a_stop(connect, start, raw):
    processes = start()
    silent = connect(raw, processes.port)
    began = time.monotonic()
    assert processes.stop('web') == [0]
    assert time.monotonic() - began < HELD_UP
    assert status(silent) in (0, 408)


def test_at_a_stop_what_is_under_way_is_finished(connect, start):
    processes = start()
    half = [
        (connect(raw[:-5], processes.port), raw, code)
        for raw, code in ((order(), 202), (webhook(), 200))
    ]
    assert serves(processes)  # by now the first part has arrived
    processes.master.send(signal.SIGTERM)
    wait_until(lambda: not accepts(processes.port), 20)
    for connection, raw, code in half:
        connection.sendall(raw[-5:])
        assert status(connection) == code
    assert processes.stop('web') == [0]


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_while_a_worker_boots_ends_it(start, signum):
    slow = {'GUNICORN_CMD_ARGS': '--worker-class tests.web.slow_boot.SlowBoot'}
    processes = start(wait=False, env=slow)
    wait_until(lambda: 'Booting worker' in processes.logs('web'), 30)
    began = time.monotonic()
    processes.master.send(signum)
    assert processes.master.wait(24) == 0
    assert time.monotonic() - began < HELD_UP


@pytest.mark.alone
def test_after_kill_9_of_the_master_the_next_one_starts_and_nobody_loses_a_request(connect, start):
    processes = start(workers=2)
    orphans = psutil.Process(processes.master.pid).children()
    raw = order()
    half = connect(raw[:-5], processes.port)
    assert serves(processes)  # by now the first part has arrived
    os.kill(processes.master.pid, signal.SIGKILL)
    heir = start(port=processes.port, wait=False)
    half.sendall(raw[-5:])
    assert status(half) == 202
    wait_until(lambda: serves(heir), 30, message=lambda: heir.logs('web'))
    wait_until(
        lambda: not any(one.is_running() and one.status() != 'zombie' for one in orphans), 20
    )
    assert status(connect(webhook(), heir.port)) == 200
    assert heir.master.returncode is None
