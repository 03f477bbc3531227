"""Three tenants of one gateway, each with something of every kind, and keys that see some of it."""

import time
from types import SimpleNamespace

from urllib3 import encode_multipart_formdata

from tests.conftest import TABLES
from tests.content.test_media_types import sample
from tests.people import Backend, Customers, contact, envelope, sql, text_message

# chatbot_id: (phone_number_id, waba_id, the customer's phone)
TENANTS = {
    'acme': ('300112233445501', '880011223344501', '12025550101'),
    'other': ('300112233445502', '880011223344502', '12025550102'),
    'third': ('300112233445503', '880011223344503', '12025550103'),
}
ENDPOINT = """
INSERT INTO endpoint (id, kind, url, chatbot_id, secret)
VALUES (gen_random_uuid(), 'events', %s, %s, 'none')
"""
TEMPLATE = """
INSERT INTO template (waba_id, name, language, status, category)
VALUES (%s, %s, 'en_US', 'APPROVED', 'utility')
"""


def fill(backend, meta, workers):
    """Something of every kind for each tenant; {chatbot_id: what it is}."""
    for chatbot_id, (number, waba, _) in TENANTS.items():
        more = {'waba_id': waba, 'responder': {'kind': 'none'}, 'name': f'{chatbot_id}Secret'}
        backend.account(chatbot_id, number, **more)
        sql(ENDPOINT, f'https://{chatbot_id}.example/hook', chatbot_id)
        sql(TEMPLATE, waba, f'{chatbot_id}_sale')
    customers = Customers(meta, workers)
    return {
        chatbot_id: SimpleNamespace(**_rows(backend, customers, chatbot_id))
        for chatbot_id in TENANTS
    }


def _rows(backend, customers, chatbot_id):
    number, waba, phone = TENANTS[chatbot_id]
    wamid = f'wamid.of.{chatbot_id}'
    picture = {'image': {'id': f'77{number}', 'mime_type': 'image/jpeg'}, 'type': 'image'}
    said = text_message(f'{chatbot_id}Secret shared words', wamid, phone)
    shown = {**text_message('', f'{wamid}.2', phone), **picture}
    del shown['text']
    people = [contact(f'{chatbot_id}Secret', phone, username=f'{chatbot_id}.user')]
    customers.tell(envelope([said, shown], contacts=people, number=number))
    customers.tell(_news(waba))
    sent = backend.post(
        '/send',
        _order(chatbot_id) | {'client_reference': f'{chatbot_id}-ref'},
        headers={'Idempotency-Key': f'{chatbot_id}-key'},
    ).json
    bulk = {
        'chatbot_id': chatbot_id,
        'message': {'text': {'body': f'{chatbot_id}Secret shared to all'}},
        'recipients': [f'+{phone}'],
    }
    inbound, picture = _inbound(chatbot_id)
    return {
        'chatbot_id': chatbot_id,
        'number': number,
        'node': number,
        'message_id': inbound,
        'sent_id': sent['id'],
        'picture_id': picture,
        'conversation_id': sent['conversation_id'],
        'contact_id': sent['conversation_id'],
        'batch_id': backend.post('/send/bulk', bulk).json['id'],
        'media_id': _upload(backend, chatbot_id),
        'endpoint_id': _one('SELECT id FROM endpoint WHERE chatbot_id = %s', chatbot_id),
        'event_id': _one(
            'SELECT id FROM event WHERE chatbot_id = %s ORDER BY id LIMIT 1', chatbot_id
        ),
        'health_id': _one('SELECT id FROM account_event WHERE waba_id = %s', waba),
        'phone': phone,
        'wamid': wamid,
        'waba_id': waba,
    }


def _order(chatbot_id):
    text = {'body': f'{chatbot_id}Secret shared answer'}
    return {'chatbot_id': chatbot_id, 'to': f'+{TENANTS[chatbot_id][2]}', 'text': text}


def _news(waba):
    change = {'field': 'account_update', 'value': {'event': 'VERIFIED_ACCOUNT'}}
    entry = {'id': waba, 'time': int(time.time()), 'changes': [change]}
    return {'object': 'whatsapp_business_account', 'entry': [entry]}


def _inbound(chatbot_id):
    rows = sql(
        "SELECT id FROM message WHERE chatbot_id = %s AND direction = 'inbound' ORDER BY wamid",
        chatbot_id,
    )
    return [id_ for (id_,) in rows]


def _upload(backend, chatbot_id):
    file = (f'{chatbot_id}Secret.jpg', sample('photo.jpg'))
    body, content_type = encode_multipart_formdata({'chatbot_id': chatbot_id, 'file': file})
    return backend.request('POST', '/media', data=body, content_type=content_type).json['id']


def _one(statement, *parameters):
    ((value,),) = sql(statement, *parameters)
    return value


def key_of(backend, *chatbots, scopes=('send', 'read', 'manage')):
    """A new key for some chatbots."""
    order = {'name': 'Tenant', 'chatbot_ids': list(chatbots), 'scopes': list(scopes)}
    return backend.post('/keys', order).json['key']


def backend_of(backend, *chatbots, **more):
    """A backend with a new key for some chatbots."""
    return Backend(backend.transport, key_of(backend, *chatbots, **more))


def dump():
    """All that is stored, but keys, whose use is noted."""
    tables = [name for name in TABLES.split(', ') if name not in ('api_key', 'process')]
    return {name: sorted(sql(f'SELECT t::text FROM {name} t')) for name in tables}
