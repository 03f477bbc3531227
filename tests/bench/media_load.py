"""Webhooks at a steady rate, from a process: `python -m tests.bench.media_load PORT image|text RATE
SECONDS`.
"""

import json
import os
import sys
import threading
import time
from types import SimpleNamespace

from .graph import FILE_SHA256
from .journey import Meta

CONNECTIONS = 4


class Load(Meta):
    """One connection's share of the messages."""

    def __init__(self, port, kind):
        super().__init__(SimpleNamespace(env=os.environ, web_port=port))
        self.kind = kind

    def body(self, text, phone):
        payload = json.loads(super().body(text, phone))
        message = payload['entry'][0]['changes'][0]['value']['messages'][0]
        if self.kind == 'image':
            del message['text']
            message |= {
                'type': 'image',
                'image': {'id': '77', 'mime_type': 'image/jpeg', 'sha256': FILE_SHA256},
            }
        return json.dumps(payload).encode()

    def keep_on(self, rate, seconds):
        due = time.monotonic()
        for _ in range(int(rate * seconds)):
            self.write()
            due += 1 / rate
            time.sleep(max(0, due - time.monotonic()))


def main(port, kind, rate, seconds):
    loads = [Load(port, kind) for _ in range(CONNECTIONS)]
    threads = [
        threading.Thread(target=load.keep_on, args=(rate / CONNECTIONS, seconds)) for load in loads
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if sum(load.number for load in loads) != int(rate / CONNECTIONS * seconds) * CONNECTIONS:
        sys.exit('a webhook was not answered with 200')


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
