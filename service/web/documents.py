"""Pages about this gateway that it serves itself: its API, and what an answer's `type` leads to.

The page of the API is a viewer, which a stranger gets, too, with a field for a key; what it shows
needs one.
"""

from pathlib import Path

from flask import Blueprint, Response, request

from service.graph import error_docs
from service.runtime.errors import Unauthorized
from service.web import accepted, openapi, responses
from service.web.auth import require_key, scope
from service.web.described import describe
from service.web.plain_shapes import TEXT
from service.web.request_input import check_query

blueprint = Blueprint('documents', __name__)
VIEWER = Path(__file__).with_name('viewer')  # its README.md says whose it is
PARTS = {
    'page.css': 'text/css',
    'start.js': 'text/javascript',
    'swagger-ui.css': 'text/css',
    'swagger-ui-bundle.js': 'text/javascript',
}
HTML, PROBLEM = 'text/html', 'application/problem+json'
ASKED, GIVEN = b'data-key="asked"', b'data-key="given"'  # in page.html
# Nothing from outside, and nothing that stands in the page; the viewer's signs are data: pictures.
SAFETY_HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Opener-Policy': 'same-origin',
}


@blueprint.before_request
def require_key_and_query() -> None:
    """The parts of the page alone are everybody's: they say nothing of this gateway."""
    if request.endpoint != f'{blueprint.name}.{api_page_part.__name__}':
        require_key()
    check_query()


@blueprint.errorhandler(Unauthorized)
def ask_for_key(error: Unauthorized) -> Response:
    """Refuse, and give a person the page where a key can be typed in."""
    refusal = responses.on_gateway_error(error)
    is_page = request.endpoint == f'{blueprint.name}.{api_page.__name__}'
    if is_page and accepted.best_type((PROBLEM, HTML)) == HTML:
        refusal.set_data((VIEWER / 'page.html').read_bytes())
        refusal.content_type = f'{HTML}; charset=utf-8'
        refusal.headers.extend(SAFETY_HEADERS)
    refusal.vary.add('Accept')
    return refusal


@blueprint.get('/docs/errors')
@scope('read')
@describe(TEXT, content_type='text/markdown')
def errors() -> Response:
    """Serve docs/errors.md, as this version writes it."""
    return Response(error_docs.page(), content_type='text/markdown; charset=utf-8')


@blueprint.get('/openapi.json')
@scope('read')
@describe({'type': 'object'})
def api_document() -> Response:
    """Serve the OpenAPI document of this API."""
    return Response(openapi.current_text(), content_type='application/json')


@blueprint.get('/docs')
@scope('read')
@describe(TEXT, 200, 401, content_type=HTML)
def api_page() -> Response:
    """Show the OpenAPI document to a person: without a key, a page that asks for one."""
    page = (VIEWER / 'page.html').read_bytes().replace(ASKED, GIVEN)
    return _answer(page, HTML)


@blueprint.get(f'/docs/<any({", ".join(map(repr, PARTS))}):name>')
@scope('public')
def api_page_part(name: str) -> Response:
    """What the page is made of; no part of the API."""
    answer = _answer((VIEWER / name).read_bytes(), PARTS[name])
    answer.headers['Cache-Control'] = 'public, max-age=3600'
    return answer


def _answer(content: bytes, content_type: str) -> Response:
    return Response(content, content_type=f'{content_type}; charset=utf-8', headers=SAFETY_HEADERS)
