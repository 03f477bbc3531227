"""POST /send, and the messages that came of it."""

from datetime import datetime
from functools import partial
from uuid import UUID

from flask import Blueprint, Response

from service.accounts.account import Account
from service.content import message_schema
from service.content.search_words import wanted_words
from service.conversations.conversation import current_id
from service.conversations.identity_store import known_phones
from service.messages import message_list, message_search, read_receipt
from service.messages.message import Message
from service.messages.message_list import MessageQuery
from service.messages.message_search import Scope
from service.messages.state_machine import WAITING, Status
from service.messages.whole_message import serialize
from service.runtime.errors import Invalid
from service.runtime.ids import FIRST_ID, LAST_ID
from service.runtime.queues import ERRANDS, SEND, wake
from service.sending import outbox, submit
from service.web import message_answers, pagination, request_examples, request_input
from service.web.auth import (
    chatbots_to_list,
    current_key,
    find_active_account,
    guard,
    scope,
    visible,
)
from service.web.described import IDEMPOTENCY_KEY, describe
from service.web.idempotency import IdempotentRequest, digest_of_body
from service.web.problem_examples import SENDING
from service.web.request_input import query_parameters
from service.web.responses import Answer, JSONObject
from service.web.send_schemas import known_send_schema, read_schema, send_schema

blueprint = guard(Blueprint('messages', __name__))
SEARCH_MAX = 200  # characters
VERY_NARROW = ('batch_id', 'client_reference', 'wamid', 'to')  # filters that few messages pass
NARROW = (*VERY_NARROW, 'conversation_id')  # those of which an index has what passes


@blueprint.post('/send')
@scope('send')
@describe(
    message_answers.SentMessage,
    202,
    body=send_schema,
    problems=SENDING,
    headers=(IDEMPOTENCY_KEY,),
    examples=request_examples.MESSAGES,
)
def send() -> Response:
    """Answer 202 once the message is committed; the work waits in its row."""
    return accept(request_input.json_object())


def accept(body: JSONObject, key: str | None = None) -> Response:
    """Queue a message as POST /send does. `key`: in the place of an Idempotency-Key."""
    digest = partial(digest_of_body, body)
    idempotent = IdempotentRequest(body.get('chatbot_id'), digest, key)
    return idempotent.replay_or(lambda: _send(body, idempotent))


def _send(body: JSONObject, idempotent: IdempotentRequest) -> Response:
    message = _check(body)
    prepared = submit.prepare(find_active_account(message['chatbot_id']), message)
    answer = idempotent.answer(lambda: _queue(prepared))
    wake(SEND)
    return answer


def _queue(prepared: submit.PreparedMessage) -> JSONObject:
    queued = submit.queue(prepared)
    (answer,) = serialize(queued[:1])
    if prepared.message.get('split'):
        answer['parts'] = [message.id for message in queued]
    return answer


def _check(body: JSONObject) -> JSONObject:
    """The validated message. Raises Invalid.

    A number under which Meta knows a customer is taken, even if its country has none like it.
    """
    try:
        return message_schema.check(send_schema, body)
    except Invalid as refusal:
        problems = refusal.errors or {}
        is_doubtful = 'to' in problems and 'chatbot_id' not in problems
        is_ours = is_doubtful and current_key().sees(body['chatbot_id'])
        if is_ours and known_phones(body['chatbot_id'], [body.get('to')]):
            return message_schema.check(known_send_schema, body)
        raise


def _find(message_id: UUID) -> Message:
    return visible(Message.find(str(message_id)))


@blueprint.get('/messages/<uuid:message_id>')
@scope('read')
@describe(message_answers.Message)
def show(message_id: UUID) -> JSONObject:
    """Show a message, with everything that Meta said of it."""
    return serialize([_find(message_id)])[0]


@blueprint.post('/messages/<uuid:message_id>/cancel')
@scope('send')
@describe(message_answers.Message, problems=('not_cancellable',))
def cancel(message_id: UUID) -> JSONObject:
    """Take a message back until it is claimed; 409 afterwards."""
    message = _find(message_id)
    outbox.cancel(message)
    return show(message_id)


@blueprint.post('/messages/<uuid:message_id>/retry')
@scope('send')
@describe(message_answers.Message, 202, problems=('not_retryable',))
def retry(message_id: UUID) -> Answer:
    """Send a failed or unknown message anew, as a person decided; 409 for any other."""
    message = _find(message_id)
    outbox.retry(message)
    wake(SEND)
    return show(message_id), 202


@blueprint.post('/messages/<uuid:message_id>/read')
@scope('send')
@describe(
    message_answers.Message,
    202,
    body=read_schema,
    problems=('account_inactive', 'conflict'),
    examples=request_examples.READ,
)
def read(message_id: UUID) -> Answer:
    """Show a customer's message as read and, if wanted, the business typing; 409 for our own."""
    receipt = message_schema.check(read_schema, request_input.optional_json_object())
    message = _find(message_id)
    Account.find_active(message.chatbot_id)
    read_receipt.ask(message, receipt['typing'])
    wake(ERRANDS)
    return show(message_id), 202


@blueprint.get('/messages')
@scope('read')
@query_parameters(
    'chatbot_id',
    'conversation_id',
    'batch_id',
    'direction',
    'status',
    'client_reference',
    'wamid',
    'to',
    'created_after',
    'created_before',
    'updated_since',
    'q',
    'limit',
    'cursor',
)
@describe(message_answers.MessagePage)
def index() -> JSONObject:
    """List the newest first; with `updated_since` in the order of changes, the oldest first."""
    after = request_input.timestamp('created_after')
    before = request_input.timestamp('created_before')
    chatbots = chatbots_to_list(request_input.parameter('chatbot_id'))
    query = message_list.created(_filtered(), after, before)
    since = request_input.timestamp('updated_since')
    if text := request_input.parameter('q'):
        if since:
            raise request_input.invalid('q', 'Cannot be given together with updated_since.')
        query = message_list.of_chatbots(query, chatbots)
        where = _search_scope(chatbots, after, before)
        search = partial(message_search.find, query, searched_text(text), where)
        return pagination.page_of_found(search, serialize)
    if since:
        find_changed = partial(message_list.changed, query, chatbots)
        return pagination.page_of_changes(find_changed, since, serialize)
    if any(map(request_input.parameter, NARROW)):
        return pagination.page(message_list.of_chatbots(query, chatbots), Message, serialize)
    return pagination.page(query, Message, serialize, chatbots)


def searched_text(text: str) -> str:
    """What is searched for. Raises Invalid."""
    if len(text) > SEARCH_MAX:
        raise request_input.invalid('q', f'At most {SEARCH_MAX} characters are allowed.')
    if not wanted_words(text):
        raise request_input.invalid('q', 'Must have a letter, a digit or an emoji.')
    return text


def _search_scope(
    chatbots: list[str] | None, after: datetime | None, before: datetime | None
) -> Scope:
    conversation_id = request_input.identifier('conversation_id')
    is_waiting = request_input.parameter('status') in WAITING
    return Scope(
        chatbots,
        conversation_id and current_id(conversation_id),
        is_waiting or any(map(request_input.parameter, VERY_NARROW)),
        message_list.first_id(after) if after else FIRST_ID,
        message_list.last_id(before) if before else LAST_ID,
    )


def _filtered() -> MessageQuery:
    """The messages that the query parameters ask for, of all chatbots."""
    query = Message.select()
    chatbot_id = request_input.parameter('chatbot_id')
    conversation_id = request_input.identifier('conversation_id')
    for column, value in (
        (Message.conversation_id, conversation_id and current_id(conversation_id)),
        (Message.batch_id, request_input.identifier('batch_id')),
        (Message.direction, request_input.choice('direction', ('inbound', 'outbound'))),
        (Message.client_reference, request_input.parameter('client_reference')),
    ):
        if value:
            query = query.where(column == value)
    if status := request_input.choice('status', tuple(Status)):
        query = message_list.with_status(query, status)
    if wamid := request_input.parameter('wamid'):
        query = message_list.with_wamid(query, wamid)
    if to := request_input.parameter('to'):
        query = message_list.sent_to(query, chatbot_id, to)
    return query
