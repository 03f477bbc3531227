"""Who is told of events: endpoints of the platform, as HTTP servers in this process."""

import base64
import hashlib
import hmac

from tests.own_service import Platform
from tests.people import sql

SECRET = f'whsec_{base64.b64encode(bytes(range(24))).decode()}'


class Listener(Platform):
    """An endpoint's server. `heard`: bodies, in the order in which they came.

    `drops`: the next request on a connection that was kept is not answered; the connection ends.
    """

    drops = False

    def _handler(self):
        listener = self

        class Handler(super()._handler()):
            is_kept = False

            def do_POST(self):
                if listener.drops and self.is_kept:
                    listener.drops = False
                    self.close_connection = True
                    return
                super().do_POST()
                self.is_kept = True

        return Handler

    @property
    def heard(self):
        return [one['body'] for one in self.asks]

    def types(self):
        return [body['type'] for body in self.heard]

    def texts(self):
        """What customers wrote, as it was told."""
        received = (body for body in self.heard if body['type'] == 'message.received')
        return [body['data']['message']['text'] for body in received]

    def states(self):
        """The status that each message.status told of."""
        return [body['data']['status'] for body in self.heard if body['type'] == 'message.status']


def new_endpoint(backend, url, **more):
    """An endpoint; its id."""
    answer = backend.post('/endpoints', {'url': url, 'secret': SECRET, **more})
    assert answer.status_code == 201, answer.text
    return answer.json['id']


def deliveries(endpoint_id):
    """(status, attempts, seconds until it is due) of each, in the order of the events."""
    return sql(
        'SELECT status, attempts, extract(epoch FROM due_at - now())::float8 FROM event_delivery'
        ' WHERE endpoint_id = %s ORDER BY event_id',
        endpoint_id,
    )


def make_due(endpoint_id):
    """Let the time pass until what waits is due."""
    sql(
        "UPDATE event_delivery SET due_at = now() WHERE endpoint_id = %s AND status = 'waiting'",
        endpoint_id,
    )


def is_signed(ask, secret):
    """Whether one of the signatures is that of Standard Webhooks."""
    headers = ask['headers']
    signed = f'{headers["webhook-id"]}.{headers["webhook-timestamp"]}.'.encode() + ask['raw']
    key = base64.b64decode(secret.removeprefix('whsec_'))
    digest = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return f'v1,{digest}' in headers['webhook-signature'].split(' ')
