"""A TCP proxy before PostgreSQL that can fall silent: connections stay open, are acknowledged, and
nothing passes.
"""

import contextlib
import select
import socket
import threading

from tests.stack import free_port


class Proxy:
    """with Proxy(port) as proxy: .port, .silence(), .speak(); a connection that was silent once
    stays so for ever.
    """

    def __init__(self, server_port):
        self.server_port, self.port = server_port, free_port()
        self.silent = False
        self._forgotten, self._sockets = set(), []

    def __enter__(self):
        self._listener = socket.create_server(('127.0.0.1', self.port), backlog=200)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._listener.close()
        for one in self._sockets:
            one.close()

    def before(self, url):
        """The same server's URL, by way of this proxy."""
        return url.replace(f':{self.server_port}/', f':{self.port}/')

    def silence(self):
        self.silent = True

    def speak(self):
        """For who connects from now on: as after a failover, nobody tells the old connections."""
        self.silent = False

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        if self.silent:
            return  # it is accepted, what it says is acknowledged by the kernel, and that is all
        with contextlib.suppress(OSError, ValueError):
            server = socket.create_connection(('127.0.0.1', self.server_port))
            self._sockets.append(server)
            self._pass_on(client, server)

    def _pass_on(self, client, server):
        of, readable = (
            {one.fileno(): one for one in (client, server)},
            select.poll(),
        )  # select() ends at number 1024
        for number in of:
            readable.register(number, select.POLLIN)
        while True:
            ready = [of[number] for number, _ in readable.poll()]
            if self.silent:
                return
            for one in ready:
                data = one.recv(65536)
                if refusal := one is client and self.refusal(data):
                    client.sendall(refusal)
                if not data or refusal:
                    client.close()
                    server.close()
                    return
                if one is client:
                    server.sendall(data)
                else:
                    client.sendall(self.answer(data))

    def refusal(self, data):
        """What a client is told instead of an answer of the server's; here nobody is refused."""
        return None

    def answer(self, data):
        """What a client gets of the server's answer; here all of it, as it is."""
        return data
