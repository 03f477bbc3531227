"""Logging in to the dashboard with a key, and out again."""

import logging
import re
from http import HTTPStatus
from typing import Any

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from service.web.auth import key_of_text, scope
from service.web.dashboard import dashboard_session
from service.web.dashboard.dashboard_session import PATH
from service.web.dashboard.pages import LOGIN, pages, render
from service.web.request_input import query_parameters
from service.web.responses import log_refusal

log = logging.getLogger(__name__)
blueprint = pages('login', __name__, is_public=True)
leaving = pages('logout', __name__)
BLIND = 'This key lacks the scope "read", without which there is nothing to see here.'
UNKNOWN = 'This is not a valid key. Look at it again: is it whole, and of this gateway?'
# A page of the dashboard: nothing that a browser could take for another site.
OWN_PAGE = re.compile(re.escape(PATH) + r'(?:[/?](?!/)[!-\[\]-~]*)?')


@blueprint.get('/login')
@scope('public')
@query_parameters('next')
def login() -> Any:
    """Show the field for a key; who has logged in already is led on."""
    if dashboard_session.is_open():
        return redirect(_wanted(), HTTPStatus.SEE_OTHER)
    # A link on another site brings no cookie of SameSite=Strict; the page's own reload does.
    is_from_elsewhere = request.headers.get('Sec-Fetch-Site') == 'cross-site'
    return render('login.html', error=None, reloads=is_from_elsewhere)


@blueprint.post('/login')
@scope('public')
@query_parameters('next')
def log_in() -> Any:
    """Open a session with a key."""
    dashboard_session.check_login_origin()
    text = request.form.get('key', '').strip()
    key = key_of_text(text)
    if key is None:
        return _refuse(HTTPStatus.UNAUTHORIZED, 'unauthorized', UNKNOWN)
    if 'read' not in key.scopes:
        return _refuse(HTTPStatus.FORBIDDEN, 'scope_missing', BLIND)
    log.info('logged in to the dashboard', extra={'key': key.id or 'one of API_KEYS'})
    answer = redirect(_wanted(), HTTPStatus.SEE_OTHER)
    dashboard_session.open_session(answer, text)
    return answer


def _refuse(status: HTTPStatus, code: str, sentence: str) -> Any:
    log_refusal(status, code)
    return render('login.html', error=sentence), status


@leaving.post('/logout')
@scope('read')
def log_out() -> Response:
    """End the session of this browser."""
    answer = redirect(url_for(LOGIN), HTTPStatus.SEE_OTHER)
    dashboard_session.close_session(answer)
    return answer


def _wanted() -> str:
    """The page that a person wanted to see before they had to log in."""
    wanted = request.args.get('next', '')
    return wanted if OWN_PAGE.fullmatch(wanted) else PATH
