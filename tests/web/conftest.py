"""Connections to web processes, and web processes of a test's own."""

import contextlib
import socket

import pytest

from tests.people import WABA
from tests.stack import Processes, free_port, wait_until
from tests.web.clients import serves
from tests.web.graph_client import GraphClient


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
    """start(workers=…, port=…, wait=…, env=…, command=…): web processes of this test.

    With .port and .master.
    """
    backend.account()
    started = []

    def start(workers=1, port=None, wait=True, env=None, command=None):
        processes = Processes(tmp_path / str(len(started)), {'WEB_CONCURRENCY': str(workers)})
        processes.port = port or free_port()
        started.append(processes)
        port = {'PORT': str(processes.port)}
        (processes.master,) = processes.start('web', env=port | (env or {}), command=command)
        if wait:
            wait_until(lambda: serves(processes), 30, message=lambda: processes.logs('web'))
        return processes

    yield start
    for processes in started:
        processes.stop_all()


@pytest.fixture(scope='session')
def graph_url(schema, simulator_process, tmp_path_factory):
    """A real web process whose Meta is the stand-in."""
    port = free_port()
    environ = {'PORT': str(port), 'WEB_CONCURRENCY': '1', 'GRAPH_API_URL': simulator_process.url}
    processes = Processes(tmp_path_factory.mktemp('graph'), environ)
    processes.start('web')
    processes.wait_port(port)
    yield f'http://127.0.0.1:{port}'
    processes.stop_all()


@pytest.fixture
def graph(graph_url, backend, stand_in, workers):
    """A client of Meta's API at the door of that process, for the usual account."""
    backend.account(waba_id=WABA)
    return GraphClient(graph_url, workers)
