"""The Graph door: existing clients of Meta's API, pointed at this gateway (docs/graph-door.md).

A message is queued like that of POST /send, and its caller gets Meta's answer when there is one.
"""

import time
from functools import partial

from flask import Blueprint, Response
from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from service.accounts.account import Account
from service.messages.message import Message
from service.runtime.db import db
from service.runtime.errors import BadRequest, GatewayError, NotFound
from service.runtime.queues import SEND, wake
from service.sending import awaited_answer, submit
from service.sending.awaited_answer import PATIENCE_SECONDS, AwaitedAnswer
from service.web import (
    graph_errors,
    graph_request,
    operating_answers,
    request_examples,
    responses,
)
from service.web.auth import current_key, guard, scope
from service.web.described import JSON, describe
from service.web.graph_errors import GRAPH_JSON
from service.web.graph_request import JSONObject
from service.web.pending import LateAnswer, Pending
from service.web.plain_shapes import METAS_MESSAGE
from service.web.problem_examples import SENDING
from service.web.waiting_calls import answer_later

blueprint = guard(Blueprint('graph', __name__), any_query=True)
NO_OBJECT = (
    "Unsupported request. Object with ID '{}' does not exist, cannot be loaded due to missing "
    'permissions, or does not support this operation.'
)


class GraphVersion(BaseConverter):
    """The version that a path of Meta's begins with."""

    regex = r'v[0-9]{1,3}\.[0-9]{1,3}'


@blueprint.post('/<graph_version:version>/<number>/messages')
@scope('send')
@describe(
    operating_answers.GraphMessage,
    bodies={JSON: METAS_MESSAGE},
    problems=SENDING,
    examples=request_examples.GRAPH_MESSAGES,
    refuses_as_meta=True,
)
def messages(version: str, number: str) -> Response:
    """Queue a message and answer what Meta answers, or with our own id when that takes long."""
    account = _account_of(number)
    body = graph_request.body()
    queued = _queue(account, body)
    given = str(body.get('to') or body.get('recipient'))
    pending = Pending(
        find=awaited_answer.find,
        key=queued.id,
        render=partial(_render, given),
        until=time.monotonic() + PATIENCE_SECONDS,
    )
    otherwise = _taken(given, queued.recipient_to, queued.recipient)
    otherwise['messages'] = [{'id': queued.id, 'message_status': 'accepted'}]
    return answer_later(pending, Response(graph_request.dumps(otherwise), 200, None, GRAPH_JSON))


def _account_of(number: str) -> Account:
    """The active account of a number that the key sees. Raises NotFound or BadRequest."""
    account = Account.of_number(number)
    if account is None or not current_key().sees(account.chatbot_id):
        raise NotFound(NO_OBJECT.format(number))
    if not account.active:
        raise BadRequest('The account of this number is not active.', code='account_inactive')
    return account


def _queue(account: Account, body: JSONObject) -> Message:
    message = graph_request.message(account.chatbot_id, body)
    prepared = submit.prepare(account, message)
    with db.atomic():
        (queued,) = submit.queue(prepared)
    wake(SEND)
    return queued


def _render(given: str, known: AwaitedAnswer) -> LateAnswer:
    """Meta's answer. `given`: the recipient as the caller wrote it."""
    if not known.wamid:
        status, error = graph_errors.of_meta(known.error)
        return LateAnswer(status, graph_request.dumps(error))
    answer = _taken(given, known.to, known.recipient, known.wa_id)
    message = {'id': known.wamid}
    if known.type == 'template':
        message['message_status'] = 'accepted'
    return LateAnswer(200, graph_request.dumps(answer | {'messages': [message]}))


def _taken(
    given: str, to: str | None, recipient: str | None, wa_id: str | None = None
) -> JSONObject:
    """The beginning of the answer to a message that was taken."""
    ids = {'user_id': recipient} if recipient else {'wa_id': wa_id or str(to).removeprefix('+')}
    return {'messaging_product': 'whatsapp', 'contacts': [{'input': given, **ids}]}


@blueprint.errorhandler(GatewayError)
def on_gateway_error(error: GatewayError) -> Response:
    return graph_errors.from_problem(responses.on_gateway_error(error))


@blueprint.errorhandler(HTTPException)
def on_http_exception(error: HTTPException) -> Response | HTTPException:
    answer = responses.on_http_exception(error)
    return graph_errors.from_problem(answer) if isinstance(answer, Response) else answer


@blueprint.errorhandler(PeeweeException)
@blueprint.errorhandler(MaxConnectionsExceeded)
def on_database_error(error: Exception) -> Response:
    return graph_errors.from_problem(responses.on_database_error(error))


@blueprint.errorhandler(Exception)
def on_unexpected_error(error: Exception) -> Response:
    return graph_errors.from_problem(responses.on_unexpected_error(error))
