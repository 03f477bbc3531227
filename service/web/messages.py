"""POST /send, and the messages that came of it."""

from functools import partial

from flask import Blueprint, Response

from service.accounts.account import Account
from service.content import message_schema
from service.conversations.conversation import current_id
from service.conversations.identity_store import known_phones
from service.media import inbound_file
from service.messages import message_list, read_receipt, view
from service.messages.message import Message
from service.messages.state_machine import Status
from service.runtime.errors import Invalid
from service.runtime.queues import ERRANDS, SEND, wake
from service.sending import delivery_status, outbox, submit
from service.web import pagination, request_input
from service.web.auth import guard
from service.web.idempotency import Once, digest
from service.web.request_input import query_parameters
from service.web.send_schemas import known_send_schema, read_schema, send_schema

blueprint = guard(Blueprint('messages', __name__))


@blueprint.post('/send')
def send():
    """202 once the message is committed; the work waits in its row."""
    body = request_input.json_object()
    once = Once(body.get('chatbot_id'), lambda: digest(body))
    return once.first_answer_or(lambda: _send(body, once))


def _send(body: dict, once: Once) -> Response | None:
    message = _checked(body)
    prepared = submit.prepare(Account.find_active(message['chatbot_id']), message)
    answer = once.answer(lambda: _queue(prepared))
    wake(SEND)
    return answer


def _queue(prepared: submit.Prepared) -> dict:
    queued = submit.queue(prepared)
    answer = serialize(queued[:1])[0]
    return answer | ({'parts': [one.id for one in queued]} if prepared.message.get('split') else {})


def _checked(body):
    """The validated message.

    No plan of a country's speaks against a number under which Meta knows a customer.
    """
    try:
        return message_schema.check(send_schema, body)
    except Invalid as refusal:
        is_doubtful = 'to' in refusal.errors and 'chatbot_id' not in refusal.errors
        if is_doubtful and known_phones(body['chatbot_id'], [body.get('to')]):
            return message_schema.check(known_send_schema, body)
        raise


@blueprint.get('/messages/<uuid:message_id>')
def show(message_id):
    return serialize([Message.find(str(message_id))])[0]


@blueprint.post('/messages/<uuid:message_id>/cancel')
def cancel(message_id):
    """Until it is claimed; 409 afterwards."""
    message = Message.find(str(message_id))
    outbox.cancel(message)
    return show(message_id)


@blueprint.post('/messages/<uuid:message_id>/retry')
def retry(message_id):
    """A person's decision on a failed or unknown message; 409 for any other."""
    message = Message.find(str(message_id))
    outbox.retry(message)
    wake(SEND)
    return show(message_id), 202


@blueprint.post('/messages/<uuid:message_id>/read')
def read(message_id):
    """Show a customer's message as read and, if wanted, the business typing; 409 for what we have
    sent.
    """
    wish = message_schema.check(read_schema, request_input.optional_json_object())
    message = Message.find(str(message_id))
    Account.find_active(message.chatbot_id)
    read_receipt.ask(message, wish['typing'])
    wake(ERRANDS)
    return show(message_id), 202


@blueprint.get('/messages')
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
    'limit',
    'cursor',
)
def index():
    """Newest first; with `updated_since` in the order of their changes, the oldest first."""
    query = message_list.created(
        _wanted(),
        request_input.timestamp('created_after'),
        request_input.timestamp('created_before'),
    )
    if since := request_input.timestamp('updated_since'):
        return pagination.page_of_changes(partial(message_list.changed, query), since, serialize)
    return pagination.page(query, Message, serialize)


def _wanted():
    query, chatbot_id = Message.select(), request_input.parameter('chatbot_id')
    conversation_id = request_input.identifier('conversation_id')
    for column, value in (
        (Message.chatbot_id, chatbot_id),
        (Message.conversation_id, conversation_id and current_id(conversation_id)),
        (Message.batch_id, request_input.identifier('batch_id')),
        (Message.direction, request_input.choice('direction', ('inbound', 'outbound'))),
        (Message.status, request_input.choice('status', tuple(Status))),
        (Message.client_reference, request_input.parameter('client_reference')),
    ):
        query = query.where(column == value) if value else query
    if wamid := request_input.parameter('wamid'):
        query = message_list.with_wamid(query, wamid)
    if to := request_input.parameter('to'):
        query = message_list.sent_to(query, chatbot_id, to)
    return query


def serialize(messages):
    """Messages as callers see them, with their status history."""
    history = delivery_status.of_messages([message.id for message in messages if message.has_left])
    receipts = read_receipt.of_messages(
        [message.id for message in messages if message.direction == 'inbound']
    )
    files = inbound_file.of_messages(messages)
    return [
        row
        | {'media': files.get(message.id), 'read_receipt': receipts.get(message.id)}
        | {'statuses': view.history(message, history.get(message.id, []))}
        for message, row in zip(messages, view.serialize(messages), strict=True)
    ]
