"""GET /conversations with filters, and GET /conversations/<id>/messages."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from service.conversations import conversation_list
from service.runtime.db import connection, execute
from service.runtime.ids import new_id
from tests.people import CHATBOT, CUSTOMER, Customers, envelope, sql, text_message

OTHER = '300112233445567'
NOW = datetime.now(UTC)


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture
def people(acme, meta, workers):
    return Customers(meta, workers)


@pytest.fixture(params=[5000, 2])
def either_way(request, monkeypatch):
    """By looking at the newest conversations, and by the indexes."""
    monkeypatch.setattr(conversation_list, 'WALK', request.param)


def conversation(chatbot_id=CHATBOT, **columns):
    """A conversation as it stands in the table; a number is a time, hours from now."""
    values = {
        name: NOW + timedelta(hours=value) if isinstance(value, int | float) else value
        for name, value in columns.items()
    }
    id_ = new_id()
    names = ', '.join(['id', 'chatbot_id', *values])
    places = ', '.join(['%s'] * (2 + len(values)))
    with connection():
        execute(
            f'INSERT INTO conversation ({names}) VALUES ({places})',
            (id_, chatbot_id, *values.values()),
        )
    return id_


def listed(backend, **query):
    answer = backend.get('/conversations', query_string={'limit': 200, **query})
    assert answer.status_code == 200, answer.text
    return [one['id'] for one in answer.json['data']]


# ---- filters


def test_those_that_are_paused_now(acme, either_way):
    never = conversation()
    paused = [conversation(paused_until=hours) for hours in (1, 10_000)]
    over = [conversation(paused_until=-1) for _ in range(3)]
    with connection():
        execute("UPDATE conversation SET paused_until = '9999-12-31Z' WHERE id = %s", (paused[0],))
    assert listed(acme, paused='true') == paused[::-1]
    assert listed(acme, paused='false') == [*over[::-1], never]


def test_those_whose_customer_waits_for_an_answer(acme, either_way):
    """Younger than anything that went to them, whoever sent it."""
    waiting = [
        conversation(last_inbound_at=-2),
        conversation(last_inbound_at=-2, last_outbound_at=-3),
    ]
    others = [
        conversation(),
        conversation(last_outbound_at=-1),
        conversation(last_inbound_at=-2, last_outbound_at=-1),
        conversation(last_inbound_at=-2, last_outbound_at=-2),
    ]
    assert listed(acme, unanswered='true') == waiting[::-1]
    assert listed(acme, unanswered='false') == others[::-1]


def test_those_of_an_assignee(acme, either_way):
    of_maria = [conversation(assignee='maria') for _ in range(3)]
    conversation(assignee='maria b')
    conversation(assignee='Maria')
    conversation()
    assert listed(acme, assignee='maria') == of_maria[::-1]
    assert listed(acme, assignee="o'hara") == []


def test_those_in_which_something_was_said_since(acme, either_way):
    heard = conversation(last_message_at=-1, last_outbound_at=-9)
    told = conversation(last_message_at=-9, last_outbound_at=-1)
    first_told = conversation(last_outbound_at=-1)
    conversation(last_message_at=-9, last_outbound_at=-9)
    conversation()
    conversation(last_message_at=-3)
    since = (NOW - timedelta(hours=2)).isoformat()
    assert listed(acme, since=since) == [first_told, told, heard]
    exactly = (NOW - timedelta(hours=1)).isoformat()
    assert listed(acme, since=exactly) == [first_told, told, heard]
    assert listed(acme, since=NOW.isoformat()) == []


PAST = '0000'  # before any time
SIX_HOURS_AGO = (NOW - timedelta(hours=6)).isoformat()


def is_paused(one):
    return (one['paused_until'] or PAST) > NOW.isoformat()


def waits(one):
    return (one['last_inbound_at'] or PAST) > (one['last_outbound_at'] or PAST)


def is_active(one):
    said = max(one['last_message_at'] or PAST, one['last_outbound_at'] or PAST)
    return said >= SIX_HOURS_AGO


# By filter: the values that it may have, and whether a conversation passes one of them.
FILTERS = {
    'chatbot_id': ((CHATBOT, 'other'), lambda one, value: one['chatbot_id'] == value),
    'paused': (('true', 'false'), lambda one, value: is_paused(one) == (value == 'true')),
    'unanswered': (('true', 'false'), lambda one, value: waits(one) == (value == 'true')),
    'assignee': (('maria', 'ana'), lambda one, value: one['assignee'] == value),
    'since': ((SIX_HOURS_AGO,), lambda one, value: is_active(one)),
}


def passes(one, query):
    return all(FILTERS[name][1](one, value) for name, value in query.items())


def test_any_filters_together_find_what_a_look_at_every_one_finds(acme, monkeypatch):
    acme.account('other', OTHER)
    random.seed(5)
    times = (None, -48, -5, -1, 48)  # from the collection on, which may be hours ago
    for _ in range(120):
        conversation(
            chatbot_id=random.choice((CHATBOT, 'other')),
            paused_until=random.choice(times),
            last_inbound_at=random.choice(times),
            last_outbound_at=random.choice(times),
            last_message_at=random.choice(times),
            assignee=random.choice((None, None, 'maria', 'ana')),
        )
    every = acme.get('/conversations', query_string={'limit': 200}).json['data']
    for n in range(150):
        monkeypatch.setattr(conversation_list, 'WALK', (1, 9, 5000)[n % 3])
        names = random.sample(sorted(FILTERS), random.randint(1, 4))
        query = {name: random.choice(FILTERS[name][0]) for name in names}
        expected = [one['id'] for one in every if passes(one, query)]
        assert listed(acme, **query) == expected, query
        assert paged(acme, query) == expected, query


def paged(backend, query):
    found, cursor = [], None
    while True:
        more = {'cursor': cursor} if cursor else {}
        page = backend.get('/conversations', query_string={'limit': 7, **query, **more}).json
        found += [one['id'] for one in page['data']]
        cursor = page['next_cursor']
        if not cursor:
            return found


@pytest.mark.parametrize(
    ('name', 'value'),
    [('paused', 'yes'), ('paused', '1'), ('unanswered', 'TRUE'), ('since', 'yesterday')],
)
def test_a_filter_that_says_nothing_is_refused(acme, name, value):
    answer = acme.get('/conversations', query_string={name: value})
    assert answer.status_code == 422
    assert list(answer.json['errors']) == [name]


def test_the_filters_follow_what_happens(acme, people, workers, stand_in):
    people.write('Anybody there?')
    (one,) = acme.conversations()
    assert listed(acme, unanswered='true') == [one['id']]
    acme.post(f'/conversations/{one["id"]}/pause', {'minutes': None, 'assignee': 'maria'})
    assert listed(acme, paused='true', assignee='maria', unanswered='true') == [one['id']]
    acme.post(f'/conversations/{one["id"]}/resume')
    assert listed(acme, paused='true') == []
    acme.send(text='Here I am')
    workers.send()
    assert listed(acme, unanswered='true') == []
    assert listed(acme, since=one['created_at']) == [one['id']]


def test_who_writes_again_within_a_second_waits_again(acme, people, workers, stand_in):
    """Meta's times are whole seconds, those of what went out are not."""
    people.write('Anybody there?', wamid='wamid.1')
    sql("UPDATE conversation SET last_outbound_at = last_inbound_at + interval '900 ms'")
    assert listed(acme, unanswered='true') == []
    (one,) = acme.conversations()
    at = int(datetime.fromisoformat(one['last_inbound_at']).timestamp())
    people.tell(envelope([text_message('Hello?', 'wamid.2', at=at)]))
    assert listed(acme, unanswered='true') == [one['id']]


def test_a_message_that_comes_late_waits_for_nobody(acme, people):
    people.write('Anybody there?', wamid='wamid.1')
    sql('UPDATE conversation SET last_outbound_at = last_inbound_at')
    people.write('Hello?', ago=5, wamid='wamid.2')
    assert listed(acme, unanswered='true') == []


# ---- the messages of one


def test_both_directions_newest_first_without_the_status_history(acme, people, workers, stand_in):
    people.write('Hello')
    acme.send(text='Good morning')
    workers.send()
    acme.send('+12025550144', text='to somebody else')
    people.write('How are you?')
    (one,) = [one for one in acme.conversations() if one['wa_id'] == CUSTOMER]
    page = acme.get(f'/conversations/{one["id"]}/messages').json
    assert [message['text'] for message in page['data']] == [
        'How are you?',
        'Good morning',
        'Hello',
    ]
    assert page['next_cursor'] is None
    for message in page['data']:
        whole = acme.message(message['id'])
        assert whole.pop('statuses')
        assert message == whole


def test_pages_of_a_conversation(acme):
    sent = [acme.send(text=str(n)) for n in range(5)][::-1]
    path = f'/conversations/{sent[0]["conversation_id"]}/messages'
    first = acme.get(path, query_string={'limit': 3}).json
    rest = acme.get(path, query_string={'limit': 3, 'cursor': first['next_cursor']}).json
    assert [one['id'] for one in first['data'] + rest['data']] == [one['id'] for one in sent]
    assert rest['next_cursor'] is None


def test_a_conversation_that_was_merged_away_leads_to_the_other(acme, people):
    people.write('By phone')
    people.tell(envelope([text_message('By name', 'wamid.B', phone=None, user='US.1')]))
    assert len(acme.conversations()) == 2
    former = sql('SELECT id FROM conversation ORDER BY id')
    people.write('As both', user='US.1')
    assert len(acme.conversations()) == 1
    for (id_,) in former:
        found = acme.get(f'/conversations/{id_}/messages').json['data']
        assert {one['text'] for one in found} == {'By phone', 'By name', 'As both'}


def test_no_such_conversation(acme):
    path = '/conversations/0192b000-0000-7000-8000-000000000000/messages'
    assert acme.get(path).status_code == 404
    assert acme.get(f'{path}?cursor=x').status_code == 404
    assert acme.get(f'{path}?status=read').status_code == 422
    one = conversation()
    assert acme.get(f'/conversations/{one}/messages').json == {'data': [], 'next_cursor': None}
    assert acme.get(f'/conversations/{one}/messages?cursor=x').status_code == 422
