"""How the front door refuses: a stable code, a page that explains it, a Request-Id, and one line in
the log.
"""

import io
import json
import logging
import re

import pytest

from service.runtime.errors import CODES
from service.runtime.logs import Formatter
from tests.people import CUSTOMER, sql
from tests.stack import ROOT

SEND = {'chatbot_id': 'acme', 'to': f'+{CUSTOMER}', 'text': {'body': 'Hello'}}
KEY = {'Authorization': 'Bearer test-key'}
SOURCES = [*(ROOT / 'service').rglob('*.py'), *(ROOT / 'workers').rglob('*.py')]
UNSIGNED = {'X-Hub-Signature-256': 'sha256=' + 'a' * 64}
ID = '01930000-0000-7000-8000-000000000000'
REFUSALS = {
    'unauthorized': ('GET', '/messages', {'headers': {}}),
    'not_found': ('GET', f'/messages/{ID}', {}),
    'method_not_allowed': ('PUT', '/send', {}),
    'unknown_chatbot': ('POST', '/send', {'json': SEND | {'chatbot_id': 'nobody'}}),
    'account_inactive': ('POST', '/send', {'json': SEND | {'chatbot_id': 'off'}}),
    'malformed_json': ('POST', '/send', {'data': b'{', 'content_type': 'application/json'}),
    'nested_too_deeply': (
        'POST',
        '/send',
        {'data': b'[' * 100000, 'content_type': 'application/json'},
    ),
    'unsupported_media_type': ('POST', '/send', {'data': b'a=b', 'content_type': 'text/plain'}),
    'payload_too_large': (
        'POST',
        '/send',
        {'data': b' ' * 4200000, 'content_type': 'application/json'},
    ),
    'invalid': ('POST', '/send', {'json': SEND | {'to': 'x'}}),
    'window_closed': ('POST', '/send', {'json': SEND}),
    'number_taken': (
        'POST',
        '/account',
        {'json': {'chatbot_id': 'c', 'phone_number_id': '77', 'access_token': 't'}},
    ),
    'verification_refused': (
        'GET',
        '/webhook?hub.mode=subscribe&hub.verify_token=x',
        {'headers': {}},
    ),
    'signature_invalid': ('POST', '/webhook', {'data': b'{}', 'headers': UNSIGNED}),
}


@pytest.fixture
def refused(backend, application, caplog):
    """refused('window_closed'): the answer of a request that is refused for this, and the lines
    that it logged.
    """
    backend.account()
    backend.account('off', '77')
    backend.post('/account/off/deactivate')
    backend.send(f'+{CUSTOMER}')
    sql("UPDATE conversation SET last_inbound_at = now() - interval '2 days'")

    def ask(code):
        method, path, options = REFUSALS[code]
        caplog.clear()
        with caplog.at_level(logging.INFO):
            options = {'headers': KEY} | options
            answer = application.test_client().open(
                f'/whatsapp-cloud{path}', method=method, **options
            )
        return answer, [record for record in caplog.records if record.levelno >= logging.WARNING]

    return ask


@pytest.mark.parametrize('code', REFUSALS)
def test_a_refusal_has_its_code_its_page_and_one_line_in_the_log(refused, code):
    answer, lines = refused(code)
    assert answer.content_type == 'application/problem+json'
    assert (answer.json['code'], answer.json['type']) == (
        code,
        f'/whatsapp-cloud/docs/errors#{code}',
    )
    assert answer.status_code == answer.json['status']
    (line,) = lines
    assert line.levelno == logging.WARNING
    assert CUSTOMER not in str(vars(line))


def test_what_a_type_leads_to_is_served_and_is_the_page_of_the_docs(application):
    page = application.test_client().get('/whatsapp-cloud/docs/errors', headers=KEY)
    assert page.text == (ROOT / 'docs' / 'errors.md').read_text()
    for code in CODES:
        assert re.search(rf'^### {code}$', page.text, re.MULTILINE), code


def test_the_codes_that_are_given_are_those_of_the_table():
    text = '\n'.join(path.read_text() for path in SOURCES)
    assert set(re.findall(r"[( ]code='([a-z_]+)'", text)) <= set(CODES)
    for code in CODES:
        assert text.count(f"'{code}'") > 1, f'{code} is given nowhere'


@pytest.mark.parametrize(
    'path', ['/healthz', '/nowhere', '/whatsapp-cloud/messages', '/whatsapp-cloud/webhook']
)
def test_every_answer_has_a_request_id_of_its_own(application, database, path):
    client = application.test_client()
    ids = [client.get(path, headers=KEY).headers['Request-Id'] for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(re.fullmatch('[0-9a-f]{32}', one) for one in ids)


def test_the_id_of_a_proxy_is_kept_and_nothing_else_that_could_stand_in_a_log(application):
    client = application.test_client()
    proxys = '0f7e6d5c-1a2b-4c3d-9e8f-001122334455'
    assert client.get('/healthz', headers={'X-Request-Id': proxys}).headers['Request-Id'] == proxys
    for given in (
        '+5511999990001',
        '5511999990001',
        'short',
        'x' * 129,
        'with blank ' * 3,
        '"}' * 10,
    ):
        assert (
            client.get('/healthz', headers={'X-Request-Id': given}).headers['Request-Id'] != given
        )


@pytest.fixture
def written():
    """What is logged meanwhile, as the processes write it: .getvalue()."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter())
    logging.root.addHandler(handler)
    yield stream
    logging.root.removeHandler(handler)


def test_the_request_id_stands_in_the_lines_of_its_request_and_in_no_other(application, written):
    answer = application.test_client().get('/whatsapp-cloud/messages')
    logging.getLogger('service').warning('something else')
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    ids = {line['message']: line.get('request_id') for line in lines}
    assert ids == {'request refused': answer.headers['Request-Id'], 'something else': None}
