"""POST /send/bulk, as JSON or CSV, and the batches that came of it."""

import io
import json
from uuid import UUID

from flask import Blueprint, Response, jsonify, request

from service.content.message_schema import check
from service.runtime.db import no_connection
from service.runtime.queues import SEND, wake
from service.sending import batch as batches
from service.sending import bulk_estimate, recipients_csv, submit
from service.sending.batch import Batch
from service.sending.recipient import read_list
from service.sending.recipients import RecipientList
from service.web import bulk_order, message_answers, pagination, request_examples, request_input
from service.web.auth import chatbots_to_list, find_active_account, guard, scope, visible
from service.web.described import IDEMPOTENCY_KEY, JSON, describe
from service.web.idempotency import HashedStream, IdempotentRequest, digest_of_body
from service.web.plain_shapes import CSV
from service.web.problem_examples import SENDING
from service.web.request_input import check_names, query_parameters
from service.web.responses import JSONObject
from service.web.send_schemas import bulk_schema

blueprint = guard(Blueprint('batches', __name__))


@blueprint.post('/send/bulk')
@scope('send')
@query_parameters(*bulk_order.CSV_PARAMETERS, bulk_order.DRY_RUN)
@describe(
    (message_answers.NewBatch, message_answers.BulkEstimate),
    200,
    202,
    bodies={JSON: bulk_schema, 'text/csv': CSV},
    problems=(*SENDING, 'nobody_left'),
    headers=(IDEMPOTENCY_KEY,),
    examples=request_examples.BULK,
)
def send() -> Response:
    """Answer 202 once the batch is committed with all its messages; the work waits in its rows.

    With `dry_run=true` nothing is stored or sent: 200 says how many would be, and what they cost.
    """
    is_dry = request_input.choice(bulk_order.DRY_RUN, ('true', 'false')) == 'true'
    if request.mimetype == 'text/csv':
        return _estimate_csv() if is_dry else _send_csv()
    body = request_input.json_object()
    check_names((bulk_order.DRY_RUN,))
    return _estimate_json(body) if is_dry else _send_json(body)


def _estimate_json(body: JSONObject) -> Response:
    return _estimate(_recipients(check(bulk_schema, body)))


def _estimate_csv() -> Response:
    request.max_content_length = recipients_csv.SIZE_LIMIT
    return _estimate(_csv_recipients(_given(), HashedStream(request.stream, ''))[1])


def _estimate(recipients: RecipientList) -> Response:
    account = find_active_account(recipients.chatbot_id)
    return jsonify(bulk_estimate.estimate(account, recipients))


def _send_json(body: JSONObject) -> Response:
    idempotent = IdempotentRequest(body.get('chatbot_id'), lambda: digest_of_body(body))
    return idempotent.replay_or(lambda: _queue_json(body, idempotent))


def _queue_json(body: JSONObject, idempotent: IdempotentRequest) -> Response:
    order = check(bulk_schema, body)
    return _queue(order, _recipients(order), idempotent)


def _recipients(order: JSONObject) -> RecipientList:
    find_active_account(order['chatbot_id'])
    recipients = submit.start_bulk(order['chatbot_id'], order['message'])
    recipients.add_rows(read_list(order['recipients']))
    return recipients


def _given() -> dict[str, str]:
    """The query of a CSV, which has its order."""
    return {name: value for name, value in request.args.items() if name != bulk_order.DRY_RUN}


def _send_csv() -> Response:
    """Take the file as it comes in, and hold nothing of it but the good rows.

    Which request it is, is known at its end.
    """
    given = _given()
    request.max_content_length = recipients_csv.SIZE_LIMIT
    stream = HashedStream(request.stream, json.dumps(given, sort_keys=True))
    idempotent = IdempotentRequest(given.get('chatbot_id'), stream.digest)
    return idempotent.replay_on_refusal(lambda: _queue_csv(given, stream, idempotent))


def _queue_csv(
    given: dict[str, str], stream: HashedStream, idempotent: IdempotentRequest
) -> Response:
    order, recipients = _csv_recipients(given, stream)
    return idempotent.first_answer() or _queue(order, recipients, idempotent)


def _csv_recipients(
    given: dict[str, str], stream: HashedStream
) -> tuple[JSONObject, RecipientList]:
    order = bulk_order.check_order(given)
    find_active_account(order['chatbot_id'])
    with no_connection():  # the caller may be slow
        return order, bulk_order.read_csv(order, io.BufferedReader(stream))


def _queue(order: JSONObject, recipients: RecipientList, idempotent: IdempotentRequest) -> Response:
    account = find_active_account(recipients.chatbot_id)
    answer = idempotent.answer(lambda: bulk_order.store(account, order, recipients))
    wake(SEND)
    return answer


@blueprint.get('/batches')
@scope('read')
@query_parameters('chatbot_id', 'limit', 'cursor')
@describe(message_answers.BatchPage)
def index() -> JSONObject:
    """List bulks, the newest first."""
    chatbots = chatbots_to_list(request_input.parameter('chatbot_id'))
    return pagination.page(Batch.select(), Batch, batches.serialize, chatbots)


@blueprint.get('/batches/<uuid:batch_id>')
@scope('read')
@describe(message_answers.Batch)
def show(batch_id: UUID) -> JSONObject:
    """Show a bulk, and how far it is."""
    return batches.serialize([_find(batch_id)])[0]


def _find(batch_id: UUID) -> Batch:
    return visible(Batch.find(str(batch_id)))


@blueprint.post('/batches/<uuid:batch_id>/pause')
@scope('send')
@describe(message_answers.Batch, problems=('conflict',))
def pause(batch_id: UUID) -> JSONObject:
    """Send nothing more of it until it is resumed, but what a worker has claimed.

    409 when it was cancelled.
    """
    batches.pause(_find(batch_id).id)
    return show(batch_id)


@blueprint.post('/batches/<uuid:batch_id>/resume')
@scope('send')
@describe(message_answers.Batch, problems=('conflict',))
def resume(batch_id: UUID) -> JSONObject:
    """Go on sending it; 409 when it was cancelled."""
    batches.resume(_find(batch_id).id)
    wake(SEND)
    return show(batch_id)


@blueprint.post('/batches/<uuid:batch_id>/cancel')
@scope('send')
@describe(message_answers.Batch, problems=('conflict',))
def cancel(batch_id: UUID) -> JSONObject:
    """Take back, for good, what nobody has claimed."""
    batches.cancel(_find(batch_id).id)
    return show(batch_id)
