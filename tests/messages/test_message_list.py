"""GET /messages: the filters that find a message again,
and the list of what changed since a time.
"""

import itertools
import threading
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from tests.people import (
    CHATBOT,
    CUSTOMER,
    Customers,
    contact,
    envelope,
    sql,
    status_of,
    text_message,
)

OTHER = '12025550144'


@pytest.fixture
def acme(backend, stand_in):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture
def people(acme, meta, workers):
    return Customers(meta, workers)


def ids(backend, **query):
    return [one['id'] for one in backend.messages(**query)]


def past_the_second():
    """Later than anything that was stored before."""
    return datetime.now(UTC).isoformat()


# ---- by a value


def test_by_the_callers_reference(acme):
    acme.account('other', '300112233445567')
    acme.send()
    first = acme.send(client_reference='order-17')['id']
    second = acme.send(f'+{OTHER}', client_reference='order-17')['id']
    other = acme.send(chatbot_id='other', client_reference='order-17')['id']
    acme.send(client_reference='order-171')
    assert ids(acme, client_reference='order-17') == [other, second, first]
    assert ids(acme, client_reference='order-17', chatbot_id=CHATBOT) == [second, first]
    assert ids(acme, client_reference='order') == []
    page = acme.get('/messages', query_string={'client_reference': 'order-17', 'limit': 2}).json
    assert ids(acme, client_reference='order-17', cursor=page['next_cursor']) == [first]


def test_by_metas_id_both_ways_and_of_whichever_number(acme, people, workers):
    acme.account('other', '300112233445567')
    sent, other = acme.send(), acme.send(chatbot_id='other')
    workers.send()
    people.write('Hi', wamid='wamid.in')
    acme.account(phone_number_id='300112233445599')  # it has another number by now
    for id_ in (sent['id'], other['id']):
        assert ids(acme, wamid=acme.message(id_)['wamid']) == [id_]
    (inbound,) = acme.messages(wamid='wamid.in')
    assert inbound['direction'] == 'inbound'
    assert (
        ids(acme, wamid='wamid.in', direction='outbound') == ids(acme, wamid='wamid.nobody') == []
    )
    assert ids(acme, wamid='wamid.in', chatbot_id='other') == []


@pytest.mark.parametrize(
    'to',
    ['+5511988887777', '5511988887777', '+55 (11) 98888-7777', '551188887777', '+551188887777'],
)
def test_by_whom_it_went_to_in_whichever_form(acme, to):
    first, second = acme.send('+5511988887777')['id'], acme.send('+55 11 8888-7777')['id']
    acme.send(f'+{OTHER}')
    assert ids(acme, to=to) == [second, first]
    assert ids(acme, to=to, chatbot_id='nobody') == []


def test_a_plus_that_was_not_escaped_is_one(acme):
    sent = acme.send(f'+{CUSTOMER}')['id']
    found = acme.get(f'/messages?to=+{CUSTOMER}').json['data']
    assert [one['id'] for one in found] == [sent]


def test_what_came_from_somebody_or_went_to_another_address_of_theirs_did_not_go_to_it(
    acme, people
):
    people.write('Hi', user='US.1')
    by_phone = acme.send(f'+{CUSTOMER}')['id']
    by_user = acme.post(
        '/send', {'chatbot_id': CHATBOT, 'recipient': 'US.1', 'text': {'body': 'x'}}
    ).json['id']
    assert ids(acme, to=CUSTOMER) == [by_phone]
    assert ids(acme, to='US.1') == [by_user]


def test_a_number_that_was_handed_on_finds_both_owners_messages(acme, people):
    people.write('Hi', user='US.1', ago=100)
    first = acme.send(f'+{CUSTOMER}')['id']
    people.write('I am new here', user='US.2')
    second = acme.send(f'+{CUSTOMER}')['id']
    assert len(acme.conversations()) == 2
    assert ids(acme, to=CUSTOMER) == [second, first]


def test_groups_and_what_is_nobody(acme):
    sent = acme.send('Y2FwaV9ncm91cDox', recipient_type='group')['id']
    assert ids(acme, to='Y2FwaV9ncm91cDox') == [sent]
    for nobody in ('y2FwaV9ncm91cDox', '+1', 'x', '%', "'"):
        assert ids(acme, to=nobody) == []


# ---- by a time


def test_by_when_it_was_stored(acme):
    sent = [acme.send(text=str(n)) for n in range(4)]
    at = [one['created_at'] for one in sent]
    one, two, three, four = [one['id'] for one in sent]
    assert ids(acme, created_after=at[1]) == [four, three]
    assert ids(acme, created_before=at[1]) == [one]
    assert ids(acme, created_after=at[0], created_before=at[3]) == [three, two]
    assert ids(acme, created_after='2020-01-01T00:00:00Z') == [four, three, two, one]
    assert ids(acme, created_before='2020-01-01T00:00:00+02:00') == []
    page = acme.get('/messages', query_string={'created_after': at[0], 'limit': 2}).json
    assert ids(acme, created_after=at[0], cursor=page['next_cursor']) == [two]


@pytest.mark.parametrize('name', ['created_after', 'created_before', 'updated_since'])
@pytest.mark.parametrize(
    'value',
    [
        '0001-01-01T00:00:00Z',
        '9999-12-31T23:59:59Z',
        '1969-12-31T23:59:59-14:00',
        '2026-11-22T17:00:00 02:00',
        '2026-11-22T17:00:00.123456+02:00',
        '2026-11-22T17:00:00+16:00',
        '2026-11-22T17:00:00-23:59',
        '2026-11-22T17:00:00+05:30:15.5',
    ],
)
def test_times_at_the_ends_of_the_calendar_are_times(acme, name, value):
    acme.send()
    assert acme.get('/messages', query_string={name: value}).status_code == 200


@pytest.mark.parametrize('name', ['created_after', 'created_before', 'updated_since'])
@pytest.mark.parametrize(
    'value',
    [
        'soon',
        '2026-11-22',
        '2026-11-22T17:00:00',
        '1790000000',
        '9' * 500,
        '2026-13-01Z',
        '0001-01-01T00:00:00+00:01',
        '9999-12-31T23:59:59-00:01',
    ],
)
def test_what_is_no_time_is_422(acme, name, value):
    answer = acme.get('/messages', query_string={name: value})
    assert (answer.status_code, list(answer.json['errors'])) == (422, [name])


# ---- what changed


def changes(backend, since, limit=200, **query):
    """All pages."""
    seen, cursor = [], None
    for _ in range(100):
        more = {'cursor': cursor} if cursor else {}
        page = backend.get(
            '/messages', query_string={'updated_since': since, 'limit': limit, **query, **more}
        ).json
        seen += page['data']
        cursor = page['next_cursor']
        if cursor is None:
            return seen
    raise AssertionError('the list does not end')


def test_the_oldest_change_comes_first_and_every_change_is_one(acme, people, workers):
    first, second = acme.send(text='1'), acme.send(f'+{OTHER}', text='2')
    assert [one['id'] for one in changes(acme, first['created_at'])] == [first['id'], second['id']]
    since = past_the_second()
    assert changes(acme, since) == []
    acme.post(f'/messages/{second["id"]}/cancel')
    workers.send()
    people.write('Hi')
    (inbound,) = acme.messages(direction='inbound')
    seen = changes(acme, since)
    assert [one['id'] for one in seen] == [second['id'], first['id'], inbound['id']]
    assert [one['status'] for one in seen] == ['cancelled', 'accepted', 'received']
    since = past_the_second()
    people.tell(envelope(statuses=[status_of(seen[1]['wamid'], 'delivered')]))
    assert [one['id'] for one in changes(acme, since)] == [first['id']]
    assert changes(acme, since)[0]['updated_at'] >= since[:26]


@pytest.mark.parametrize('limit', [1, 2, 3, 7])
def test_many_changes_at_one_moment_are_all_seen_once(acme, limit):
    acme.account('other', '300112233445567')
    sent = [
        acme.send(f'+120255502{n:02}', chatbot_id=('other', CHATBOT)[n % 2])['id']
        for n in range(12)
    ]
    sql("UPDATE message SET updated_at = now() - interval '1 hour'")
    since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert sorted(one['id'] for one in changes(acme, since, limit)) == sorted(sent)
    assert len(changes(acme, since, limit, chatbot_id='other')) == 6
    assert len(changes(acme, since, limit, status='queued', created_after=since)) == 12


UNCHANGED_SINCE_THE_UPGRADE = """
ALTER TABLE message DISABLE TRIGGER keep_message_marks;
UPDATE message SET changed_minute = '-infinity', updated_at = '2021-01-01T00:00:00Z';
ALTER TABLE message ENABLE ALWAYS TRIGGER keep_message_marks
"""


def test_changes_from_before_the_upgrade_come_first(acme):
    old = [acme.send(f'+12025550{n}')['id'] for n in (200, 201, 202)]
    sql(UNCHANGED_SINCE_THE_UPGRADE)
    new = acme.send(f'+{OTHER}')['id']
    seen = [one['id'] for one in changes(acme, '2020-12-31T23:59:59Z', 2)]
    assert seen == [*old, new]
    assert [one['id'] for one in changes(acme, '2021-01-01T00:00:01Z')] == [new]


def test_a_change_that_is_committed_late_is_not_skipped(acme, postgres):
    """Its transaction began before others' that are committed already, so its time is older than
    theirs.
    """
    late, early = acme.send(text='late'), acme.send(f'+{OTHER}', text='early')
    since = past_the_second()
    with psycopg2.connect(postgres.url) as under_way, under_way.cursor() as cursor:
        cursor.execute(
            "UPDATE message SET client_reference = 'late', updated_at = now() WHERE id = %s",
            (late['id'],),
        )
        acme.post(f'/messages/{early["id"]}/cancel')
        before = changes(acme, since)
        newest = max((one['updated_at'] for one in before), default=since)
        under_way.commit()
    under_way.close()
    after = changes(acme, newest)
    assert {one['id'] for one in before + after} == {late['id'], early['id']}
    assert [one['id'] for one in changes(acme, since)] == [late['id'], early['id']]


def test_somebody_who_only_reads_for_long_holds_up_nothing(acme, postgres):
    with (
        psycopg2.connect(postgres.url, application_name='a report') as reading,
        reading.cursor() as cursor,
    ):
        cursor.execute('SELECT count(*) FROM message')
        since = past_the_second()
        sent = acme.send()
        assert [one['id'] for one in changes(acme, since)] == [sent['id']]
    reading.close()


def test_a_poller_sees_every_state_in_the_end(acme, people, workers):
    """It polls with the time of the last change that it saw,
    while workers and the backend write.
    """
    sent = {acme.send(f'+12025553{n:03}')['id'] for n in range(40)}
    seen, newest, over = {}, '2020-01-01T00:00:00Z', threading.Event()

    def work():
        workers.send()
        over.set()

    worker = threading.Thread(target=work)
    worker.start()
    for turn in itertools.count():
        was_over = over.is_set()
        for one in changes(acme, newest, limit=5):
            seen[one['id']] = one['status']
            newest = max(newest, one['updated_at'])
        if was_over:
            break
        assert turn < 1000
        time.sleep(0.01)
    worker.join()
    assert seen == dict.fromkeys(sent, 'accepted')


def coded(at):
    return b64encode(f'["{at}", "01930000-0000-7000-8000-000000000000"]'.encode()).decode()


@pytest.mark.parametrize(
    'cursor',
    [
        'x',
        'W10=',
        'WzEsMl0=',
        'bnVsbA==',
        '01930000-0000-7000-8000-000000000000',
        '\x00',
        'W1tb' * 490,
        *map(coded, ('9999-12-31T23:59:59-23:59', '2026-11-22T17:00:00', '2026-11-22')),
    ],
)
def test_a_cursor_of_another_list_is_422(acme, cursor):
    query = {'updated_since': '2020-01-01T00:00:00Z', 'cursor': cursor}
    answer = acme.get('/messages', query_string=query)
    assert (answer.status_code, list(answer.json['errors'])) == (422, ['cursor'])


def test_two_conversations_that_become_one_are_a_change(acme, people):
    people.write('Hi')
    people.write('Hi', phone=None, user='US.1')
    since = past_the_second()
    people.tell(
        envelope(
            [text_message('It is me', 'wamid.me', CUSTOMER, 'US.1')],
            contacts=[contact(user='US.1')],
        )
    )
    assert len(acme.conversations()) == 1
    seen = changes(acme, since)
    assert len(seen) == 2
    assert {one['conversation_id'] for one in seen} == {acme.conversations()[0]['id']}
