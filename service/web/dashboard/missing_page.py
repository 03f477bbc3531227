"""What is no page of the dashboard."""

from flask import redirect
from werkzeug.wrappers import Response

from service.runtime.errors import NotFound
from service.web.auth import scope
from service.web.dashboard.dashboard_session import PATH
from service.web.dashboard.pages import pages

blueprint = pages('missing', __name__)


@blueprint.get('/')
@scope('read')
def root() -> Response:
    """Lead to the overview."""
    return redirect(PATH)


@blueprint.route('/<path:path>', methods=['GET', 'POST'])
@scope('read')
def missing(path: str) -> Response:
    """Say that there is no such page."""
    raise NotFound('There is no such page here.')
