"""Asks the responder of an account: an OpenAI-compatible server, or the platform's own service."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace

from service.accounts.account import Account
from service.content.graph_body import address
from service.content.message_schema import MessageSchema, check
from service.content.text_split import split
from service.content.whatsapp_format import to_whatsapp
from service.conversations.conversation import Conversation
from service.replies import chat_history, responder_client
from service.replies.chat_completion import find_answer, find_error_text
from service.replies.chat_history import ChatMessage, PastMessage
from service.replies.question import Question
from service.replies.redaction import redact
from service.replies.reply_failure import NoReply
from service.replies.responder_answer import ResponderAnswer, SendBody
from service.replies.responder_client import Answer
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.strict_json import NotJSON, cleaned, parse_object
from service.runtime.timestamps import to_rfc3339
from service.sending import submit

MAX_MESSAGES = 20  # in one answer; each of them is billed
# HTTP statuses of an AI's server after which it is not asked again: it would answer the same.
FINAL_STATUSES = frozenset((400, 401, 402, 403, 404, 405, 410, 413, 415, 422))
ADDRESS = frozenset(('to', 'recipient', 'recipient_type'))

message_schema = MessageSchema()


def ask(question: Question) -> ResponderAnswer:
    """What the account's responder answers; its messages are checked and addressed.

    Raises NoReply when there is no usable answer, Invalid when one of its messages breaks a rule.
    """
    responder = question.account.responder
    answer = RESPONDERS[responder['kind'] if responder else 'openai'](question)
    count = len(answer.messages)
    if count > MAX_MESSAGES:
        told = f'the answer has {count} messages, and {MAX_MESSAGES} at most are sent'
        raise NoReply(told)
    checked = [check(message_schema, body) for body in answer.messages]
    messages = submit.prepare_reply(question.account, checked)
    addressed = [_addressed(message, question.conversation) for message in messages]
    return replace(answer, messages=addressed)


def _addressed(message: SendBody, conversation: Conversation) -> SendBody:
    """The message addressed to the customer who is answered, whoever else the responder names.

    By phone while the phone is theirs, even if they hide it by now: their BSUID lasts as long as
    the number, and some messages need a phone (Meta's error 131062). Else by BSUID.
    """
    to = conversation.wa_id
    recipient = None if to else conversation.user_id or conversation.parent_user_id
    if not (to or recipient):
        raise NoReply('nothing is known of the customer that an answer could go to')
    content = {name: value for name, value in message.items() if name not in ADDRESS}
    return content | address(to, recipient)


def _ask_openai(question: Question) -> ResponderAnswer:
    """Chat completions, with the account's system prompt and the last messages."""
    responder = question.account.responder or {}
    base_url = responder.get('base_url') or settings.AI_BASE_URL
    model = responder.get('model') or settings.AI_MODEL
    if not base_url:
        raise NoReply('the responder has no base_url and AI_BASE_URL is not set')
    key = encryption.decrypt(question.account.responder_secret)
    if not key and not responder.get('base_url'):  # our own key goes only to our own server
        key = settings.AI_API_KEY
    past = [PastMessage(row['direction'], row['text'] or '') for row in question.history]
    messages = chat_history.build_messages(past, responder.get('system_prompt'))
    if not messages:
        return ResponderAnswer()  # none of the last messages is the customer's
    body = json.dumps(({'model': model} if model else {}) | {'messages': messages})
    headers = {'Authorization': f'Bearer {key}'} if key else {}
    answer = _post(question.account, f'{base_url.rstrip("/")}/chat/completions', body, headers)
    text = to_whatsapp(_completion(answer, key, messages)).strip()
    return ResponderAnswer([{'type': 'text', 'text': {'body': part}} for part in split(text)])


def _completion(answer: Answer, key: str | None, messages: list[ChatMessage]) -> str:
    """The text that the AI answered.

    Raises NoReply; its details are the server's own words, without the key and what people wrote.
    """
    try:
        return _text_of(answer)
    except NoReply as reason:
        written = [message['content'] for message in messages]
        reason.details = redact(reason.details, [key], written)
        raise


def _text_of(answer: Answer) -> str:
    try:
        body = parse_object(answer.body)
    except NotJSON:
        body = {}
    if answer.status < 300:
        return find_answer(body)
    is_final = answer.status in FINAL_STATUSES
    title = f'the responder answered HTTP {answer.status}'
    raise NoReply(title, find_error_text(body), final=is_final, wait=answer.wait)


def _ask_http(question: Question) -> ResponderAnswer:
    """The platform's own service, which answers {"messages": [bodies as for POST /send]} or 204.

    The request is signed as Standard Webhooks says.
    """
    account, conversation, history = question.account, question.conversation, question.history
    event = {
        'type': 'reply.requested',
        'conversation': conversation.to_dict(),
        'messages': history,
    }
    body = json.dumps(event, default=to_rfc3339)
    inbound = [message['id'] for message in history if message['direction'] == 'inbound']
    # The id of the same question stays the same when it is asked again: Standard Webhooks wants it.
    identifier = inbound[-1] if inbound else conversation.id
    headers = _signed_headers(identifier, body, encryption.decrypt(account.responder_secret))
    answer = _post(account, account.responder['url'], body, headers)
    if answer.status >= 300:
        raise NoReply(f'the responder answered HTTP {answer.status}', wait=answer.wait)
    return ResponderAnswer() if answer.status == 204 else ResponderAnswer(_bodies(answer))


def _bodies(answer: Answer) -> list[SendBody]:
    try:
        bodies = parse_object(answer.body)['messages']
    except NotJSON as reason:
        raise NoReply(f'the service answered {reason}') from None
    except LookupError:
        told = 'the service answered something that is neither 204 nor {"messages": […]}'
        raise NoReply(told) from None
    if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
        raise NoReply('the service answered "messages" that are no list of objects')
    return [cleaned(body) for body in bodies]


def _signed_headers(identifier: str, body: str, secret: str | None) -> dict[str, str]:
    """The headers of Standard Webhooks; `secret`: whsec_ and base64, None for an unsigned call."""
    now = str(int(time.time()))
    headers = {'webhook-id': identifier, 'webhook-timestamp': now}
    if secret:
        key = base64.b64decode(secret.removeprefix('whsec_'))
        signature = hmac.digest(key, f'{identifier}.{now}.{body}'.encode(), hashlib.sha256)
        headers['webhook-signature'] = f'v1,{base64.b64encode(signature).decode()}'
    return headers


def _ask_nobody(question: Question) -> ResponderAnswer:
    return ResponderAnswer()


RESPONDERS: dict[str, Callable[[Question], ResponderAnswer]] = {
    'openai': _ask_openai,
    'http': _ask_http,
    'none': _ask_nobody,
}


def _post(account: Account, url: str, body: str, headers: dict[str, str]) -> Answer:
    """The answer, within the account's time. Raises NoReply when there is none."""
    seconds = (account.responder or {}).get('timeout_seconds') or settings.RESPONDER_TIMEOUT
    return responder_client.post(url, body.encode(), headers, seconds)
