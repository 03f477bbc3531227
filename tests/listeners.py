"""Who is told of events: endpoints of the platform, as HTTP servers in this process."""

import base64

from service.runtime import encryption
from service.runtime.ids import new_id
from tests.own_service import Platform
from tests.people import sql

SECRET = f'whsec_{base64.b64encode(bytes(range(24))).decode()}'


class Listener(Platform):
    """An endpoint's server. `heard`: bodies, in the order in which they came."""

    @property
    def heard(self):
        return [one['body'] for one in self.asks]

    def types(self):
        return [body['type'] for body in self.heard]

    def states(self):
        """The status that each message.status told of."""
        return [body['data']['status'] for body in self.heard if body['type'] == 'message.status']


def new_endpoint(url, chatbot_id=None, types=None, kind='events', secret=SECRET):
    """A row of endpoint; its id."""
    id_ = new_id()
    sql(
        'INSERT INTO endpoint (id, kind, url, chatbot_id, types, secret)'
        ' VALUES (%s, %s, %s, %s, %s::text[], %s)',
        id_, kind, url, chatbot_id, types, encryption.encrypt(secret),
    )  # fmt: skip
    return id_


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
