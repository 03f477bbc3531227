"""A whole run of the gateway with two customers, and everything that it has kept, as text.

Zoe Quill is the one whose data goes; Omar Vance writes in the same webhooks, and his stays.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis

from service.runtime.config import settings
from tests.conftest import TABLES
from tests.content.test_media_types import sample
from tests.files import at_meta
from tests.listeners import new_endpoint
from tests.media.test_uploads import upload
from tests.own_service import Platform
from tests.people import CHATBOT, WABA, contact, envelope, sql, status_of, text_message


@dataclass
class Customer:
    """A customer.

    `word`: stands in everything that is said by, to and about this one; `key`: in Meta's ids of
    their messages, too long to turn up in an encrypted secret by chance.
    """

    name: str
    username: str
    phone: str
    user: str
    word: str
    key: str
    file: bytes

    def said(self, text, wamid, **more):
        return text_message(f'{text} {self.word}', wamid, self.phone, self.user, **more)

    def contact(self):
        return contact(self.name, self.phone, self.user, self.username)

    def marks(self):
        """What is found where something of this customer is kept."""
        said = [self.word, self.key, self.file.decode()]
        return [self.phone, self.user, self.name, self.username, *said]


ZOE = Customer(
    'Zoe Quill', 'zoe.quill', '12025550171', 'US.ZoeQuill1', 'zebraword', 'zoe-zq17', b'zoe-file-1'
)
OMAR = Customer(
    'Omar Vance', 'o.vance', '12025550182', 'US.OmarVance', 'otterword', 'omar-ov18', b'omar-file-2'
)
BOTH = (ZOE, OMAR)


class Assistant(Platform):
    """The platform's own service: answers each customer in words of theirs."""

    def asked(self, headers, raw):
        super().asked(headers, raw)
        word = next(one.word for one in BOTH if one.word in raw.decode())
        answer = {'messages': [{'type': 'text', 'text': {'body': f'Well, {word}'}}]}
        return 200, json.dumps(answer).encode(), {}


def live(backend, meta, workers, stand_in, listener, assistant):
    """Months in a minute; {customer's word: id of the conversation}."""
    responder = {'kind': 'http', 'url': f'{assistant.url}/reply'}
    backend.account(waba_id=WABA, responder=responder, read_receipts='read')
    workers.errands()
    new_endpoint(backend, f'{listener.url}/events')
    backend.relay(CHATBOT, f'{listener.url}/relay')
    backend.relay(None, f'{listener.url}/relay-of-all')
    _customers_write(meta, workers, stand_in)
    for one in BOTH:
        _business_writes(backend, one)
    recipients = [{'to': f'+{one.phone}', 'parameters': {'word': one.word}} for one in BOTH]
    _bulk(backend, recipients)
    workers.send()
    _meta_tells(backend, meta, workers)
    workers.errands()
    listener.answer(500, {'away': True})  # so that bodies are kept for the next try
    _tell(meta, workers, *[one.said('Last', f'wamid.last.{one.key}') for one in BOTH])
    workers.send()
    workers.events()
    return {one.word: _conversation(backend, one) for one in BOTH}


def _tell(meta, workers, *messages, **more):
    people = [one.contact() for one in BOTH]
    assert meta.webhook(envelope(messages, contacts=people, **more)).status_code == 200
    workers.incoming()
    workers.events()


def _customers_write(meta, workers, stand_in):
    for kind in (_text, _file, _reaction, _card, _edit, _order):
        _tell(meta, workers, *[kind(one, stand_in) for one in BOTH])
        workers.send()
    _tell(meta, workers, ZOE.said('Alone', f'wamid.alone.{ZOE.key}'))
    for one in BOTH:  # and on the business's own phone somebody writes to them
        echo = text_message(f'By hand {one.word}', f'wamid.echo.{one.key}', None)
        body = envelope(contacts=[one.contact()])
        change = body['entry'][0]['changes'][0]
        change['field'] = 'smb_message_echoes'
        change['value']['message_echoes'] = [echo | {'from': '15550104477', 'to': one.phone}]
        assert meta.webhook(body).status_code == 200
    workers.incoming()
    told = {'detail': 'x', 'category': 'marketing_messages', 'value': 'stop'}
    for one in BOTH:
        stop = told | {'wa_id': one.phone, 'timestamp': int(time.time())}
        body = envelope()
        change = body['entry'][0]['changes'][0]
        change['field'] = 'user_preferences'
        change['value']['user_preferences'] = [stop]
        assert meta.webhook(body).status_code == 200
    workers.incoming()
    sql('UPDATE conversation SET paused_until = NULL')


def _text(one, stand_in):
    return one.said('Hello', f'wamid.text.{one.key}')


def _with(one, kind, content):
    message = one.said('', f'wamid.{kind}.{one.key}')
    del message['text']
    return message | {'type': kind, kind: content}


def _file(one, stand_in):
    file = {'id': at_meta(stand_in, one.file), 'mime_type': 'image/jpeg', 'caption': one.word}
    return _with(one, 'image', file)


def _reaction(one, stand_in):
    return _with(one, 'reaction', {'message_id': f'wamid.text.{one.key}', 'emoji': '\U0001f389'})


def _card(one, stand_in):
    card = {
        'name': {'formatted_name': one.name},
        'phones': [{'phone': f'+{one.phone}', 'wa_id': one.phone}],
    }
    return _with(one, 'contacts', [card])


def _edit(one, stand_in):
    message = {'id': f'wamid.text.{one.key}', 'type': 'text', 'text': {'body': f'New {one.word}'}}
    wamid = f'wamid.text.{one.key}'
    return _with(one, 'edit', {'original_message_id': wamid, 'message': message})


def _order(one, stand_in):
    items = [{'product_retailer_id': one.word, 'quantity': 1, 'item_price': 5, 'currency': 'USD'}]
    return _with(one, 'order', {'catalog_id': '1', 'product_items': items, 'text': one.word})


def _business_writes(backend, one):
    to = f'+{one.phone}'
    order = {'chatbot_id': CHATBOT, 'to': to, 'biz_opaque_callback_data': f'ref {one.word}'}
    key = {'Idempotency-Key': f'key-of-{one.word}'}
    text = order | {'type': 'text', 'text': {'body': f'Hello {one.word}'}}
    assert backend.post('/send', text, headers=key).status_code == 202
    words = [{'type': 'text', 'text': value} for value in ('17', f'{one.name} {one.word}')]
    template = {
        'name': 'order_ready',
        'language': {'code': 'en_US'},
        'components': [{'type': 'body', 'parameters': words}],
    }
    assert (
        backend.post('/send', order | {'type': 'template', 'template': template}).status_code == 202
    )
    file = upload(backend, sample('paper.pdf'), f'{one.word}.pdf').json['id']
    document = {'id': file, 'caption': one.word, 'filename': f'{one.word}.pdf'}
    assert (
        backend.post('/send', order | {'type': 'document', 'document': document}).status_code == 202
    )


def _bulk(backend, recipients):
    message = {'type': 'text', 'text': {'body': 'To all: {{word}}'}}
    order = {'chatbot_id': CHATBOT, 'message': message, 'recipients': recipients}
    answer = backend.post('/send/bulk', order, headers={'Idempotency-Key': 'bulk-key'})
    assert answer.status_code == 202, answer.text


def _meta_tells(backend, meta, workers):
    """Delivered and read, in webhooks of many; and of a message that nobody knows."""
    sent = backend.messages(direction='outbound')
    for name in ('delivered', 'read'):
        statuses = [
            status_of(one['wamid'], name, opaque=one['id'], recipient_id=one['to'].lstrip('+'))
            for one in sent
            if one['wamid'] and one['origin'] == 'api'
        ]
        assert meta.webhook(envelope(statuses=statuses)).status_code == 200
    payment = [
        status_of(one['wamid'], 'captured', recipient_id=one['to'].lstrip('+'), type='payment',
                  payment={'reference_id': ZOE.word if ZOE.phone in one['to'] else OMAR.word})
        for one in sent if one['wamid'] and one['to']
    ]  # fmt: skip
    assert meta.webhook(envelope(statuses=payment)).status_code == 200
    strays = [status_of(f'wamid.stray.{one.key}', 'sent', recipient_id=one.phone) for one in BOTH]
    assert meta.webhook(envelope(statuses=strays)).status_code == 200
    workers.incoming()
    workers.events()


def _conversation(backend, one):
    (found,) = backend.get('/contacts', query_string={'phone': one.phone}).json['data']
    return found['id']


def kept():
    """Everything that is kept: {place: its text}, of tables, Redis and files."""
    found = {f'table {name}': _table(name) for name in TABLES.split(', ')}
    redis = Redis.from_url(settings.REDIS_URL)
    found |= {f'redis {key!r}': repr((key, _value(redis, key))) for key in redis.keys('*')}
    root = Path(urlsplit(settings.MEDIA_URL).path)
    files = [path for path in root.rglob('*') if path.is_file()]
    return found | {f'file {path}': path.read_bytes().decode('latin-1') for path in files}


def _table(name):
    rows = sql(f'SELECT * FROM {name}')
    return '\n'.join(' | '.join(map(_text_of, row)) for row in rows)


def _text_of(value):
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode('latin-1')
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _value(redis, key):
    kind = redis.type(key)
    read = {
        b'string': redis.get,
        b'hash': redis.hgetall,
        b'set': redis.smembers,
        b'list': lambda key: redis.lrange(key, 0, -1),
        b'zset': lambda key: redis.zrange(key, 0, -1, withscores=True),
    }
    return read[kind](key) if kind in read else ''


def places_of(marks):
    """{mark: where it is kept} of those that are found anywhere."""
    everything = kept()
    found = {}
    for mark in marks:
        where = [place for place, text in everything.items() if mark in text]
        if where:
            found[mark] = where
    return found
