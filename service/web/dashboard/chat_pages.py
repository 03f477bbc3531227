"""One conversation: what was said, live; a person writes in it, takes it over and gives it back."""

import re
from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Response, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from service.conversations.conversation import Conversation
from service.messages.message import Message
from service.runtime.errors import GatewayError, Invalid
from service.runtime.ids import new_id
from service.web import conversations, messages, pagination, request_input
from service.web.auth import scope
from service.web.dashboard import chat_messages
from service.web.dashboard.conversation_state import state_of
from service.web.dashboard.pages import done, is_for_script, pages, render
from service.web.request_input import query_parameters
from service.web.responses import JSONObject

blueprint = pages('chat', __name__)
MINUTES = {'30': '30 minutes', '240': '4 hours', '1440': 'a day', '': 'until given back'}
TOKEN = re.compile(r'[0-9a-f-]{36}(\.[0-9]{1,6})?')  # of a form, with the number of its use
USED = 'idempotency_key_reused'
SENT_BEFORE = 'What you sent here before has arrived. To send this as well, send it again.'
FORGED = 'This form has lost its token. Open the page anew and try again.'


@blueprint.get('/inbox/<uuid:conversation_id>')
@scope('read')
@query_parameters('cursor')
def show(conversation_id: UUID) -> str:
    """Show a conversation, with what a person can do in it."""
    return _page(conversations.find(conversation_id))


@blueprint.get('/inbox/<uuid:conversation_id>/live')
@scope('read')
def live(conversation_id: UUID) -> Response:
    """What changes on the page, for its script; 304 when nothing has."""
    content = _live(conversations.find(conversation_id))
    answer = Response()
    answer.set_etag(content['version'])
    answer.make_conditional(request)
    if answer.status_code == HTTPStatus.OK:  # what nobody gets need not be made
        answer.set_data(render('chat_live.html', **content))
    return answer


@blueprint.post('/inbox/<uuid:conversation_id>/write')
@scope('send')
def write(conversation_id: UUID) -> Any:
    """Send what a person wrote, as POST /send with `from_human` does."""
    conversation = conversations.find(conversation_id)
    text = request.form.get('text', '').replace('\r\n', '\n')
    body: JSONObject = {'type': 'text', 'text': {'body': text}, 'split': True}
    if reply_to := request.form.get('reply_to'):
        body['context'] = {'message_id': reply_to}
    try:
        send_as_person(conversation, body)
    except GatewayError as refusal:
        if is_for_script():
            raise
        return _page(conversation, problem=refusal, text=text), refusal.status
    if is_for_script():
        return Response(status=HTTPStatus.NO_CONTENT)
    return done(f'{address_of(conversation)}#latest', 'Your message is on its way.')


def send_as_person(conversation: Conversation, body: JSONObject) -> None:
    """Send a message to whom a conversation is with; twice the same form sends it once."""
    token = request.form.get('token', '')
    if not TOKEN.fullmatch(token):
        raise Invalid(FORGED)
    order = {'chatbot_id': conversation.chatbot_id, 'from_human': True}
    try:
        messages.accept(order | _addressee(conversation) | body, f'dashboard {token}')
    except Invalid as refusal:
        raise (Invalid(SENT_BEFORE, code=USED) if refusal.code == USED else refusal) from None


def _addressee(conversation: Conversation) -> JSONObject:
    if conversation.group_id:
        return {'recipient_type': 'group', 'to': conversation.group_id}
    if conversation.wa_id:
        return {'to': f'+{conversation.wa_id}'}
    return {'recipient': conversation.user_id}


@blueprint.post('/inbox/<uuid:conversation_id>/take')
@scope('send')
def take(conversation_id: UUID) -> AnyResponse:
    """A person takes the conversation over, as POST /conversations/<id>/pause does."""
    minutes = request.form.get('minutes', '')
    if minutes not in MINUTES:
        raise request_input.invalid('minutes', f'Must be one of: {", ".join(MINUTES)}.')
    assignee = request.form.get('assignee', '').strip() or None
    order = {'minutes': int(minutes) if minutes else None, 'assignee': assignee}
    current = conversations.take_over(conversation_id, order)
    return done(address_of(current), 'You have this conversation now. Nobody else answers in it.')


@blueprint.post('/inbox/<uuid:conversation_id>/give-back')
@scope('send')
def give_back(conversation_id: UUID) -> AnyResponse:
    """Give the conversation back, as POST /conversations/<id>/resume does."""
    current = conversations.give_back(conversation_id, bool(request.form.get('answer')))
    return done(address_of(current), 'The conversation is given back.')


@blueprint.post('/inbox/messages/<uuid:message_id>/retry')
@scope('send')
def retry(message_id: UUID) -> AnyResponse:
    """Send a failed message anew, as POST /messages/<id>/retry does."""
    message, _ = messages.retry(message_id)
    here = conversations.find(UUID(message['conversation_id']))
    return done(address_of(here), 'The message is sent anew.')


def address_of(conversation: Conversation) -> str:
    return url_for('dashboard_chat.show', conversation_id=conversation.id)


def _page(conversation: Conversation, problem: GatewayError | None = None, text: str = '') -> str:
    """The page. `problem`: why `text`, which stays in its field, was not sent."""
    return render('chat.html', problem=problem, text=text, token=new_id(), **_live(conversation))


def _live(conversation: Conversation) -> dict[str, Any]:
    """What the page shows of a conversation as it is now."""
    query = Message.select().where(Message.conversation_id == conversation.id)
    found = pagination.page(query, Message, chat_messages.shown)
    rows = found['data']
    state = state_of(conversation)
    shown = {name: value for name, value in state.items() if name != 'updated_at'}
    state['version'] = chat_messages.version_of(shown)
    return {
        'conversation': state,
        'rows': rows,
        'next_cursor': found['next_cursor'],
        'minutes': MINUTES,
        'version': chat_messages.version_of([state['version'], *(row['version'] for row in rows)]),
    }
