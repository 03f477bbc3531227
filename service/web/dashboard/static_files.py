"""The dashboard's style sheets, scripts and pictures: kept by browsers for as long as they stay.

Their addresses hold a digest of their content, so a new release is seen at once.
"""

import hashlib
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, url_for

from service.runtime.errors import NotFound
from service.web.auth import scope

FOLDER = Path(__file__).with_name('static')
KINDS = {'.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml'}
FOREVER = 'public, max-age=31536000, immutable'
blueprint = Blueprint('dashboard_static', __name__)


@cache
def content_of(name: str) -> tuple[bytes, str]:
    """The bytes of a file and their digest. Raises KeyError when there is none."""
    files = {path.name: path for path in FOLDER.iterdir() if path.suffix in KINDS}
    content = files[name].read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]


def address(name: str) -> str:
    """Where a page finds a file."""
    return url_for('dashboard_static.file', digest=content_of(name)[1], name=name)


@blueprint.get('/static/<digest>/<name>')
@scope('public')
def file(digest: str, name: str) -> Response:
    """Serve a file; a digest of another release gets this one's, which is not kept."""
    try:
        content, current = content_of(name)
    except KeyError:
        raise NotFound from None
    answer = Response(content, content_type=f'{KINDS[Path(name).suffix]}; charset=utf-8')
    answer.headers['Cache-Control'] = FOREVER if digest == current else 'no-cache'
    answer.headers['X-Content-Type-Options'] = 'nosniff'
    answer.headers['Content-Security-Policy'] = "default-src 'none'; style-src 'unsafe-inline'"
    return answer
