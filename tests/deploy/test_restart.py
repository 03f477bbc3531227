"""A restart of web behind a socket that stays, as systemd's: nobody is refused, nothing is lost."""

import socket
import threading
from contextlib import closing

import requests

from tests.gateway import Gateway
from tests.people import envelope, text_message
from tests.stack import wait_until
from tests.stack.children import Child
from tests.stack.procfile import child_environ

RESTARTS = 3
CALLERS = 4


class Callers:
    """Send webhooks until they are told to stop, each on a connection of its own."""

    def __init__(self, gateway):
        self.gateway, self.answers, self.problems = gateway, [], []
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.call, args=(at,)) for at in range(CALLERS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.is_over.set()
        for thread in self.threads:
            thread.join()

    def call(self, caller):
        number = 0
        while not self.is_over.is_set():
            number += 1
            body = envelope([text_message('Hello', f'wamid.{caller}.{number}')])
            try:
                self.answers.append(self.gateway.meta.webhook(body).status_code)
            except requests.RequestException as error:
                self.problems.append(repr(error))

    def wait_for_more(self):
        seen = len(self.answers)
        wait_until(lambda: len(self.answers) > seen + 20 or self.problems, 60)


def test_nobody_is_refused_while_web_is_restarted(tmp_path):
    gateway = Gateway(tmp_path)
    with closing(socket.create_server(('127.0.0.1', gateway.port), backlog=512)) as listening:

        def start():
            web = with_socket(gateway.processes, listening, tmp_path / 'web.log')
            gateway.processes.children.setdefault('web', []).append(web)

        with gateway.entered_with(start), Callers(gateway) as callers:
            gateway.backend.account(responder={'kind': 'none'})
            for _ in range(RESTARTS):
                callers.wait_for_more()
                gateway.processes.stop('web')
                start()
            callers.wait_for_more()
    assert callers.problems == []
    assert set(callers.answers) == {200}


def with_socket(processes, listening, log):
    """The entry `web`, which gets its socket as systemd gives it: descriptor 3."""
    command = f'LISTEN_PID=$$ LISTEN_FDS=1 exec {processes.commands["web"]} 3<&0'
    with log.open('ab') as output:
        return Child(
            ['/bin/sh', '-c', command],
            stdin=listening,
            stdout=output,
            stderr=output,
            cwd=processes.root,
            env={**child_environ(), **processes.env},
        )
