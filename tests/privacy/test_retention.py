"""What is too old goes, and nothing else; the skeleton stays."""

import json

import pytest

from service.media.storage import storage
from service.privacy import old_messages
from service.privacy.retention_walk import Walk
from service.runtime import ids
from service.runtime.db import connection
from tests.people import CHATBOT, envelope, sql, status_of, text_message
from tests.privacy.life import BOTH, OMAR, ZOE, places_of
from workers import retention

OLD_DAYS = 10
SKELETON = (
    'id', 'chatbot_id', 'conversation_id', 'type', 'status', 'direction', 'wamid', 'created_at',
    'client_reference', 'batch_id', 'attempts',
)  # fmt: skip
# What the database has given its own time.
AGE = (
    "UPDATE message_status SET received_at = received_at - interval '10 days'",
    "UPDATE message_fact SET received_at = received_at - interval '10 days'",
    "UPDATE reply_request SET asked_at = asked_at - interval '10 days'",
    "UPDATE idempotency_key SET created_at = created_at - interval '10 days'",
    "UPDATE media_upload SET uploaded_at = uploaded_at - interval '10 days'",
    "UPDATE event_delivery SET event_id = overlay(event_id::text placing '0190' from 1)::uuid",
    "UPDATE event SET id = overlay(id::text placing '0190' from 1)::uuid",
)


def let_go():
    """Let go everything that is too old, as `flask retention run` does; what was done."""
    with connection():
        walk = Walk()
        while not walk.is_over:
            walk.step(rest=0)
        return dict(walk.done)


@pytest.fixture
def long_ago(monkeypatch):
    """Ids that are made from now on are ten days old, as if the clock had stood there."""
    real = ids.time.time_ns
    monkeypatch.setattr(ids, '_last_ticks', 0)
    monkeypatch.setattr(ids.time, 'time_ns', lambda: real() - OLD_DAYS * 86_400 * 10**9)


@pytest.fixture
def old(long_ago, lived, workers):
    """A whole run is over, for ten days."""
    for statement in AGE:
        sql(statement)
    with connection():
        workers.tidy()


def places(*marks):
    return {place for found in places_of(marks).values() for place in found}


def rules(backend, **days):
    backend.account(retention=days)


def test_text_days_empties_everything_that_says_something(old, backend):
    before = {one['id']: one for one in backend.messages()}
    rules(backend, text_days=7)
    assert let_go()['messages'] == len(before)
    after = {one['id']: one for one in backend.messages()}
    for id_, one in before.items():
        assert {n: after[id_][n] for n in SKELETON} == {n: one[n] for n in SKELETON}
        assert after[id_]['content'] == {}
    words = [one.word for one in BOTH]
    assert {one for one in places(*words) if not one.startswith('file')} == {'table media'}
    # whom the account knows stays: who they are is erased, not too old
    people = places(*(mark for one in BOTH for mark in (one.phone, one.user, one.name)))
    assert people == {'table conversation', 'table conversation_identity'}


def test_statuses_that_come_after_their_message_was_emptied_go_later(
    old, backend, meta, workers, monkeypatch
):
    rules(backend, text_days=7)
    let_go()
    assert 'table message_status' not in places(ZOE.phone)
    wamid = next(one['wamid'] for one in backend.messages() if one['direction'] == 'outbound')
    meta.webhook(envelope(statuses=[status_of(wamid, 'played', recipient_id=ZOE.phone)]))
    workers.incoming()
    let_go()
    assert 'table message_status' in places(ZOE.phone)
    monkeypatch.setattr(old_messages, 'LATE_DAYS', 2)
    let_go()
    assert 'table message_status' not in places(ZOE.phone)
    assert sql("SELECT count(*) FROM message_status WHERE status = 'played'") == [(1,)]


def test_nothing_goes_that_is_younger_or_of_an_account_without_a_rule(old, backend):
    before = places(*ZOE.marks(), *OMAR.marks())
    backend.account('other', '300112233445599', retention={'text_days': 1, 'media_days': 1})
    rules(backend, text_days=11, media_days=11, events_days=11)
    assert let_go().keys() <= {'webhooks'}
    rules(backend)
    let_go()
    assert places(*ZOE.marks(), *OMAR.marks()) == before


def test_events_days_takes_events_and_raw_bodies_and_leaves_the_messages(old, backend, meta):
    events = backend.events()
    rules(backend, events_days=7)
    let_go()
    assert backend.messages()[0]['content']
    assert sql('SELECT count(*) FROM event') == sql('SELECT count(*) FROM event_delivery')
    assert places(ZOE.word) >= {'table message', 'table message_search'}
    assert not places(ZOE.word) & {'table event_delivery', 'table event'}
    shown = backend.get(f'/webhook-events/{events[0]["id"]}').json
    assert (shown['raw_body_base64'], shown['size']) == ('', events[0]['size'])
    assert shown['redacted_at']
    assert shown['items'] == events[0]['items']
    gone = backend.post(f'/webhook-events/{events[0]["id"]}/replay')
    assert (gone.status_code, gone.json['code']) == (410, 'body_gone')


def test_a_redelivery_of_an_emptied_webhook_is_known(long_ago, backend, meta, workers):
    backend.account(responder={'kind': 'none'})
    body = envelope([text_message('Hello')])
    for _ in range(2):
        assert meta.webhook(body).status_code == 200
        workers.incoming()
        rules(backend, events_days=1)
        let_go()
    ((stored, status),) = sql('SELECT body, status FROM webhook_event')
    assert (bytes(stored), status) == (b'', 'processed')
    assert len(backend.messages()) == 1


def test_a_webhook_of_two_accounts_goes_by_the_shorter_rule(long_ago, backend, meta, workers):
    backend.account(responder={'kind': 'none'})
    backend.account('other', '300112233445599', responder={'kind': 'none'})
    mine, others = envelope([text_message('Mine')]), envelope(
        [text_message('Theirs', 'wamid.B')], number='300112233445599'
    )  # fmt: skip
    both = mine | {'entry': mine['entry'] + others['entry']}
    for body in (mine, others, both):
        assert meta.webhook(body).status_code == 200
        workers.incoming()
    rules(backend, events_days=100)
    backend.account('other', '300112233445599', retention={'text_days': 5})
    let_go()
    bodies = [bytes(body) for (body,) in sql('SELECT body FROM webhook_event ORDER BY id')]
    assert bodies == [json.dumps(mine).encode(), b'', b'']


def test_media_days_deletes_files_and_says_so(old, backend):
    ((media_id, message_id),) = sql(
        'SELECT id, message_id FROM media WHERE message_id IS NOT NULL LIMIT 1'
    )
    rules(backend, media_days=7)
    done = let_go()
    assert done['media'] == done['files'] == 4
    assert not [place for place in places(*ZOE.marks(), *OMAR.marks()) if 'file' in place]
    for path in (f'/media/{media_id}/content', f'/messages/{message_id}/media'):
        answer = backend.get(path)
        assert (answer.status_code, answer.json['code']) == (410, 'media_gone')
    assert backend.message(message_id)['media']['status'] == 'gone'
    again = backend.post(f'/messages/{message_id}/media/fetch')
    assert (again.status_code, again.json['code']) == (410, 'media_gone')


def test_files_in_a_bucket_go_too(long_ago, in_bucket, lived, backend):
    rules(backend, media_days=7)
    sql("UPDATE media_upload SET uploaded_at = uploaded_at - interval '10 days'")
    assert len(in_bucket.keys()) == 4
    let_go()
    assert in_bucket.keys() == []


def test_a_file_that_is_still_sent_is_kept(old, backend):
    sql('UPDATE media_upload SET uploaded_at = now()')
    rules(backend, media_days=7)
    assert let_go()['media'] == 2
    assert sql("SELECT count(*) FROM media WHERE status = 'stored'") == [(2,)]


def test_a_file_that_the_storage_does_not_delete_now_is_tried_again(old, backend, setting):
    directory = storage()
    setting('MEDIA_URL', 's3://nowhere?endpoint_url=http://127.0.0.1:9&region=x')
    rules(backend, media_days=7)
    let_go()
    assert sql('SELECT count(*) FROM file_deletion WHERE due_at > now()') == [(4,)]
    setting('MEDIA_URL', f'file://{directory.root}')
    sql('UPDATE file_deletion SET due_at = now()')
    assert let_go() == {'files': 4}


def test_the_text_of_what_waits_stays_until_it_waits_no_more(long_ago, backend, stand_in, workers):
    backend.account(responder={'kind': 'none'})
    sent = backend.send(text='Much later', validate=False)
    rules(backend, text_days=1)
    let_go()
    assert backend.message(sent['id'])['text'] == 'Much later'
    workers.send()
    assert [call['body']['text']['body'] for call in stand_in.sends()] == ['Much later']
    let_go()
    assert backend.message(sent['id'])['content'] == {}
    assert sql('SELECT * FROM retention_postponed') == []


def test_an_emptied_message_is_not_sent_again(long_ago, backend, stand_in):
    backend.account(responder={'kind': 'none'})
    sent = backend.send()
    sql("UPDATE message SET status = 'failed', due_at = NULL")
    rules(backend, text_days=1)
    let_go()
    refused = backend.post(f'/messages/{sent["id"]}/retry')
    assert (refused.status_code, refused.json['code']) == (409, 'not_retryable')


def test_the_clock_does_it_bit_by_bit(old, backend, workers):
    rules(backend, text_days=7)
    retention._walks.clear()
    retention._next_at = 0
    workers.sweep()
    while retention._walks:
        workers.sweep()
    assert 'table message' not in places(ZOE.word)


@pytest.mark.parametrize(
    'given', [{'text_days': 0}, {'text_days': 1.5}, {'text_day': 1}, {'media_days': '7'}, 7]
)
def test_a_rule_that_is_none_is_refused(backend, given):
    body = {'chatbot_id': CHATBOT, 'phone_number_id': '1', 'access_token': 'x', 'retention': given}
    refused = backend.post('/account', body)
    assert refused.status_code == 422
    assert [field for field in refused.json['errors'] if field.startswith('retention')]


def test_rules_are_shown_and_null_takes_them_back(backend):
    kept = dict.fromkeys(('events_days', 'text_days', 'media_days'))
    assert backend.account()['retention'] == kept
    assert backend.account(retention={'text_days': 30})['retention'] == kept | {'text_days': 30}
    assert backend.account(name='Acme')['retention'] == kept | {'text_days': 30}
    assert backend.account(retention=None)['retention'] == kept
