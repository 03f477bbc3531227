"""POST /send/bulk, as JSON or CSV, and the batches that came of it."""

import hashlib
import io
import json
from typing import BinaryIO

from flask import Blueprint, request
from flask import json as flask_json

from service.accounts.account import Account
from service.content.message_schema import check
from service.runtime.db import no_connection
from service.runtime.errors import Invalid
from service.runtime.queues import SEND, wake
from service.runtime.untrusted import is_deep
from service.sending import batch as batches
from service.sending import recipients_csv, submit
from service.sending.batch import Batch
from service.sending.recipient import read_list
from service.sending.recipients import RecipientList
from service.web import pagination, request_input
from service.web.auth import guard
from service.web.idempotency import IdempotentRequest, digest_of_body
from service.web.request_input import check_names, query_parameters
from service.web.send_schemas import bulk_schema, csv_schema

blueprint = guard(Blueprint('batches', __name__))
KINDS = ('message', 'text', 'template')
CSV_PARAMETERS = (
    *(name for name in csv_schema.fields if name != 'message'),
    *KINDS,
    'language',
    'force',
)
PIECE = 65536  # bytes that are read at a time of a file that is only hashed
FLAGS = {'true': True, 'yes': True, '1': True, 'false': False, 'no': False, '0': False}


@blueprint.post('/send/bulk')
@query_parameters(*CSV_PARAMETERS)
def send():
    """202 once the batch is committed with all its messages; the work waits in its rows."""
    return _csv() if request.mimetype == 'text/csv' else _json()


def _json():
    body = request_input.json_object()
    check_names(())
    once = IdempotentRequest(body.get('chatbot_id'), lambda: digest_of_body(body))
    return once.replay_or(lambda: _queue(*_order(body), once))


def _order(body):
    order = check(bulk_schema, body)
    recipients = submit.start_bulk(order['chatbot_id'], order['message'])
    recipients.add_rows(read_list(order['recipients']))
    return order, recipients


def _csv():
    """The file as it comes in; nothing else is held of it than the good rows.

    Which request it is, its end tells.
    """
    given = request.args.to_dict()
    request.max_content_length = recipients_csv.SIZE_LIMIT
    hashed = Hashed(request.stream, json.dumps(given, sort_keys=True))
    once = IdempotentRequest(given.get('chatbot_id'), hashed.digest)
    return once.replay_on_refusal(lambda: _store_csv(given, hashed, once))


def _store_csv(given, hashed, once):
    order = order_from(given)
    with no_connection():  # a caller may take his time
        recipients = read_csv(order, io.BufferedReader(hashed))
    return once.first_answer() or _queue(order, recipients, once)


def _queue(order, recipients, once):
    account = Account.find_active(recipients.chatbot_id)
    answer = once.answer(lambda: store(account, order, recipients))
    wake(SEND)
    return answer


class Hashed(io.RawIOBase):
    """A stream whose bytes, after some text, are hashed as they are read; for the digest, what is
    left of them too.
    """

    def __init__(self, stream, text):
        self._stream, self._is_over, self._hash = (
            stream,
            False,
            hashlib.sha256(text.encode('utf-8', 'surrogatepass')),
        )

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        self._is_over = not data
        return len(data)

    def digest(self):
        if not self._is_over:
            with no_connection():  # a caller may still take his time
                while self.read(PIECE):
                    pass
        return self._hash.digest()


def order_from(given):
    """The checked order that query parameters, or a command's options, stand for."""
    order = {
        name: value for name, value in given.items() if name not in (*KINDS, 'language', 'force')
    }
    kinds = [name for name in KINDS if name in given]
    if len(kinds) != 1:
        problem = 'Exactly one of message, text and template is required.'
        raise Invalid(problem, {name: [problem] for name in kinds or ['message']})
    if ('language' in given) != (kinds == ['template']):
        raise Invalid(
            'language belongs to template.',
            {'language': ['Needed with template, and with nothing else.']},
        )
    force = {'force': _flag(given['force'])} if 'force' in given else {}
    message = _message(kinds[0], given)
    return check(
        csv_schema, order | {'message': message | force if isinstance(message, dict) else message}
    )


def _flag(value):
    """A query has only texts; what is neither yes nor no stays as it is, and is refused."""
    return FLAGS.get(value.lower(), value) if isinstance(value, str) else value


def _message(kind, given):
    if kind == 'text':
        return {'type': 'text', 'text': {'body': given['text']}}
    if kind == 'template':
        return {
            'type': 'template',
            'template': {'name': given['template'], 'language': {'code': given['language']}},
        }
    try:
        message = flask_json.loads(given['message'])
    except (ValueError, RecursionError):
        raise Invalid('message is not JSON.', {'message': ['Not JSON.']}) from None
    if isinstance(message, dict) and is_deep(message):
        raise Invalid(request_input.TOO_DEEP, {'message': ['Nested too deeply.']})
    return message


def read_csv(order: dict, stream: BinaryIO) -> RecipientList:
    """The recipients of an order, read from a binary stream."""
    recipients = submit.start_bulk(order['chatbot_id'], order['message'])
    recipients.add_rows(recipients_csv.read_rows(stream, recipients.personalisation))
    return recipients


def store(account: Account, order: dict, recipients: RecipientList) -> dict:
    """Store a batch in the caller's transaction; it as callers see it."""
    batch = submit.queue_bulk(account, recipients, order.get('send_at'), order.get('expires_at'))
    return batches.serialize([batch])[0] | {
        'rejected_rows': recipients.rejected_rows,
        'dropped_rows': recipients.dropped_rows,
    }


@blueprint.get('/batches')
@query_parameters('chatbot_id', 'limit', 'cursor')
def index():
    chatbot_id = request_input.parameter('chatbot_id')
    query = Batch.select()
    return pagination.page(
        query.where(Batch.chatbot_id == chatbot_id) if chatbot_id else query,
        Batch,
        batches.serialize,
    )


@blueprint.get('/batches/<uuid:batch_id>')
def show(batch_id):
    return batches.serialize([Batch.find(str(batch_id))])[0]


@blueprint.post('/batches/<uuid:batch_id>/pause')
def pause(batch_id):
    """Nothing more of it leaves until it is resumed; what a worker has claimed does. 409 when it
    was cancelled.
    """
    batches.pause(Batch.find(str(batch_id)).id)
    return show(batch_id)


@blueprint.post('/batches/<uuid:batch_id>/resume')
def resume(batch_id):
    """It goes on. 409 when it was cancelled."""
    batches.resume(Batch.find(str(batch_id)).id)
    wake(SEND)
    return show(batch_id)


@blueprint.post('/batches/<uuid:batch_id>/cancel')
def cancel(batch_id):
    """Take back what nobody has claimed; for good."""
    batches.cancel(Batch.find(str(batch_id)).id)
    return show(batch_id)
