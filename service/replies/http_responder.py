"""The responder `http`: the platform's own service, asked as Standard Webhooks says.

It answers {"messages": [bodies as for POST /send]}, 204 for silence, or 202: then it answers later
by POST /send with `in_reply_to`.
"""

import time
from datetime import UTC, datetime

from service.accounts.account import Account
from service.replies import responder_client
from service.replies.question import Question
from service.replies.reply_failure import MISCONFIGURED_STATUSES, NoReply
from service.replies.responder_answer import ResponderAnswer, SendBody
from service.replies.responder_client import Answer
from service.replies.service_request import ServiceRequest
from service.runtime import encryption, standard_webhooks
from service.runtime.strict_json import NotJSON, cleaned, parse_object

# Seconds: all tries of a question have the time of the first one, and its signature, until they
# come close to the five minutes that receivers of Standard Webhooks allow.
SAME_TIME = 240


def ask(question: Question) -> ResponderAnswer:
    """What the service answers. Raises NoReply."""
    request = question.request
    if request is None:
        raise ValueError('the question was read without its request')
    headers = _signed_headers(request, _secrets(question.account))
    url = question.responder['url']
    answer = responder_client.post(url, request.body.encode(), headers, question.seconds)
    if answer.status >= 300:
        raise NoReply(
            f'the responder answered HTTP {answer.status}',
            wait=answer.wait,
            is_misconfigured=answer.status in MISCONFIGURED_STATUSES,
        )
    if answer.status == 202:
        return ResponderAnswer(is_later=True)
    return ResponderAnswer([] if answer.status == 204 else _bodies(answer))


def _bodies(answer: Answer) -> list[SendBody]:
    try:
        bodies = parse_object(answer.body)['messages']
    except NotJSON as reason:
        raise NoReply(f'the service answered {reason}') from None
    except LookupError:
        told = 'the service answered something that is none of 204, 202 and {"messages": […]}'
        raise NoReply(told) from None
    if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
        raise NoReply('the service answered "messages" that are no list of objects')
    return [cleaned(body) for body in bodies]


def _secrets(account: Account) -> list[str]:
    """Those that sign: the account's own, and for a day the one that it has replaced."""
    tokens = [account.responder_secret]
    until: datetime | None = account.former_responder_secret_until
    if until and until > datetime.now(UTC):
        tokens.append(account.former_responder_secret)
    return [encryption.decrypt(token) for token in tokens if token]


def _signed_headers(request: ServiceRequest, secrets: list[str]) -> dict[str, str]:
    """The headers of Standard Webhooks; without a secret the call is not signed."""
    at = int(request.asked_at.timestamp())
    if time.time() - at > SAME_TIME:
        at = int(time.time())
    body = request.body.encode()
    return standard_webhooks.signed_headers(request.webhook_id, at, body, secrets)
