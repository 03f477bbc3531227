"""Pure: Meta's webhook bodies, its ids and its signature, copied from shared/payloads."""

import hashlib
import hmac
import json
import random
import time
from base64 import b64encode

INBOUND, OUTBOUND = (
    (b'\x12', 20),
    (b'\x11', 18),
)  # direction byte and length of the random part, as in the samples
UNKNOWN_PHONE = '13000000000'  # what a wamid holds when the phone is not shared


def new_wamid(phone: str, direction: tuple[bytes, int] = OUTBOUND) -> str:
    """An id like Meta's: base64 of the user's phone, the direction and something random."""
    mark, length = direction
    number = phone.encode()
    random_part = f'{random.getrandbits(4 * length):0{length}X}'.encode()
    record = [
        b'\x1c\x18',
        bytes([len(number)]),
        number,
        b'\x15\x02\x00',
        mark,
        b'\x18',
        bytes([length]),
        random_part,
    ]
    return 'wamid.' + b64encode(b''.join(record) + b'\x00').decode()


def user_id_of(wa_id: str) -> str:
    """A stable BSUID; a magic number keeps its digits,
    so it stays magic when the phone is hidden.
    """
    if wa_id.startswith('199'):
        return f'US.{wa_id}'
    digest = int.from_bytes(hashlib.sha256(wa_id.encode()).digest()[:8])
    return f'US.2{digest % 10**15:015d}'


def encode(body: object) -> bytes:
    """JSON the way Meta writes it: compact, non-ASCII as lowercase \\uXXXX, also `/`, `<`, `%` and
    `@` escaped.
    """
    text = json.dumps(body, separators=(',', ':'))
    # None of the four occurs in JSON outside of a string, so replacing them in the whole text is
    # safe.
    return (
        text.replace('/', '\\/')
        .replace('<', '\\u003C')
        .replace('%', '\\u0025')
        .replace('@', '\\u0040')
        .encode()
    )


def signature(raw: bytes, app_secret: str) -> str:
    return 'sha256=' + hmac.digest(app_secret.encode(), raw, 'sha256').hex()


def change(number, contacts: list | None, field: str = 'messages', **items: list) -> dict:
    """One change of a field that has metadata; `number` is the business number it came to."""
    value = {
        'messaging_product': 'whatsapp',
        'metadata': {
            'display_phone_number': number.display_phone_number,
            'phone_number_id': number.phone_number_id,
        },
    }
    if contacts:
        value['contacts'] = contacts
    return {'value': value | items, 'field': field}


def envelope(changes_by_waba: dict[str, list]) -> dict:
    entries = [{'id': waba_id, 'changes': changes} for waba_id, changes in changes_by_waba.items()]
    return {'object': 'whatsapp_business_account', 'entry': entries}


def contact(customer, *, username: bool = True, phone: bool = True) -> dict:
    """A card of `contacts`: without wa_id when the phone is not shared."""
    profile = {'name': customer.name}
    if username and customer.username:
        profile['username'] = customer.username
    card = {'profile': profile}
    if phone:
        card['wa_id'] = customer.wa_id
    return card | {'user_id': customer.user_id}


def unix_seconds(moment: float | None = None) -> str:
    return str(int(time.time() if moment is None else moment))
