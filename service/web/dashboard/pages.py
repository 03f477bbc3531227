"""What every page of the dashboard stands on: who may see it, how it looks, how it refuses."""

from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from service.web import accepted, auth, bodies, responses
from service.web.dashboard import dashboard_session, static_files
from service.web.dashboard.dashboard_session import PATH
from service.web.request_input import check_query
from service.web.responses import JSONObject

HTML, JSON = 'text/html', 'application/json'
LOGIN = 'dashboard_login.login'
# Nothing from outside, nothing that stands in a page. A form's Origin is null under no-referrer.
SAFETY_HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; media-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'same-origin',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Permissions-Policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
}
# label, endpoint, what the key needs
NAVIGATION = (
    ('Overview', 'dashboard_overview.overview', 'read'),
    ('Inbox', 'dashboard_inbox.index', 'read'),
    ('Batches', 'dashboard_batches.index', 'read'),
    ('Templates', 'dashboard_templates.index', 'read'),
    ('Webhooks', 'dashboard_webhooks.index', 'root'),
    ('Endpoints', 'dashboard_endpoints.index', 'read'),
    ('Accounts', 'dashboard_accounts.index', 'read'),
)


def pages(name: str, import_name: str, is_public: bool = False) -> Blueprint:
    """A blueprint of pages, `dashboard_<name>`, for who has logged in with a key that may see them.

    The views have the marks `@scope` and `@query_parameters` as those of the API, and a database
    connection. `is_public`: also for who has not logged in, and without a connection.
    """
    blueprint = Blueprint(f'dashboard_{name}', import_name, template_folder='templates')
    if not is_public:
        blueprint.before_request(_require_login)
    blueprint.before_request(bodies.read)
    blueprint.before_request(check_query)
    if not is_public:
        blueprint.before_request(dashboard_session.check_form)
        auth.give_connection(blueprint)
    blueprint.context_processor(_frame)
    blueprint.after_request(_add_headers)
    for kind, refuse in responses.REFUSALS:
        blueprint.register_error_handler(kind, partial(_show_refusal, refuse))
    return blueprint


def _require_login() -> None:
    """Raise Unauthorized without a log-in, Forbidden when its key lacks the scope of the view."""
    dashboard_session.current()
    auth.require_key()


def render(template: str, **content: object) -> str:
    """A page; `template`: its file in templates/dashboard."""
    return render_template(f'dashboard/{template}', **content)


def may(scope: str) -> bool:
    """Whether the key of this log-in has a scope."""
    return scope in auth.current_key().scopes


def done(location: str, text: str, tone: str = 'good') -> AnyResponse:
    """Lead from a form to a page, which says what has been done. `tone`: good or bad."""
    answer = redirect(location, HTTPStatus.SEE_OTHER)
    dashboard_session.leave_notice(answer, text, tone)
    return answer


def is_for_script() -> bool:
    """Whether a page's script asks, which shows a refusal itself."""
    return accepted.best_type((HTML, JSON)) == JSON


def here(**changes: object) -> str:
    """The address of this page with other query parameters; None takes one away."""
    query = request.args.to_dict() | changes
    arguments = {**(request.view_args or {}), **query}
    return url_for(request.endpoint or '', **arguments)


def _frame() -> dict[str, Any]:
    """What the frame around each page shows, and what all templates may use."""
    session = g.get('dashboard_session')
    return {
        'session': session,
        'navigation': list(_navigation(session.key.scopes)) if session else [],
        'notice': _take_notice() if session else None,
        'static': static_files.address,
        'here': here,
        'may': may,
    }


def _navigation(scopes: frozenset[str]) -> Iterator[JSONObject]:
    for label, endpoint, scope in NAVIGATION:
        if scope in scopes:
            url = url_for(endpoint)
            is_here = _section(url) == _section(request.path)
            yield {'label': label, 'url': url, 'is_here': is_here}


def _section(path: str) -> list[str]:
    """Where a path is on the dashboard: all pages below one of NAVIGATION have the same."""
    return path.removeprefix(PATH).split('/')[:2]


def _take_notice() -> dict[str, str] | None:
    notice = dashboard_session.notice()
    g.dashboard_notice_shown = notice is not None
    return notice


def _add_headers(answer: Response) -> Response:
    for name, value in SAFETY_HEADERS.items():
        answer.headers.setdefault(name, value)
    answer.headers.setdefault('Cache-Control', 'no-store')
    if g.get('dashboard_notice_shown'):
        dashboard_session.forget_notice(answer)
    return answer


def _show_refusal(refuse: Callable[[Any], Any], error: Exception) -> Any:
    """The API's refusal as a page; who has not logged in is led to where they can.

    A script that asks for JSON gets the refusal itself.
    """
    answer = refuse(error)
    if not isinstance(answer, Response) or is_for_script():
        return answer
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        wanted = request.full_path.rstrip('?') if request.method == 'GET' else None
        return redirect(url_for(LOGIN, next=wanted), HTTPStatus.SEE_OTHER)
    answer.set_data(render('refusal.html', problem=answer.json))
    answer.content_type = f'{HTML}; charset=utf-8'
    return answer
