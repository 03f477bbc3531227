"""Statuses alone wait for the next full fifth of a second; nothing else waits."""

import json

import pytest

from service.runtime.db import connection
from service.webhooks import inbox, process
from tests.people import envelope, sql, status_of, text_message
from tests.stack import wait_until
from workers import incoming, loop

STATUSES = envelope(statuses=[status_of('wamid.A', 'sent')])
FIFTHS = """
SELECT extract(epoch FROM due_at)::float8 / 0.2, extract(epoch FROM due_at - received_at)::float8
FROM webhook_event
"""


@pytest.fixture(autouse=True)
def account(backend):
    return backend.account()


def is_due_with(body, meta):
    """Seconds from the receipt of a webhook until it is worked off, and due_at in fifths."""
    assert meta.webhook(body).status_code == 200
    ((fifths, seconds),) = sql(FIFTHS)
    return seconds, fifths


@pytest.mark.parametrize(
    'body',
    [
        STATUSES,
        json.dumps(STATUSES, separators=(',', ':')).encode(),
        json.dumps(STATUSES, indent=4).encode(),
        envelope(statuses=[status_of('wamid.A', 'failed', note='he said "messages": [1]')]),
    ],
)
def test_statuses_wait_for_the_next_fifth_of_a_second(body, meta):
    seconds, fifths = is_due_with(body, meta)
    assert 0 < seconds <= inbox.BUS_SECONDS
    assert fifths == pytest.approx(round(fifths), abs=1e-3)


def echoes():
    (entry,) = (body := envelope())['entry']
    entry['changes'] = [{'field': 'smb_message_echoes', 'value': {'message_echoes': []}}]
    return body


@pytest.mark.parametrize(
    'body',
    [
        envelope([text_message()]),
        envelope([text_message('"statuses": []')]),
        envelope([text_message()], statuses=[status_of('wamid.A', 'sent')]),
        json.dumps(envelope([text_message()], [status_of('wamid.A', 'sent')]), indent=1).encode(),
        echoes(),
        b'no JSON',
    ],
)
def test_whatever_may_be_a_message_is_due_at_once(body, meta):
    seconds, _ = is_due_with(body, meta)
    assert seconds == 0


def test_statuses_of_one_bus_are_worked_off_together_and_messages_before(meta):
    for name in ('sent', 'delivered', 'read'):
        meta.webhook(envelope(statuses=[status_of('wamid.A', name)]))
    # as if the three had come within one fifth of a second, however slow this machine is
    sql("UPDATE webhook_event SET due_at = now() + interval '1 second'")
    meta.webhook(envelope([text_message()]))
    with connection():
        assert process.process_due() == 1
        assert process.process_due() == 0
        assert sql('SELECT direction FROM message') == [('inbound',)]
        assert wait_until(process.process_due) == 3


def test_the_drain_that_is_woken_for_one_alone_works_it_off(meta, monkeypatch):
    monkeypatch.setattr(loop, 'BUDGET', 60)  # of a machine that is slow
    assert meta.webhook(STATUSES).status_code == 200
    incoming.drain()
    assert sql('SELECT status FROM webhook_event') == [('processed',)]


def test_a_drain_looks_for_longer_than_a_bus_takes():
    assert loop.LINGER >= 2 * inbox.BUS_SECONDS


def test_what_comes_again_after_a_failure_is_due_at_once(meta):
    meta.webhook(STATUSES)
    sql("UPDATE webhook_event SET status = 'failed', due_at = now() - interval '1 day'")
    meta.webhook(STATUSES)
    ((status, is_due),) = sql('SELECT status, due_at <= now() FROM webhook_event')
    assert (status, is_due) == ('received', True)
