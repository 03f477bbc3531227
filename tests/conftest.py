"""The servers of the whole suite.

Their addresses are in the environment before anything of service/ is imported; they start when a
test first asks for one, so tests of pure functions wait for nothing.
"""

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest
from cryptography.fernet import Fernet

from tests import stack

DIRECTORY = Path(tempfile.mkdtemp(prefix='gateway-test-'))
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)

# The same examples in every run, however busy the machine is; --hypothesis-profile=default: others.
hypothesis.settings.register_profile(
    'suite',
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile('suite')

GIVEN = (
    {} if 'PYTEST_XDIST_WORKER' in os.environ else os.environ
)  # beside others, each brings its own servers
POSTGRES = stack.postgres_server(DIRECTORY / 'postgres', GIVEN.get('DATABASE_URL'), durable=False)
REDIS = stack.redis_server(DIRECTORY / 'redis', GIVEN.get('REDIS_URL'))

for name in [
    name
    for name in os.environ
    if name.startswith(('WHATSAPP_', 'GRAPH_', 'SEND_', 'AI_', 'REPLY_', 'WEB_', 'MEDIA_', 'AWS_'))
]:
    del os.environ[name]  # what a developer has exported says nothing about a test
os.environ |= {
    'DATABASE_URL': POSTGRES.url,
    'REDIS_URL': REDIS.url,
    'WHATSAPP_APP_SECRET': 'conformance-app-secret',
    'WHATSAPP_VERIFY_TOKEN': 'verify-me',
    'API_KEYS': 'test-key,second-key',
    'ENCRYPTION_KEYS': Fernet.generate_key().decode(),
    # port 9, discard: a test that forgot its stand-in fails at once
    'GRAPH_API_URL': 'http://127.0.0.1:9',
    'GRAPH_API_VERSION': 'v26.0',
    'GRAPH_TIMEOUT': '5',
    'UNKNOWN_GRACE_SECONDS': '120',
    'MAX_QUEUED': '100000',
    'ALLOW_PRIVATE_URLS': 'yes',  # the receivers of tests are on this machine
    'REPLY_QUIET_SECONDS': '0',
    'MEDIA_URL': f'file://{DIRECTORY}/media',
    'LOG_LEVEL': 'INFO',
}

from service.runtime import db, queues  # noqa: E402  the environment stands above
from service.runtime.config import settings  # noqa: E402
from service.runtime.migrate import upgrade  # noqa: E402
from service.web.app import create_app  # noqa: E402
from tests.api_document import ApiDocument  # noqa: E402
from tests.bucket import CREDENTIALS, Bucket  # noqa: E402
from tests.files import CONTENT, FileServer  # noqa: E402
from tests.own_service import Platform  # noqa: E402
from tests.people import Backend, Meta, StandIn, Workers, envelope  # noqa: E402


@pytest.fixture(autouse=True)
def in_one_hour():
    """No test begins in the last ten seconds of an hour: it counts in one hour, day and month."""
    if (left := 3600 - time.time() % 3600) < 10:
        time.sleep(left)


@pytest.fixture(scope='session')
def postgres():
    """PostgreSQL: .url, .connect(), .start(), .stop(), .restart(); .embedded is False when
    DATABASE_URL was given.
    """
    POSTGRES.start()
    yield POSTGRES
    POSTGRES.stop()


@pytest.fixture(scope='session')
def redis_server():
    """Redis: .url, .flush(), .start(), .stop(), .restart(); .embedded is False when REDIS_URL was
    given.
    """
    REDIS.start()
    yield REDIS
    queues._wakeup_thread._names.clear()  # nobody is woken any more
    REDIS.stop()


TABLES = (
    'idempotency_key, usage_log, usage_backlog, usage_delta, usage_day, usage_tokens_day, rate, '
    'budget_notice, message_fact, message_status, read_receipt, media_upload, '
    'media, graph_media, message_search, message_backfill, message, batch, '
    'contact_event, conversation_identity, conversation_merged, conversation, webhook_event, '
    'template, template_sync, '
    'account_event, graph_outage, event_delivery, event, endpoint, api_key, '
    'whatsapp_cloud_account, process, ended_count, row_trace, dashboard_logout, reply_request, '
    'hourly_delta, hourly, hourly_failure, daily, daily_failure, '
    'erased, file_deletion, retention_progress, retention_postponed'
)


# What a killed process has asked for is carried out all the same, a moment later.
UNDER_WAY = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


@pytest.fixture(scope='session')
def schema(postgres, redis_server):
    """The servers with the schema applied, and the core configured for them."""
    db.configure()
    upgrade()


@pytest.fixture
def database(schema, redis_server):
    """Empty tables, an empty Redis, settings as the environment of this file says."""
    settings.forget()
    queues._clients.clear()  # one of the last test may know another address
    redis_server.flush()
    with db.connection():
        stack.wait_until(lambda: not db.fetch(UNDER_WAY), message='a former test still writes')
        # in one packet; a TRUNCATE takes ten times as long
        db.execute(';'.join(f'DELETE FROM {table}' for table in TABLES.split(', ')))
    yield db
    settings.forget()
    left_open = not db.db.is_closed()
    db.db.close()
    assert not left_open, 'a connection of this thread was left open'


@pytest.fixture
def setting(monkeypatch, database):
    """setting('SEND_RATE', 5): another value of an environment variable, for this test."""

    def change(name, value):
        monkeypatch.setenv(name, str(value))
        settings.forget()

    return change


@pytest.fixture
def no_redis(setting):
    """Redis has gone away; forgotten clients make new connections."""
    setting('REDIS_URL', f'redis://127.0.0.1:{stack.free_port()}/0')
    queues._clients.clear()
    yield
    queues._clients.clear()


@pytest.fixture(scope='session')
def application(schema):
    app = create_app()
    app.extensions['api_document'] = ApiDocument(app)
    return app


@pytest.fixture(autouse=True)
def told_in_the_document(request):
    """Every answer that a test gets in this process is one that the OpenAPI document tells of."""
    yield
    if 'application' in request.fixturenames:
        untold = request.getfixturevalue('application').extensions['api_document'].problems
        found, untold[:] = list(untold), []
        assert not found, '\n'.join(found)


@pytest.fixture
def backend(application, database):
    """The platform's backend at the front door, with a key: .get(), .post(), .account(), .send(),
    .wait_for().
    """
    return Backend(application.test_client())


@pytest.fixture
def meta(application, database):
    """Meta at the front door: .webhook(body) signs it and posts it, .payload(name) is a file of
    tests/payloads.
    """
    return Meta(application.test_client())


@pytest.fixture
def workers(database):
    """The back room, in this process: .incoming(), .send(), .errands() until idle; .sweep() is the
    clock's.
    """
    with Workers() as back_room:
        yield back_room


@pytest.fixture
def tell(meta, workers):
    """tell(status_of(…), …).

    Meta tells of these statuses in one webhook, and they are worked off.
    """

    def tell(*statuses):
        assert meta.webhook(envelope(statuses=statuses)).status_code == 200
        workers.incoming()

    return tell


@pytest.fixture(scope='session')
def simulator_process():
    with StandIn(DIRECTORY / 'simulator') as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(simulator_process, setting):
    """The stand-in for Meta and the AI, a process of its own, emptied; settings point at it.

    It sends no webhooks and does not know which media and templates there are (strict).
    """
    simulator_process.reset(webhooks=False, strict=False)
    setting('GRAPH_API_URL', simulator_process.url)
    setting('AI_BASE_URL', f'{simulator_process.url}/v1')
    setting('AI_API_KEY', 'ai-key')
    setting('AI_MODEL', 'stand-in')
    return simulator_process


@pytest.fixture(scope='session')
def bucket():
    """An S3-compatible server with a bucket: .url for MEDIA_URL, .keys()."""
    with Bucket(DIRECTORY / 'bucket') as there:
        yield there


@pytest.fixture
def in_bucket(bucket, setting, monkeypatch):
    """MEDIA_URL names the bucket, emptied; credentials stand where boto3 looks for them."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    bucket.empty()
    setting('MEDIA_URL', bucket.url)
    return bucket


@pytest.fixture
def platform(backend):
    """The platform's own service, which says Hi! to the customers of the usual account."""
    with Platform() as platform:
        backend.account(responder={'kind': 'http', 'url': f'{platform.url}/reply'})
        platform.says('Hi!')
        yield platform


@pytest.fixture
def file_server(backend, setting):
    """Meta's file side in this process, for an account without replies; the file of id 77 is
    expected.
    """
    backend.account(responder={'kind': 'none'})
    with FileServer(CONTENT) as there:
        setting('GRAPH_API_URL', there.url)
        setting('GRAPH_TIMEOUT', 1)
        yield there


@pytest.fixture(scope='module')
def web(schema, tmp_path_factory):
    """One real web process with one worker: .port, .url, .processes."""
    port = stack.free_port()
    processes = stack.Processes(
        tmp_path_factory.mktemp('web'), {'PORT': str(port), 'WEB_CONCURRENCY': '1'}
    )
    processes.start('web')
    processes.wait_port(port)
    yield SimpleNamespace(port=port, processes=processes, url=f'http://127.0.0.1:{port}')
    processes.stop_all()


@pytest.fixture
def back_room(database, stand_in, tmp_path):
    """back_room(SEND_CONCURRENCY='2'): the real send worker and the real clock, as processes, until
    the test ends.
    """
    started = []

    def start(**environ):
        where = {name: os.environ[name] for name in ('GRAPH_API_URL', 'DATABASE_URL', 'REDIS_URL')}
        processes = stack.Processes(tmp_path, where | environ)
        started.append(processes)
        processes.start('worker_send')
        processes.start('clock')
        stack.wait_until(
            lambda: all('started' in processes.logs(name) for name in ('worker_send', 'clock')), 60
        )
        return processes

    yield start
    for processes in started:
        codes = processes.stop_all(20)
        assert codes == {'worker_send': [0], 'clock': [0]}, processes.logs(
            'worker_send'
        ) + processes.logs('clock')
