"""The environment: what is missing or malformed stops the process that needs it, with one line that
names it.
"""

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from honcho.environ import parse_procfile

from service.runtime.config import (
    NEEDED_BY,
    REQUIRED,
    VARIABLES,
    ConfigError,
    settings,
)
from service.runtime.env_values import PLACEHOLDERS
from tests.stack import ROOT
from tests.stack.procfile import child_environ

ENTRIES = dict(parse_procfile((ROOT / 'Procfile').read_text()).processes)
NEEDS = {
    'release': 'release',
    'web': 'web',
    'worker_incoming': 'worker',
    'worker_send': 'worker',
    'clock': 'clock',
}
MALFORMED = [
    ('web', 'PORT', 'http'),
    ('web', 'ENCRYPTION_KEYS', 'not-a-key'),
    ('web', 'DATABASE_URL', 'mysql://x/y'),
    ('web', 'API_KEYS', ' , '),
    ('web', 'WEB_CONCURRENCY', 'two'),
    ('web', 'WEB_CONCURRENCY', '2.5'),
    ('worker_send', 'SEND_RATE', 'fast'),
    ('worker_incoming', 'AI_BASE_URL', 'ai.test'),
    ('worker_incoming', 'ALLOW_PRIVATE_URLS', 'true'),
    ('clock', 'REDIS_URL', 'redis://'),
    ('web', 'REDIS_URL', 'redis://h?socket_timeout=pass'),
    ('worker_send', 'REDIS_URL', 'redis://h?bogus=pass'),
    ('release', 'DATABASE_URL', 'postgres://'),
]


def boot(entry, variable, value):
    """Run a Procfile entry with one variable changed (None: left out); its exit code and what it
    wrote.
    """
    env = {name: text for name, text in child_environ().items() if name != variable}
    if value is not None:
        env[variable] = value
    done = subprocess.run(
        shlex.split(ENTRIES[entry]), cwd=ROOT, env=env, capture_output=True, text=True, timeout=30
    )
    return done.returncode, done.stdout + done.stderr


def test_a_missing_or_malformed_variable_stops_its_process_with_one_line_that_names_it():
    """Every entry of the Procfile with every variable that it needs, and some malformed ones, as
    real processes.
    """
    cases = [
        (entry, name, None) for entry, process in NEEDS.items() for name in NEEDED_BY[process]
    ] + MALFORMED
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda case: boot(*case), cases))
    for case, (code, output) in zip(cases, results, strict=True):
        lines = [line for line in output.splitlines() if line]
        assert code not in (0, None), (case, output)
        assert len(lines) == 1, (case, output)
        assert case[1] in lines[0], (case, output)
        assert 'Traceback' not in output


def test_every_process_of_the_procfile_checks_what_it_needs():
    assert set(ENTRIES) == set(NEEDS)
    assert {name for names in NEEDED_BY.values() for name in names} == {
        name for name, (_, default) in VARIABLES.items() if default is REQUIRED
    }


def test_every_variable_has_its_sentence_in_env_example_and_no_other_is_there():
    blocks = re.split(r'\n\s*\n', (ROOT / '.env.example').read_text())
    named = {}
    for block in blocks:
        for found in re.finditer(r'^#?([A-Z][A-Z_]+)=', block, re.MULTILINE):
            named[found[1]] = block[: found.start()].strip()
    assert set(named) == set(VARIABLES)
    for name, sentence in named.items():
        assert re.search(r'^# .{20,}', sentence, re.MULTILINE), f'{name} has no sentence'


def test_the_defaults_of_env_example_are_those_of_the_code():
    text = (ROOT / '.env.example').read_text()
    for name, (_, default) in VARIABLES.items():
        if default not in (REQUIRED, None):
            assert re.search(rf'^#?{name}={re.escape(default)}$', text, re.MULTILINE), name


def test_the_placeholders_of_env_example_are_refused_at_boot():
    text = (ROOT / '.env.example').read_text()
    given = dict(re.findall(r'^#?([A-Z][A-Z_]+)=(.*)$', text, re.MULTILINE))
    guarded = [
        ('web', name)
        for name in ('WHATSAPP_APP_SECRET', 'WHATSAPP_VERIFY_TOKEN', 'API_KEYS', 'ENCRYPTION_KEYS')
    ]
    cases = [*guarded, ('worker_incoming', 'AI_API_KEY')]
    assert {given[name] for _, name in cases} == PLACEHOLDERS
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda case: boot(*case, given[case[1]]), cases))
    for (_, name), (code, output) in zip(cases, results, strict=True):
        assert code not in (0, None), name
        assert output.strip() == f'{name} is still the example of .env.example: put your own there'


@pytest.fixture
def environ(monkeypatch):
    def read(name, value):
        monkeypatch.setenv(name, value)
        settings.forget()
        return getattr(settings, name)

    yield read
    settings.forget()


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('DATABASE_URL', 'postgres://u:p@h:5/d', 'postgresql://u:p@h:5/d'),
        ('DATABASE_URL', 'postgresql://h/d?sslmode=require', 'postgresql://h/d?sslmode=require'),
        (
            'DATABASE_URL',
            'postgresql:///d?host=/run/postgresql',
            'postgresql:///d?host=/run/postgresql',
        ),
        ('DATABASE_URL', 'postgres://%2Frun%2Fpostgresql/d', 'postgresql://%2Frun%2Fpostgresql/d'),
        ('DATABASE_PREPARE', 'No', 'no'),
        ('DATABASE_PREPARE', '', 'auto'),
        ('REDIS_URL', 'rediss://:secret@h:6380/1', 'rediss://:secret@h:6380/1'),
        ('REDIS_URL', 'unix:///run/redis.sock?db=1', 'unix:///run/redis.sock?db=1'),
        ('REDIS_URL', 'redis://h?socket_timeout=2.5&db=3', 'redis://h?socket_timeout=2.5&db=3'),
        ('REDIS_URL', 'rediss://h?ssl_cert_reqs=none', 'rediss://h?ssl_cert_reqs=none'),
        ('GRAPH_API_URL', 'http://127.0.0.1:9090/', 'http://127.0.0.1:9090'),
        ('API_KEYS', 'a, b ,', ('a', 'b')),
        ('WHATSAPP_APP_SECRET', 'new,old', ('new', 'old')),
        ('LOG_LEVEL', 'debug', 'DEBUG'),
        ('SEND_RATE', '', 80),
        ('GRAPH_TIMEOUT', '2.5', 2.5),
        ('WHATSAPP_VERIFY_TOKEN', ' verify-me\n', 'verify-me'),
        ('API_KEYS', 'one\r\n,two\t', ('one', 'two')),
        ('PORT', ' 8080\n', 8080),
        ('DATABASE_URL', 'postgres://u:p@h:5/d\n', 'postgresql://u:p@h:5/d'),
        ('GRAPH_API_VERSION', 'v26.0\n', 'v26.0'),
        ('GRAPH_API_VERSION', 'v100.1', 'v100.1'),
        ('GRAPH_API_URL', 'https://proxy.example/meta/', 'https://proxy.example/meta'),
    ],
)
def test_what_is_well_formed_is_taken(environ, name, value, expected):
    assert environ(name, value) == expected


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('DATABASE_URL', 'sqlite:///x.db'),
        ('DATABASE_URL', 'postgres:///d'),
        ('DATABASE_URL', 'localhost/d'),
        ('DATABASE_URL', 'postgres://u:pass/word@h/d'),
        ('DATABASE_URL', 'postgres://[::1/d'),
        ('REDIS_URL', 'http://h'),
        ('DATABASE_URL', 'postgres://u:pass%zz@h/d'),
        ('DATABASE_URL', 'postgres://u:p@pass@h/d'),
        ('DATABASE_URL', 'postgres://u:p@h/d?pass=red'),
        ('REDIS_URL', 'unix://'),
        ('REDIS_URL', 'redis://h:99999999'),
        ('REDIS_URL', 'redis://h?socket_timeout=pass'),
        ('REDIS_URL', 'redis://h?bogus=pass'),
        ('REDIS_URL', 'redis://h?db=pass'),
        ('REDIS_URL', 'redis://h?protocol=9'),
        ('REDIS_URL', 'redis://h?ssl_cert_reqs=none'),
        ('REDIS_URL', 'rediss://h?ssl_cert_reqs=pass'),
        ('DATABASE_URL', ''),
        ('DATABASE_URL', 'postgres://u:pass\u2100@h/d'),
        ('DATABASE_PREPARE', 'yes'),
        ('API_KEYS', ','),
        ('PORT', '0'),
        ('WEB_CONCURRENCY', 'two'),
        ('SEND_CONCURRENCY', '0'),
        ('SEND_RATE', '-1'),
        ('MAX_QUEUED', '1.5'),
        ('UNKNOWN_GRACE_SECONDS', 'nan'),
        ('GRAPH_TIMEOUT', '0'),
        ('REPLY_QUIET_SECONDS', 'inf'),
        ('LOG_LEVEL', 'LOUD'),
        ('ENCRYPTION_KEYS', 'x' * 44),
        ('RESPONDER_TIMEOUT', '301'),
        ('GRAPH_API_URL', 'graph.facebook.com'),
        ('WHATSAPP_APP_SECRET', 'pass\u200bword'),
        ('API_KEYS', 'good,pass\nword'),
        ('AI_MODEL', 'pass\tword'),
        ('WHATSAPP_VERIFY_TOKEN', '\ufeffpass'),
        ('AI_API_KEY', 'pass\u00a0word'),
        ('AI_BASE_URL', 'http://h/\npass'),
        ('WHATSAPP_APP_SECRET', '"pass"'),
        ('API_KEYS', '"pass,word"'),
        ('WHATSAPP_VERIFY_TOKEN', "'pass'"),
        ('AI_API_KEY', '"pass"'),
        ('GRAPH_API_VERSION', '26.0'),
        ('GRAPH_API_VERSION', 'v26'),
        ('GRAPH_API_VERSION', 'v26.0/'),
        ('GRAPH_API_URL', 'https://graph.facebook.com/v26.0'),
        ('GRAPH_API_URL', 'https://h?pass=1'),
        ('GRAPH_API_URL', 'https://u:pass@h'),
        ('GRAPH_API_URL', 'https://h/#pass'),
        ('GRAPH_API_URL', 'https://h/?'),
    ],
)
def test_what_is_malformed_is_refused_by_name_and_not_quoted(environ, name, value):
    with pytest.raises(ConfigError, match=rf'^{name} ') as refused:
        environ(name, value)
    assert 'pass' not in str(refused.value)


def test_the_defaults_are_those_of_the_contract():
    promised = {
        'GRAPH_API_URL': 'https://graph.facebook.com',
        'GRAPH_API_VERSION': 'v26.0',
        'GRAPH_TIMEOUT': '20',
        'SEND_CONCURRENCY': '32',
        'SEND_RATE': '80',
        'UNKNOWN_GRACE_SECONDS': '120',
        'MAX_QUEUED': '100000',
        'ALLOW_PRIVATE_URLS': 'no',
        'REPLY_QUIET_SECONDS': '1',
        'RESPONDER_TIMEOUT': '30',
        'LOG_LEVEL': 'INFO',
        'PORT': '8000',
        'AI_BASE_URL': None,
    }
    assert {name: VARIABLES[name][1] for name in promised} == promised


def flask(*arguments):
    """Run `flask …` without any variable of ours; its exit code and what it wrote."""
    bare = {name: os.environ[name] for name in ('PATH', 'HOME') if name in os.environ}
    command = [sys.executable, '-m', 'flask', *arguments]
    done = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize('command', [(), ('send-bulk',), ('rotate-keys',), ('run',)])
def test_help_needs_no_environment(command):
    code, output = flask(*command, '--help')
    assert code == 0, output
    assert output.startswith('Usage: ')
    assert command or ('rotate-keys' in output and 'send-bulk' in output)


@pytest.mark.parametrize(
    'command', [('rotate-keys',), ('send-bulk', 'setup.cfg', '--chatbot-id', 'acme'), ('run',)]
)
def test_a_command_without_its_environment_ends_with_one_line(command):
    code, output = flask(*command)
    assert (code, output.splitlines()[-1]) == (1, 'DATABASE_URL is missing: see .env.example')
    assert 'Traceback' not in output
