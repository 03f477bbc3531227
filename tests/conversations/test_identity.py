"""A person keeps one conversation when numbers change hands, BSUIDs are new or news comes late."""

import json
import time
from contextlib import closing
from itertools import count
from types import SimpleNamespace

import pytest

from service.conversations import identity
from service.conversations.identity_claim import IdentityClaim
from service.conversations.locked_people import PeopleLocked
from service.conversations.merge import LOCK_ACCOUNT
from service.graph.outcome import Outcome
from service.runtime.db import connection
from service.runtime.timestamps import from_epoch
from service.sending import holds
from service.webhooks import identity_claims
from tests.people import CHATBOT, contact, envelope, sql, status_of, text_message

AT = 1790000000
ANA, ANA_NEW, BEN, PARENT = 'US.1001', 'US.1999', 'US.2002', 'US.ENT.77'
OLD, NEW, OTHER = '12025550143', '12025550199', '12025550177'


@pytest.fixture(autouse=True)
def account(backend):
    return backend.account(waba_id='880011223344556')


@pytest.fixture
def hear(meta, workers):
    """hear({'messages': […]}, …): Meta's envelopes, one POST each, and a worker hears them."""

    def post(*parts):
        for part in parts:
            assert meta.webhook(envelope(**part)).status_code == 200
        workers.incoming()

    return post


numbers = count(1)


def wrote(at=AT, phone=None, user=None, **more):
    return {
        'messages': [
            text_message(wamid=f'wamid.{next(numbers)}', at=at, phone=phone, user=user, **more)
        ]
    }


def news(at=AT + 100, kind='user_changed_number', phone=OLD, **system):
    return {
        'messages': [
            {
                **({'from': phone} if phone else {}),
                'id': f'wamid.{next(numbers)}',
                'timestamp': str(at),
                'type': 'system',
                'system': {'type': kind, 'body': 'Something changed', **system},
            }
        ]
    }


def told(message, status='sent', at=AT, contacts=(), **ids):
    one = {**status_of(f'wamid.out.{next(numbers)}', status, at, opaque=message['id']), **ids}
    if 'recipient_id' not in ids:
        del one['recipient_id']
    return {'statuses': [one], 'contacts': contacts}


def people(backend):
    return sorted((one['wa_id'] or '', one['user_id'] or '') for one in backend.conversations())


def of(backend, **query):
    """The only contact that a query finds."""
    (one,) = backend.get('/contacts', query_string={'chatbot_id': CHATBOT, **query}).json['data']
    return backend.get(f'/contacts/{one["id"]}').json


def history(one):
    return [
        (event['detail']['what'], event['detail']['from'], event['detail']['to'])
        for event in one['history']
    ]


NEWS = {
    'with both BSUIDs': news(wa_id=NEW, user_id=ANA_NEW, previous_user_id=ANA),
    'with the new BSUID alone': news(wa_id=NEW, user_id=ANA_NEW),
    'without phones': news(
        kind='user_changed_user_id', phone=None, user_id=ANA_NEW, previous_user_id=ANA
    ),
    'as older pages have it': news(wa_id=NEW),
    'as old versions have it': news(kind='customer_changed_number', new_wa_id=NEW),
}


def test_news_of_another_bsuid_are_not_of_whoever_had_the_old_phone_before(backend, hear):
    """Ben had the phone, then Ana, of whom nothing came until she changed numbers, too."""
    hear(wrote(phone=OLD, user=BEN), news(wa_id=NEW, user_id=ANA_NEW, previous_user_id=ANA))
    hear(wrote(AT + 200, user=ANA_NEW), wrote(AT + 201, user=BEN))
    ben, ana = of(backend, user_id=BEN), of(backend, user_id=ANA_NEW)
    assert ben['id'] != ana['id']
    assert (ben['wa_id'], ana['wa_id']) == (None, NEW)
    assert len(backend.messages(conversation_id=ben['id'])) == 2
    assert of(backend, user_id=ANA)['id'] == ana['id']


@pytest.mark.parametrize('name', NEWS)
def test_a_changed_number_takes_the_conversation_along_and_leaves_the_old_phone_to_whoever_has_it(
    backend, hear, name
):
    hear(wrote(phone=OLD, user=ANA), NEWS[name])
    one = of(backend, user_id=ANA)
    new_phone, new_user = None if 'phones' in name else NEW, ANA if 'as ' in name else ANA_NEW
    assert (one['wa_id'], one['user_id']) == (new_phone, new_user)
    assert ('phone', OLD, new_phone) in history(one)
    assert [
        (phone['value'], phone['current']) for phone in one['phones'] if phone['value'] == OLD
    ] == [(OLD, False)]
    assert one['user_ids'][0]['value'] == new_user
    stranger = backend.send(to=f'+{OLD}', force=True)['conversation_id']
    hear(wrote(AT + 200, phone=OLD), wrote(AT + 201, user=ANA), wrote(AT + 202, user=new_user))
    in_hers = backend.messages(conversation_id=one['id'])
    assert len(in_hers) == 4
    assert {message['conversation_id'] for message in backend.messages()} == {one['id'], stranger}
    hear(NEWS[name], wrote(AT + 1, phone=OLD, user=ANA))  # once more, and what comes late
    assert of(backend, phone=OLD)['id'] == stranger


def test_the_news_opens_no_window_and_asks_for_no_reply(backend, hear, setting):
    setting('AI_BASE_URL', 'http://127.0.0.1:9/v1')
    setting('REPLY_QUIET_SECONDS', 3600)
    hear(news(wa_id=NEW, user_id=ANA_NEW, previous_user_id=ANA))
    (conversation,) = backend.conversations()
    assert (conversation['last_inbound_at'], conversation['window_expires_at']) == (None, None)
    assert conversation['reply_due_at'] is None
    assert conversation['last_message_at']


@pytest.mark.parametrize('earlier', [ANA, None])
def test_who_wrote_under_the_new_ids_before_the_news_came_is_one_person_afterwards(
    backend, hear, earlier
):
    hear(wrote(phone=OLD, user=earlier), wrote(AT + 101, phone=NEW, user=ANA_NEW))
    assert len(backend.conversations()) == 2
    system = {'wa_id': NEW} | ({'user_id': ANA_NEW, 'previous_user_id': ANA} if earlier else {})
    hear(news(**system))
    assert people(backend) == [(NEW, ANA_NEW)]
    (conversation,) = backend.conversations()
    assert {message['conversation_id'] for message in backend.messages()} == {conversation['id']}
    assert 'conversation' in [what for what, _, _ in history(of(backend, phone=NEW))]


def test_a_phone_alone_never_makes_one_of_two_people_with_bsuids(backend, hear):
    hear(wrote(phone=OLD, user=ANA), wrote(AT + 101, phone=NEW, user=BEN), news(wa_id=NEW))
    assert people(backend) == [('', ANA), (NEW, BEN)]


def test_a_number_that_somebody_had_before_is_not_theirs_when_it_is_somebodys_new_one(
    backend, hear
):
    hear(wrote(phone=NEW), wrote(phone=OLD), news(wa_id=NEW))
    assert len(backend.conversations()) == 2
    assert len(backend.messages(conversation_id=of(backend, phone=NEW)['id'])) == 2


@pytest.mark.parametrize(
    'late', [wrote(AT + 5, phone=OLD, user=ANA), wrote(AT + 50, phone=OLD, user=ANA)]
)
def test_what_is_older_takes_no_phone_back(backend, meta, hear, workers, late):
    hear(wrote(phone=OLD, user=ANA), wrote(AT + 50, phone=OLD, user=BEN), late)
    assert people(backend) == [('', ANA), (OLD, BEN)]
    for event in backend.events():
        backend.post(f'/webhook-events/{event["id"]}/replay')
        workers.incoming()
    assert people(backend) == [('', ANA), (OLD, BEN)]
    hear(wrote(AT + 9, phone=OLD))  # from before Ben had it
    assert len(backend.messages(conversation_id=of(backend, user_id=ANA)['id'])) == 3


def test_what_a_number_got_between_two_owners_is_not_the_first_ones_after_a_replay(
    backend, hear, workers
):
    hear(news(AT, phone=OLD, wa_id=NEW, user_id=ANA_NEW, previous_user_id=ANA))
    sent = backend.send(to=f'+{OLD}', force=True)
    hear(news(AT + 6, phone=OTHER, wa_id=OLD, user_id=BEN, previous_user_id='US.2000'))
    before = backend.message(sent['id'])['conversation_id']
    for event in backend.events()[::-1]:
        backend.post(f'/webhook-events/{event["id"]}/replay')
        workers.incoming()
    assert backend.message(sent['id'])['conversation_id'] == before == sent['conversation_id']
    assert len(backend.conversations()) == 3
    assert of(backend, user_id=ANA)['id'] != before


def test_a_number_may_come_back_to_who_had_it(backend, hear):
    hear(
        wrote(phone=OLD, user=ANA),
        wrote(AT + 5, phone=OLD, user=BEN),
        wrote(AT + 9, phone=OLD, user=ANA),
    )
    assert people(backend) == [('', BEN), (OLD, ANA)]
    assert [(one['value'], one['current']) for one in of(backend, user_id=ANA)['phones']] == [
        (OLD, True)
    ]
    assert [(one['value'], one['current']) for one in of(backend, user_id=BEN)['phones']] == [
        (OLD, False)
    ]


@pytest.mark.parametrize('at', ['abc', -5, 4_000_000_000])
def test_without_a_time_no_phone_changes_hands(backend, hear, at):
    hear(wrote(phone=OLD, user=ANA), wrote(at, phone=OLD, user=BEN))
    assert people(backend) == [('', BEN), (OLD, ANA)]


# ---- what is learnt on the way


def test_a_status_tells_who_the_number_is_and_a_hidden_phone_finds_the_conversation(backend, hear):
    message = backend.send(to=f'+{OLD}', force=True)
    cards = [contact('Ana', OLD, ANA, 'ana.1')]
    ids = {'recipient_id': OLD, 'recipient_user_id': ANA, 'parent_recipient_user_id': PARENT}
    hear(
        told(message, 'sent', **ids),
        told(message, 'delivered', AT + 1, cards, **ids),
        wrote(AT + 2, user=ANA),
    )
    (one,) = backend.conversations()
    assert (one['wa_id'], one['user_id'], one['parent_user_id']) == (OLD, ANA, PARENT)
    assert (one['name'], one['username']) == ('Ana', 'ana.1')
    assert ('user_id', None, ANA) in history(of(backend, user_id=PARENT))


def test_a_status_of_an_older_name_does_not_bring_it_back(backend, hear):
    message = backend.send(to=f'+{OLD}', force=True)
    late = told(
        message,
        'delivered',
        AT - 5,
        [contact('Before', OLD, ANA)],
        recipient_id=OLD,
        recipient_user_id=ANA,
    )
    hear({**wrote(phone=OLD, user=ANA), 'contacts': [contact('Ana', OLD, ANA)]}, late)
    assert of(backend, phone=OLD)['name'] == 'Ana'


def test_a_status_finds_the_person_by_our_message_when_the_answer_was_lost(backend, hear):
    message = backend.send(to='+12025550100')  # Meta knows it as another number
    hear(
        told(message, recipient_id=OLD, recipient_user_id=ANA),
        wrote(AT + 2, user=ANA),
        wrote(AT + 3, phone=OLD),
    )
    assert len(backend.conversations()) == 1


def test_a_status_tells_that_a_number_has_a_new_owner(backend, hear):
    hear(wrote(phone=OLD, user=ANA))
    message = backend.send(to=f'+{OLD}', force=True)
    hear(told(message, 'read', AT + 9, recipient_id=OLD, recipient_user_id=BEN))
    assert people(backend) == [(OLD, ANA)]  # it may have been sent to whoever had it before
    hear(told(message, 'delivered', AT + 9, recipient_id=OLD, recipient_user_id=BEN))
    assert people(backend) == [('', ANA), (OLD, BEN)]


def test_statuses_make_nobody_known_whom_we_do_not_know(backend, hear):
    hear(
        told({'id': 'x'}, recipient_id=OLD, recipient_user_id=ANA),
        told({'id': 'x'}, recipient_id=OLD),
    )
    assert backend.conversations() == []


def test_a_parent_bsuid_leads_to_the_person_too(backend, hear):
    ours = backend.post(
        '/send', {'chatbot_id': CHATBOT, 'recipient': PARENT, 'text': {'body': 'Hi'}}
    ).json
    hear(wrote(user=ANA, from_parent_user_id=PARENT))
    assert (
        of(backend, user_id=PARENT)['id']
        == of(backend, user_id=ANA)['id']
        == ours['conversation_id']
    )


@pytest.mark.parametrize('wrote_first', [False, True])
def test_the_answer_tells_what_meta_makes_of_a_number(backend, hear, wrote_first):
    typed = '+12025550100'
    if wrote_first:
        hear(wrote(phone=OLD, user=ANA))
    ours = backend.send(to=typed)
    answer(ours, wa_id=OLD)
    hear(wrote(AT + 9, phone=OLD, user=ANA))
    again = backend.send(to=typed, force=True)
    assert len(backend.conversations()) == 1
    assert (
        again['conversation_id'] == of(backend, phone=OLD)['id'] == of(backend, phone=typed)['id']
    )
    assert of(backend, phone=typed)['wa_id'] == OLD


def test_the_answer_tells_the_bsuid_behind_a_parent(backend, hear):
    answer(
        backend.post(
            '/send', {'chatbot_id': CHATBOT, 'recipient': PARENT, 'text': {'body': 'Hi'}}
        ).json,
        user_id=ANA,
    )
    hear(wrote(user=ANA))
    assert len(backend.conversations()) == 1


def answer(message, **ids):
    """What workers/send.py learns from Meta's answer."""
    row = SimpleNamespace(
        chatbot_id=CHATBOT,
        recipient_to=message['to'],
        recipient=message['recipient'],
        extra=None,
    )
    with connection():
        identity.link(
            [identity_claims.of_answer(row, Outcome('accepted', **ids), from_epoch(AT))],
            holds.resolve_conflict,
        )


def test_what_answers_tell_of_others_does_not_wait_for_one_accounts_lock(backend, hear, postgres):
    backend.account('bravo', '300112233445577')
    sent = {name: backend.send(to=f'+{OLD}', chatbot_id=name) for name in (CHATBOT, 'bravo')}
    claims = [
        IdentityClaim(name, phone=OLD, user=ANA, at=from_epoch(AT), updates_only=True)
        for name in sent
    ]
    with closing(postgres.connect()) as other, other.cursor() as cursor, connection():
        cursor.execute(LOCK_ACCOUNT, (CHATBOT,))
        with pytest.raises(PeopleLocked):
            identity.link(claims, holds.resolve_conflict)
    assert sql("SELECT conversation_id FROM conversation_identity WHERE kind = 'user'") == [
        (sent['bravo']['conversation_id'],)
    ]


def test_a_reply_goes_to_the_phone_while_it_is_theirs_and_else_to_the_latest_bsuid(
    backend, hear, stand_in
):
    now = int(time.time())
    hear(wrote(now, phone=OLD, user=ANA), wrote(now, user=ANA))
    changed = news(now, 'user_changed_user_id', None, user_id=ANA_NEW, previous_user_id=ANA)
    hear(changed, wrote(now, user=ANA_NEW))
    replies = [(one['to'], one['recipient']) for one in backend.messages(direction='outbound')]
    assert replies == [(None, ANA_NEW), (f'+{OLD}', None)]


def test_a_withdrawn_field_links_too(meta, backend, workers, hear):
    hear(wrote(phone=OLD, user=ANA))
    update = {'user_id': {'previous': ANA, 'current': ANA_NEW}, 'timestamp': AT + 9, 'detail': 'x'}
    odd = [None, {}, {'user_id': 5, 'timestamp': []}]
    change = {'field': 'user_id_update', 'value': {'user_id_update': [*odd, update]}}
    body = {
        'object': 'whatsapp_business_account',
        'entry': [{'id': '880011223344556', 'changes': [change]}],
    }
    assert meta.webhook(body).status_code == 200
    workers.incoming()
    assert backend.outcomes()[0] == ('change', 'stored')
    assert people(backend) == [('', ANA_NEW)]
    assert of(backend, user_id=ANA)['history'][0]['detail']['why'] == 'user_id_update'


# ---- what hangs on a conversation


def test_merging_keeps_everything(backend, hear):
    by_phone = backend.send(to=f'+{OLD}', force=True)['conversation_id']
    hear(wrote(user=ANA))
    sql(
        "UPDATE conversation SET opted_out_at = '2026-01-02Z', opted_out_by = 'keyword' WHERE "
        'user_id IS NULL'
    )
    sql(
        "UPDATE conversation SET opted_out_at = '2026-02-02Z', opted_out_by = 'meta' WHERE "
        'user_id IS NOT NULL'
    )
    sql(
        'INSERT INTO contact_event (id, conversation_id, kind) VALUES (gen_random_uuid(), %s, %s)',
        by_phone,
        'x',
    )
    hear(wrote(AT + 1, phone=OLD, user=ANA))
    (row,) = sql('SELECT id, opted_out_at, opted_out_by FROM conversation')
    assert (str(row[1].date()), row[2]) == ('2026-01-02', 'keyword')
    one = backend.get(f'/contacts/{by_phone}').json
    assert one['id'] == row[0] != by_phone
    assert sorted(event['kind'] for event in one['history']) == ['identity', 'x']
    assert json.dumps(one['history']).count(by_phone) == 1
