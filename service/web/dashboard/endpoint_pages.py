"""Endpoints for a person: where the platform is told, what became of it, and once more."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import request, url_for
from werkzeug.wrappers import Response

from service.events import delivery_list
from service.runtime.errors import Invalid
from service.web import endpoints, events
from service.web.auth import scope
from service.web.dashboard.pages import done, pages, render
from service.web.request_input import query_parameters

blueprint = pages('endpoints', __name__)
REPLAY_HOURS = {'1': '1 h', '6': '6 h', '24': '1 d', '72': '3 d'}


@blueprint.get('/endpoints')
@scope('read')
@query_parameters('kind', 'chatbot_id', 'limit', 'cursor')
def index() -> str:
    """List endpoints, the newest first."""
    return render('endpoints.html', **endpoints.index())


@blueprint.get('/endpoints/<uuid:endpoint_id>')
@scope('read')
@query_parameters('status', 'limit', 'cursor')
def show(endpoint_id: UUID) -> str:
    """Show an endpoint, and what became of each event for it."""
    return render(
        'endpoint.html',
        endpoint=endpoints.show(endpoint_id),
        deliveries=endpoints.deliveries(endpoint_id),
        statuses=delivery_list.STATUSES,
        hours=REPLAY_HOURS,
    )


def _back(endpoint_id: UUID, text: str, tone: str = 'good') -> Response:
    return done(url_for('dashboard_endpoints.show', endpoint_id=endpoint_id), text, tone)


@blueprint.post('/endpoints/<uuid:endpoint_id>/test')
@scope('manage')
def test(endpoint_id: UUID) -> Response:
    """Tell it something now."""
    tried = endpoints.test(endpoint_id)
    status, took = tried['status'], tried['milliseconds']
    if tried['error']:
        return _back(endpoint_id, f'The test failed: {tried["error"]}', 'bad')
    return _back(endpoint_id, f'It answered {status} in {took:,} ms.')


@blueprint.post('/endpoints/<uuid:endpoint_id>/pause')
@scope('manage')
def pause(endpoint_id: UUID) -> Response:
    """Let what it is to be told wait."""
    endpoints.pause(endpoint_id)
    return _back(endpoint_id, 'It is paused; what it is to be told waits.')


@blueprint.post('/endpoints/<uuid:endpoint_id>/resume')
@scope('manage')
def resume(endpoint_id: UUID) -> Response:
    """Tell it again, beginning with what waits."""
    endpoints.resume(endpoint_id)
    return _back(endpoint_id, 'It is told again, beginning with what waits.')


@blueprint.post('/endpoints/<uuid:endpoint_id>/replay')
@scope('manage')
def replay(endpoint_id: UUID) -> Response:
    """Deliver what happened in the last hours once more."""
    hours = request.form.get('hours', '')
    if hours not in REPLAY_HOURS:
        raise Invalid('Choose how far back.', {'hours': ['Must be one of those that are shown.']})
    until = datetime.now(UTC)
    count = endpoints.replay_stretch(endpoint_id, until - timedelta(hours=int(hours)), until)
    return _back(endpoint_id, f'{count:,} events are delivered once more.')


@blueprint.post('/endpoints/<uuid:endpoint_id>/resend/<uuid:event_id>')
@scope('manage')
def resend(endpoint_id: UUID, event_id: UUID) -> Response:
    """Deliver one event once more."""
    events.deliver_anew(event_id, str(endpoint_id))
    return _back(endpoint_id, 'The event is delivered once more.')
