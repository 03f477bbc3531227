"""Connections to web processes, and web processes of a test's own."""

import contextlib
import socket

import pytest

from tests.stack import Processes, free_port, wait_until
from tests.web.clients import serves


@pytest.fixture
def connect(web, backend):
    """connect(raw): a connection to the web process on which that was sent.

    Closed after the test.
    """
    backend.account()
    with contextlib.ExitStack() as stack:

        def connect(raw=b'', port=web.port, room=None):
            connection = stack.enter_context(socket.socket())
            if room:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            connection.settimeout(30)
            connection.connect(('127.0.0.1', port))
            connection.sendall(raw)
            return connection

        yield connect


@pytest.fixture
def start(schema, backend, tmp_path):
    """start(workers=…, port=…, wait=…): web processes of this test; with .port and .master."""
    backend.account()
    started = []

    def start(workers=1, port=None, wait=True):
        processes = Processes(tmp_path / str(len(started)), {'WEB_CONCURRENCY': str(workers)})
        processes.port = port or free_port()
        started.append(processes)
        (processes.master,) = processes.start('web', env={'PORT': str(processes.port)})
        if wait:
            wait_until(lambda: serves(processes), 30, message=lambda: processes.logs('web'))
        return processes

    yield start
    for processes in started:
        processes.stop_all()
