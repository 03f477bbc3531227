"""What tests of webhooks share: accounts of every number of the payloads, and deliveries."""

import pytest

from tests.stack import PHONE_NUMBER_ID

NUMBERS = (PHONE_NUMBER_ID, '300112233445577', '300998877665544', '123456123')


@pytest.fixture
def accounts(backend):
    for number in NUMBERS:
        backend.account(f'bot-{number}', number)


@pytest.fixture
def deliver(meta, workers):
    def post_and_work_off(*bodies):
        for body in bodies:
            assert meta.webhook(body).status_code == 200
        workers.incoming()

    return post_and_work_off
