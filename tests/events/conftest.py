"""An endpoint that is told of everything, and customers who write."""

import pytest

from tests.listeners import Listener, new_endpoint
from tests.people import CUSTOMER, envelope, text_message


@pytest.fixture
def listener(backend, stand_in, setting):
    """Its server."""
    setting('ALLOW_PRIVATE_URLS', 'yes')
    backend.account(responder={'kind': 'none'})
    with Listener() as listener:
        yield listener


@pytest.fixture
def told(backend, listener):
    """The id of the endpoint."""
    return new_endpoint(backend, f'{listener.url}/events')


@pytest.fixture
def writes(meta, workers):
    """writes('Hello', …, phone=…): a customer's texts, stored."""

    def writes(*texts, phone=CUSTOMER):
        messages = [text_message(text, f'wamid.{phone}.{text}', phone) for text in texts]
        assert meta.webhook(envelope(messages)).status_code == 200
        workers.incoming()

    return writes
