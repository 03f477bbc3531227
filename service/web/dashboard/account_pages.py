"""Accounts for a person: whether they can send, what Meta says of them, and what mends it."""

from flask import url_for
from werkzeug.wrappers import Response

from service.runtime.errors import Unavailable
from service.web import accounts, diagnostics
from service.web.auth import scope
from service.web.dashboard.pages import done, pages, render
from service.web.request_input import choice, query_parameters

blueprint = pages('accounts', __name__)


@blueprint.get('/accounts')
@scope('read')
@query_parameters('send_state', 'limit', 'cursor')
def index() -> str:
    """List accounts, the newest first."""
    return render('accounts.html', **accounts.index())


@blueprint.get('/accounts/<chatbot_id>')
@scope('read')
@query_parameters('examine', 'limit', 'cursor')
def show(chatbot_id: str) -> str:
    """Show an account, and all that Meta told of it; `examine`: the doctor looks, at Meta too."""
    is_asked = choice('examine', ('now',)) is not None
    return render(
        'account.html',
        account=accounts.show(chatbot_id),
        brakes=_brakes(chatbot_id),
        examined=diagnostics.diagnose(chatbot_id) if is_asked else None,
        told=accounts.show_health(chatbot_id),
    )


def _brakes(chatbot_id: str) -> object:
    """What slows it down; None while Redis is away."""
    try:
        return accounts.show_brakes(chatbot_id)['data']
    except Unavailable:
        return None


def _back(chatbot_id: str, text: str) -> Response:
    return done(url_for('dashboard_accounts.show', chatbot_id=chatbot_id), text)


@blueprint.post('/accounts/<chatbot_id>/resume')
@scope('manage')
def resume(chatbot_id: str) -> Response:
    """Send what waited."""
    accounts.resume(chatbot_id)
    return _back(chatbot_id, 'What was held is sent again.')


@blueprint.post('/accounts/<chatbot_id>/deactivate')
@scope('manage')
def deactivate(chatbot_id: str) -> Response:
    """Send nothing more."""
    accounts.deactivate(chatbot_id)
    return _back(
        chatbot_id, 'The account sends nothing more. Its access_token, saved again, activates it.'
    )


@blueprint.post('/accounts/<chatbot_id>/brakes/lift')
@scope('manage')
def lift_brakes(chatbot_id: str) -> Response:
    """Send at the full rate."""
    lifted = accounts.lift_brakes(chatbot_id)
    return _back(chatbot_id, f'Full rate again; {lifted["messages"]:,} messages became due.')
