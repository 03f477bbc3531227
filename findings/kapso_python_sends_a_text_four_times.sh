#!/usr/bin/env bash
# kapso-whatsapp-cloud-api 0.3.0 (PyPI): one send_text whose answer is late becomes four messages.
#
# The client takes each time-out, and each 500, 502, 503 and 504, for something to try again, three times more, whatever
# the request was: also the POST of a message that Meta has taken and answers after `timeout` (30 s unless said). Meta's
# API has no idempotency key: the customer reads the text four times, and the caller hears of a TimeoutError. Yet what
# Meta wants tried again it gives up: the codes 130429 (the number's rate) and 131056 (too many to one person) come with
# HTTP 400, and it goes by the status alone: a ValidationError, as if the body were wrong. Its README promises retries
# for transient errors. `max_retries=0` sends once.
#
# Prints what became of each call. Exits with 1 when the client does otherwise.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/env"
"$directory/env/bin/pip" install -q --disable-pip-version-check kapso-whatsapp-cloud-api==0.3.0
"$directory/env/bin/python" - << 'PYTHON'
import asyncio
import json
import logging
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kapso_whatsapp import WhatsAppClient
from kapso_whatsapp.exceptions import WhatsAppAPIError

logging.disable()
SENT = {'messaging_product': 'whatsapp', 'contacts': [{'input': '1', 'wa_id': '1'}], 'messages': [{'id': 'wamid.A'}]}
LIMITED = {'error': {'message': '(#130429) Rate limit hit', 'type': 'OAuthException', 'code': 130429}}


async def one_call(seconds, status, answer, **settings):
    """How many texts a stand-in for Meta has taken after one call, and what its caller hears."""
    taken = []

    class Meta(BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(json.loads(self.rfile.read(int(self.headers['Content-Length'])))['text']['body'])
            time.sleep(seconds)
            self.wfile.write(f'HTTP/1.1 {status} X\r\n\r\n{json.dumps(answer)}'.encode())

    server = ThreadingHTTPServer(('127.0.0.1', 0), Meta)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings |= {'base_url': f'http://127.0.0.1:{server.server_port}', 'timeout': 1, 'retry_backoff': 0.1}
    async with WhatsAppClient(access_token='token', **settings) as client:
        try:
            heard = type(await client.messages.send_text(phone_number_id='3001', to='12025550143', body='Hi')).__name__
        except WhatsAppAPIError as error:
            heard = type(error).__name__
    print(f'HTTP {status} after {seconds} s: sent {len(taken)} times; the caller gets: {heard}')
    return len(taken), heard


CALLS = (0, 200, SENT, {}), (1.5, 200, SENT, {}), (1.5, 200, SENT, {'max_retries': 0}), (0, 400, LIMITED, {})
found = [asyncio.run(one_call(*call, **settings)) for *call, settings in CALLS]
sys.exit(found != [(1, 'SendMessageResponse'), (4, 'TimeoutError'), (1, 'TimeoutError'), (1, 'ValidationError')])
PYTHON
