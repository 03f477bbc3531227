"""Batches: how far each is, why messages of it failed; paused, resumed and cancelled."""

from uuid import UUID

from flask import url_for
from werkzeug.wrappers import Response

from service.messages import message_list, view
from service.messages.message import Message
from service.sending import batch
from service.web import batches, pagination
from service.web.auth import scope
from service.web.dashboard.chatbot_choice import chatbot_choices
from service.web.dashboard.pages import done, pages, render
from service.web.request_input import query_parameters

blueprint = pages('batches', __name__)


@blueprint.get('/batches')
@scope('read')
@query_parameters('chatbot_id', 'cursor')
def index() -> str:
    """List batches, the newest first."""
    return render('batches.html', chatbots=chatbot_choices(), **batches.index())


@blueprint.get('/batches/<uuid:batch_id>')
@scope('read')
@query_parameters('cursor')
def show(batch_id: UUID) -> str:
    """Show a batch, and whom it did not reach."""
    shown = batches.show(batch_id)
    query = Message.select().where(Message.batch_id == shown['id'])
    failed = pagination.page(message_list.with_status(query, 'failed'), Message, view.serialize)
    return render('batch.html', batch=shown, failures=batch.failures(shown['id']), failed=failed)


@blueprint.post('/batches/<uuid:batch_id>/pause')
@scope('send')
def pause(batch_id: UUID) -> Response:
    """Send nothing more of it until it is resumed."""
    batches.pause(batch_id)
    return _back(batch_id, 'The batch is paused.')


@blueprint.post('/batches/<uuid:batch_id>/resume')
@scope('send')
def resume(batch_id: UUID) -> Response:
    """Go on sending it."""
    batches.resume(batch_id)
    return _back(batch_id, 'The batch goes on.')


@blueprint.post('/batches/<uuid:batch_id>/cancel')
@scope('send')
def cancel(batch_id: UUID) -> Response:
    """Take back, for good, what nobody has claimed."""
    batches.cancel(batch_id)
    return _back(batch_id, 'The batch is cancelled: what has not left never will.')


def _back(batch_id: UUID, text: str) -> Response:
    return done(url_for('dashboard_batches.show', batch_id=batch_id), text)
