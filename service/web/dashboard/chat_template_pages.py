"""Sending a template in a conversation: choose one, fill in what it wants."""

from typing import Any
from uuid import UUID

from flask import request

from service.conversations.conversation import Conversation
from service.runtime.errors import GatewayError, Invalid
from service.runtime.ids import new_id
from service.templates import template, template_form, template_sync
from service.web import conversations, request_input
from service.web.auth import scope
from service.web.dashboard.chat_pages import address_of, send_as_person
from service.web.dashboard.conversation_state import title_of
from service.web.dashboard.pages import done, pages, render
from service.web.request_input import query_parameters
from service.web.responses import JSONObject

blueprint = pages('chat_template', __name__)
MAX_CHOICES = 500
GONE = 'There is no such template that may be sent.'


@blueprint.get('/inbox/<uuid:conversation_id>/template')
@scope('send')
@query_parameters('template')
def choose(conversation_id: UUID) -> str:
    """Show the templates that may be sent, and what the chosen one wants."""
    conversation = conversations.find(conversation_id)
    return _page(conversation, request_input.parameter('template'))


@blueprint.post('/inbox/<uuid:conversation_id>/template')
@scope('send')
def send(conversation_id: UUID) -> Any:
    """Send it, as POST /send with `from_human` does."""
    conversation = conversations.find(conversation_id)
    wanted = request.form.get('template')
    try:
        chosen = _find(_choices(conversation), wanted)
        if chosen is None:
            raise Invalid(GONE)
        send_as_person(conversation, {'type': 'template', 'template': _filled(chosen)})
    except GatewayError as refusal:
        return _page(conversation, wanted, refusal), refusal.status
    return done(f'{address_of(conversation)}#latest', f'{chosen["name"]} is on its way.')


def _filled(chosen: JSONObject) -> JSONObject:
    given = {name: value.strip() for name, value in request.form.items()}
    components = template_form.fill_in(chosen['components'], given)
    language = {'code': chosen['language']}
    return {'name': chosen['name'], 'language': language, 'components': components}


def _page(
    conversation: Conversation, wanted: str | None, problem: GatewayError | None = None
) -> str:
    choices = _choices(conversation)
    chosen = _find(choices, wanted)
    components = chosen and chosen['components']
    return render(
        'chat_template.html',
        conversation=conversation,
        title=title_of(conversation),
        choices=[(_value(one), _label(one)) for one in choices],
        chosen=chosen,
        value=wanted,
        obstacle=template_form.obstacle(components) if chosen else None,
        blanks=template_form.blanks(components) if chosen else [],
        preview=template_form.preview(components) if chosen else [],
        given=request.form,
        problem=problem,
        token=new_id(),
    )


def _choices(conversation: Conversation) -> list[JSONObject]:
    """The approved templates of the chatbot."""
    waba_id = template.waba_of(conversation.chatbot_id)
    approved = {'status': 'APPROVED'}
    return template_sync.list_templates(waba_id, approved, None, MAX_CHOICES) if waba_id else []


def _find(choices: list[JSONObject], wanted: str | None) -> JSONObject | None:
    return next((one for one in choices if _value(one) == wanted), None)


def _value(one: JSONObject) -> str:
    """What stands for a template in a form: a name has no blanks, a language neither."""
    return f'{one["name"]} {one["language"]}'


def _label(one: JSONObject) -> str:
    return f'{one["name"]} ({one["language"]})'
