"""PgBouncer before a PostgreSQL: the real one, and a proxy that refuses what it refuses."""

import os
import pwd
import re
import shutil
import struct
from urllib.parse import urlsplit

from tests.proxy import Proxy
from tests.stack import free_port, port_open, wait_until
from tests.stack.children import Child

BINARY = shutil.which(
    'pgbouncer', path=f'{os.environ.get("PATH", os.defpath)}{os.pathsep}/usr/sbin'
)
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users.txt
logfile = {directory}/pgbouncer.log
pool_mode = transaction
default_pool_size = 4
"""
TRACKED = {'user', 'database', 'application_name', 'client_encoding', 'datestyle', 'timezone'}
PROTOCOL_3 = 196608
SESSION_KEY = re.compile(rb'K\0\0\0\x0c.{8}', re.DOTALL)  # the server's process, and a secret


class PgBouncer:
    """In transaction mode, otherwise as it comes; fewer connections to the server than the gateway
    has to it.
    """

    def __init__(self, directory, postgres):
        self.directory, self.server, self.port = directory, urlsplit(postgres.url), free_port()

    def __enter__(self):
        self.directory.mkdir(parents=True)
        made = CONFIGURATION.format(
            server=self.server.port, port=self.port, directory=self.directory
        )
        (self.directory / 'pgbouncer.ini').write_text(made)
        (self.directory / 'users.txt').write_text(
            f'"{self.server.username}" "{self.server.password}"\n'
        )
        user = self._nobody() if os.geteuid() == 0 else {}
        with (self.directory / 'output.log').open('wb') as output:
            self._child = Child(
                [BINARY, self.directory / 'pgbouncer.ini'], stdout=output, stderr=output, **user
            )
        wait_until(
            lambda: port_open(self.port), 20, message=(self.directory / 'output.log').read_text
        )
        return self

    def __exit__(self, *exception):
        self._child.stop()

    def before(self, url):
        return url.replace(f':{self.server.port}/', f':{self.port}/')

    def _nobody(self):
        """It refuses to be root."""
        nobody = pwd.getpwnam('nobody')
        for path in (self.directory, *self.directory.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        for path in self.directory.parents:
            if not path.stat().st_mode & 0o001:
                path.chmod(path.stat().st_mode | 0o001)
        return {'user': nobody.pw_uid, 'group': nobody.pw_gid, 'extra_groups': []}


class StrictProxy(Proxy):
    """Refuses a start-up parameter that PgBouncer does not track, in its words.

    Like PgBouncer it tells its clients a number of its own in place of the server's process.
    """

    def refusal(self, data):
        if len(data) < 8 or struct.unpack('!I', data[4:8])[0] != PROTOCOL_3:
            return None
        names = data[8:].split(b'\0')[0:-2:2]
        for name in (name.decode().lower() for name in names if name):
            if name not in TRACKED:
                told = (
                    f'SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {name}\0\0'.encode()
                )
                return b'E' + struct.pack('!I', len(told) + 4) + told
        return None

    def answer(self, data):
        return SESSION_KEY.sub(lambda key: key[0][:5] + os.urandom(8), data, count=1)
