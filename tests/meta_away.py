"""A road to the stand-in for Meta that can be closed: nobody listens, or who listens does not hand
on.
"""

import socket
import threading
from contextlib import suppress

from tests.stack import free_port

UNAVAILABLE = b'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
GRAPH_ERROR = (
    b'{"error": {"message": "Service temporarily unavailable", "code": 2, "is_transient": true}}'
)
OVERLOADED = (
    b'HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n'
    b'Content-Length: %d\r\nConnection: close\r\n\r\n%s' % (len(GRAPH_ERROR), GRAPH_ERROR)
)


class Road:
    """A TCP server on a port of its own before another. `url` leads over it.

    `open()`: as if it were not there; `refuse()`: nobody listens; `say(bytes)`: the answer to
    whatever comes; `hang()`: no answer at all. What is under way is cut off.
    """

    def __init__(self, target=None):
        self.port, self.target = free_port(), target
        self.url = f'http://127.0.0.1:{self.port}'
        self.heard = []  # what came while it was closed, in pieces
        self._server, self._sockets, self._answer = None, set(), None

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *exception):
        self.refuse()

    def open(self):
        self._serve(self._hand_on)

    def say(self, answer):
        self._answer = answer
        self._serve(self._say)

    def hang(self):
        self.say(None)

    @property
    def calls(self):
        return len(self.heard)

    def refuse(self):
        if self._server:
            self._server.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._server.close()
            self._server = None
        for each in list(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _serve(self, behave):
        self.refuse()
        self._server = socket.create_server(('127.0.0.1', self.port), backlog=256)
        threading.Thread(target=self._accept, args=(self._server, behave), daemon=True).start()

    def _accept(self, server, behave):
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(client, behave), daemon=True).start()

    def _one(self, client, behave):
        self._sockets.add(client)
        with client, suppress(OSError):
            behave(client)
        self._sockets.discard(client)

    def _say(self, client):
        while piece := client.recv(65536):
            self.heard.append(piece)
            if self._answer:
                client.sendall(self._answer)
                return

    def _hand_on(self, client):
        with socket.create_connection(('127.0.0.1', self.target)) as server:
            self._sockets.add(server)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()
            self._sockets.discard(server)


def _copy(source, target):
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
