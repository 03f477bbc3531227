"""What the clients meet: a whole gateway with an account, and Meta's stand-in behind it."""

import time
import uuid
from dataclasses import dataclass

import pytest

from tests.clients.packages import NoRegistry, Packages
from tests.gateway import Gateway
from tests.people import CHATBOT, WABA, envelope, text_message
from tests.stack import PHONE_NUMBER_ID, ROOT, wait_until

REFUSED = '19991310210'  # of whom Meta says 131021
STRANGER = '12025550199'  # who wrote last before the day of the window


@pytest.fixture(scope='session')
def packages(tmp_path_factory):
    """Fetched from PyPI and npm, into a folder that goes with the tests."""
    try:
        return Packages(tmp_path_factory.mktemp('clients')).install()
    except NoRegistry as reason:
        pytest.skip(f'NO CLIENT WAS TRIED: {reason}')


@dataclass
class Door:
    """A gateway whose account `acme` is asked by clients with `key`."""

    gateway: Gateway
    key: str

    def customer_writes(self, number, text='Hello'):
        """A message that is stored; its wamid."""
        wamid = self.gateway.stand_in.customer_writes(text, wa_id=number)['wamid']
        self._wait_for(wamid)
        return wamid

    def customer_wrote_long_ago(self, number):
        wamid = f'wamid.{uuid.uuid4().hex}'
        message = text_message(wamid=wamid, phone=number, at=int(time.time()) - 2 * 86400)
        assert self.gateway.meta.webhook(envelope([message])).status_code == 200
        self._wait_for(wamid)

    def _wait_for(self, wamid):
        heard = self.gateway.backend.messages
        wait_until(lambda: any(one['wamid'] == wamid for one in heard(direction='inbound')), 20)


@pytest.fixture(scope='module')
def door(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp('gateway')) as gateway:
        gateway.backend.account(waba_id=WABA, responder={'kind': 'none'})
        wanted = {'name': 'clients', 'chatbot_ids': [CHATBOT], 'scopes': ['send']}
        made = gateway.backend.post('/keys', wanted)
        assert made.status_code == 201, made.text
        door = Door(gateway, made.json['key'])
        door.customer_wrote_long_ago(STRANGER)
        yield door


@pytest.fixture
def environ(door):
    """What a script is told, as whoever runs such a client would tell it."""
    return {
        'DOOR': door.gateway.url,
        'KEY': door.key,
        'PHONE_NUMBER_ID': PHONE_NUMBER_ID,
        'REFUSED': REFUSED,
        'CLOSED': STRANGER,
        'PICTURE': str(ROOT / 'tests' / 'samples' / 'photo.jpg'),
    }
