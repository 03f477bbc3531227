"""Templates of a chatbot's WhatsApp Business account: their state, and what waits for them."""

from collections import Counter
from http import HTTPStatus
from typing import Any

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from service.messages import message_list
from service.runtime.errors import Conflict
from service.templates import template_form
from service.web import request_input, templates
from service.web.auth import chatbots_to_list, scope
from service.web.dashboard.chatbot_choice import chatbot_choices
from service.web.dashboard.pages import done, pages, render
from service.web.request_input import query_parameters
from service.web.responses import JSONObject

blueprint = pages('templates', __name__)


@blueprint.get('/templates')
@scope('read')
@query_parameters('chatbot_id', 'status', 'category', 'name', 'cursor')
def index() -> Any:
    """List the templates of a chatbot; of the first one when none is named."""
    choices = chatbot_choices()
    chatbot_id = request_input.parameter('chatbot_id')
    if chatbot_id is None and choices:
        first = url_for('dashboard_templates.index', chatbot_id=choices[0][0])
        return redirect(first, HTTPStatus.SEE_OTHER)
    return render('templates.html', chatbots=choices, chatbot_id=chatbot_id, **_listed(choices))


def _listed(choices: list[tuple[str, str]]) -> JSONObject:
    """What GET /templates answers, with a preview of each, and what waits for it."""
    nothing: JSONObject = {'data': [], 'next_cursor': None, 'sync': None, 'problem': None}
    if not choices:
        return nothing
    try:
        found = templates.index()
    except Conflict as problem:  # no WABA is known
        return nothing | {'problem': problem.detail}
    waiting = _waiting(found['waba_id'], [one['name'] for one in found['data']])
    for one in found['data']:
        one['preview'] = template_form.preview(one['components'])
        one['waiting'] = waiting[one['name'], one['language'], 'queued']
        one['held'] = waiting[one['name'], one['language'], 'held']
    return found | {'problem': None}


def _waiting(waba_id: str, names: list[str]) -> Counter[tuple[str, str, str]]:
    """(name, language, state): how many messages wait."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for one in _waiting_rows(waba_id, names):
        for state in ('queued', 'held'):
            counts[one['name'], one['language'], state] += one[state]
    return counts


def _waiting_rows(waba_id: str, names: list[str]) -> list[JSONObject]:
    return message_list.waiting_for_templates(waba_id, names, chatbots_to_list(None))


@blueprint.get('/templates/<name>')
@scope('read')
@query_parameters('chatbot_id', 'language')
def show(name: str) -> str:
    """Show a template in one language, and which batches wait for it."""
    found = templates.show(name)
    rows = _waiting_rows(found['waba_id'], [name])
    return render(
        'template.html',
        shown=found,
        chatbot_id=request_input.required('chatbot_id'),
        preview=template_form.preview(found['components']),
        waiting=[one for one in rows if one['language'] == found['language']],
    )


@blueprint.post('/templates/sync')
@scope('manage')
def sync() -> Response:
    """Read the templates of a chatbot again, now."""
    chatbot_id = request.form.get('chatbot_id', '')
    templates.sync_now(chatbot_id)
    back = url_for('dashboard_templates.index', chatbot_id=chatbot_id)
    return done(back, 'The templates are being read. Open the page again in a moment.')
