"""The log of webhooks for a person: what Meta sent, what became of it, and once more."""

import json
from base64 import b64decode
from collections import Counter
from uuid import UUID

from flask import url_for
from werkzeug.wrappers import Response

from service.web import webhook_events
from service.web.auth import scope
from service.web.dashboard.pages import done, pages, render
from service.web.request_input import choice, query_parameters
from service.webhooks.item import JsonObject

blueprint = pages('webhooks', __name__)


@blueprint.get('/webhooks')
@scope('root')
@query_parameters('status', 'limit', 'cursor')
def index() -> str:
    """List what Meta posted, the newest first."""
    found = webhook_events.index()
    for event in found['data']:
        event['summary'] = _summary(event['items'])
    return render('webhooks.html', statuses=webhook_events.STATUSES, **found)


def _summary(items: list[JsonObject]) -> list[JsonObject]:
    """How many of each kind had which outcome."""
    counted = Counter((item['kind'], item['outcome']) for item in items)
    return [
        {'kind': kind, 'outcome': outcome, 'count': count}
        for (kind, outcome), count in counted.most_common()
    ]


@blueprint.get('/webhooks/<uuid:event_id>')
@scope('root')
@query_parameters('body')
def show(event_id: UUID) -> str:
    """Show an event, and its body to who asks for it: it holds what people wrote."""
    event = webhook_events.show(event_id)
    is_asked = choice('body', ('shown',)) is not None
    body = _readable(b64decode(event['raw_body_base64'])) if is_asked else None
    return render('webhook.html', event=event, body=body)


def _readable(body: bytes) -> str:
    """A body as text, JSON with its lines indented."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body.decode('utf-8', 'backslashreplace')


@blueprint.post('/webhooks/<uuid:event_id>/replay')
@scope('root')
def replay(event_id: UUID) -> Response:
    """Process an event once more."""
    webhook_events.replay(event_id)
    where = url_for('dashboard_webhooks.show', event_id=event_id)
    return done(where, 'The event is processed once more; what is stored already stays as it is.')
