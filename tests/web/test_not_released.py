"""Before the release has run nothing fails like a fault: callers are asked to come again."""

import json

import pytest
import requests

from service.web.auth import sign
from tests.people import APP_SECRET, CHATBOT
from tests.stack import Processes, free_port
from tests.stack.postgres import administration, create_database, with_database

KEY = {'Authorization': 'Bearer test-key'}
BODY = b'{"object": "whatsapp_business_account", "entry": []}'
SIGNED = {'X-Hub-Signature-256': sign(BODY, APP_SECRET)}
SEND = {'chatbot_id': CHATBOT, 'to': '+12025550143', 'type': 'text', 'text': {'body': 'Hello'}}
CALLS = [
    ('POST', '/webhook', {'data': BODY, 'headers': SIGNED}),
    ('POST', f'/webhook/{CHATBOT}', {'data': BODY, 'headers': SIGNED}),
    ('GET', f'/webhook/{CHATBOT}?hub.mode=subscribe&hub.verify_token=x', {}),
    ('POST', '/send', {'json': SEND, 'headers': KEY}),
    ('GET', '/messages', {'headers': KEY}),
    ('GET', '/account/acme', {'headers': {'Authorization': f'Bearer wak_{"a" * 43}'}}),
]


@pytest.fixture
def unreleased(postgres, redis_server, tmp_path):
    """A web process on an empty database, and its port."""
    administrated = with_database(postgres.url, 'postgres')
    create_database(administrated, 'unreleased')
    url = with_database(postgres.url, 'unreleased')
    processes = Processes(tmp_path, {'DATABASE_URL': url, 'WEB_CONCURRENCY': '1'})
    processes.port = free_port()
    processes.start('web', env={'PORT': str(processes.port)})
    processes.wait_port(processes.port)
    yield processes
    processes.stop_all()
    with administration(administrated) as cursor:
        cursor.execute('DROP DATABASE unreleased WITH (FORCE)')


def test_what_needs_a_table_that_is_not_there_yet_is_to_come_again(unreleased):
    for method, path, options in CALLS:
        url = f'http://127.0.0.1:{unreleased.port}/whatsapp-cloud{path}'
        answer = requests.request(method, url, timeout=30, **options)
        assert answer.status_code == 503, (path, answer.text)
        assert int(answer.headers['Retry-After']) > 0
        assert answer.json()['code'] == 'database_away'
        assert 'not ready' in answer.json()['detail']
    lines = [json.loads(line) for line in unreleased.logs('web').splitlines()]
    assert {one['level'] for one in lines} <= {'INFO', 'WARNING'}
    assert sum('run the release' in one['message'] for one in lines) == len(CALLS)
