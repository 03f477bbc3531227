"""Random lives of people with phones and BSUIDs, told late, twice and in any order."""

import json
import os
import random
from collections import defaultdict
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.conversations import identity
from service.graph.outcome import Outcome
from service.runtime.db import connection, db
from service.runtime.timestamps import from_epoch
from service.sending import holds
from service.webhooks import identity_claims, inbox
from tests.lives import World, message, status, written
from tests.people import CHATBOT, contact, envelope, sql, work_off_by

EXAMPLES = int(os.environ.get('IDENTITY_EXAMPLES', '60'))
EMPTY = (
    'usage_log',
    'message_status',
    'message',
    'contact_event',
    'conversation_identity',
    'conversation_merged',
    'conversation',
    'webhook_event',
)


class Gateway:
    """Hears of a world through its doors, and is asked what it has understood."""

    def __init__(self, backend, meta):
        self.backend, self.meta, self.heard = backend, meta, []

    def hear(self, batch):
        """Send and answer what stands in a batch, then POST all that Meta tells in it."""
        posts = []
        for one in batch:
            if one.kind == 'send':
                to = {'to': f'+{one.phone}'} if one.phone else {'recipient': one.user}
                body = {'chatbot_id': CHATBOT, 'text': {'body': 'Hi'}, 'force': True, **to}
                one.sent.id, one.sent.row = (
                    (sent := self.backend.post('/send', body).json)['id'],
                    sent,
                )
            elif one.kind == 'answer':
                self.answer(one)
            else:
                posts.append(one)
        self.heard += batch
        echoes = [message(one) for one in posts if one.kind == 'echo']
        messages = [message(one) for one in posts if one.kind in ('message', 'news')]
        cards = [contact(one.name, *written(one)) for one in posts if one.kind == 'message']
        body = envelope(messages, [status(one) for one in posts if one.kind == 'status'], cards)
        if echoes:
            value = {**body['entry'][0]['changes'][0]['value'], 'message_echoes': echoes}
            value = {name: value[name] for name in ('metadata', 'message_echoes')}
            body['entry'][0]['changes'].append({'field': 'smb_message_echoes', 'value': value})
        assert self.meta.webhook(json.dumps(body).encode()).status_code == 200

    def answer(self, one):
        row = SimpleNamespace(
            chatbot_id=CHATBOT,
            recipient_to=one.sent.row['to'],
            recipient=one.sent.row['recipient'],
            extra=None,
        )
        by_phone = bool(row.recipient_to)
        outcome = Outcome(
            'accepted', wa_id=by_phone and one.phone or None, user_id=None if by_phone else one.user
        )
        told = identity_claims.of_answer(row, outcome, from_epoch(one.at))
        with connection():
            identity.link([told] if told else [], holds.resolve_conflict)

    def understood(self):
        """Which conversation each wamid and each (kind, value) has, and which ids are shown."""
        with connection():
            of = dict(
                db.execute_sql(
                    'SELECT wamid, conversation_id FROM message WHERE wamid IS NOT NULL'
                ).fetchall()
            )
            rows = db.execute_sql(
                'SELECT kind, value, conversation_id FROM conversation_identity'
            ).fetchall()
            shown = db.execute_sql(
                'SELECT id, wa_id, user_id FROM conversation ORDER BY id'
            ).fetchall()
        return of, {row[:2]: row[2] for row in rows}, shown


def check(gateway):
    """What must hold whenever everything that came is worked off."""
    of, known, shown = gateway.understood()
    heard = {
        one.id: one for one in gateway.heard if one.kind in ('message', 'echo', 'news')
    }.values()
    assert {f'wamid.{one.id}' for one in heard} == of.keys() - {
        wamid for wamid in of if wamid.startswith('wamid.of')
    }
    inhabitants, groups = defaultdict(set), Groups()
    for one in heard:
        inhabitants[of[f'wamid.{one.id}']].add(one.name.rstrip('+'))
        groups.link(
            one.id, *(id_ for id_ in (one.phone, one.user, getattr(one, 'before', None)) if id_)
        )
        if one.kind == 'news' and one.old:
            groups.link(one.id, one.old)
    assert all(len(names) == 1 for names in inhabitants.values()), (
        'a conversation has messages of two people'
    )
    return of, known, shown, heard, groups


class Groups:
    """Union-find."""

    def __init__(self):
        self.parents = {}

    def root(self, one):
        while one in self.parents:
            one = self.parents[one]
        return one

    def link(self, *many):
        first, *others = {self.root(one): None for one in many}
        self.parents |= dict.fromkeys(others, first)


def check_that_one_person_has_one(of, heard, groups):
    """Messages with ids that only one person ever had stand in one conversation."""
    homes = defaultdict(set)
    for one in heard:
        homes[groups.root(one.id)].add(of[f'wamid.{one.id}'])
    assert all(len(places) == 1 for places in homes.values()), 'one person has two conversations'


def check_what_is_shown(known, shown):
    for conversation, wa_id, user_id in shown:
        assert wa_id is None or wa_id.isdigit()
        assert wa_id is None or known[('phone', wa_id)] == conversation
        assert user_id is None or known[('user', user_id)] == conversation


def check_who_has_the_phones(gateway, known):
    """A phone is whose the newest evidence says, whatever came first."""
    says, replaced = defaultdict(set), set()
    for one in gateway.heard:
        if one.kind == 'news':
            replaced.add(one.before)
        is_timed = one.kind in ('message', 'echo') or one.kind == 'status' and one.status != 'read'
        if (
            one.phone
            and one.user
            and (is_timed or one.kind == 'news')
            and ('user', one.user) in known
        ):
            says[one.phone].add((one.at, one.user))
        if one.kind == 'news' and one.old:
            says[one.old].add((one.at, None))
    for phone, told in says.items():
        at, user = max(told, key=lambda one: one[0])
        if len({who for when, who in told if when == at}) == 1 and user and user not in replaced:
            assert known.get(('phone', phone)) == known[('user', user)], (
                'a phone is not with its newest owner'
            )


ACTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(0, 59), st.integers(0, 2)),
    max_size=25,
)


@pytest.fixture
def gateway(backend, meta, workers):
    backend.account()
    return Gateway(backend, meta)


def forget(gateway):
    gateway.heard = []
    with connection(), db.atomic():
        for table in EMPTY:
            db.execute_sql(f'DELETE FROM {table}')


def disorder(told, seed, late):
    """Everything told, some of it twice, up to `late` places later; a send stays where it was."""
    chance = random.Random(seed)
    placed = []
    for at, one in enumerate(told):
        delay = 0 if one.kind == 'send' else chance.randint(0, late)
        placed.append((at + delay, one))
        if one.kind not in ('send', 'answer') and chance.random() < 0.2:
            placed.append((at + chance.randint(0, 3 * late + 1), one))
    in_order = [one for _, one in sorted(placed, key=lambda pair: pair[0])]
    while in_order:
        size = chance.choice((1, 1, 2, 5, 20))
        yield in_order[:size]
        in_order = in_order[size:]


@given(
    acts=ACTS,
    handed_on=st.booleans(),
    seed=st.integers(0, 2**32),
    late=st.sampled_from((0, 2, 6, 30)),
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize='IDENTITY_EXAMPLES' not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
def test_one_person_is_one_conversation_and_two_people_never_are(
    gateway, workers, acts, handed_on, seed, late
):
    forget(gateway)
    world = World(handed_on).live(acts)
    for n, batch in enumerate(disorder(world.told, seed, late)):
        gateway.hear(batch)
        if (n + seed) % 3:
            workers.incoming()
            of, known, shown, heard, groups = check(gateway)
            check_what_is_shown(known, shown)
    workers.incoming()
    finish(gateway, workers, handed_on)


def finish(gateway, workers, handed_on):
    of, known, shown, heard, groups = check(gateway)
    check_what_is_shown(known, shown)
    check_that_one_person_has_one(of, heard, by_bsuid(heard) if handed_on else groups)
    check_who_has_the_phones(gateway, known)
    before = gateway.understood()
    sql("UPDATE webhook_event SET status = 'received', due_at = now()")
    workers.incoming()
    for once, twice in zip(before, gateway.understood(), strict=True):
        assert once == twice, 'the same events again changed something'
    outcomes = {outcome for _, outcome in gateway.backend.outcomes()}
    assert outcomes <= {'stored', 'duplicate', 'orphan'}


def by_bsuid(heard):
    groups = Groups()
    for one in heard:
        groups.link(one.id, *(id_ for id_ in (one.user, getattr(one, 'before', None)) if id_))
    return groups


@pytest.mark.parametrize('seed', range(4))
def test_many_workers_over_shuffled_events_understand_the_same(gateway, monkeypatch, seed):
    monkeypatch.setattr(
        inbox.claim, '__defaults__', (2,)
    )  # small batches, so that all workers have some
    chance = random.Random(seed)
    acts = [
        (chance.randrange(7), chance.randrange(3), chance.randrange(60), chance.randrange(3))
        for _ in range(60)
    ]
    told = World(handed_on=True).live(acts).told
    for one in told:
        if one.kind == 'send':
            gateway.hear([one])
    rest = [one for one in told if one.kind != 'send'] * 2
    chance.shuffle(rest)
    for at in range(0, len(rest), 4):
        gateway.hear(rest[at : at + 4])
    work_off_by(5)
    of, known, shown, heard, _ = check(gateway)
    check_what_is_shown(known, shown)
    check_that_one_person_has_one(of, heard, by_bsuid(heard))
    check_who_has_the_phones(gateway, known)
