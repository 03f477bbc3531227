"""What the processes write: one JSON object a line, and nobody's secret, text or number in it."""

import json
import logging
import os
import re
import subprocess
import sys
from contextlib import ExitStack

import pytest
import requests

from service.runtime.logs import Formatter, mask
from tests.gateway import Http
from tests.people import APP_SECRET, Backend, Meta, contact, envelope, sql, status_of, text_message
from tests.stack import ROOT, Processes, free_port, wait_until

TOKEN, TEXT, NAME = 'EAAsentineltoken', 'sentinel-text', 'Sentinel Name'
NUMBER, CUSTOMER, USER = '12025550187', '447911123456', 'GB.13491208655302741918'
SECRETS = {'app_secret': 'sentinel-app-secret', 'webhook_verify_token': 'sentinel-verify'}
RESPONDER = {
    'kind': 'openai',
    'api_key': 'sentinel-ai-key',
    'model': 'm',
    'system_prompt': 'sentinel-prompt',
}


@pytest.fixture(scope='module')
def output(schema, simulator_process, tmp_path_factory):
    """What all processes wrote while messages of every fate went both ways: {process: text}."""
    simulator_process.reset(webhooks=False)
    sql(
        'TRUNCATE whatsapp_cloud_account, webhook_event CASCADE'
    )  # a module's fixture comes before the tests' own
    port = free_port()
    environ = {
        'GRAPH_API_URL': simulator_process.url,
        'PORT': str(port),
        'WEB_CONCURRENCY': '1',
        'LOG_LEVEL': 'DEBUG',
        'GRAPH_TIMEOUT': '1',
    }
    with ExitStack() as stack:
        processes = Processes(tmp_path_factory.mktemp('logs'), environ)
        stack.callback(processes.stop_all)
        for name in ('web', 'worker_incoming', 'worker_send', 'clock'):
            processes.start(name)
        processes.wait_port(port)
        http = Http(f'http://127.0.0.1:{port}')
        traffic(Backend(http), Meta(http), f'{simulator_process.url}/v1')
        wait_until(lambda: processes.logs('worker_send').count('"send"') >= 5)
        wait_until(lambda: processes.logs('worker_incoming').count('"reply"') >= 1)
        knock(f'http://127.0.0.1:{port}')
        codes = processes.stop_all()
        yield {name: processes.logs(name) for name in codes}
    assert {code for family in codes.values() for code in family} == {0}


def traffic(backend, meta, ai):
    backend.account(access_token=TOKEN, responder=RESPONDER | {'base_url': ai})
    backend.account('own', '300112233445567', access_token=TOKEN, **SECRETS)
    backend.account('held', '300112233445568', access_token='EXPIRED' + TOKEN)
    for to in (NUMBER, '19991310260', '19991310161', '19980000012', '19980000013'):
        backend.send(f'+{to}', TEXT)
    backend.send(f'+{NUMBER}', TEXT, 'held')
    backend.post(
        '/send', {'chatbot_id': 'acme', 'to': NUMBER + 'x', 'text': {'body': TEXT}, TEXT: NUMBER}
    )
    message = text_message(TEXT, f'wamid.{NUMBER}', CUSTOMER, USER)
    meta.webhook(envelope([message], contacts=[contact(NAME, CUSTOMER, USER)]))
    meta.webhook(envelope(statuses=[status_of(f'wamid.{NUMBER}', 'read', recipient_id=CUSTOMER)]))
    meta.webhook(
        envelope(
            [{**message, 'id': None}, {**message, 'id': 'x' * 600}],
            errors=[{'code': 1, 'title': f'T of {CUSTOMER}'}],
        )
    )
    meta.webhook(TEXT.encode())


def knock(url):
    """What strangers try: no key, wrong keys, wrong signatures, wrong tokens."""
    for path in ('/whatsapp-cloud/messages', f'/whatsapp-cloud/account/{NUMBER}', '/nowhere'):
        requests.get(url + path, headers={'Authorization': f'Bearer {TOKEN}'}, timeout=10)
    headers = {'X-Hub-Signature-256': 'sha256=' + 'a' * 64}
    requests.post(f'{url}/whatsapp-cloud/webhook', data=TEXT, headers=headers, timeout=10)
    query = {
        'hub.mode': 'subscribe',
        'hub.verify_token': SECRETS['webhook_verify_token'],
        'hub.challenge': TEXT,
    }
    requests.get(f'{url}/whatsapp-cloud/webhook', params=query, timeout=10)


def test_every_line_of_every_process_is_a_json_object(output):
    for name, text in output.items():
        lines = text.splitlines()
        assert lines, name
        for line in lines:
            entry = json.loads(line)
            assert {'time', 'level', 'logger', 'message'} <= entry.keys(), line
            assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', entry['time'])


def test_no_secret_no_text_and_no_whole_number_is_written(output):
    everything = '\n'.join(output.values())
    never = [
        TOKEN,
        TEXT,
        NAME,
        NUMBER,
        CUSTOMER,
        USER,
        RESPONDER['api_key'],
        RESPONDER['system_prompt'],
        'test-key',
    ]
    never += [
        *SECRETS.values(),
        APP_SECRET,
        os.environ['ENCRYPTION_KEYS'],
        '19991310260',
        '19980000012',
    ]
    for secret in never:
        found = next((line for line in everything.splitlines() if secret in line), None)
        assert found is None, (secret, found)


def test_each_send_has_a_line_with_its_outcome_and_ids(output):
    lines = [json.loads(line) for line in output['worker_send'].splitlines()]
    sends = [line for line in lines if line['message'] == 'send']
    assert {'accepted', 'failed', 'retry', 'unknown', 'held'} <= {line['outcome'] for line in sends}
    assert all(line['message_id'] and line['chatbot_id'] and '…' in line['to'] for line in sends)


def test_a_number_is_masked_and_a_wamid_becomes_its_end():
    assert mask('+5511999990001') == '+55…01'
    assert mask(None) is None
    assert NUMBER not in mask(f'wamid.{NUMBER}{"x" * 20}')


@pytest.mark.parametrize('message', ['to +5511999990001', 'to 5511999990001 now', '(+12025550187)'])
def test_numbers_in_a_lines_text_are_masked(message):
    record = logging.makeLogRecord({'msg': message})
    assert not re.search(r'\d{7}', json.loads(Formatter().format(record))['message'])


def written(**fields):
    return json.loads(Formatter().format(logging.makeLogRecord({'msg': 'x', **fields})))


QUOTES = [
    ('to 5511999990001 nobody sends', 'to 551…01 nobody sends'),
    ('(#100) +5511999990001, or so', '(#100) +55…01, or so'),
    ('+55 11 99999-0001 is none', '+55…01 is none'),
    ('+1 (202) 555-0143', '+1 …43'),
    ('wa-5511999990001', 'wa-551…01'),
    ('5511999990001-1584621873@g.us', '551…01-1584621873@g.us'),
    ('of GB.13491208655302741918', 'of GB.134…18'),
    (
        'wamid.HBgNNTUxMTk5OTk5MDAwMRUCABEYEjQ1Q0FGNDg5NjA2OTQ3AA== is none',
        'wamid…A2OTQ3AA== is none',
    ),
    ('of row 51199999-0001-4000-8000-123456789012', None),
    ('(#131047) after 24 hours, at 2026-11-29 01:50', None),
]


@pytest.mark.parametrize(('quote', 'expected'), QUOTES)
@pytest.mark.parametrize('field', ['title', 'detail', 'reason', 'error', 'named_so_later'])
def test_numbers_in_what_others_wrote_are_masked_in_any_field(field, quote, expected):
    expected = expected or quote
    assert written(**{field: quote})[field] == expected
    nested = written(items={field: [quote, {'said': quote}]}, cause=ValueError(quote))
    assert nested['items'] == {field: [expected, {'said': expected}]}
    assert nested['cause'] == expected


def test_ids_stay_whole():
    ids = {
        'phone_number_id': '300112233445566',
        'waba_id': '102290129340398',
        'message_id': '51199999-0001-4000-8000-123456789012',
        'request_ids': ['00112233445566778899001122334455'],
        'row': '102290129340398',
        'template_name': 'offer_20261129',
        'size': 5511999990001,
    }
    assert written(told=ids, **ids).items() >= {'told': ids, **ids}.items()


def test_an_exception_is_written_without_its_text():
    try:
        raise ValueError(f'{TEXT} of {NUMBER}')
    except ValueError as error:
        record = logging.makeLogRecord(
            {'msg': 'failed', 'exc_info': (ValueError, error, error.__traceback__)}
        )
    line = Formatter().format(record)
    assert TEXT not in line
    assert NUMBER not in line
    entry = json.loads(line)['exception']
    assert entry[0] == 'builtins.ValueError'
    assert 'test_logs.py' in entry[1]


FAIL = """
import threading
def fail(*arguments):
    thread = threading.Thread(target=lambda: {}['sentinel-text'])
    thread.start()
    thread.join()
"""
WEB = """
import logging.config
from service.web import server
logging.config.dictConfig(server.logconfig_dict)
server.when_ready(None)
fail()
"""
WORKER = """
from workers import __main__ as worker
worker.run = fail
worker.main(['send'])
"""


@pytest.mark.parametrize('process', [WEB, WORKER], ids=['web', 'worker'])
def test_a_thread_that_fails_is_told_without_its_text(postgres, redis_server, process):
    program = [sys.executable, '-c', FAIL + process]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    assert TEXT not in ended.stdout + ended.stderr
    line = json.loads(ended.stdout)
    assert (line['message'], line['exception'][0]) == ('a thread failed', 'builtins.KeyError')


def test_what_no_json_knows_is_written_nevertheless():
    entry = json.loads(
        Formatter().format(logging.makeLogRecord({'msg': 'x', 'thing': object(), 'text': '\ud800'}))
    )
    assert entry['thing'].startswith('<object')
