"""Other people's clients of Meta's API send through the Graph door, with nothing changed but the
base URL and the token.
"""

import json

import pytest

from tests.certificate import self_signed
from tests.clients.tls_front import TLSFront
from tests.people import CHATBOT
from tests.stack import ROOT, wait_until

pytestmark = pytest.mark.clients

CUSTOMER = '12025550143'
PICTURE = ROOT / 'tests' / 'samples' / 'photo.jpg'
SENT = ('text', 'template', 'image', 'buttons')
# script: what its errors are called: of a refusal of Meta's, of one of ours
NAMES = {
    'drive_pywa.py': ('RecipientCannotBeSender', 'ReEngagementMessage'),
    'drive_pywa_async.py': ('RecipientCannotBeSender', 'ReEngagementMessage'),
    'drive_heyoo.py': ('OAuthException', 'OAuthException'),
    'drive_whatsapp.cjs': ('OAuthException', 'OAuthException'),
    'drive_whatsapp_api_js.mjs': ('OAuthException', 'OAuthException'),
    'drive_kapso.mjs': ('GraphApiError', 'GraphApiError'),
}


@pytest.fixture
def drive(door, environ, packages):
    """drive(script, …): what it says it was answered, and the inbound message that it read."""

    def drive(script, **more):
        wamid = door.customer_writes(CUSTOMER)
        told = packages.run(script, **environ | {'CUSTOMER': CUSTOMER, 'WAMID': wamid} | more)
        return json.loads(told.splitlines()[-1]), wamid

    return drive


@pytest.fixture
def tls(door, tmp_path):
    """Meta's SDK speaks to port 443 alone: its environment."""
    certificate = self_signed(tmp_path)
    try:
        with TLSFront(certificate, door.gateway.port):
            yield {
                'DOOR_HOST': 'localhost',
                'NODE_EXTRA_CA_CERTS': str(certificate),
                'PICTURE_LINK': 'https://shop.example/photo.jpg',
            }
    except OSError as reason:
        pytest.skip(f"NOT TRIED, Meta's own SDK: nobody may listen on port 443 here ({reason})")


def check(door, said, read, names):
    """What a client was told is what happened, at Meta and in the gateway."""
    arrived = {send['wamid']: send for send in door.gateway.stand_in.sends()}
    assert [arrived[said[name]]['body']['type'] for name in SENT] == [
        'text',
        'template',
        'image',
        'interactive',
    ]
    text = arrived[said['text']]
    assert text['body']['text']['body'] == 'Olá 🎉'
    assert text['token_tail'] == f'token-of-{CHATBOT}'[-len(text['token_tail']) :]
    assert said['read'] is True
    assert read in [one['message_id'] for one in door.gateway.stand_in.get('/reads')['data']]
    assert said['refused'] == {'name': names[0], 'code': 131021}
    assert said['closed'] == {'name': names[1], 'code': 131047}
    if 'media' in said:
        assert said['media'].isdigit()
        assert said['bytes'] == PICTURE.stat().st_size
        assert said['deleted'] is True
    wait_until(lambda: all(status(door, said[name]) == 'read' for name in SENT), 20)


def status(door, wamid):
    found = [one for one in door.gateway.backend.messages() if one['wamid'] == wamid]
    return found[0]['status'] if found else None


@pytest.mark.parametrize('script', [name for name in NAMES if name != 'drive_whatsapp.cjs'])
def test_a_client_sends_through_the_door(door, drive, script):
    said, read = drive(script)
    check(door, said, read, NAMES[script])


def test_metas_own_sdk_sends_through_the_door(door, drive, tls):
    said, read = drive('drive_whatsapp.cjs', **tls)
    check(door, said, read, NAMES['drive_whatsapp.cjs'])


@pytest.mark.parametrize('script', ['drive_pywa.py', 'drive_kapso.mjs'])
def test_a_client_that_can_have_a_path_may_use_graph(door, drive, script):
    said, read = drive(script, DOOR=f'{door.gateway.url}/graph')
    check(door, said, read, NAMES[script])


def test_the_clients_own_tracker_is_kept(door, drive):
    said, _ = drive('drive_pywa.py')
    (message,) = [one for one in door.gateway.backend.messages() if one['wamid'] == said['text']]
    assert message['biz_opaque_callback_data'] == 'order-17'


def test_contacts_as_a_json_text_arrive_as_a_list(door, drive):
    said, _ = drive('drive_whatsapp_api_js.mjs')
    (arrived,) = [s for s in door.gateway.stand_in.sends() if s['wamid'] == said['contacts']]
    assert arrived['body']['contacts'][0]['name']['formatted_name'] == 'Zoë'
