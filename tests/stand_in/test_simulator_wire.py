"""What the phone page shows of a call: its head and body, whole or what they were, and nothing
secret.
"""

import contextlib

import pytest
import requests

from tests.people import CUSTOMER
from tests.stack import PHONE_NUMBER_ID

SECRET = 'EAAB-very-secret'
AUTH = {'Authorization': f'Bearer {SECRET}', 'Cookie': f'session={SECRET}', 'X-Api-Key': SECRET}


def call(stand_in, method, path, **more):
    return requests.request(method, f'{stand_in.url}{path}', headers=AUTH, timeout=10, **more)


def send(stand_in, to=CUSTOMER, **more):
    body = {
        'messaging_product': 'whatsapp',
        'to': f'+{to}',
        'type': 'text',
        'text': {'body': 'Olá'},
        **more,
    }
    return call(stand_in, 'POST', f'/v26.0/{PHONE_NUMBER_ID}/messages', json=body)


def opened(stand_in):
    """The newest line of the wire, and what it opens to."""
    *_, line = requests.get(f'{stand_in.url}/phone/messages', timeout=10).json()['wire']
    found = requests.get(f'{stand_in.url}/phone/wire/{line["id"]}', timeout=10)
    assert SECRET not in found.text
    return line, found.json()['request'], found.json()['answer']


def test_a_send_opens_to_what_was_asked_and_answered(stand_in):
    wamid = send(stand_in).json()['messages'][0]['id']
    line, request, answer = opened(stand_in)
    assert line['what'] == f'send to {CUSTOMER}'
    head, _, body = request.partition('\n\n')
    assert head.startswith(f'POST /v26.0/{PHONE_NUMBER_ID}/messages\n')
    assert 'Authorization: (hidden)' in head
    assert 'Content-Type: application/json' in head
    assert '"body": "Olá"' in body
    assert answer.startswith('200 OK\n')
    assert wamid in answer


def test_a_webhook_opens_to_its_signature_and_its_body(stand_in):
    stand_in.config(webhook_url=f'{stand_in.url}/no-such-path', app_secret=SECRET)
    body = {
        'entry': [],
        'access_token': SECRET,
        'settings': {'client_secret': SECRET, 'pin': SECRET},
    }
    requests.post(f'{stand_in.url}/control/webhook', json={'body': body}, timeout=10)
    _, request, answer = opened(stand_in)
    assert request.startswith(f'POST {stand_in.url}/no-such-path\n')
    assert 'X-Hub-Signature-256: sha256=' in request
    assert '"entry": []' in request
    assert answer.startswith('404 ')


@pytest.mark.parametrize('name', ['access_token', 'appsecret_proof', 'hub.verify_token', 'hash'])
def test_a_secret_in_an_address_is_hidden(stand_in, name):
    call(stand_in, 'GET', f'/v26.0/{PHONE_NUMBER_ID}', params={'fields': 'id', name: SECRET})
    assert f'?fields=id&{name}=(hidden)\n' in opened(stand_in)[1]


def test_a_file_is_told_by_its_size(stand_in):
    file = {'file': ('a.png', b'pixels' * 1000, 'image/png')}
    call(
        stand_in,
        'POST',
        f'/v26.0/{PHONE_NUMBER_ID}/media',
        data={'messaging_product': 'whatsapp'},
        files=file,
    )
    _, request, answer = opened(stand_in)
    assert 'bytes of multipart/form-data' in request
    assert 'pixels' not in request
    assert '"id":' in answer


def test_a_long_body_is_cut(stand_in):
    send(stand_in, text={'body': 'x' * 30_000})
    _, request, _ = opened(stand_in)
    assert request.endswith('characters more)')
    assert len(request) < 21_000


def test_a_lost_answer_is_none(stand_in):
    with contextlib.suppress(requests.ConnectionError):
        send(stand_in, to='19980000003')
    line, request, answer = opened(stand_in)
    assert line['status'] == 'reset'
    assert 'Olá' in request
    assert answer is None


def test_only_the_last_hundred_are_kept(stand_in):
    for _ in range(101):
        send(stand_in)
    wire = requests.get(f'{stand_in.url}/phone/messages', timeout=10).json()['wire']
    assert len(wire) == 100
    status = {
        requests.get(f'{stand_in.url}/phone/wire/{n}', timeout=10).status_code
        for n in (1, wire[-1]['id'])
    }
    assert status == {404, 200}
