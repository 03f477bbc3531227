"""`flask doctor` as a process of its own, also where next to nothing is as it should be."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.people import CHATBOT
from tests.raw_server import RawServer
from tests.stack import free_port

FLASK = Path(sys.executable).parent / 'flask'


def doctor(*words, **environ):
    """Exit code, stdout and stderr."""
    ended = subprocess.run(
        [FLASK, 'doctor', *words],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,  # the doctor itself gives up after 22 s
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def results(stdout):
    return {check['check']: check['result'] for check in json.loads(stdout)['checks']}


def test_all_is_well_and_the_exit_code_says_so(healthy):
    code, stdout, stderr = doctor(CHATBOT)
    assert (code, stderr) == (0, ''), stdout
    lines = stdout.splitlines()
    assert (
        lines[0] == 'ok    environment       All variables are well formed; the Graph API is '
        'that of 127.0.0.1.'
    )
    assert all(line.startswith(('ok ', ' ')) for line in lines)
    assert [line.split()[1] for line in lines if line.startswith('ok')] == list(healthy.find())


def test_a_warning_ends_with_1_and_stands_above_its_fix(healthy):
    healthy.stand_in.config(number_facts={'quality_rating': 'YELLOW'})
    code, stdout, _ = doctor(CHATBOT)
    assert code == 1
    lines = stdout.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith('warn  quality'))
    assert lines[at + 1].strip().startswith('> Send less that people did not ask for')


def test_without_a_chatbot_it_looks_at_the_gateway_alone(healthy):
    code, stdout, _ = doctor('--json')
    assert (code, json.loads(stdout)['ok']) == (0, True)
    assert 'workers' in results(stdout)
    assert 'token' not in results(stdout)


def test_an_environment_that_is_wrong_is_told_of_in_its_own_words(schema):
    code, stdout, stderr = doctor(DATABASE_URL='', REDIS_URL='http://x', SEND_RATE='many')
    assert (code, stderr) == (2, '')
    assert 'DATABASE_URL is missing' in stdout
    assert 'REDIS_URL must begin with redis://' in stdout
    assert 'SEND_RATE must be a number' in stdout
    code, stdout, _ = doctor(CHATBOT, '--json', DATABASE_URL='', ENCRYPTION_KEYS='')
    assert code == 2
    found = results(stdout)
    assert found['environment'] == found['database'] == 'fail'
    assert found['redis'] == 'ok'


def test_servers_that_are_away_are_told_of(healthy):
    gone = f'127.0.0.1:{free_port()}'
    code, stdout, stderr = doctor(
        CHATBOT,
        '--json',
        DATABASE_URL=f'postgresql://x:hidden@{gone}/x',
        REDIS_URL=f'redis://{gone}',
    )
    assert (code, stderr) == (2, '')
    found = results(stdout)
    assert (found['database'], found['redis']) == ('fail', 'fail')
    assert 'hidden' not in stdout
    code, stdout, _ = doctor(CHATBOT, '--json', GRAPH_API_URL=f'http://{gone}')
    assert (code, results(stdout)['meta']) == (2, 'fail')


def test_servers_that_never_answer_hold_nobody_up(healthy):
    with RawServer(lambda connection: None) as silent:
        where = f'127.0.0.1:{silent.port}'
        url = f'postgresql://x@{where}/x'
        code, stdout, _ = doctor('--json', DATABASE_URL=url, REDIS_URL=f'redis://{where}')
        assert (code, results(stdout)['database'], results(stdout)['redis']) == (2, 'fail', 'fail')
        code, stdout, _ = doctor(CHATBOT, '--json', GRAPH_API_URL=f'http://{where}')
        assert (code, results(stdout)['meta']) == (2, 'fail')
        assert results(stdout)['webhook_seen'] == 'ok'
