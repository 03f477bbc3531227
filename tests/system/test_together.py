"""Several rooms in one entry of the Procfile: a process each, one fate."""

import signal
import threading
from pathlib import Path

import psutil
import pytest

from tests.stack import Processes, wait_until

COMMAND = 'python -m workers incoming errands events'


@pytest.fixture
def entry(database, tmp_path):
    processes = Processes(tmp_path, {})
    processes.start('all', command=COMMAND)
    wait_until(lambda: processes.logs('all').count('"started"') == 3, 20)
    yield processes
    processes.stop_all()


def children(entry):
    return psutil.Process(entry.children['all'][0].pid).children()


def test_the_first_room_is_the_entry_itself_and_sigterm_ends_all_in_order(entry):
    assert len(children(entry)) == 2
    assert entry.stop_all(20) == {'all': [0]}
    assert entry.logs('all').count('"stopped"') == 3


def test_sigterm_to_the_entry_alone_reaches_its_rooms(entry):
    entry.children['all'][0].process.send_signal(signal.SIGTERM)
    assert entry.children['all'][0].process.wait(20) == 0
    assert entry.logs('all').count('"stopped"') == 3


@pytest.mark.parametrize(
    ('signum', 'code', 'stopped'), [(signal.SIGTERM, 0, 3), (signal.SIGKILL, 1, 2)]
)
def test_when_one_room_ends_all_end_so_that_the_host_starts_them_anew(entry, signum, code, stopped):
    children(entry)[0].send_signal(signum)
    assert entry.children['all'][0].process.wait(20) == code
    assert entry.logs('all').count('"stopped"') == stopped


def test_rooms_do_not_outlive_an_entry_that_was_killed_alone(entry):
    left = children(entry)
    entry.children['all'][0].process.kill()
    gone, alive = psutil.wait_procs(left, 20)
    assert (len(gone), alive) == (2, [])


def test_a_sigterm_at_any_moment_of_the_start_ends_it_in_order(database, tmp_path):
    """As soon as it runs our code at all: before, between and after its forks."""
    for moment in range(4):
        processes = Processes(tmp_path / str(moment), {})
        (child,) = processes.start('all', command=COMMAND)
        wait_until(lambda pid=child.pid: HEARS & signals_caught(pid), 20, 0.001)
        threading.Event().wait(moment * 0.008)
        assert processes.stop_all(20) == {'all': [0]}, processes.logs('all')


HEARS = 1 << (signal.SIGTERM - 1)


def signals_caught(pid):
    (line,) = [
        line
        for line in Path(f'/proc/{pid}/status').read_text().splitlines()
        if line.startswith('SigCgt')
    ]
    return int(line.split()[1], 16)
