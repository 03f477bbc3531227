"""A service that answers 202 and later sends with `in_reply_to`: until it is overtaken, too late,
or a person has the conversation.
"""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from service.conversations.reply_outcome import LOOP_TURNS
from service.runtime.db import connection
from tests.own_service import Platform
from tests.people import CHATBOT, CUSTOMER, contact, envelope, sql, text_message
from tests.stack import wait_until
from workers import incoming, replies


@pytest.fixture
def platform(backend):
    with Platform() as platform:
        backend.account(responder={'kind': 'http', 'url': f'{platform.url}/reply'})
        platform.answer(202)
        yield platform


@pytest.fixture
def hear(meta, workers):
    """hear('text', …): the customer writes, and who answers is asked."""
    written = []

    def post(*texts, **more):
        for text in texts:
            written.append(text)
            message = text_message(text, wamid=f'wamid.{len(written)}', **more)
            assert meta.webhook(envelope([message], contacts=[contact()])).status_code == 200
        workers.incoming()

    return post


def answer(backend, in_reply_to, text='Later', **more):
    body = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'text': {'body': text}}
    return backend.post('/send', body | {'in_reply_to': in_reply_to} | more)


def said(backend):
    return [one['content']['body'] for one in backend.messages(direction='outbound')][::-1]


def asked(platform):
    return platform.asks[-1]['body']['in_reply_to']


def wanted():
    """(is a reply wanted, is somebody asked) of the only conversation."""
    ((due, claim),) = sql('SELECT reply_due_at, reply_claim FROM conversation')
    return due is not None, claim is not None


def test_202_is_no_failure_and_the_answer_comes_by_send(backend, platform, hear, workers, stand_in):
    hear('One', 'Two')
    (ask,) = platform.asks
    asked_of = ask['body']['messages'][-1]
    assert ask['body']['in_reply_to'] == ask['headers']['webhook-id'] == asked_of['id']
    assert asked_of['text'] == 'Two'
    (conversation,) = backend.conversations()
    assert (conversation['reply_due_at'], conversation['reply_error']) == (None, None)
    assert said(backend) == []
    sent = answer(backend, asked(platform))
    assert sent.status_code == 202, sent.text
    assert sent.json['in_reply_to'] == backend.message(sent.json['id'])['in_reply_to']
    assert sent.json['in_reply_to'] == asked(platform)
    assert sql("SELECT priority FROM message WHERE direction = 'outbound'") == [(0,)]
    workers.send()
    (call,) = stand_in.sends()
    assert call['body']['text']['body'] == 'Later'
    assert 'in_reply_to' not in call['body']
    workers.incoming()
    assert len(platform.asks) == 1


def test_several_messages_may_answer_one(backend, platform, hear):
    hear('One')
    for text in ('First', 'Second'):
        assert answer(backend, asked(platform).upper(), text).status_code == 202
    assert said(backend) == ['First', 'Second']


def test_once_the_customer_has_written_again_it_is_409_and_the_newer_message_is_asked_about(
    backend, platform, hear
):
    hear('One')
    first = asked(platform)
    hear('Two')
    refused = answer(backend, first)
    assert (refused.status_code, refused.json['code']) == (409, 'reply_overtaken')
    assert refused.json['overtaken_by'] == asked(platform) != first
    assert said(backend) == []
    assert answer(backend, asked(platform)).status_code == 202


def test_what_wants_no_reply_overtakes_nothing(backend, meta, platform, hear, workers):
    hear('One')
    reaction = {'message_id': 'wamid.1', 'emoji': '👍'}
    message = {**text_message(wamid='wamid.R'), 'type': 'reaction', 'reaction': reaction}
    del message['text']
    meta.webhook(envelope([message]))
    workers.incoming()
    assert answer(backend, asked(platform)).status_code == 202


def test_a_newer_message_that_waits_for_its_turn_overtakes_too_and_stays_wanted(
    backend, platform, hear, setting
):
    hear('One')
    setting('REPLY_QUIET_SECONDS', 60)
    first = asked(platform)
    hear('Two')
    assert answer(backend, first).status_code == 409
    assert answer(backend, first, force=True).status_code == 202
    assert wanted() == (True, False)


def test_while_a_person_has_the_conversation_it_is_409(backend, platform, hear, workers, stand_in):
    hear('One')
    sql("UPDATE conversation SET paused_until = now() + interval '1 hour'")
    refused = answer(backend, asked(platform))
    assert (refused.status_code, refused.json['code']) == (409, 'conversation_paused')
    assert refused.json['paused_until'].endswith('Z')
    assert said(backend) == []
    assert answer(backend, asked(platform), force=True).status_code == 202
    workers.send()
    assert len(stand_in.sends()) == 1
    sql("UPDATE conversation SET paused_until = now() - interval '1 second'")
    assert answer(backend, asked(platform)).status_code == 202


def test_an_answer_that_waits_is_cancelled_when_a_person_takes_over(
    backend, platform, hear, workers, stand_in
):
    hear('One')
    queued = answer(backend, asked(platform)).json
    (conversation,) = backend.conversations()
    assert backend.post(f'/conversations/{conversation["id"]}/pause', {}).status_code == 200
    assert backend.message(queued['id'])['status'] == 'cancelled'
    workers.send()
    assert stand_in.sends() == []


def test_one_that_is_forced_goes_also_when_a_person_takes_over_afterwards(
    backend, platform, hear, workers, stand_in
):
    hear('One')
    queued = answer(backend, asked(platform), force=True).json
    (conversation,) = backend.conversations()
    assert backend.post(f'/conversations/{conversation["id"]}/pause', {}).status_code == 200
    workers.send()
    assert backend.message(queued['id'])['status'] == 'accepted'
    assert len(stand_in.sends()) == 1


def test_later_than_the_accounts_time_it_is_409(backend, platform, hear):
    backend.account(reply_ttl_seconds=60)
    hear('One')
    sql(
        "UPDATE message SET created_at = created_at - interval '61 seconds', "
        "timestamp = timestamp - interval '61 seconds'"
    )
    sql("UPDATE conversation SET reply_wanted_at = reply_wanted_at - interval '61 seconds'")
    refused = answer(backend, asked(platform))
    assert (refused.status_code, refused.json['code']) == (409, 'reply_too_late')
    assert answer(backend, asked(platform), force=True).status_code == 202


def test_it_expires_with_the_accounts_time_unless_it_is_forced(backend, platform, hear):
    backend.account(reply_ttl_seconds=60)
    hear('One')
    sooner = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answered = [
        answer(backend, asked(platform), **more).json['expires_at']
        for more in ({}, {'expires_at': later}, {'expires_at': sooner}, {'force': True})
    ]
    until, as_well, sooner_still, forced = answered
    assert (until, forced) == (as_well, None)
    assert datetime.fromisoformat(sooner_still) == datetime.fromisoformat(sooner)
    assert sooner_still < until < later


def test_it_answers_a_message_of_this_customer_or_is_422(backend, meta, platform, hear, workers):
    hear('One')
    ours = backend.send()
    meta.webhook(envelope([text_message('Hi', wamid='wamid.B', phone='12025550144')]))
    workers.incoming()
    theirs = [one for one in backend.messages(direction='inbound') if one['wamid'] == 'wamid.B']
    backend.account('other', '300112233445567')
    others = {'chatbot_id': 'other'}
    for given, more in (
        (str(uuid.uuid4()), {}),
        (ours['id'], {}),
        (theirs[0]['id'], {}),
        (asked(platform), others),
        ('wamid.1', {}),
        ('', {}),
        (17, {}),
    ):
        refused = answer(backend, given, **more)
        assert refused.status_code == 422, given
        assert list(refused.json['errors']) == ['in_reply_to']
    assert [one['id'] for one in backend.messages(direction='outbound')] == [ours['id']]
    assert sql("SELECT count(*) FROM conversation WHERE chatbot_id = 'other'") == [(0,)]


def test_an_answer_is_not_for_later_and_not_for_many(backend, platform, hear):
    hear('One')
    refused = answer(backend, asked(platform), send_at='2999-01-01T00:00:00Z')
    assert 'send_at' in refused.json['errors']
    message = {'text': {'body': 'x'}, 'in_reply_to': asked(platform)}
    bulk = {'chatbot_id': CHATBOT, 'message': message, 'recipients': [f'+{CUSTOMER}']}
    assert list(backend.post('/send/bulk', bulk).json['errors']) == ['message.in_reply_to']


def test_an_answer_that_comes_before_its_202_ends_the_ask(backend, platform, hear, meta, workers):
    """A fast service sends while its answer is on its way; what it then answers is dropped."""
    platform.says('Twice?')
    platform.thinks()
    meta.webhook(envelope([text_message('One')]))
    with connection():
        while incoming.step():
            pass
    wait_until(lambda: platform.asks)
    assert answer(backend, asked(platform)).status_code == 202
    assert wanted() == (False, False)
    platform.open.set()
    assert replies.close(10)
    assert said(backend) == ['Later']
    assert sql('SELECT turns FROM conversation') == [(1,)]


def test_two_machines_that_answer_each_other_by_send_are_paused(
    backend, platform, hear, workers, stand_in, setting
):
    """Also when the service sends before its 202 has come, so that the ask itself is no turn."""
    setting('REPLY_QUIET_SECONDS', 3600)
    answers = []
    for n in range(LOOP_TURNS + 1):
        hear(f'No. {n}')
        question = backend.messages(direction='inbound')[0]['id']
        answers.append(answer(backend, question).status_code)
    assert answers == [202] * LOOP_TURNS + [409]
    (conversation,) = backend.conversations()
    assert conversation['paused_by'] == 'loop_guard'
    workers.send()
    assert len(stand_in.sends()) >= 1
    assert {one['status'] for one in backend.messages(direction='outbound')} == {'accepted'}


def test_what_somebody_asks_to_be_answered_later_is_not_too_late(backend, platform, hear, workers):
    backend.account(reply_ttl_seconds=60)
    hear('One')
    (conversation,) = backend.conversations()
    backend.post(f'/conversations/{conversation["id"]}/pause', {'minutes': 5})
    sql(
        "UPDATE message SET created_at = created_at - interval '61 seconds', "
        "timestamp = timestamp - interval '61 seconds'"
    )
    backend.post(f'/conversations/{conversation["id"]}/resume', {'answer': True})
    workers.incoming()
    assert len(platform.asks) == 2
    assert answer(backend, asked(platform)).status_code == 202


def test_an_answer_ends_the_next_try(backend, platform, hear, workers):
    platform.answer(503)
    hear('One')
    assert wanted() == (True, False)
    assert answer(backend, asked(platform)).status_code == 202
    (conversation,) = backend.conversations()
    assert (conversation['reply_due_at'], conversation['reply_error']) == (None, None)


def test_the_same_key_gives_the_first_answer_even_when_it_is_overtaken_by_now(
    backend, platform, hear
):
    hear('One')
    first = asked(platform)
    body = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'text': {'body': 'Later'}}
    key = {'Idempotency-Key': 'k'}
    kept = backend.post('/send', body | {'in_reply_to': first}, headers=key)
    hear('Two')
    again = backend.post('/send', body | {'in_reply_to': first}, headers=key)
    assert (again.status_code, again.json) == (202, kept.json)
    assert said(backend) == ['Later']
