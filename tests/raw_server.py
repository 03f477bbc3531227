"""A TCP server that speaks HTTP as badly as a test wants it to."""

import socket
import threading
import time
from contextlib import suppress


class RawServer:
    """A TCP server that does with each connection what a test says: `behave(connection)`, until the
    test's end.
    """

    def __init__(self, behave):
        self.behave, self.open, self.connections = behave, threading.Event(), []
        self.server = socket.create_server(('127.0.0.1', 0))
        self.port = self.server.getsockname()[1]

    def __enter__(self):
        self.open.set()
        self.accepting = threading.Thread(target=self._serve, daemon=True)
        self.accepting.start()
        return self

    def __exit__(self, *exception):
        self.open.clear()
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)  # ends its accept()
        self.server.close()
        self.accepting.join(10)  # what it accepts at this moment is in the list then
        for connection in self.connections:
            connection.close()

    def _serve(self):
        while self.open.is_set():
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with suppress(OSError):  # the client hung up
            self.behave(connection)


def drips(beginning, piece):
    """Says `beginning` and then a piece ten times a second."""

    def behave(connection):
        connection.recv(65536)
        connection.sendall(beginning)
        for _ in range(600):
            time.sleep(0.1)
            connection.sendall(piece)

    return behave


def floods(beginning, piece):
    def behave(connection):
        connection.recv(65536)
        connection.sendall(beginning)
        while True:
            connection.sendall(piece)

    return behave


def silent(connection):
    time.sleep(60)
