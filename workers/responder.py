"""A conversation → its reply: an OpenAI-compatible server, or the platform's own service."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from service.accounts.account import Account
from service.content.message_schema import MessageSchema, address, check
from service.content.text_split import split
from service.content.whatsapp_format import to_whatsapp
from service.conversations.conversation import Conversation
from service.conversations.reply_queue import ClaimedReply
from service.messages import view
from service.messages.message import Message
from service.replies import chat_history, responder_client
from service.replies.chat_completion import answer_in, sentence_in
from service.replies.redaction import quotable
from service.replies.reply_failure import NoReply
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.db import connection
from service.runtime.strict_json import NotJSON, cleaned, parse_object
from service.runtime.timestamps import plain
from service.sending import submit

HISTORY = 20  # the last messages that the responder sees
MOST_MESSAGES = 20  # in one answer; each of them is billed
FINAL = frozenset(
    (400, 401, 402, 403, 404, 405, 410, 413, 415, 422)
)  # statuses of an AI's server: no use in repeating
ADDRESS = frozenset(('to', 'recipient', 'recipient_type'))

message_schema = MessageSchema()


def ask(reply: ClaimedReply) -> list[dict[str, Any]]:
    """Ask the account's responder; returns Meta send bodies, addressed.

    Raises NoReply or Invalid.
    """
    with connection():
        account = Account.find(reply.chatbot_id)
        conversation = Conversation.find(reply.id)
        history = _history(reply.id)
    kind = account.responder['kind'] if account.responder else 'openai'
    bodies = KINDS[kind](account, conversation, history)
    if len(bodies) > MOST_MESSAGES:
        raise NoReply(
            f'the answer has {len(bodies)} messages, and {MOST_MESSAGES} at most are sent'
        )
    messages = submit.prepare_reply(account, [check(message_schema, body) for body in bodies])
    return [_addressed(one, conversation) for one in messages]


def _history(conversation_id):
    """The last messages as callers see them, the oldest first, and nothing that was edited away or
    deleted.
    """
    said = (Message.conversation_id == conversation_id) & Message.type.not_in(('edit', 'revoke'))
    latest = Message.select().where(said).order_by(Message.id.desc()).limit(HISTORY)
    return [row | {'revisions': []} for row in view.serialize(list(latest)[::-1])]


def _addressed(body, conversation):
    """To the customer who is answered, whoever else the responder may name.

    By phone while it is theirs, also when they hide it by now: a BSUID lasts as long as the number,
    and what needs a phone (131062) goes too. Else by BSUID.
    """
    to = conversation.wa_id
    recipient = None if to else conversation.user_id or conversation.parent_user_id
    if not (to or recipient):
        raise NoReply('nothing is known of the customer that an answer could go to')
    whom = address(to, recipient)
    return {name: value for name, value in body.items() if name not in ADDRESS} | whom


def _openai(account, conversation, history):
    """Chat completions, with the account's system prompt and the last messages."""
    chosen = account.responder or {}
    base, model = (
        chosen.get('base_url') or settings.AI_BASE_URL,
        chosen.get('model') or settings.AI_MODEL,
    )
    if not base:
        raise NoReply('the responder has no base_url and AI_BASE_URL is not set')
    key = encryption.decrypt(account.responder_secret)
    if not key and not chosen.get('base_url'):  # our key goes to our server alone
        key = settings.AI_API_KEY
    messages = chat_history.build(history, chosen.get('system_prompt'))
    if not messages:
        return []  # of the last messages none is the customer's
    body = {'model': model} if model else {}
    body |= {'messages': messages}
    headers = {'Authorization': f'Bearer {key}'} if key else {}
    answer = _post(account, f'{base.rstrip("/")}/chat/completions', json.dumps(body), headers)
    try:
        said = _completion(answer)
    except NoReply as reason:
        reason.details = quotable(
            reason.details, [key], [message['content'] for message in messages]
        )
        raise
    return [{'type': 'text', 'text': {'body': part}} for part in split(to_whatsapp(said).strip())]


def _completion(answer):
    """The text that the AI answered. Raises NoReply, its details being the server's own words."""
    try:
        body = parse_object(answer.body)
    except NotJSON:
        body = {}
    if answer.status >= 300:
        title, details = f'the responder answered HTTP {answer.status}', sentence_in(body)
        raise NoReply(title, details, final=answer.status in FINAL, wait=answer.wait)
    return answer_in(body)


def _http(account, conversation, history):
    """The platform's own service, signed as Standard Webhooks says; answers {"messages": [send
    bodies]} or 204.
    """
    body = json.dumps(
        {
            'type': 'reply.requested',
            'conversation': conversation.to_dict(),
            'messages': history,
        },
        default=plain,
    )
    asking = (message['id'] for message in reversed(history) if message['direction'] == 'inbound')
    identifier = next(
        asking, conversation.id
    )  # the same when it is tried again, as Standard Webhooks wants it
    headers = sign(identifier, body, encryption.decrypt(account.responder_secret))
    answer = _post(account, account.responder['url'], body, headers)
    if answer.status >= 300:
        raise NoReply(f'the responder answered HTTP {answer.status}', wait=answer.wait)
    return [] if answer.status == 204 else _bodies(answer)


def _bodies(answer):
    try:
        bodies = parse_object(answer.body)['messages']
    except NotJSON as reason:
        raise NoReply(f'the service answered {reason}') from None
    except LookupError:
        raise NoReply(
            'the service answered something that is neither 204 nor {"messages": […]}'
        ) from None
    if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
        raise NoReply('the service answered "messages" that are no list of objects')
    return cleaned(bodies)


def sign(identifier, body, secret):
    """The headers of Standard Webhooks for a body; `secret` is whsec_ and base64, or None for an
    unsigned call.
    """
    now = str(int(time.time()))
    headers = {'webhook-id': identifier, 'webhook-timestamp': now}
    if secret:
        key = base64.b64decode(secret.removeprefix('whsec_'))
        signature = hmac.digest(key, f'{identifier}.{now}.{body}'.encode(), hashlib.sha256)
        headers['webhook-signature'] = f'v1,{base64.b64encode(signature).decode()}'
    return headers


def _none(account, conversation, history):
    return []


KINDS = {'openai': _openai, 'http': _http, 'none': _none}


def _post(account, url, body, headers):
    """The answer, within the account's time. Raises NoReply when there is none."""
    seconds = (account.responder or {}).get('timeout_seconds') or settings.RESPONDER_TIMEOUT
    return responder_client.post(url, body.encode(), headers, seconds)
