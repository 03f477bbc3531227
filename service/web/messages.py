"""POST /send, and the messages that came of it."""

import hashlib
import json

from flask import Blueprint, Response, current_app, request

from service import outbox, payloads, phones, status
from service.account import Account
from service.db import db, execute, fetch
from service.errors import Invalid, TooManyQueued
from service.identity import Identity, resolve
from service.message import Message
from service.queues import SEND, wake
from service.web import answers
from service.web.auth import guard
from service.web.schemas import send_schema
from service.webhook_events import UNSTORABLE

blueprint = guard(Blueprint('messages', __name__))
STATUSES = ('received', *status.STATES)


@blueprint.post('/send')
def send():
    """202 once the message is committed; the work waits in its row."""
    body = answers.json_object()
    message = payloads.check(send_schema, body)
    key = _idempotency_key()
    if key and (first := _first_answer(message['chatbot_id'], key, body)):
        return first
    account = Account.find_active(message['chatbot_id'])
    if outbox.is_full(account.chatbot_id):
        raise TooManyQueued('MAX_QUEUED messages of this chatbot are waiting.')
    answer = _queue(account, message, key, body)
    if answer is None:  # another request with this key was faster
        return _first_answer(account.chatbot_id, key, body)
    wake(SEND)
    return Response(answer, 202, content_type='application/json')


def _queue(account, message, key, body):
    """Store the message, and under its key the answer, in one transaction. None when the key is taken."""
    with db.atomic() as transaction:
        conversation = next(iter(resolve([_identity(message)]).values()))
        times = {name: message.get(name) for name in ('send_at', 'expires_at')}
        stored = outbox.queue(account, [(conversation, message)], outbox.SINGLE, **times)
        answer = current_app.json.dumps(shown(stored)[0])
        if key and not _keep(account.chatbot_id, key, body, answer):
            transaction.rollback()
            return None
    return answer


def _identity(message):
    if message.get('recipient_type') == 'group':
        return Identity(message['chatbot_id'], group=message['to'])
    if 'to' in message:
        return Identity(message['chatbot_id'], phone=phones.digits(message['to']))
    return Identity(message['chatbot_id'], user=message['recipient'])


def _idempotency_key():
    key = request.headers.get('Idempotency-Key')
    if key is not None and (not 1 <= len(key) <= 255 or UNSTORABLE.search(key)):
        raise Invalid(
            'Idempotency-Key must have 1 to 255 characters.', {'Idempotency-Key': ['Must have 1 to 255 characters.']}
        )
    return key


def _digest(body):
    """Equal for equal JSON, whatever its spaces and the order of its keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()


def _keep(chatbot_id, key, body, answer):
    return execute(
        'INSERT INTO idempotency_key (chatbot_id, key, request_digest, answer) VALUES (%s, %s, %s, %s) '
        'ON CONFLICT DO NOTHING',
        (chatbot_id, key, _digest(body), answer),
    )


def _first_answer(chatbot_id, key, body):
    rows = fetch(
        'SELECT request_digest, answer::text FROM idempotency_key WHERE chatbot_id = %s AND key = %s', (chatbot_id, key)
    )
    if not rows:
        return None
    if bytes(rows[0][0]) != _digest(body):
        raise Invalid(
            'This Idempotency-Key was used with another body.', {'Idempotency-Key': ['Was used with another body.']}
        )
    return Response(rows[0][1], 202, content_type='application/json', headers={'Idempotent-Replayed': 'true'})


@blueprint.get('/messages/<uuid:message_id>')
def show(message_id):
    return shown([Message.find(str(message_id))])[0]


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


@blueprint.get('/messages')
def index():
    query = Message.select()
    for column, value in (
        (Message.chatbot_id, answers.parameter('chatbot_id')),
        (Message.conversation_id, answers.identifier('conversation_id')),
        (Message.direction, answers.choice('direction', ('inbound', 'outbound'))),
        (Message.status, answers.choice('status', STATUSES)),
    ):
        query = query.where(column == value) if value else query
    return answers.page(query, Message, shown)


def shown(messages):
    """Messages as callers see them, with their status history."""
    history = status.of_messages(
        [message.id for message in messages if message.direction == 'outbound' and message.wamid]
    )
    return [{**message.to_dict(), 'statuses': message.history(history.get(message.id, []))} for message in messages]
