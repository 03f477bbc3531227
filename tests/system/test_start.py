"""`make start` and the runners of Procfiles, on servers of one's own."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.stack import ROOT, Postgres, Redis, demo_env, free_port, port_open, wait_until

PROCESSES = ['web', 'worker_incoming', 'worker_send', 'clock']
PATIENCE = 60  # seconds
BARE = {'PATH': os.defpath}  # of somebody who has activated no environment


@pytest.fixture(scope='module')
def servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp('servers')
    postgres, redis = Postgres(directory / 'postgres', durable=False), Redis(directory / 'redis')
    try:
        yield demo_env(directory, DATABASE_URL=postgres.start().url, REDIS_URL=redis.start().url)
    finally:
        redis.stop()
        postgres.stop()


@contextmanager
def running(directory, command, environ):
    """The command in a group of its own; (process, log)."""
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    environ = {'PATH': path, 'PYTHONPATH': str(ROOT), 'LANG': 'C.UTF-8', **environ}
    with (directory / 'log').open('w') as log:
        process = subprocess.Popen(
            command, cwd=directory, env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process, directory / 'log'
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def is_ready(port):
    return port_open(port) and requests.get(f'http://127.0.0.1:{port}/readyz', timeout=10).ok


def test_make_start_runs_release_and_then_everything_from_a_file(servers, tmp_path):
    port = free_port()
    (tmp_path / '.env').write_text('\n'.join(f'{name}={value}' for name, value in servers.items()))
    with running(tmp_path, [sys.executable, '-m', 'tests.start'], BARE | {'PORT': str(port)}) as (
        process,
        log,
    ):
        wait_until(lambda: is_ready(port), PATIENCE, message=log.read_text)
        wait_until(
            lambda: all(f'{name} ' in log.read_text() for name in PROCESSES),
            PATIENCE,
            message=log.read_text,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, log.read_text()
    assert not port_open(port)
    assert log.read_text().index('schema applied') < log.read_text().index('"started"')


def test_make_start_says_what_is_missing_and_ends(servers, tmp_path):
    lacking = {name: value for name, value in servers.items() if name != 'API_KEYS'} | {
        'PORT': str(free_port())
    }
    with running(tmp_path, [sys.executable, '-m', 'tests.start'], BARE | lacking) as (process, log):
        assert process.wait(PATIENCE) == 1, log.read_text()
    assert 'API_KEYS' in log.read_text()
    assert 'web ended with' in log.read_text()


def test_make_start_is_that():
    own = {
        name: value for name, value in os.environ.items() if not name.startswith('MAKE')
    }  # not of a make around us
    done = subprocess.run(
        ['make', '-n', 'start'], cwd=ROOT, env=own, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1].endswith('/python -m tests.start'), done


def rows():
    """{runner: (first, then)} of the table in docs/operations.md."""
    page = (ROOT / 'docs' / 'operations.md').read_text()
    table = page.partition('| runner | first | then |')[2].partition('\n\n')[0]
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()[2:]]
    return {runner: (first.strip('`'), then.strip('`')) for runner, first, then, _ in cells}


def test_honcho_runs_it_as_the_page_says(servers, tmp_path):
    commands, port = (
        next(both for runner, both in rows().items() if runner.startswith('honcho')),
        free_port(),
    )
    first, then = (
        command.replace('honcho ', f'honcho -d {ROOT} -f {ROOT}/Procfile ') for command in commands
    )
    with running(
        tmp_path, ['/bin/sh', '-c', f'{first} && exec {then}'], servers | {'PORT': str(port)}
    ) as (_, log):
        wait_until(lambda: is_ready(port), PATIENCE, message=log.read_text)
        assert 'system' in log.read_text()


def test_every_runner_of_the_readme_starts_all_but_release():
    for runner, (_, then) in rows().items():
        if not runner.startswith('`make'):
            named = set(
                re.findall(r'\b(web|worker_incoming|worker_send|clock|release=0|all=1)\b', then)
            )
            assert named in (set(PROCESSES), {'all=1', 'release=0'}), runner
