"""A stand-in for a platform's own service: takes the conversation, checks Standard Webhooks,
answers messages, now or later.
"""

import asyncio
import binascii
import hmac
import json
import re
import time
from base64 import b64decode, b64encode

from aiohttp import ClientError, web

from .graph import parsed
from .simulator import SIMULATOR, Simulator

LATER = re.compile(r'later(?: (\d+(?:\.\d+)?))?', re.IGNORECASE)  # and after how many seconds
HEADERS = ('webhook-id', 'webhook-timestamp', 'webhook-signature')
TOLERANCE = 300  # seconds that the timestamp may be off


async def respond(request: web.Request) -> web.Response:
    simulator, raw = request.app[SIMULATOR], await request.read()
    body = parsed(raw)
    complaint = signature_complaint(request.headers, raw, simulator.config.responder_secret)
    await asyncio.sleep(simulator.config.responder_latency)
    answer = (
        web.json_response({'error': complaint}, status=401)
        if complaint
        else answer_to(last_inbound_text(body))
    )
    headers = {name: request.headers.get(name) for name in HEADERS}
    asked = {'at': time.time(), 'status': answer.status, 'headers': headers, 'body': body}
    simulator.responder_asks.append(asked)
    if answer.status == 202:
        asked['later'] = None
        simulator.webhook.spawn(answer_later(simulator, asked))
    simulator.chats.note('from_gateway', 'platform asked', answer.status, complaint or '')
    return answer


def signature_complaint(headers, raw: bytes, secret: str) -> str | None:
    """Headers must be there; with a secret they must be right, too."""
    if missing := [name for name in HEADERS if not headers.get(name)]:
        return f'missing: {", ".join(missing)}'
    if not secret:
        return None
    message_id, timestamp, signatures = (headers[name] for name in HEADERS)
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE:
        return 'webhook-timestamp is out of tolerance'
    wanted = signed(secret, f'{message_id}.{timestamp}.'.encode() + raw)
    good = any(hmac.compare_digest(wanted.encode(), one.encode()) for one in signatures.split())
    return None if good else 'webhook-signature does not match'


def signed(secret: str, content: bytes) -> str:
    try:
        key = b64decode(secret.removeprefix('whsec_'))
    except binascii.Error:
        key = secret.encode()
    return 'v1,' + b64encode(hmac.digest(key, content, 'sha256')).decode()


def last_inbound_text(body: object) -> str:
    """The newest inbound message's text, wherever in the body the list of messages is."""
    messages = [one for one in find_messages(body) if isinstance(one, dict)]
    inbound = [one for one in messages if is_inbound(one)]
    return text_in(inbound[-1]) if inbound else ''


def is_inbound(message: dict) -> bool:
    return message.get('direction', 'inbound') == 'inbound' and message.get('role') != 'assistant'


def find_messages(body: object) -> list:
    if not isinstance(body, dict):
        return []
    if isinstance(body.get('messages'), list):
        return body['messages']
    return next((found for value in body.values() if (found := find_messages(value))), [])


def text_in(message: dict) -> str:
    for key in ('text', 'content', 'body'):
        value = message.get(key)
        if isinstance(value, dict):
            return text_in(value)
        if isinstance(value, str):
            return value
    return ''


def answer_to(text: str) -> web.Response:
    word = text.strip().lower()
    if word == 'none':
        return web.Response(status=204)
    if LATER.fullmatch(word):
        return web.Response(status=202)
    if word == 'two':
        return messages(said('the first of two.'), said('the second of two.'))
    if word in ('buttons', 'list'):
        return messages(BUTTONS if word == 'buttons' else LIST)
    return messages(said(text or 'thank you.'))


async def answer_later(simulator: Simulator, asked: dict) -> None:
    """POST /send with `in_reply_to`; its status and answer are kept as `later` of the ask."""
    body, config = asked['body'], simulator.config
    text = last_inbound_text(body)
    await asyncio.sleep(float(LATER.fullmatch(text.strip())[1] or 0))
    person = body['conversation']
    phone = person['wa_id']
    message = {
        'chatbot_id': person['chatbot_id'],
        **({'to': f'+{phone}'} if phone else {'recipient': person['user_id']}),
        'in_reply_to': body['in_reply_to'],
        **said(text),
    }
    headers = {'Authorization': f'Bearer {config.api_key}'}
    url = f'{config.gateway_url}/whatsapp-cloud/send'
    try:
        async with simulator.webhook.session.post(url, json=message, headers=headers) as answer:
            asked['later'] = {'status': answer.status, 'body': await answer.json()}
    except (ClientError, TimeoutError, OSError, ValueError) as error:
        asked['later'] = {'status': None, 'body': type(error).__name__}
    simulator.chats.note('to_gateway', 'platform answers', asked['later']['status'] or 'no answer')


def said(text: str) -> dict:
    return {'type': 'text', 'text': {'body': f'From the platform: {text}'}}


def messages(*bodies: dict) -> web.Response:
    return web.Response(
        body=json.dumps({'messages': bodies}).encode(), content_type='application/json'
    )


def button(button_id: str, title: str) -> dict:
    return {'type': 'reply', 'reply': {'id': button_id, 'title': title}}


BUTTONS = {
    'type': 'interactive',
    'interactive': {
        'type': 'button',
        'body': {'text': 'Shall we bring it to you?'},
        'action': {'buttons': [button('yes', 'Yes, please'), button('no', 'No, thanks')]},
    },
}
LIST = {
    'type': 'interactive',
    'interactive': {
        'type': 'list',
        'body': {'text': 'When suits you best?'},
        'action': {
            'button': 'Pick a time',
            'sections': [
                {
                    'title': 'Tuesday',
                    'rows': [
                        {'id': 'tue-10', 'title': '10:00', 'description': 'Dock A'},
                        {'id': 'tue-15', 'title': '15:00', 'description': 'Dock B'},
                    ],
                }
            ],
        },
    },
}
