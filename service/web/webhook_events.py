"""The log of webhooks: what Meta sent, byte for byte, and what became of every item."""

from uuid import UUID

from flask import Blueprint

from service.runtime.queues import INCOMING, wake
from service.web import operating_answers, pagination, request_input
from service.web.auth import guard, scope
from service.web.described import describe
from service.web.request_input import query_parameters
from service.webhooks import inbox
from service.webhooks.inbox import WebhookEvent
from service.webhooks.item import JsonObject

blueprint = guard(Blueprint('audit', __name__))
STATUSES = ('received', 'processed', 'failed', 'quarantined')


@blueprint.get('/webhook-events')
@scope('root')
@query_parameters('status', 'limit', 'cursor')
@describe(operating_answers.WebhookEventPage)
def index() -> JsonObject:
    """List what Meta posted, the newest first."""
    status = request_input.choice('status', STATUSES)
    query = WebhookEvent.without_body()
    query = query.where(WebhookEvent.status == status) if status else query
    return pagination.page(query, WebhookEvent, lambda rows: [row.to_dict() for row in rows])


@blueprint.get('/webhook-events/<uuid:event_id>')
@scope('root')
@describe(operating_answers.WebhookEvent)
def show(event_id: UUID) -> JsonObject:
    """Show what Meta posted, with its bytes, and what became of it."""
    return WebhookEvent.find(str(event_id)).to_dict(body=True)


@blueprint.post('/webhook-events/<uuid:event_id>/replay')
@scope('root')
@describe(operating_answers.ListedWebhookEvent, 202, problems=('body_gone',))
def replay(event_id: UUID) -> tuple[JsonObject, int]:
    """Process an event once more, for instance after its account was created."""
    found = WebhookEvent.find(str(event_id))
    inbox.replay(found.id)
    wake(INCOMING)
    return WebhookEvent.find(found.id).to_dict(), 202
