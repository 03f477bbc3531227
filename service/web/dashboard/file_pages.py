"""Files of messages, as the API serves them, for who has logged in."""

from uuid import UUID

from flask import Response

from service.web import media_download
from service.web.auth import scope
from service.web.dashboard.pages import pages

blueprint = pages('files', __name__)


@blueprint.get('/files/<uuid:message_id>')
@scope('read')
def of_message(message_id: UUID) -> Response:
    """Serve the file that came with a message."""
    return media_download.show(message_id)


@blueprint.get('/uploads/<uuid:media_id>')
@scope('read')
def uploaded(media_id: UUID) -> Response:
    """Serve a file that was uploaded to be sent."""
    return media_download.content(media_id)
