"""Files on Meta's side: in the stand-in, or on a server of this process that misbehaves as a test
tells it to.
"""

import hashlib
import json
import threading
from base64 import b64encode
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from tests.people import envelope, sql, text_message
from tests.stack import PHONE_NUMBER_ID

CONTENT = b'a picture'


def at_meta(stand_in, content=b'a picture', mime_type='image/jpeg', name='a.jpg'):
    """Put a file into the stand-in, as if a customer had sent it; Meta's id."""
    parts = {
        'messaging_product': (None, 'whatsapp'),
        'type': (None, mime_type),
        'file': (name, content, mime_type),
    }
    url = f'{stand_in.url}/v26.0/{PHONE_NUMBER_ID}/media'
    answer = requests.post(url, files=parts, headers={'Authorization': 'Bearer any'}, timeout=10)
    return answer.json()['id']


def media_message(
    media_id, kind='image', wamid='wamid.M', content=None, mime_type='image/jpeg', **more
):
    """An inbound message with a file; its sha256 is that of `content`, if that is given."""
    body = {'id': media_id, 'mime_type': mime_type, **more}
    body |= (
        {'sha256': b64encode(hashlib.sha256(content).digest()).decode()}
        if content is not None
        else {}
    )
    message = text_message(wamid=wamid, type=kind)
    del message['text']
    return message | {kind: {name: value for name, value in body.items() if value is not None}}


def comes_in(meta, workers, *messages):
    assert meta.webhook(envelope(messages)).status_code == 200
    workers.incoming()


def media_row():
    """(status, attempts, error, seconds until it is due) of the only one."""
    (found,) = sql(
        'SELECT status, attempts, error, extract(epoch FROM due_at - now())::float FROM media'
    )
    return found


def attempts(workers, number):
    """So many attempts, each as soon as may be; what the row says then."""
    for _ in range(number):
        sql("UPDATE media SET due_at = now() WHERE status = 'fetching'")
        workers.errands()
    return media_row()


class FileServer:
    """Meta's file side in this process.

    `says[path]`: what it answers there; `asked`: (path, headers) of each request.

    An answer is (status, headers, body) or a function of the handler; Meta's ids are described by
    default.
    """

    def __init__(self, content=b'a picture'):
        self.content, self.says, self.asked = content, {}, []

    def __enter__(self):
        self._server = ThreadingHTTPServer(('127.0.0.1', 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f'http://127.0.0.1:{self._server.server_port}'
        self.describe()
        self.says['/file'] = 200, {}, self.content
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()

    def describe(self, **changes):
        """What GET /{media_id} says."""
        told = {
            'url': f'{self.url}/file',
            'mime_type': 'image/jpeg',
            'file_size': len(self.content),
        }
        told |= {'sha256': hashlib.sha256(self.content).hexdigest(), **changes}
        self.says['/v26.0/77'] = 200, {}, json.dumps(told).encode()

    def paths(self):
        return [path for path, _ in self.asked]

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def handle(self):
                with suppress(ConnectionError):  # a worker was killed, or has seen enough
                    super().handle()

            def do_GET(self):
                path = self.path.partition('?')[0]
                if not path.endswith('/message_templates'):  # an account's own background job
                    server.asked.append((path, dict(self.headers)))
                answer = server.says.get(path, (404, {}, b''))
                if callable(answer):
                    answer(self)
                else:
                    self.answer(*answer)

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in {'Content-Length': str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        return Handler
