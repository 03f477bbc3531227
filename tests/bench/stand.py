"""What a benchmark stands on: durable PostgreSQL, Redis, the Procfile's processes and the cheap
Graph stand-in.
"""

import base64
import contextlib
import json
import os
import shutil
import tempfile
from http.client import HTTPConnection
from pathlib import Path

import psycopg2
from cryptography.fernet import Fernet
from redis import Redis as RedisClient

from tests.stack import (
    PHONE_NUMBER_ID,
    ROOT,
    Postgres,
    Processes,
    Redis,
    demo_env,
    free_port,
    wait_until,
)

from .meter import Tree

CHATBOT = 'bench'
OURS = (
    'DATABASE_',
    'REDIS_',
    'WHATSAPP_',
    'GRAPH_',
    'SEND_',
    'AI_',
    'REPLY_',
    'WEB_',
    'MEDIA_',
    'LOG_',
    'UNKNOWN_',
    'MAX_',
    'ALLOW_',
)
EMPTY = (
    'idempotency_key, usage_log, usage_backlog, usage_delta, usage_day, usage_tokens_day, rate, '
    'budget_notice, message_fact, message_status, read_receipt, media_upload, '
    'media, message, '
    'contact_event, conversation_identity, conversation_merged, conversation, webhook_event'
)


class Stand(contextlib.ExitStack):
    """`with Stand(SEND_RATE='1000') as stand:` all is up, the schema applied, one account there.

    `root`: the checkout whose gateway it is. `latency`: of the Graph stand-in in seconds, None when
    the benchmark has one of its own on `graph_port`.
    """

    def __init__(self, latency=0.2, root=ROOT, **environ):
        super().__init__()
        self.latency = latency
        self.root = Path(root)
        self.environ = environ

    def __enter__(self):
        super().__enter__()
        with contextlib.ExitStack() as undo:
            undo.push(self.__exit__)
            self._start()
            undo.pop_all()
        return self

    def _start(self):
        for name in [name for name in os.environ if name.startswith(OURS)]:
            del os.environ[name]  # what a developer has exported is not what is measured
        self.directory = Path(tempfile.mkdtemp(prefix='gateway-bench-'))
        self.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.postgres = Postgres(self.directory / 'postgres', durable=True).start()
        self.callback(self.postgres.stop)
        self.redis = Redis(self.directory / 'redis').start()
        self.callback(self.redis.stop)
        self.web_port, self.graph_port = free_port(), free_port()
        self.env = demo_env(self.directory, **self._addresses(), **self.environ)
        self.processes = Processes(self.directory / 'logs', self.env, root=self.root)
        self.callback(self.processes.stop_all)
        if code := self.processes.run('release'):
            raise RuntimeError(
                f'the release entry ended with {code}:\n{self.processes.logs("release")}'
            )
        self.account(CHATBOT, PHONE_NUMBER_ID, max_mps=None)
        if self.latency is not None:
            self._start_graph()

    def _start_graph(self):
        self.processes.start(
            'graph', command=f'python -m tests.bench.graph {self.graph_port} {self.latency}'
        )
        self.processes.wait_port(self.graph_port)
        self.graph = Graph(self.graph_port)

    def _addresses(self):
        graph = f'http://127.0.0.1:{self.graph_port}'
        return {
            'DATABASE_URL': self.postgres.url,
            'REDIS_URL': self.redis.url,
            'PORT': str(self.web_port),
            'GRAPH_API_URL': graph,
            'MEDIA_URL': f'file://{self.directory}/media',
            'AI_BASE_URL': f'{graph}/v1',
            'AI_API_KEY': 'bench',
            'AI_MODEL': 'bench',
        }

    # ---- processes

    def entry(self, name, port=None, command=None, env=None):
        """Start one process of an entry; its Tree."""
        (child,) = self.processes.start(name, env=env, command=command)
        if port:
            self.processes.wait_port(port)
        return Tree(child.pid)

    def servers(self):
        """The Trees of PostgreSQL and Redis."""
        postmaster = int((self.postgres.data / 'postmaster.pid').read_text().split()[0])
        with RedisClient.from_url(self.redis.url) as client:
            return {
                'postgres': Tree(postmaster),
                'redis': Tree(client.info('server')['process_id']),
            }

    def wait_log(self, name, text, count=1):
        wait_until(
            lambda: self.processes.logs(name).count(text) >= count,
            30,
            message=f'{name} did not say {text!r}',
        )

    # ---- database

    def sql(self, statement, parameters=None):
        """Run one statement on a connection of its own; rows, if there are any."""
        connection = self.postgres.connect()
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            with contextlib.suppress(psycopg2.ProgrammingError):
                return cursor.fetchall()

    def encrypted(self, secret):
        return Fernet(self.env['ENCRYPTION_KEYS'].split(',')[0]).encrypt(secret).decode()

    def endpoint(self, url, chatbot_id=None):
        """An endpoint that is told of everything."""
        self.sql(
            'INSERT INTO endpoint (id, kind, url, chatbot_id, secret) '
            "VALUES (gen_random_uuid(), 'events', %s, %s, %s)",
            (url, chatbot_id, self.encrypted(b'whsec_' + base64.b64encode(bytes(32)))),
        )

    def account(self, chatbot_id, number, max_mps):
        token = self.encrypted(b'bench-token')
        self.sql(
            'INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, access_token, '
            'max_mps) '
            'VALUES (%s, %s, %s, %s) ON CONFLICT (chatbot_id) DO UPDATE SET max_mps = '
            'excluded.max_mps',
            (chatbot_id, number, token, max_mps),
        )

    def empty(self):
        self.sql(f'TRUNCATE {EMPTY} CASCADE')
        self.sql('CHECKPOINT')


class Graph:
    """The control side of tests/bench/graph.py."""

    def __init__(self, port):
        self.connection = HTTPConnection('127.0.0.1', port, timeout=30)

    def count(self):
        return self._get('/count')

    def report(self):
        """{phone_number_id: {"calls", "distinct", "most_in_a_second", "a_second"}}."""
        return self._get('/report')

    def arrivals(self):
        """{text of the message: when its call arrived (wall clock)}."""
        return self._get('/arrivals')

    def reset(self):
        return self._get('/reset')

    def _get(self, path):
        self.connection.request('GET', path)
        return json.loads(self.connection.getresponse().read())
