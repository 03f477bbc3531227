"""Pages about this gateway that it serves itself: what an answer's `type` leads to."""

from flask import Blueprint, Response

from service.graph import error_docs
from service.web.auth import require_key, scope
from service.web.request_input import check_query

blueprint = Blueprint('documents', __name__)
blueprint.before_request(require_key)
blueprint.before_request(check_query)


@blueprint.get('/docs/errors')
@scope('read')
def errors() -> Response:
    """Serve docs/errors.md, as this version writes it."""
    return Response(error_docs.page(), content_type='text/markdown; charset=utf-8')
