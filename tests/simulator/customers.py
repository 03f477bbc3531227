"""Customers who write: Meta's inbound envelope, signed and delivered."""

import binascii
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from .chats import Customer
from .envelopes import (
    INBOUND,
    UNKNOWN_PHONE,
    change,
    contact,
    encode,
    envelope,
    new_wamid,
    unix_seconds,
)
from .error_codes import webhook_error
from .send_body import MEDIA_TYPES
from .settings import Number
from .simulator import SIMULATOR, Simulator

PIXEL = b64decode(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
)
VOICE, VOICE_TYPE = (Path(__file__).parent / 'voice.ogg').read_bytes(), 'audio/ogg; codecs=opus'
OPTIONS = frozenset(
    (
        'text',
        'message',
        'name',
        'username',
        'user_id',
        'hide_phone',
        'phone_number_id',
        'context_id',
        'group_id',
        'wamid',
        'double',
        'retry',
        'timestamp',
        'echo',
    )
)
WITHOUT_CONTACTS = frozenset(('system',))


class Refused(Exception):
    """What is wrong with the request, in a sentence."""


async def write(request: web.Request) -> web.Response:
    """POST /control/customers/{wa_id}/messages"""
    simulator, asked = request.app[SIMULATOR], await request.json()
    try:
        letter = Letter.compose(simulator, request.match_info['wa_id'], asked)
    except Refused as reason:
        return web.json_response({'error': str(reason)}, status=422)
    statuses = [await letter.deliver(simulator) for _ in range(2 if asked.get('double') else 1)]
    return web.json_response(
        {'wamid': letter.wamid, 'gateway_status': statuses[0], 'gateway_statuses': statuses}
    )


@dataclass(frozen=True, slots=True)
class Letter:
    """An inbound message, ready to go."""

    chat: str
    wamid: str
    kind: str
    raw: bytes
    target: tuple[str, str]
    entry: dict
    insists: bool

    @classmethod
    def compose(cls, simulator: Simulator, wa_id: str, asked: object) -> 'Letter':
        message = content(simulator, asked)
        number = simulator.number(asked.get('phone_number_id'))
        if not number.webhook_url:
            raise Refused('no webhook URL is configured')
        traits = {trait: asked.get(trait) for trait in ('name', 'username', 'user_id')}
        customer = simulator.customers.meet(wa_id, **traits)
        if asked.get('echo'):
            message = echo_head(customer, number.display_phone_number, asked) | message
        else:
            message = head(customer, asked) | message | tail(number.display_phone_number, asked)
        item = change_of(number, customer, message, asked)
        entry = shown(simulator, customer, message, asked)
        return cls(
            customer.chat,
            message['id'],
            message['type'],
            encode(envelope({number.waba_id: [item]})),
            (number.webhook_url, number.app_secret),
            entry,
            asked.get('retry', True),
        )

    async def deliver(self, simulator: Simulator) -> int | None:
        """The first attempt's status; like Meta it is tried again behind the caller's back."""

        def told(status: int | None) -> None:
            self.entry['gateway_status'] = status or 0
            simulator.chats.tell(self.chat, 'message', self.entry)

        what = f'echo of {self.kind}' if self.entry['echo'] else f"customer's {self.kind}"
        status = await simulator.webhook.post(self.raw, *self.target, what)
        told(status)
        if status != 200 and self.insists:
            simulator.webhook.spawn(simulator.webhook.insist(self.raw, self.target, what, 1, told))
        return status


def content(simulator: Simulator, asked: object) -> dict:
    """`type` and its body, media filled in where the caller left the id out."""
    if not isinstance(asked, dict) or ('text' in asked) == ('message' in asked):
        raise Refused('give either text or message')
    if unknown := sorted(asked.keys() - OPTIONS):
        raise Refused(f'unknown: {", ".join(unknown)}')
    if 'text' in asked:
        return {'type': 'text', 'text': {'body': asked['text']}}
    message = asked['message']
    if not isinstance(message, dict) or not isinstance(message.get('type'), str):
        raise Refused('message needs a type')
    kind, media = message['type'], message.get(message['type'], {})
    if kind == 'unsupported':
        return {
            'unsupported': {'type': 'poll_creation'},
            'errors': [webhook_error(131051)],
        } | message
    if kind in MEDIA_TYPES and isinstance(media, dict) and 'id' not in media:
        return message | {kind: stored(simulator, kind, media)}
    return message


def stored(simulator: Simulator, kind: str, media: dict) -> dict:
    """Keeps `data_base64` (or a voice note, or a single pixel) as Meta would, so that the gateway
    can fetch it.
    """
    rest = {key: value for key, value in media.items() if key not in ('data_base64', 'mime_type')}
    data, mime_type = (VOICE, VOICE_TYPE) if kind == 'audio' else (PIXEL, 'image/png')
    try:
        data = b64decode(media['data_base64'], validate=True) if 'data_base64' in media else data
    except (binascii.Error, TypeError, ValueError) as error:
        raise Refused('data_base64 is not base64') from error
    kept = simulator.media.keep(data, media.get('mime_type', mime_type), media.get('filename'))
    flags = {'audio': {'voice': True}, 'sticker': {'animated': False}}.get(kind, {})
    return flags | rest | kept.inbound()


def head(customer: Customer, asked: dict) -> dict:
    """Who and when; `from` only when the phone is shared."""
    hidden = bool(asked.get('hide_phone'))
    who = {} if hidden else {'from': customer.wa_id}
    phone = UNKNOWN_PHONE if hidden else customer.wa_id
    return who | {
        'from_user_id': customer.user_id,
        'id': asked.get('wamid') or new_wamid(phone, INBOUND),
        'timestamp': str(asked.get('timestamp') or unix_seconds()),
    }


def echo_head(customer: Customer, display_phone_number: str, asked: dict) -> dict:
    """What the business wrote on a phone of its own (a coexistence number): from it, to the
    customer.
    """
    to = {} if asked.get('hide_phone') else {'to': customer.wa_id}
    sent = {
        'id': asked.get('wamid') or new_wamid(customer.wa_id),
        'timestamp': str(asked.get('timestamp') or unix_seconds()),
    }
    return {'from': display_phone_number} | to | {'to_user_id': customer.user_id} | sent


def change_of(number: Number, customer: Customer, message: dict, asked: dict) -> dict:
    """The message in its field of the webhook, with the customer's card where Meta has one."""
    cards = [contact(customer, phone=not asked.get('hide_phone'))]
    if asked.get('echo'):
        return change(number, cards, 'smb_message_echoes', message_echoes=[message])
    return change(
        number, None if message['type'] in WITHOUT_CONTACTS else cards, messages=[message]
    )


def tail(display_phone_number: str, asked: dict) -> dict:
    more = {}
    if asked.get('context_id'):
        more['context'] = {'from': display_phone_number, 'id': asked['context_id']}
    if asked.get('group_id'):
        more['group_id'] = asked['group_id']
    return more


def shown(simulator: Simulator, customer: Customer, message: dict, asked: dict) -> dict:
    """The phone page's entry; a message written again (same wamid) is not shown twice."""
    known = simulator.chats.by_wamid.get(message['id'])
    if known and known[0] == customer.chat:
        return known[1]
    context_id = asked.get('context_id')
    visible = {'type': message['type'], message['type']: message.get(message['type'])}
    visible['context'] = {'message_id': context_id} if context_id else None
    direction = 'outbound' if asked.get('echo') else 'inbound'
    return simulator.chats.add(
        customer.chat, direction, message['id'], visible, echo=bool(asked.get('echo'))
    )
