"""POST /send, and the messages that came of it."""

from functools import partial

from flask import Blueprint

from service import admission, folding, media, message_list, outbox, payloads, receipt, status, template, upload
from service.account import Account
from service.content import TEXT_LIMIT
from service.conversation import current_id
from service.errors import Invalid, TooManyQueued
from service.identity import addressee, resolve
from service.known_ids import known_phones
from service.message import Message
from service.queues import ERRANDS, SEND, wake
from service.references import with_wamids
from service.split import split
from service.web import answers
from service.web.auth import guard
from service.web.idempotency import Once, digest
from service.web.query import takes
from service.web.schemas import known_send_schema, read_schema, send_schema

blueprint = guard(Blueprint('messages', __name__))
STATUSES = ('received', *status.STATES)


@blueprint.post('/send')
def send():
    """202 once the message is committed; the work waits in its row."""
    body = answers.json_object()
    once = Once(body.get('chatbot_id'), lambda: digest(body))
    return once.first_answer_or(lambda: _send(body, once))


def _send(body, once):
    message = _checked(body)
    account = Account.find_active(message['chatbot_id'])
    upload.check(account.chatbot_id, [message])
    templates = template.fitting(account.waba_id, [message])
    message = with_wamids(account.chatbot_id, message)
    if outbox.is_full(account.chatbot_id, len(_parts(message))):
        raise TooManyQueued('MAX_QUEUED messages of this chatbot are waiting.')
    answer = once.answer(lambda: _queue(account, message, templates))
    wake(SEND)
    return answer


def _checked(body):
    """The validated message. No plan of a country's speaks against a number under which Meta knows a customer."""
    try:
        return payloads.check(send_schema, body)
    except Invalid as refusal:
        is_doubtful = 'to' in refusal.errors and 'chatbot_id' not in refusal.errors
        if is_doubtful and known_phones(body['chatbot_id'], [body.get('to')]):
            return payloads.check(known_send_schema, body)
        raise


def _parts(message):
    """The messages that it becomes: several of a long text that may be split, of which the first quotes."""
    if not message.get('split') or len(message['text']['body']) <= TEXT_LIMIT:
        return [message]
    rest = {name: value for name, value in message.items() if name not in ('context', 'fallback_template')}
    texts = [{'text': {**message['text'], 'body': part}} for part in split(message['text']['body'])]
    return [(rest if at else message) | one for at, one in enumerate(texts)]


def _queue(account, message, templates):
    conversation = next(iter(resolve([addressee(account.chatbot_id, message)]).values()))
    messages = _parts(admission.admit(message, conversation, templates))
    times = {name: message.get(name) for name in ('send_at', 'expires_at')}
    messages = [(conversation, one) for one in messages]
    queued = outbox.queue(account, messages, outbox.SINGLE, templates=templates, **times)
    answer = shown(queued[:1])[0]
    return answer | ({'parts': [one.id for one in queued]} if message.get('split') else {})


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


@blueprint.post('/messages/<uuid:message_id>/read')
def read(message_id):
    """Show a customer's message as read and, if wanted, the business typing; 409 for what we have sent."""
    wish = payloads.check(read_schema, answers.optional_object())
    message = Message.find(str(message_id))
    Account.find_active(message.chatbot_id)
    receipt.ask(message, wish['typing'])
    wake(ERRANDS)
    return show(message_id), 202


@blueprint.get('/messages')
@takes(
    'chatbot_id', 'conversation_id', 'batch_id', 'direction', 'status', 'client_reference', 'wamid', 'to',
    'created_after', 'created_before', 'updated_since', 'limit', 'cursor',
)  # fmt: skip
def index():
    """Newest first; with `updated_since` in the order of their changes, the oldest first."""
    query = message_list.created(_wanted(), answers.moment('created_after'), answers.moment('created_before'))
    if since := answers.moment('updated_since'):
        return answers.page_of_changes(partial(message_list.changed, query), since, shown)
    return answers.page(query, Message, shown)


def _wanted():
    query, chatbot_id = Message.select(), answers.parameter('chatbot_id')
    conversation_id = answers.identifier('conversation_id')
    for column, value in (
        (Message.chatbot_id, chatbot_id),
        (Message.conversation_id, conversation_id and current_id(conversation_id)),
        (Message.batch_id, answers.identifier('batch_id')),
        (Message.direction, answers.choice('direction', ('inbound', 'outbound'))),
        (Message.status, answers.choice('status', STATUSES)),
        (Message.client_reference, answers.parameter('client_reference')),
    ):
        query = query.where(column == value) if value else query
    if wamid := answers.parameter('wamid'):
        query = message_list.with_wamid(query, wamid)
    if to := answers.parameter('to'):
        query = message_list.sent_to(query, chatbot_id, to)
    return query


def shown(messages):
    """Messages as callers see them, with their status history."""
    history = status.of_messages([message.id for message in messages if message.has_left])
    receipts = receipt.of_messages([message.id for message in messages if message.direction == 'inbound'])
    files = media.of_messages(messages)
    return [
        row
        | {'media': files.get(message.id), 'read_receipt': receipts.get(message.id)}
        | {'statuses': message.history(history.get(message.id, []))}
        for message, row in zip(messages, folding.shown(messages), strict=True)
    ]
