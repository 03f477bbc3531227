"""The statements of searches and of filtered lists read their own indexes, in their order."""

import json
import re

import pytest

from service.conversations import active_conversations, conversation_list
from service.messages import message_list, message_search
from service.messages.message import Message
from service.runtime.db import connection, db
from service.runtime.session import BY_BITMAP
from tests.dashboard import Person
from tests.people import CHATBOT, sql
from tests.web.tenants import backend_of

# One in a hundred is paused, waits, or is somebody's; most pauses are over.
MANY_CONVERSATIONS = """
INSERT INTO conversation (id, chatbot_id, last_inbound_at, last_message_at, last_outbound_at,
  paused_until, assignee)
SELECT ('0192a000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, %(chatbot)s, at, at,
  at + CASE n %% 100 WHEN 1 THEN -1 ELSE 1 END * interval '1 minute',
  CASE WHEN n %% 10 = 2 THEN at + CASE n %% 100 WHEN 2 THEN 1000 ELSE 0 END * interval '1 day' END,
  CASE n %% 100 WHEN 3 THEN 'maria' WHEN 4 THEN 'ana' END
FROM generate_series(1, 5000) n, LATERAL (SELECT now() - n * interval '1 hour' AS at) said
"""


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    for n in range(6):
        backend.send(text=f'words {n}')
    # what other tests have swollen, or left in another order than that of ids, would seem dearer
    sql('CLUSTER message USING message_pkey')
    sql('ANALYZE message')
    return backend


@pytest.fixture
def tenant(acme):
    """A backend whose key sees two chatbots."""
    return backend_of(acme, CHATBOT, 'third')


@pytest.fixture
def plans_of(monkeypatch):
    """plans_of(room, ask): the plans of the statements that a room of the service runs for it."""

    def of(room, ask):
        statements = []
        fetch = room.fetch

        def noted(sql, params=()):
            statements.append((sql, params))
            return fetch(sql, params)

        with monkeypatch.context() as patch:
            patch.setattr(room, 'fetch', noted)
            patch.setattr(room, 'WALK', 2)
            assert ask().status_code == 200
        with connection():
            return [plan_of(sql, params) for sql, params in statements]

    return of


def plan_of(sql, params):
    settings = BY_BITMAP if sql.startswith(BY_BITMAP) else ''
    explain = f'{settings}EXPLAIN (FORMAT JSON) {sql.removeprefix(settings)}'
    ((plan,),) = db.execute_sql(explain, params).fetchall()
    return json.dumps(plan)


def indexes(plan):
    return set(re.findall(r'"Index Name": "(\w+)"', plan))


def scans(plan, table):
    """The kinds of scans of a table."""
    return set(re.findall(rf'"Node Type": "([\w ]+)"[^{{}}]*?"Relation Name": "{table}"', plan))


@pytest.mark.parametrize('key', ['acme', 'tenant'])
@pytest.mark.parametrize('chatbot', [{'chatbot_id': CHATBOT}, {}])
def test_a_search_walks_a_little_and_then_asks_the_index(request, plans_of, chatbot, key):
    backend = request.getfixturevalue(key)
    query = {'q': 'words 9', **chatbot}
    plans = plans_of(message_search, lambda: backend.get('/messages', query_string=query))
    walk, *_, by_words = plans
    assert indexes(walk) & {'message_by_chatbot', 'message_pkey'}
    assert scans(walk, 'message_search') <= {'Index Scan', 'Index Only Scan'}
    assert 'message_search_words' in indexes(by_words)
    assert scans(by_words, 'message_search') == {'Bitmap Heap Scan'}
    for plan in plans:
        assert not scans(plan, 'message') & {'Seq Scan'}
    assert not [plan for plan in plans[:-1] if '"Sort"' in plan]  # a walk has the order of the list


@pytest.mark.parametrize(
    ('query', 'index'),
    [
        ({'paused': 'true'}, 'conversation_paused'),
        ({'unanswered': 'true'}, 'conversation_unanswered'),
        ({'assignee': 'maria'}, 'conversation_assigned'),
        ({'since': '2999-01-01T00:00:00Z'}, 'conversation_active'),
        ({'since': '2999-01-01T00:00:00Z', 'paused': 'true'}, 'conversation_paused'),
        ({'unanswered': 'true', 'paused': 'false'}, 'conversation_unanswered'),
        ({'assignee': 'maria', 'paused': 'false'}, 'conversation_assigned'),
    ],
)
@pytest.mark.parametrize('key', ['acme', 'tenant'])
@pytest.mark.parametrize('chatbot', [{'chatbot_id': CHATBOT}, {}])
def test_each_filter_of_conversations_has_its_index(request, plans_of, query, index, chatbot, key):
    backend = request.getfixturevalue(key)
    with connection():
        db.execute_sql(MANY_CONVERSATIONS, {'chatbot': CHATBOT})
        db.execute_sql('ANALYZE conversation')
    found = {**query, **chatbot}
    walk, end, rest = plans_of(
        conversation_list, lambda: backend.get('/conversations', query_string=found)
    )
    assert index in indexes(rest)
    for plan in (walk, end, rest):
        assert not scans(plan, 'conversation') & {'Seq Scan', 'Bitmap Heap Scan'}


@pytest.mark.parametrize(
    ('query', 'index'),
    [
        ({'show': 'paused'}, 'conversation_paused'),
        ({'show': 'unanswered'}, 'conversation_unanswered'),
        ({'assignee': 'maria'}, 'conversation_assigned'),
    ],
)
def test_the_inbox_walks_in_its_order_and_then_asks_the_index(
    application, acme, plans_of, query, index
):
    with connection():
        db.execute_sql(MANY_CONVERSATIONS, {'chatbot': CHATBOT})
        db.execute_sql('ANALYZE conversation')
    person = Person(application).log_in()
    walk, rest = plans_of(active_conversations, lambda: person.get('/inbox', query_string=query))
    assert indexes(walk) & {'conversation_active'}
    assert index in indexes(rest)
    for plan in (walk, rest):
        assert not scans(plan, 'conversation') & {'Seq Scan'}


def test_the_filters_meet_in_few_rows_what_is_in_no_index(acme, plans_of):
    query = {'q': 'words', 'client_reference': 'x'}
    (plan,) = plans_of(message_search, lambda: acme.get('/messages', query_string=query))
    assert 'message_by_reference' in indexes(plan)
    assert not scans(plan, 'message') & {'Seq Scan'}


@pytest.mark.parametrize(
    ('status', 'index'),
    [('queued', 'message_sendable'), ('held', 'message_held_for'), ('unknown', 'message_timer')],
)
def test_what_waits_is_found_among_many_that_do_not(acme, status, index):
    """As operators look for it: without walking through all that has been sent."""
    with connection():
        db.execute_sql("UPDATE message SET status = 'read', due_at = NULL")
        db.execute_sql('ANALYZE message')
        query = message_list.with_status(Message.select(), status)
        query = query.where(Message.chatbot_id == CHATBOT).order_by(Message.id.desc()).limit(50)
        plan = plan_of(*query.sql())
    assert index in indexes(plan)
    acme.account('other', '300112233445567')
    waiting = acme.send(text='waits', chatbot_id='other')['id']
    found = acme.messages(status='queued')
    assert [one['id'] for one in found] == [waiting]
