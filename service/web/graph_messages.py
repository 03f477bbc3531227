"""POST /<version>/<phone_number_id>/messages: queued like POST /send, answered as Meta answers."""

import threading
import time
from functools import partial

from flask import Response

from service.accounts.account import Account
from service.graph.outcome import ErrorDict
from service.messages import read_receipt
from service.messages.message import Message
from service.messages.read_receipt import SettledReceipt
from service.runtime.db import db
from service.runtime.errors import Invalid, TooManyQueued
from service.runtime.queues import ERRANDS, SEND, wake
from service.runtime.untrusted import MAX_ID, clean, list_of_dicts
from service.sending import awaited_answer, submit
from service.sending.awaited_answer import PATIENCE_SECONDS, AwaitedAnswer
from service.web import (
    graph_errors,
    graph_hand_on,
    graph_request,
    operating_answers,
    request_examples,
)
from service.web.auth import scope
from service.web.described import JSON, describe
from service.web.graph_door import find_account, graph_blueprint, no_object
from service.web.graph_errors import GRAPH_JSON
from service.web.graph_request import JSONObject, dumps
from service.web.pending import LateAnswer, Pending
from service.web.plain_shapes import METAS_MESSAGE
from service.web.problem_examples import SENDING
from service.web.waiting_calls import answer_later

blueprint = graph_blueprint('graph_messages', __name__)
SUCCESS = dumps({'success': True})
# Receipts for messages that are not ours hold a thread each until Meta has answered.
_foreign_receipts = threading.BoundedSemaphore(4)


@blueprint.post('/<graph_version:version>/<number>/messages', strict_slashes=False)
@scope('send')
@describe(
    (operating_answers.GraphMessage, operating_answers.GraphSuccess),
    bodies={JSON: METAS_MESSAGE},
    problems=SENDING,
    examples=request_examples.GRAPH_MESSAGES,
    refuses_as_meta=True,
)
def messages(version: str, number: str) -> Response:
    """Queue what is to be sent, and answer what Meta answers to it."""
    account = find_account(number)
    if account is None or account.phone_number_id != number:
        raise no_object(number)
    body = graph_request.body()
    if body.get('status') == 'read':
        return _mark_read(version, account, body)
    return _send(account, body)


def _send(account: Account, body: JSONObject) -> Response:
    """Meta's answer; after PATIENCE_SECONDS our own id."""
    queued = _queue(account, body)
    given = str(body.get('to') or body.get('recipient'))
    otherwise = _taken(given, queued.recipient_to, queued.recipient)
    otherwise['messages'] = [{'id': queued.id, 'message_status': 'accepted'}]
    pending = Pending(awaited_answer.find, queued.id, partial(_render, given), _until())
    return answer_later(pending, Response(dumps(otherwise), 200, None, GRAPH_JSON))


def _until() -> float:
    return time.monotonic() + PATIENCE_SECONDS


def _queue(account: Account, body: JSONObject) -> Message:
    message = graph_request.message(account.chatbot_id, body)
    prepared = submit.prepare(account, message, leaves_unlisted=True)
    with db.atomic():
        (queued,) = submit.queue(prepared, wants_answer=True)
    wake(SEND)
    return queued


def _render(given: str, known: AwaitedAnswer) -> LateAnswer:
    """Meta's answer; where a status was faster, or none was made, one like it.

    `given`: the recipient as the caller wrote it, which Meta got in another form.
    """
    said = known.answer
    if not known.wamid:
        if said and 'error' in said.body:
            return LateAnswer(said.status, dumps(said.body))
        return _refusal(known.error)
    if said and list_of_dicts(said.body.get('messages')):
        contacts = list_of_dicts(said.body.get('contacts'))
        as_given = [one | {'input': given} for one in contacts[:1]] + contacts[1:]
        return LateAnswer(said.status, dumps(said.body | {'contacts': as_given}))
    answer = _taken(given, known.to, known.recipient, known.wa_id)
    return LateAnswer(200, dumps(answer | {'messages': [{'id': known.wamid}]}))


def _refusal(error: ErrorDict | None) -> LateAnswer:
    status, body = graph_errors.of_meta(error)
    return LateAnswer(status, dumps(body))


def _taken(
    given: str, to: str | None, recipient: str | None, wa_id: str | None = None
) -> JSONObject:
    """The beginning of the answer to a message that was taken."""
    ids = {'user_id': recipient} if recipient else {'wa_id': wa_id or str(to).removeprefix('+')}
    return {'messaging_product': 'whatsapp', 'contacts': [{'input': given, **ids}]}


def _mark_read(version: str, account: Account, body: JSONObject) -> Response:
    """Show a customer's message as read; one that is not known here is left to Meta."""
    wamid = clean(body.get('message_id'), MAX_ID)
    if wamid is None:
        problem = 'Missing data for required field.'
        raise Invalid('message_id is required.', {'message_id': [problem]})
    typing = bool(body.get('typing_indicator'))
    id_ = read_receipt.ask_by_wamid(account, wamid, typing)
    if id_ is None:
        return _hand_on_receipt(version, account, body)
    wake(ERRANDS)
    pending = Pending(read_receipt.find_settled, id_, _render_receipt, _until())
    return answer_later(pending, Response(SUCCESS, 200, None, GRAPH_JSON))


def _render_receipt(settled: SettledReceipt) -> LateAnswer:
    return _refusal(settled.error) if settled.error else LateAnswer(200, SUCCESS)


def _hand_on_receipt(version: str, account: Account, body: JSONObject) -> Response:
    if not _foreign_receipts.acquire(blocking=False):
        raise TooManyQueued('Too many read receipts for unknown messages at once.')
    try:
        return graph_hand_on.post_json(version, account, 'messages', body)
    finally:
        _foreign_receipts.release()
