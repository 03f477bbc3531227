"""A Graph API that costs next to nothing: `python -m tests.bench.graph PORT LATENCY`.

It takes messages, and gives files, after LATENCY seconds, answers chat completions at once with the
customer's last text, and tells what it saw: /count, /report, /arrivals, /reset.
"""

import asyncio
import base64
import hashlib
import json
import re
import statistics
import sys
import time
from collections import defaultdict

FILE = bytes(range(256)) * 400  # 100 KB
FILE_SHA256 = base64.b64encode(hashlib.sha256(FILE).digest()).decode()
LENGTH = re.compile(rb'\r\ncontent-length: *(\d+)', re.IGNORECASE)


class Seen:
    """Every call since the last reset, by phone number: (when, our message id, text)."""

    def __init__(self):
        self.calls, self.count = defaultdict(list), 0

    def add(self, number, body, at):
        self.count += 1
        text = body.get('text') or {}
        self.calls[number].append((at, body.get('biz_opaque_callback_data'), text.get('body')))

    def report(self):
        return {number: self._of(calls) for number, calls in self.calls.items()}

    @staticmethod
    def _of(calls):
        times = [at for at, _, _ in calls]
        return {
            'calls': len(calls),
            'distinct': len({opaque for _, opaque, _ in calls}),
            'most_in_a_second': most_in_a_second(times),
            'a_second': statistics.linear_regression(times, range(len(times))).slope
            if len(times) > 1
            else None,
        }

    def arrivals(self):
        return {text: at for calls in self.calls.values() for at, _, text in calls}


def most_in_a_second(times):
    """The largest number of calls in any sliding second; `times` rise."""
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


class Connection(asyncio.Protocol):
    def __init__(self, seen, latency):
        self.seen, self.latency, self.buffer = seen, latency, b''

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        """Clients wait for the answer before they send the next request."""
        self.buffer += data
        head = self.buffer.find(b'\r\n\r\n')
        if head < 0:
            return
        length = LENGTH.search(self.buffer, 0, head)
        if len(self.buffer) < head + 4 + (int(length[1]) if length else 0):
            return
        request, self.buffer = self.buffer, b''
        self.head = request[:head]
        self.answer(request.split(b' ', 2)[1], request[head + 4 :])

    def answer(self, path, body):
        if path.endswith(b'/messages'):
            self.later(self.accept(path, body))
        elif path.endswith(b'/chat/completions'):
            self.write(completion(json.loads(body)))
        elif path.endswith(b'/file'):
            self.later(FILE, b'image/jpeg')
        elif b'phone_number_id=' in path:
            self.later(self.described())
        else:
            self.write(json.dumps(self.control(path)).encode())

    def later(self, body, content_type=b'application/json'):
        asyncio.get_running_loop().call_later(self.latency, self.write, body, content_type)

    def described(self):
        """A media id, whichever: all stand for one file."""
        port = self.transport.get_extra_info('sockname')[1]
        told = {
            'url': f'http://127.0.0.1:{port}/file',
            'mime_type': 'image/jpeg',
            'file_size': len(FILE),
        }
        return json.dumps(told | {'sha256': FILE_SHA256}).encode()

    def accept(self, path, raw):
        body = json.loads(raw)
        self.seen.add(path.split(b'/')[-2].decode(), body, time.time())
        to = body.get('to', '')
        return (
            b'{"messaging_product":"whatsapp","contacts":[{"input":"%b","wa_id":"%b"}],'
            b'"messages":[{"id":"wamid.bench.%d.%b"}]}'
            % (to.encode(), to.lstrip('+').encode(), self.seen.count, b'%x' % time.time_ns())
        )

    def control(self, path):
        if path == b'/reset':
            self.seen.__init__()
        shown = {b'/report': self.seen.report, b'/arrivals': self.seen.arrivals}
        return shown[path]() if path in shown else self.seen.count

    def write(self, body, content_type=b'application/json'):
        if not self.transport.is_closing():
            head = b'HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n'
            self.transport.write(head % (content_type, len(body)) + body)


def completion(asked):
    text = next(
        message['content'] for message in reversed(asked['messages']) if message['role'] == 'user'
    )
    choice = {
        'index': 0,
        'message': {'role': 'assistant', 'content': text},
        'finish_reason': 'stop',
    }
    return json.dumps({'object': 'chat.completion', 'choices': [choice]}).encode()


async def main(port, latency):
    seen = Seen()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(seen, latency), '127.0.0.1', port, backlog=1024
    )
    await server.serve_forever()


if __name__ == '__main__':
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
