"""Webhooks that Meta delivers again: stored once, and worked off again where that may help."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from service.web.auth import sign
from tests.people import APP_SECRET, envelope, text_message

URL = '/whatsapp-cloud/webhook'
BODY = json.dumps(envelope([text_message()])).encode()


def test_a_duplicate_delivery_makes_no_second_row(meta, backend, workers):
    backend.account()
    for _ in range(2):
        assert meta.webhook(BODY).status_code == 200
        workers.incoming()
    assert backend.outcomes() == [('message', 'stored')]
    assert len(backend.messages()) == 1


def test_twenty_equal_deliveries_at_once_make_one_row(application, meta, backend, workers):
    backend.account()
    others = [json.dumps(envelope([text_message(wamid=f'wamid.{n}')])).encode() for n in range(5)]

    def deliver(body):
        headers = {'X-Hub-Signature-256': sign(body, APP_SECRET)}
        return application.test_client().post(URL, data=body, headers=headers).status_code

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(deliver, [BODY, others[0], BODY, *others] * 5)) == {200}
    workers.incoming()
    assert backend.outcomes() == [('message', 'stored')] * 6


def test_a_duplicate_of_what_a_worker_has_in_hand_is_answered_at_once(meta, backend, postgres):
    meta.webhook(BODY)
    with closing(postgres.connect()) as worker, worker.cursor() as cursor:
        cursor.execute('SELECT 1 FROM webhook_event FOR UPDATE')
        began = time.monotonic()
        assert meta.webhook(BODY).status_code == 200
        assert time.monotonic() - began < 8
    assert len(backend.events()) == 1


def test_a_redelivery_after_a_refusal_is_worked_off_again(meta, backend, workers):
    meta.webhook(BODY)
    workers.incoming()
    assert backend.outcomes() == [('message', 'refused')]
    backend.account()
    meta.webhook(BODY)
    workers.incoming()
    assert backend.outcomes() == [('message', 'stored')]


def test_a_refused_event_can_be_replayed(meta, backend, workers):
    meta.webhook(BODY)
    workers.incoming()
    backend.account()
    (event,) = backend.events()
    assert backend.post(f'/webhook-events/{event["id"]}/replay').status_code in (200, 202)
    workers.incoming()
    assert backend.outcomes() == [('message', 'stored')]
    assert [message['content'] for message in backend.messages()] == [{'body': 'Hello'}]
