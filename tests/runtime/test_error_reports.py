"""Sentry gets what went wrong and where: no text, no number, no body, no secret."""

import json
import logging

import pytest
import sentry_sdk
from sentry_sdk.transport import Transport

from service.runtime import error_reports
from tests.people import CUSTOMER

log = logging.getLogger('service.webhooks.process')
SECRETS = (CUSTOMER, 'A secret of mine', 'EAA-a-token', 'test-key', 'acme')


class Kept(Transport):
    """Keeps what would go to Sentry."""

    def __init__(self):
        super().__init__()
        self.events = []

    def capture_envelope(self, envelope):
        self.events.append(envelope.get_event())


@pytest.fixture
def sentry(setting):
    """.events: what Sentry would have got."""
    setting('SENTRY_DSN', 'https://key@127.0.0.1:9/1')
    kept = Kept()
    error_reports.start('test', kept)
    yield kept
    error_reports.stop()
    sentry_sdk.get_global_scope().set_client(None)


def fail(number):
    body = {'text': 'A secret of mine', 'token': 'EAA-a-token'}
    raise ValueError(f'{number} wrote {body}')


def test_an_error_is_told_without_what_was_in_it(sentry):
    try:
        fail(f'+{CUSTOMER}')
    except ValueError as error:
        told = {'chatbot_id': 'acme', 'to': CUSTOMER}
        message = f'of {CUSTOMER} an event failed'
        log.error(message, exc_info=error, extra=told)
    (event,) = sentry.events
    (exception,) = event['exception']['values']
    assert exception['type'] == 'ValueError'
    assert [one['function'] for one in exception['stacktrace']['frames']][-1] == 'fail'
    assert event['tags']['process'] == 'test'
    assert event['logentry']['message'] == 'of … an event failed'
    text = json.dumps(event, default=str)
    assert [secret for secret in SECRETS if secret in text] == []


def test_an_error_in_a_request_is_told_without_the_request(sentry, backend, monkeypatch):
    backend.account()
    monkeypatch.setattr('service.sending.submit.queue', lambda prepared: fail(CUSTOMER))
    order = {'chatbot_id': 'acme', 'to': f'+{CUSTOMER}', 'text': {'body': 'A secret of mine'}}
    assert backend.post('/send', order).status_code == 500
    (event,) = sentry.events
    assert event['exception']['values'][0]['type'] == 'ValueError'
    assert 'request' not in event
    text = json.dumps(event, default=str)
    assert [secret for secret in SECRETS if secret in text] == []


def test_what_is_no_error_is_not_told(sentry):
    log.warning('an event was not delivered')
    log.info('reply')
    assert sentry.events == []


def test_without_an_address_nothing_is_started(database):
    error_reports.start('test')
    assert not sentry_sdk.get_client().is_active()
    error_reports.stop()
