"""The entry `web`: how many workers it starts, and what its master does at a signal."""

import json
import os
import signal

import psutil
import pytest

from tests.stack import port_open, wait_until
from tests.web.clients import serves

PLAIN = 'gunicorn -c python:service.web.server wsgi:app'


def masters(processes):
    """The ids of the masters that have begun to listen, in order."""
    lines = processes.logs('web').splitlines()
    told = [json.loads(line)['message'] for line in lines if 'Listening at' in line]
    return [int(text.rpartition('(')[2].rstrip(')')) for text in told]


def workers(master):
    return {child.pid for child in psutil.Process(master).children()}


@pytest.mark.parametrize(
    ('count', 'expected'), [('', os.cpu_count()), (' ', os.cpu_count()), ('3', 3)]
)
def test_an_empty_web_concurrency_counts_as_unset(start, count, expected):
    processes = start(env={'WEB_CONCURRENCY': count})
    wait_until(lambda: len(workers(processes.master.pid)) == expected)


def test_gunicorn_by_itself_is_served_as_well(start):
    processes = start(workers=2, command=PLAIN)
    wait_until(lambda: len(workers(processes.master.pid)) == 2)


def test_at_sighup_other_workers_take_over(start):
    processes = start(workers=2)
    master = processes.master.pid
    before = workers(master)
    os.kill(master, signal.SIGHUP)
    wait_until(lambda: len(workers(master)) == 2 and not workers(master) & before, 40)
    assert serves(processes)


@pytest.mark.parametrize('command', [None, PLAIN], ids=['ours', 'gunicorn'])
def test_at_sigusr2_a_second_master_takes_over(start, command):
    processes = start(workers=2, command=command)
    first = processes.master.pid
    os.kill(first, signal.SIGUSR2)
    wait_until(lambda: len(masters(processes)) == 2, 30, message=lambda: processes.logs('web'))
    second = masters(processes)[1]
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: processes.master.returncode is not None, 30)
    assert processes.master.returncode == 0
    wait_until(lambda: serves(processes) and len(workers(second)) == 2, 30)
    os.kill(second, signal.SIGTERM)
    wait_until(lambda: not port_open(processes.port), 30)
