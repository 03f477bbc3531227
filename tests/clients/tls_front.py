"""TLS in front of the gateway, as a proxy or a host has it: on port 443 of localhost."""

import socket
import ssl
import threading
from contextlib import suppress

PORT = 443


class TLSFront:
    """Passes on what comes on PORT to a port of this machine, byte for byte. Raises OSError when it
    may not listen there.
    """

    def __init__(self, certificate, port):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._target = ('127.0.0.1', port)

    def __enter__(self):
        self._server = socket.create_server(('127.0.0.1', PORT))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception):
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # ends its accept()
        self._server.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                caller, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller):
        with (
            suppress(OSError),
            self._context.wrap_socket(caller, server_side=True) as secure,
            socket.create_connection(self._target) as gateway,
        ):
            threading.Thread(target=pass_on, args=(gateway, secure), daemon=True).start()
            pass_on(secure, gateway)


def pass_on(source, target):
    """Everything that comes until the end of it, and then that end."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
