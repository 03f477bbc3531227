"""The whole gateway as it is deployed: the Procfile's processes on embedded servers, the stand-in
on the far side.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import requests

from tests.people import APP_SECRET, Backend, Meta, StandIn
from tests.stack import Postgres, Processes, Redis, demo_env, free_port, wait_until

ENTRIES = ('web', 'worker_incoming', 'worker_send', 'clock')


class Gateway:
    """with Gateway(directory, SEND_RATE='80') as gateway: .backend, .meta, .stand_in, .processes,
    .postgres, .redis
    """

    def __init__(self, directory, **environ):
        self.postgres = Postgres(
            directory / 'postgres'
        )  # durable: a crash of it may lose nothing either
        self.redis = Redis(directory / 'redis')
        self.stand_in = StandIn(directory / 'stand_in')
        self.port = free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        env = {
            'DATABASE_URL': self.postgres.url,
            'REDIS_URL': self.redis.url,
            'PORT': str(self.port),
            'WEB_CONCURRENCY': '2',
            'GRAPH_API_URL': self.stand_in.url,
            'AI_BASE_URL': f'{self.stand_in.url}/v1',
            'AI_API_KEY': 'ai-key',
            'AI_MODEL': 'stand-in',
            'REPLY_QUIET_SECONDS': '0',
            'MEDIA_URL': f'file://{directory}/media',
            'WHATSAPP_APP_SECRET': APP_SECRET,
            'API_KEYS': 'test-key',
        }
        self.processes = Processes(directory / 'logs', demo_env(directory, **env) | environ)
        self.backend, self.meta = Backend(Http(self.url)), Meta(Http(self.url))

    def __enter__(self):
        self.enter(self.start_entries)
        wait_until(self.is_whole, 30, message=self.last_lines)
        return self

    @contextmanager
    def entered_late(self):
        """The servers come up after the Procfile's processes."""
        with self.entered_with(lambda: None):
            yield self

    @contextmanager
    def entered_with(self, start):
        """Its processes are what `start()` starts, once the servers and the schema are there."""
        try:
            yield self.enter(start)
        finally:
            self.__exit__()

    def start_entries(self):
        for name in ENTRIES:
            self.processes.start(name)

    def enter(self, start):
        self.postgres.start()
        self.redis.start()
        self.stand_in.start(webhook_url=f'{self.url}/whatsapp-cloud/webhook')
        assert self.processes.run('release') == 0, self.processes.logs('release')
        start()
        wait_until(self.is_ready, 30, message=self.last_lines)
        return self

    def __exit__(self, *exception):
        self.codes = self.processes.stop_all()
        self.stand_in.__exit__()
        self.redis.stop()
        self.postgres.stop()

    def is_ready(self, query=''):
        try:
            return requests.get(f'{self.url}/readyz{query}', timeout=3).ok
        except requests.RequestException:
            return False

    def is_whole(self):
        """The workers have started, too, and hear signals."""
        return self.is_ready('?deep=1')

    def last_lines(self):
        return '\n'.join(self.processes.logs(name)[-2000:] for name in ENTRIES)

    def restart(self, name):
        """kill -9, then start again, as a host does."""
        self.processes.kill(name)
        self.processes.start(name)


class Http:
    """A Flask test client's methods over real HTTP."""

    def __init__(self, url):
        self.url = url

    def open(self, path, method='GET', query_string=None, **options):
        answer = requests.request(
            method, self.url + path, params=query_string, timeout=30, **options
        )
        is_json = 'json' in answer.headers.get('Content-Type', '')
        return SimpleNamespace(
            status_code=answer.status_code,
            headers=answer.headers,
            text=answer.text,
            data=answer.content,
            json=answer.json() if is_json else None,
        )

    def post(self, path, **options):
        return self.open(path, method='POST', **options)
