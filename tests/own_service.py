"""A platform's own service, or an AI, that answers as a test tells it to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Platform:
    """An HTTP server in this process.

    `answer(…)`: what it says from now on; `asks`: what it was asked.
    """

    def __init__(self):
        self.asks, self.at_once, self.most_at_once = [], 0, 0
        self.open = threading.Event()
        self.open.set()
        self._lock = threading.Lock()
        self.answer()

    def __enter__(self):
        self._server = ThreadingHTTPServer(('127.0.0.1', 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f'http://127.0.0.1:{self._server.server_port}'
        return self

    def __exit__(self, *exception):
        self.open.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, status=204, body=b'', **headers):
        """`body`: bytes, or JSON to dump."""
        self._answer = (
            status,
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers,
        )

    def says(self, *texts):
        self.answer(200, {'messages': [{'type': 'text', 'text': {'body': text}} for text in texts]})

    def thinks(self):
        """From now on it answers nobody until `open` is set."""
        self.open.clear()

    def asked(self, headers, raw):
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.asks.append({'headers': headers, 'raw': raw, 'body': json.loads(raw)})
        self.open.wait(20)
        with self._lock:
            self.at_once -= 1
        return self._answer

    def _handler(self):
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_POST(self):
                raw = self.rfile.read(int(self.headers['Content-Length']))
                status, body, headers = platform.asked(self.headers, raw)
                self.send_response(status)
                for name, value in {'Content-Length': str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        return Handler
