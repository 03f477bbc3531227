"""Rows in which an earlier version took for a phone what is none are mended by schema.sql."""

import json

import psycopg2
import pytest

from service.runtime import migrate
from service.runtime.config import settings
from service.runtime.ids import new_id
from tests.people import CHATBOT, CUSTOMER, Customers, sql
from tests.stack.postgres import administration, create_database, with_database

ANA, BEN, PARENT = 'US.1001', 'US.2002', 'US.ENT.77'
PHONE, OTHER = CUSTOMER, '12025550199'
EARLY, LATE = '2026-09-01T00:00:00Z', '2026-10-01T00:00:00Z'
SECTION = dict(migrate.sections())[5]
ACCOUNT = (
    'INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, access_token) VALUES '
    "('acme', '3', 't')"
)


class Spoiler:
    """Writes rows as the earlier version left them."""

    def __init__(self, run):
        self.run = run

    def conversation(
        self, *ids, wa_id=None, user_id=None, parent_user_id=None, chatbot_id=CHATBOT, **more
    ):
        """`ids`: (kind, value) or (kind, value, seen_at) that lead to it. Its id."""
        row = {'id': new_id(), 'chatbot_id': chatbot_id, 'wa_id': wa_id, 'user_id': user_id, **more}
        row['parent_user_id'] = parent_user_id
        names = ', '.join(row)
        self.run(
            f'INSERT INTO conversation ({names}) VALUES ({", ".join(["%s"] * len(row))})',
            *row.values(),
        )
        for kind, value, *seen_at in ids:
            columns = (chatbot_id, kind, value, row['id'], *(seen_at or [EARLY]))
            self.run(
                'INSERT INTO conversation_identity (chatbot_id, kind, value, conversation_id, '
                'seen_at) '
                'VALUES (%s, %s, %s, %s, %s)',
                *columns,
            )
        return row['id']

    def message(self, conversation, direction='outbound', status='queued', **more):
        row = {
            'id': new_id(),
            'chatbot_id': CHATBOT,
            'conversation_id': conversation,
            'phone_number_id': '3',
        }
        row |= {
            'direction': direction,
            'type': 'text',
            'status': status,
            'content': '{"body": "x"}',
            **more,
        }
        row['due_at'] = LATE if status == 'queued' else None
        names = ', '.join(row)
        self.run(
            f'INSERT INTO message ({names}) VALUES ({", ".join(["%s"] * len(row))})', *row.values()
        )
        return row['id']

    def history(self, conversation, what, before, after):
        detail = json.dumps({'what': what, 'from': before, 'to': after, 'why': 'message'})
        self.run(
            'INSERT INTO contact_event (id, conversation_id, kind, detail) VALUES (%s, %s, '
            "'identity', %s)",
            new_id(),
            conversation,
            detail,
        )


@pytest.fixture
def spoil(backend):
    backend.account(responder={'kind': 'none'})
    return Spoiler(sql)


def mend():
    sql(SECTION)


def ids(conversation):
    return sql(
        'SELECT wa_id, user_id, parent_user_id FROM conversation WHERE id = %s', conversation
    )[0]


def leads():
    """{(kind, value): conversation} of one chatbot."""
    known = 'SELECT kind, value, conversation_id FROM conversation_identity WHERE chatbot_id = %s'
    return {row[:2]: row[2] for row in sql(known, CHATBOT)}


KINDS = {
    'a BSUID as a phone': ({'wa_id': ANA}, [('phone', ANA)], (None, ANA, None), {('user', ANA)}),
    'a BSUID as phone and user': (
        {'wa_id': ANA, 'user_id': ANA},
        [('phone', ANA), ('user', ANA)],
        (None, ANA, None),
        {('user', ANA)},
    ),
    'a parent as a phone': (
        {'wa_id': PARENT, 'user_id': ANA},
        [('phone', PARENT), ('user', ANA)],
        (None, ANA, PARENT),
        {('parent', PARENT), ('user', ANA)},
    ),
    'a parent as a user': (
        {'user_id': PARENT},
        [('user', PARENT)],
        (None, None, PARENT),
        {('parent', PARENT)},
    ),
    'a phone with a plus': (
        {'wa_id': f'+{PHONE}'},
        [('phone', f'+{PHONE}')],
        (PHONE, None, None),
        {('phone', PHONE)},
    ),
    'a phone with blanks': (
        {'wa_id': '\u202a+1\u00a0202 555\u20110143\u202c'},
        [('phone', '\u202a+1\u00a0202 555\u20110143\u202c')],
        (PHONE, None, None),
        {('phone', PHONE)},
    ),
    'a phone as a user': (
        {'user_id': PHONE},
        [('user', PHONE)],
        (PHONE, None, None),
        {('phone', PHONE)},
    ),
    'a phone that was hidden by a BSUID': (
        {'wa_id': ANA, 'user_id': ANA},
        [('phone', PHONE), ('phone', ANA, LATE), ('user', ANA)],
        (PHONE, ANA, None),
        {('phone', PHONE), ('user', ANA)},
    ),
    'text': ({'wa_id': 'Ines'}, [('phone', 'Ines')], (None, None, None), set()),
    'text beside a phone': (
        {'wa_id': 'Ines'},
        [('phone', 'Ines', LATE), ('phone', PHONE)],
        (PHONE, None, None),
        {('phone', PHONE)},
    ),
    'too few digits': ({'wa_id': '1202'}, [('phone', '1202')], (None, None, None), set()),
    'too many digits': ({'wa_id': '1' * 16}, [('phone', '1' * 16)], (None, None, None), set()),
    'a BSUID that was a phone': (
        {'user_id': BEN},
        [('former', ANA), ('former', PHONE), ('user', BEN)],
        (None, BEN, None),
        {('former', PHONE), ('user', BEN)},
    ),
    'a BSUID with a blank that was replaced': (
        {'user_id': BEN},
        [('replaced', f'{ANA} '), ('user', f'{ANA} '), ('user', BEN)],
        (None, BEN, None),
        {('replaced', ANA), ('user', ANA), ('user', BEN)},
    ),
    'ids that lead nowhere': ({'wa_id': ANA}, [], (None, ANA, None), {('user', ANA)}),
    'nothing wrong': (
        {'wa_id': PHONE, 'user_id': ANA, 'parent_user_id': PARENT},
        [
            ('phone', PHONE),
            ('phone', OTHER, LATE),
            ('user', ANA),
            ('user', BEN, LATE),
            ('parent', PARENT),
        ],
        (PHONE, ANA, PARENT),
        {('phone', PHONE), ('phone', OTHER), ('user', ANA), ('user', BEN), ('parent', PARENT)},
    ),
}


@pytest.mark.parametrize(('columns', 'known', 'shown', 'kept'), KINDS.values(), ids=KINDS)
def test_each_id_comes_under_its_own_kind(spoil, columns, known, shown, kept):
    conversation = spoil.conversation(*known, **columns)
    other = spoil.conversation(('phone', ANA), wa_id=ANA, chatbot_id=other_account())
    mend()
    assert ids(conversation) == shown
    assert leads() == dict.fromkeys(kept, conversation)
    assert ids(other) == (None, ANA, None), 'another chatbot is not touched by it'
    before = (
        sql('SELECT * FROM conversation ORDER BY id'),
        sql('SELECT * FROM conversation_identity ORDER BY value'),
    )
    mend()
    assert before == (
        sql('SELECT * FROM conversation ORDER BY id'),
        sql('SELECT * FROM conversation_identity ORDER BY value'),
    )


def other_account():
    sql(ACCOUNT.replace("'acme', '3'", "'other', '4'"))
    return 'other'


def test_what_waits_and_what_is_told_is_mended_with_them(spoil, backend):
    ana = spoil.conversation(('phone', ANA), wa_id=ANA)
    ben = spoil.conversation(('phone', PHONE), wa_id=PHONE)
    reply = spoil.message(ana, recipient_to=f'+{ANA}')
    sent = spoil.message(
        ana, status='accepted', recipient_to=f'+{PARENT}', answer_wa_id=ANA, wamid='w.1'
    )
    answered = spoil.message(
        ana, status='accepted', recipient=ANA, answer_wa_id=f'+{PHONE}', wamid='w.2'
    )
    good = spoil.message(ben, recipient_to='+1 202 555 0143')
    spoil.history(ana, 'phone', PHONE, ANA)
    spoil.history(ana, 'phone', None, OTHER)
    spoil.history(ana, 'user_id', None, ANA)
    mend()
    shown = {one: backend.message(one) for one in (reply, sent, answered, good)}
    assert {one: (row['to'], row['recipient'], row['wa_id']) for one, row in shown.items()} == {
        reply: (None, ANA, None),
        sent: (None, PARENT, None),
        answered: (None, ANA, PHONE),
        good: ('+1 202 555 0143', None, None),
    }
    told = backend.get(f'/contacts/{ana}').json['history']
    assert [(one['detail']['what'], one['detail']['to']) for one in told] == [
        ('user_id', ANA),
        ('phone', OTHER),
    ]


def test_who_was_two_by_it_is_one_again_with_everything(spoil, backend, meta, workers):
    kept = spoil.conversation(('user', ANA, LATE), user_id=ANA, name='Ana', known_at=LATE)
    gone = spoil.conversation(
        ('phone', ANA),
        ('phone', PHONE),
        wa_id=ANA,
        username='ana.1',
        known_at=EARLY,
        opted_out_at=EARLY,
        opted_out_by='keyword',
        last_inbound_at=LATE,
    )
    messages = [
        spoil.message(kept),
        spoil.message(gone),
        spoil.message(gone, 'inbound', 'received', wamid='w'),
    ]
    earlier = new_id()
    sql('INSERT INTO conversation_merged (id, conversation_id) VALUES (%s, %s)', earlier, gone)
    mend()
    assert [one['id'] for one in backend.conversations()] == [kept]
    assert ids(kept) == (PHONE, ANA, None)
    assert leads() == {('user', ANA): kept, ('phone', PHONE): kept}
    assert {one['id'] for one in backend.messages(conversation_id=gone)} == set(messages)
    for old in (gone, earlier):
        contact = backend.get(f'/contacts/{old}').json
        assert (contact['id'], contact['name'], contact['username']) == (kept, 'Ana', 'ana.1')
    assert contact['marketing']['by'] == 'keyword'
    Customers(meta, workers).write('Hi', phone=None, user=ANA)
    assert len(backend.conversations()) == 1


def test_a_number_with_a_plus_joins_the_person_with_the_digits_unless_both_have_bsuids(
    spoil, backend
):
    one = spoil.conversation(('phone', PHONE), ('user', ANA), wa_id=PHONE, user_id=ANA)
    same = spoil.conversation(('phone', f'+{PHONE}'), wa_id=f'+{PHONE}')
    third = spoil.conversation(('phone', OTHER), ('user', 'US.3'), wa_id=OTHER, user_id='US.3')
    other = spoil.conversation(
        ('phone', f'+{OTHER}'), ('user', BEN), wa_id=f'+{OTHER}', user_id=BEN
    )
    mend()
    assert {row['id'] for row in backend.conversations()} == {one, third, other}
    assert (ids(one), ids(third), ids(other)) == (
        (PHONE, ANA, None),
        (OTHER, 'US.3', None),
        (None, BEN, None),
    )
    assert backend.get(f'/conversations/{same}').json['id'] == one


def test_several_ways_of_writing_one_bsuid_become_one_person(spoil, backend):
    for value in (ANA, f'+{ANA}', f'{ANA} ', f'\u200e{ANA}'):
        spoil.message(spoil.conversation(('phone', value), wa_id=value))
    mend()
    (conversation,) = backend.conversations()
    assert (conversation['wa_id'], conversation['user_id']) == (None, ANA)
    assert len(backend.messages(conversation_id=conversation['id'])) == 4
    assert leads() == {('user', ANA): conversation['id']}


@pytest.mark.parametrize('bsuid', [ANA, PARENT])
def test_what_a_process_of_before_spoils_after_the_release_is_mended_when_the_person_writes(
    spoil, backend, meta, workers, bsuid
):
    conversation = spoil.conversation(('phone', bsuid), ('phone', PHONE), wa_id=bsuid)
    Customers(meta, workers).write('Hi', phone=bsuid)
    (shown,) = backend.conversations()
    assert (shown['id'], shown['wa_id'], shown['parent_user_id'] or shown['user_id']) == (
        conversation,
        None,
        bsuid,
    )
    kind = 'parent' if bsuid == PARENT else 'user'
    assert leads() == {(kind, bsuid): conversation, ('phone', PHONE): conversation}


def test_a_group_and_what_an_odd_history_says_are_left_alone(spoil):
    group = spoil.conversation(('group', ANA), group_id=ANA)
    odd = spoil.conversation(('phone', BEN), wa_id=BEN)
    sql(
        "INSERT INTO contact_event (id, conversation_id, kind, detail) VALUES (%s, %s, 'x', '[1]')",
        new_id(),
        odd,
    )
    sql(
        "INSERT INTO contact_event (id, conversation_id, kind) VALUES (%s, %s, 'identity')",
        new_id(),
        odd,
    )
    message = spoil.message(group, recipient_to=ANA, extra='{"recipient_type": "group"}')
    mend()
    assert leads()[('group', ANA)] == group
    assert sql('SELECT recipient_to FROM message WHERE id = %s', message) == [(ANA,)]
    assert sql('SELECT count(*) FROM contact_event') == [(2,)]


def test_the_release_mends_a_database_of_the_version_before(postgres, monkeypatch):
    url = with_database(postgres.url, 'spoiled')
    create_database(url.replace('/spoiled', '/postgres'), 'spoiled')
    monkeypatch.setenv('DATABASE_URL', url)
    settings.forget()
    sections = migrate.sections()
    monkeypatch.setattr(migrate, 'sections', lambda: sections[:2])
    assert migrate.upgrade() == (0, 2)
    database = psycopg2.connect(url)

    def run(statement, *values):
        with database, database.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description is not None else []

    run(ACCOUNT)
    spoil = Spoiler(run)
    kept = spoil.conversation(('user', ANA, LATE), user_id=ANA)
    spoil.message(spoil.conversation(('phone', ANA), wa_id=ANA), recipient_to=f'+{ANA}')
    monkeypatch.setattr(migrate, 'sections', lambda: sections)
    assert migrate.upgrade() == (2, migrate.newest())
    assert run('SELECT id::text, wa_id, user_id FROM conversation') == [(kept, None, ANA)]
    assert run('SELECT recipient_to, recipient, conversation_id::text FROM message') == [
        (None, ANA, kept)
    ]
    left = (
        "SELECT proname FROM pg_proc WHERE proname IN ('person_id', 'shown_id', "
        "'merge_conversations')"
    )
    assert run(left) == []
    database.close()
    monkeypatch.undo()
    settings.forget()
    with administration(with_database(postgres.url, 'postgres')) as cursor:
        cursor.execute('DROP DATABASE spoiled WITH (FORCE)')
