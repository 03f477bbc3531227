"""The servers of the whole suite. Their addresses are in the environment before anything of service/ is imported;
they start when a test first asks for one, so tests of pure functions wait for nothing."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests import stack

DIRECTORY = Path(tempfile.mkdtemp(prefix='gateway-test-'))
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)

POSTGRES = stack.postgres_server(DIRECTORY / 'postgres', os.environ.get('DATABASE_URL'), durable=False)
REDIS = stack.redis_server(DIRECTORY / 'redis', os.environ.get('REDIS_URL'))

for name in [name for name in os.environ if name.startswith(('WHATSAPP_', 'GRAPH_', 'SEND_', 'AI_', 'REPLY_', 'WEB_'))]:
    del os.environ[name]  # what a developer has exported says nothing about a test
os.environ |= {
    'DATABASE_URL': POSTGRES.url,
    'REDIS_URL': REDIS.url,
    'WHATSAPP_APP_SECRET': 'conformance-app-secret',
    'WHATSAPP_VERIFY_TOKEN': 'verify-me',
    'API_KEYS': 'test-key,second-key',
    'ENCRYPTION_KEYS': Fernet.generate_key().decode(),
    'GRAPH_API_URL': 'http://127.0.0.1:9',  # port 9, discard: a test that forgot its stand-in fails at once
    'GRAPH_API_VERSION': 'v26.0',
    'GRAPH_TIMEOUT': '5',
    'UNKNOWN_GRACE_SECONDS': '120',
    'MAX_QUEUED': '100000',
    'REPLY_QUIET_SECONDS': '0',
    'LOG_LEVEL': 'INFO',
}


@pytest.fixture(scope='session')
def postgres():
    """PostgreSQL: .url, .connect(), .start(), .stop(), .restart(); .embedded is False when DATABASE_URL was given."""
    POSTGRES.start()
    yield POSTGRES
    POSTGRES.stop()


@pytest.fixture(scope='session')
def redis_server():
    """Redis: .url, .flush(), .start(), .stop(), .restart(); .embedded is False when REDIS_URL was given."""
    REDIS.start()
    yield REDIS
    REDIS.stop()
