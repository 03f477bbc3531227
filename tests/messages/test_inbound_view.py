"""What comes in as callers see it: one shape for every type, and replies, reactions, edits and
revokes folded in.
"""

import json
from itertools import permutations

import pytest

from service.content.plain_text import read
from service.runtime.db import db
from tests.own_service import Platform
from tests.people import CHATBOT, CUSTOMER, MANIFEST, PAYLOADS, envelope, sql, text_message

INBOUND = [entry['file'] for entry in MANIFEST['files'] if entry['file'].startswith('in_')]
START = 1790000000


@pytest.fixture
def hear(backend, meta, workers):
    """hear(message, …): they come in, each in a webhook of its own; the account is there."""
    backend.account(responder={'kind': 'none'})

    def post(*messages):
        for message in messages:
            assert meta.webhook(envelope([message])).status_code == 200
        workers.incoming()

    return post


def of_type(kind, content=None, wamid='wamid.A', **more):
    """An inbound message of any type."""
    message = text_message(wamid=wamid, **more)
    del message['text']
    return message | {'type': kind} | ({} if content is None else {kind: content})


def reaction(emoji, wamid, at=START, about='wamid.A', **more):
    return of_type(
        'reaction',
        {'message_id': about} | ({} if emoji is None else {'emoji': emoji}),
        wamid,
        at=at,
        **more,
    )


def edit(body, wamid, at=START, about='wamid.A', **more):
    message = {'context': {'id': 'M0'}, 'type': 'text', 'text': {'body': body}}
    return of_type('edit', {'original_message_id': about, 'message': message}, wamid, at=at, **more)


def revoke(wamid, at=START, about='wamid.A', **more):
    return of_type('revoke', {'original_message_id': about}, wamid, at=at, **more)


def by_wamid(backend, wamid='wamid.A'):
    (found,) = [message for message in backend.messages() if message['wamid'] == wamid]
    assert backend.message(found['id']) == found
    return found


# ---- every type


@pytest.mark.parametrize('name', INBOUND)
def test_every_file_of_a_customer_is_readable_in_one_shape(backend, meta, hear, workers, name):
    meta.webhook(meta.payload(name))
    workers.incoming()
    (told,) = json.loads((PAYLOADS / name).read_text())['entry'][0]['changes'][0]['value'][
        'messages'
    ]
    message = by_wamid(backend, told['id'])
    kind = told['type']
    assert (message['type'], message['content'], message['context']) == (
        kind,
        told[kind],
        told.get('context'),
    )
    assert message['text'] == read(kind, told[kind])
    assert (message['origin'], message['direction'], message['status']) == (
        None,
        'inbound',
        'received',
    )
    assert message.keys() >= {
        'reply_to',
        'referral',
        'referred_product',
        'reactions',
        'edited_at',
        'revoked_at',
    }
    assert (message['reactions'], message['revisions'], message['error']) == ([], [], None)


@pytest.mark.parametrize('code', [131051, 131060, '131052', None])
@pytest.mark.parametrize('kind', ['unsupported', 'unknown', 'image', 'hologram'])
def test_what_meta_could_not_hand_on_is_kept_with_its_reason_in_words(backend, hear, kind, code):
    errors = [
        {'code': code, 'title': 'Nope', 'message': 'No', 'error_data': {'details': 'why'}},
        'junk',
    ]
    hear(of_type(kind, {'type': 'poll_creation'}) | {'errors': errors})
    message = by_wamid(backend)
    assert message['error'] == {
        'code': code and int(code),
        'title': 'Nope',
        'details': 'why',
        'fbtrace_id': None,
    }
    assert message['explanation']
    assert message['fix']
    assert message['extra']['errors'] == errors
    assert message['text'] == (
        '[unsupported: poll_creation]' if kind == 'unsupported' else message['text']
    )


@pytest.mark.parametrize('errors', [' ', [], [None], {}, [[]], 5])
def test_errors_that_say_nothing_are_none(backend, hear, errors):
    hear(of_type('unsupported') | {'errors': errors})
    message = by_wamid(backend)
    assert (message['error'], message['text'], message['content']) == (None, '[unsupported]', {})


def test_an_ad_and_a_product_that_a_customer_came_from_stand_at_the_top(backend, hear):
    referral = {'source_type': 'ad', 'source_id': '1', 'headline': 'Kayaks', 'ctwa_clid': 'x'}
    product = {'catalog_id': '4', 'product_retailer_id': 'kayak-07'}
    context = {'from': '15550104477', 'id': 'wamid.X', 'referred_product': product}
    hear(
        text_message(referral=referral, context=context),
        text_message(wamid='wamid.B', context={'forwarded': True}),
    )
    message, forwarded = by_wamid(backend), by_wamid(backend, 'wamid.B')
    assert (message['referral'], message['referred_product'], message['context']) == (
        referral,
        product,
        context,
    )
    assert (forwarded['referral'], forwarded['referred_product']) == (None, None)
    assert forwarded['context'] == {'forwarded': True}


# ---- replies


def test_a_reply_leads_to_its_message_on_both_sides(backend, hear, workers, stand_in):
    hear(text_message(wamid='wamid.A'))
    inbound = by_wamid(backend)
    ours = backend.send(context={'message_id': 'wamid.A'})
    assert ours['reply_to'] == inbound['id']
    workers.send()
    ours = backend.message(ours['id'])
    hear(text_message(wamid='wamid.B', context={'from': '15550104477', 'id': ours['wamid']}))
    assert by_wamid(backend, 'wamid.B')['reply_to'] == ours['id']
    assert (ours['reply_to'], inbound['reply_to']) == (inbound['id'], None)
    assert ours['context'] == {'message_id': 'wamid.A'}


def test_a_reply_that_comes_before_its_message_or_without_it_is_resolved_as_soon_as_it_can_be(
    backend, hear
):
    hear(text_message(wamid='wamid.B', context={'from': CUSTOMER, 'id': 'wamid.A'}))
    assert by_wamid(backend, 'wamid.B')['reply_to'] is None
    hear(text_message(wamid='wamid.A'))
    assert by_wamid(backend, 'wamid.B')['reply_to'] == by_wamid(backend)['id']


def test_a_number_that_changed_hands_leads_nobody_to_anothers_messages(backend, hear):
    hear(text_message(wamid='wamid.A'))
    backend.account(phone_number_id='77')
    backend.account('other')
    hear(
        text_message(wamid='wamid.B', context={'id': 'wamid.A'}),
        reaction('👍', 'wamid.C'),
        edit('mine', 'wamid.D'),
    )
    (message,) = backend.messages(chatbot_id=CHATBOT)
    assert (message['reactions'], message['text'], message['revisions']) == ([], 'Hello', [])
    assert [one['reply_to'] for one in backend.messages(chatbot_id='other')] == [None] * 3


# ---- reactions


@pytest.mark.parametrize(
    ('reactions', 'left'),
    [
        ([('👍', 1)], ['👍']),
        ([('👍', 1), ('❤️', 2)], ['❤️']),
        ([('👍', 1), (None, 2)], []),
        ([('👍', 1), ('', 2)], []),
        ([('👍', 1), (None, 2), ('🎉', 3)], ['🎉']),
        ([({'a': 1}, 1)], []),
    ],
)
def test_the_latest_reaction_of_a_customer_counts_in_whatever_order_they_come(
    backend, hear, reactions, left
):
    coming = [reaction(emoji, f'wamid.{after}', START + after) for emoji, after in reactions]
    for n, order in enumerate(permutations([text_message(at=START), *coming])):
        hear(*(json.loads(json.dumps(one).replace('wamid.', f'wamid.{n}.')) for one in order))
        message = by_wamid(backend, f'wamid.{n}.A')
        assert [one['emoji'] for one in message['reactions']] == left
    assert len(backend.messages()) == min(200, (n + 1) * (len(reactions) + 1))


def test_a_reaction_says_whose_it_is_and_ours_counts_once_it_is_accepted(
    backend, hear, workers, stand_in
):
    hear(text_message(), reaction('👍', 'wamid.R', START + 5, user='US.1'))
    emoji = {'message_id': 'wamid.A', 'emoji': '🎉'}
    sent = backend.post(
        '/send',
        {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'type': 'reaction', 'reaction': emoji},
    )
    ours = sent.json
    (theirs,) = by_wamid(backend)['reactions']
    assert theirs == {
        'emoji': '👍',
        'from': CUSTOMER,
        'from_user_id': 'US.1',
        'direction': 'inbound',
        'message_id': by_wamid(backend, 'wamid.R')['id'],
        'timestamp': '2026-09-21T14:13:25.000000Z',
    }
    workers.send()
    assert [one['message_id'] for one in by_wamid(backend)['reactions']] == [
        theirs['message_id'],
        ours['id'],
    ]
    hear(reaction('❤️', 'wamid.S', about=backend.message(ours['id'])['wamid']))
    assert [one['emoji'] for one in backend.message(ours['id'])['reactions']] == ['❤️']


def test_in_a_group_everybody_has_a_reaction_of_his_own(backend, hear):
    hear(
        text_message(group_id='g'),
        reaction('👍', 'wamid.1', START, phone='1', user='US.1', group_id='g'),
        reaction('🎉', 'wamid.2', START + 1, phone='2', user=None, group_id='g'),
        reaction('❤️', 'wamid.3', START + 2, phone=None, user='US.1', group_id='g'),
    )
    assert [(one['emoji'], one['from']) for one in by_wamid(backend)['reactions']] == [
        ('🎉', '2'),
        ('❤️', None),
    ]


ODD_REACTIONS = [
    5,
    [],
    {'message_id': ['wamid.A']},
    {'message_id': 'w' * 600},
    {'message_id': 'wamid.A', 'emoji': 5},
]


@pytest.mark.parametrize('odd', ODD_REACTIONS)
@pytest.mark.parametrize(
    'sender', [{}, {'group_id': 'g', 'from_user_id': {'a': [1]}, 'from_parent_user_id': 5}]
)
def test_an_odd_reaction_is_kept_and_counts_for_nothing(backend, hear, odd, sender):
    hear(text_message(**sender), of_type('reaction', odd, 'wamid.R') | sender)
    assert by_wamid(backend)['reactions'] == []
    assert by_wamid(backend, 'wamid.R')['content'] == odd


# ---- edits and revokes


def test_an_edit_is_applied_with_what_it_was_before_in_whatever_order_they_come(backend, hear):
    messages = [
        text_message('Monday'),
        edit('Tuesday', 'wamid.1', START + 1),
        edit('Friday', 'wamid.2', START + 2),
    ]
    for n, order in enumerate(permutations(messages)):
        hear(*(json.loads(json.dumps(one).replace('wamid.', f'wamid.{n}.')) for one in order))
        message = by_wamid(backend, f'wamid.{n}.A')
        assert (message['content'], message['text'], message['type']) == (
            {'body': 'Friday'},
            'Friday',
            'text',
        )
        assert message['edited_at'] == '2026-09-21T14:13:22.000000Z'
        assert [one['content']['body'] for one in message['revisions']] == [
            'Monday',
            'Tuesday',
            'Friday',
        ]
        assert message['revisions'][0]['timestamp'] == message['timestamp']
        assert by_wamid(backend, f'wamid.{n}.1')['text'] == '[edit] Tuesday'


@pytest.mark.parametrize('order', list(permutations(range(3))))
def test_a_deleted_message_shows_nothing_but_that_and_keeps_what_it_was(backend, hear, order):
    messages = [
        text_message('Monday'),
        edit('Tuesday', 'wamid.1', START + 1),
        revoke('wamid.2', START + 2),
    ]
    hear(*(messages[n] for n in order))
    message = by_wamid(backend)
    assert (message['content'], message['text'], message['type']) == ({}, '[deleted]', 'text')
    assert message['revoked_at'] == '2026-09-21T14:13:22.000000Z'
    assert [one['content']['body'] for one in message['revisions']] == ['Monday', 'Tuesday']
    assert len(backend.messages()) == 3


OTHERS = {'phone': '12025550999', 'user': None}
ODD_EDITS = {
    'no message': {},
    'a message that is text': {'message': 'x'},
    'no content': {'message': {'type': 'text'}},
    'a type that is a list': {'message': {'type': ['text'], 'text': 'x'}},
}


@pytest.mark.parametrize('odd', ODD_EDITS.values(), ids=ODD_EDITS)
def test_an_edit_that_says_nothing_changes_nothing(backend, hear, odd):
    hear(
        text_message('Monday'), of_type('edit', {'original_message_id': 'wamid.A'} | odd, 'wamid.1')
    )
    message = by_wamid(backend)
    assert (message['text'], message['edited_at'], message['revisions']) == ('Monday', None, [])


def test_nobody_edits_deletes_or_reacts_to_what_another_wrote(backend, hear, workers, stand_in):
    ours = backend.send(text='Monday')
    workers.send()
    wamid = backend.message(ours['id'])['wamid']
    hear(edit('Tuesday', 'wamid.1', about=wamid), revoke('wamid.2', about=wamid))  # the other side
    hear(
        text_message('Monday'), edit('x', 'wamid.3', **OTHERS), revoke('wamid.4', **OTHERS)
    )  # somebody else
    hear(reaction('👍', 'wamid.5', **OTHERS))
    hear(
        text_message('Monday', 'wamid.G', group_id='g'),
        edit('x', 'wamid.6', about='wamid.G', group_id='g', **OTHERS),
    )
    for message in (backend.message(ours['id']), by_wamid(backend), by_wamid(backend, 'wamid.G')):
        assert (message['text'], message['revoked_at'], message['reactions']) == (
            'Monday',
            None,
            [],
        )


# ---- lists, and what the responders see


def test_a_page_costs_as_many_queries_however_long_it_is(backend, hear, monkeypatch):
    hear(*(reaction('👍', f'wamid.r{n}', about=f'wamid.{n}') for n in range(30)))
    hear(*(text_message(wamid=f'wamid.{n}', context={'id': f'wamid.{n - 1}'}) for n in range(30)))
    asked = []
    execute = db.execute_sql
    monkeypatch.setattr(db, 'execute_sql', lambda *given: asked.append(given) or execute(*given))
    counts = []
    for limit in (1, 60):
        backend.get('/messages', query_string={'limit': limit})
        counts.append(len(asked))
        asked.clear()
    assert counts == [4, 4]


def test_a_responder_sees_what_holds_now_and_nothing_that_was_deleted_or_edited_away(
    backend, meta, workers, setting
):
    said = [
        text_message('MONDAY', 'wamid.A'),
        edit('Tuesday', 'wamid.1', START + 1),
        text_message('SECRET', 'wamid.B'),
        edit('SECRET too', 'wamid.2', about='wamid.B'),
        revoke('wamid.3', about='wamid.B'),
        reaction('👍', 'wamid.4'),
        text_message('Well?', 'wamid.C'),
    ]
    with Platform() as platform:
        for kind in (
            {'kind': 'http', 'url': platform.url},
            {'kind': 'openai', 'base_url': platform.url, 'model': 'm'},
        ):
            backend.account(responder=kind)
            for message in said:
                meta.webhook(envelope([message]))
            workers.incoming()
            sql('UPDATE conversation SET reply_due_at = now()')
            workers.incoming()
        own, ai = (platform.asks[n] for n in (0, -1))
    assert [one['text'] for one in own['body']['messages']] == [
        'Tuesday',
        '[deleted]',
        '[reaction] 👍',
        'Well?',
    ]
    assert [one['content'] for one in ai['body']['messages']] == [
        'Tuesday\n[deleted]\n[reaction] 👍\nWell?'
    ]
    for ask in (own, ai):
        assert b'SECRET' not in ask['raw']
        assert b'MONDAY' not in ask['raw']
