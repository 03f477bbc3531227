"""A conversation → its reply: an OpenAI-compatible server, or the platform's own service."""

import base64
import hashlib
import hmac
import json
import threading
import time

import requests

from service import folding, template, upload, vault
from service.account import Account
from service.config import settings
from service.conversation import Conversation
from service.db import connection
from service.message import Message
from service.moments import plain
from service.payloads import MessageSchema, address, check
from service.references import with_wamids
from service.split import split
from service.strict_json import NotJSON, parse_object

TIMEOUT = 30  # seconds for one ask
HISTORY = 20  # the last messages that the responder sees
ROLES = {'inbound': 'user', 'outbound': 'assistant'}

message_schema = MessageSchema()
_local = threading.local()


class NoReply(Exception):
    """The responder gave no usable answer; the text says why, without what it said."""


def ask(claimed):
    """Ask the account's responder; returns Meta send bodies, addressed. Raises NoReply or Invalid."""
    with connection():
        account = Account.find(claimed['chatbot_id'])
        conversation = Conversation.find(claimed['id'])
        history = _history(claimed['id'])
    kind = account.responder['kind'] if account.responder else 'openai'
    bodies = KINDS[kind](account, conversation, history)
    messages = [with_wamids(account.chatbot_id, check(message_schema, body)) for body in bodies]
    upload.check(account.chatbot_id, messages)
    with connection():
        template.fitting(account.waba_id, messages)
    return [_addressed(one, conversation) for one in messages]


def _history(conversation_id):
    """The last messages as callers see them, the oldest first, and nothing that was edited away or deleted."""
    said = (Message.conversation_id == conversation_id) & Message.type.not_in(('edit', 'revoke'))
    latest = Message.select().where(said).order_by(Message.id.desc()).limit(HISTORY)
    return [row | {'revisions': []} for row in folding.shown(list(latest)[::-1])]


def _addressed(body, conversation):
    """To the customer who is answered, whoever else the responder may name.

    By phone while it is theirs, also when they hide it by now: a BSUID lasts as long as the number, and what needs a
    phone (131062) goes too. Else by BSUID.
    """
    to = conversation.wa_id
    recipient = None if to else conversation.user_id or conversation.parent_user_id
    if not (to or recipient):
        raise NoReply('nothing is known of the customer that an answer could go to')
    whom = address(to, recipient)
    return {name: value for name, value in body.items() if name not in ('to', 'recipient')} | whom


def _openai(account, conversation, history):
    """Chat completions, with the account's system prompt and the last messages."""
    chosen = account.responder or {}
    base, model = chosen.get('base_url') or settings.AI_BASE_URL, chosen.get('model') or settings.AI_MODEL
    if not base:
        raise NoReply('the responder has no base_url and AI_BASE_URL is not set')
    key = vault.decrypt(account.responder_secret)
    if not key and not chosen.get('base_url'):  # our key goes to our server alone
        key = settings.AI_API_KEY
    messages = [{'role': 'system', 'content': chosen['system_prompt']}] if chosen.get('system_prompt') else []
    messages += [{'role': ROLES[message['direction']], 'content': message['text']} for message in history]
    headers = {'Authorization': f'Bearer {key}'} if key else {}
    answer = _post(f'{base.rstrip("/")}/chat/completions', json.dumps({'model': model, 'messages': messages}), headers)
    try:
        text = parse_object(answer.content)['choices'][0]['message']['content']
    except (NotJSON, LookupError, TypeError):
        raise NoReply('the AI answered something that is no chat completion') from None
    if not isinstance(text, str) or not text.strip():
        raise NoReply('the AI answered nothing')
    return [{'type': 'text', 'text': {'body': part}} for part in split(text.strip())]


def _http(account, conversation, history):
    """The platform's own service, signed as Standard Webhooks says; answers {"messages": [send bodies]} or 204."""
    body = json.dumps({
        'type': 'reply.requested',
        'conversation': conversation.to_dict(),
        'messages': history,
    }, default=plain)  # fmt: skip
    asking = (message['id'] for message in reversed(history) if message['direction'] == 'inbound')
    identifier = next(asking, conversation.id)  # the same when it is tried again, as Standard Webhooks wants it
    answer = _post(account.responder['url'], body, sign(identifier, body, vault.decrypt(account.responder_secret)))
    if answer.status_code == 204:
        return []
    try:
        bodies = parse_object(answer.content)['messages']
    except NotJSON as reason:
        raise NoReply(f'the service answered {reason}') from None
    except LookupError:
        raise NoReply('the service answered something that is neither 204 nor {"messages": […]}') from None
    if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
        raise NoReply('the service answered "messages" that are no list of objects')
    return bodies


def sign(identifier, body, secret):
    """The headers of Standard Webhooks for a body; `secret` is whsec_ and base64, or None for an unsigned call."""
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


def _post(url, body, headers):
    session = _local.__dict__.setdefault('session', requests.Session())
    try:
        answer = session.post(
            url,
            data=body.encode(),
            headers={'Content-Type': 'application/json', **headers},
            timeout=(5, TIMEOUT - 5),
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise NoReply(f'the responder did not answer ({type(error).__name__})') from None
    if answer.status_code >= 300:
        raise NoReply(f'the responder answered HTTP {answer.status_code}')
    return answer
