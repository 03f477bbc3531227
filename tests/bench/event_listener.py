"""An endpoint that costs next to nothing:
`python -m tests.bench.event_listener PORT FILE [LATENCY] [STATUS]`.

Each event is a line of the file before it is answered, after LATENCY seconds: the path, when it
came (wall clock), its id, timestamp and conversation. Below /hang nobody is ever answered.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from .graph import Connection


class Listener(Connection):
    """One connection of the gateway."""

    def __init__(self, log, latency, status):
        super().__init__(None, latency)
        self.log, self.status = log, status

    def answer(self, path, body):
        event = json.loads(body)
        about = event['data'].get('message') or event['data'].get('contact') or {}
        conversation = about.get('conversation_id')
        facts = (path.decode(), time.time(), event['id'], event['timestamp'], conversation)
        self.log.write(json.dumps(facts) + '\n')
        self.log.flush()
        if not path.startswith(b'/hang'):
            asyncio.get_running_loop().call_later(self.latency, self.acknowledge)

    def acknowledge(self):
        if not self.transport.is_closing():
            self.transport.write(b'HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n' % self.status)


def heard(file):
    """[(path, when it came, id, timestamp, conversation)] so far; a line may be half written."""
    lines = Path(file).read_text().split('\n')[:-1] if Path(file).exists() else []
    return [tuple(json.loads(line)) for line in lines]


async def main(port, file, latency=0.0, status=200):
    with Path(file).open('a') as log:
        server = await asyncio.get_running_loop().create_server(
            lambda: Listener(log, latency, status), '127.0.0.1', port, backlog=1024
        )
        await server.serve_forever()


if __name__ == '__main__':
    more = [kind(value) for kind, value in zip((float, int), sys.argv[3:], strict=False)]
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], *more))
