"""GET /events: nobody who asks misses an event, and those who wait hold up nobody."""

import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from service.events import event_list
from service.events.event import time_of
from service.runtime.db import connection, db
from service.runtime.watchdog import watchdog
from service.web import events
from tests.events.published import PUBLISH, event_ids, publish
from tests.people import CHATBOT, Customers, sql
from tests.stack import wait_until
from workers import clock

NEVER = 'ffffffff-ffff-ffff-ffff-ffffffffffff'


@pytest.fixture(autouse=True)
def account(backend):
    backend.account(responder={'kind': 'none'})


@pytest.fixture
def customers(meta, workers):
    return Customers(meta, workers)


def listed(backend, **query):
    answer = backend.get('/events', query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def ids(page):
    return [one['id'] for one in page['data']]


def test_what_happens_after_somebody_has_asked_is_listed(backend, customers):
    customers.write('before anybody listens')
    assert listed(backend)['data'] == []
    customers.write('Hello', wamid='wamid.1')
    (message,) = [one for one in backend.messages() if one['wamid'] == 'wamid.1']
    (event,) = listed(backend)['data']
    assert event['type'] == 'message.received'
    assert event['chatbot_id'] == CHATBOT
    assert event['data']['message'] == backend.message(message['id'])
    assert event['data']['conversation']['id'] == message['conversation_id']
    assert event['timestamp'].endswith('Z')
    assert event['timestamp'] == event_time(event['id'])


def event_time(event_id):
    return time_of(event_id).isoformat(timespec='microseconds').replace('+00:00', 'Z')


def test_events_come_oldest_first_in_pages(backend):
    listed(backend)
    publish(5)
    first = listed(backend, limit=2)
    assert first['next_cursor'] == first['after'] == ids(first)[-1]
    second = listed(backend, limit=2, after=first['next_cursor'])
    third = listed(backend, limit=2, cursor=second['next_cursor'])
    found = ids(first) + ids(second) + ids(third)
    assert found == event_ids()
    assert third['next_cursor'] is None
    assert listed(backend, limit=5)['next_cursor'] is None
    publish()
    assert len(listed(backend, after=third['after'])['data']) == 1


def test_events_are_found_by_chatbot_and_type(backend):
    backend.account('other', '300155500044478')
    listed(backend)
    publish()
    publish(type_='batch.paused')
    publish(chatbot_id='other')
    assert len(listed(backend)['data']) == 3
    assert len(listed(backend, chatbot_id=CHATBOT)['data']) == 2
    (found,) = listed(backend, chatbot_id=CHATBOT, type='batch.paused')['data']
    assert found['type'] == 'batch.paused'
    assert listed(backend, type='message.received')['data'] == []


@pytest.mark.parametrize('chatbot', [{}, {'chatbot_id': CHATBOT}])
def test_a_type_is_found_behind_many_others(backend, monkeypatch, chatbot):
    """A look goes through so many events alone; a request looks several times."""
    monkeypatch.setattr(event_list, 'WALK', 3)
    listed(backend)
    for type_ in ('batch.paused', 'batch.paused'):
        publish(10)
        publish(type_=type_)
    publish(10)
    first = listed(backend, type='batch.paused', limit=1, **chatbot)
    assert ids(first) == [event_ids()[10]]
    second = listed(backend, type='batch.paused', after=first['next_cursor'], **chatbot)
    assert ids(second) == [event_ids()[21]]
    monkeypatch.setattr(events, 'WALK_SECONDS', 0)
    found, pages, page = [], 0, {'next_cursor': None}
    while pages == 0 or page['next_cursor']:
        after = {'after': page['next_cursor']} if pages else {}
        page = listed(backend, type='batch.paused', **chatbot, **after)
        found += ids(page)
        pages += 1
    assert found == [event_ids()[10], event_ids()[21]]
    assert pages > 8


def test_what_meta_posted_is_no_event_for_callers(backend):
    sql("INSERT INTO event (type, chatbot_id) VALUES ('relay', %s)", CHATBOT)
    ((relayed,),) = sql('SELECT id FROM event')
    assert listed(backend)['data'] == []
    assert listed(backend, chatbot_id=CHATBOT)['data'] == []
    assert backend.get(f'/events/{relayed}').status_code == 404


def test_now_begins_with_what_is_to_come(backend):
    listed(backend)
    publish(2)
    page = listed(backend, after='now')
    assert page['data'] == []
    publish()
    assert len(listed(backend, after=page['after'])['data']) == 1


@pytest.mark.parametrize(
    ('query', 'field'),
    [
        ({'after': 'yesterday'}, 'after'),
        ({'wait': '21'}, 'wait'),
        ({'wait': '1.5'}, 'wait'),
        ({'wait': '-1'}, 'wait'),
        ({'type': 'relay'}, 'type'),
        ({'type': 'message.sent'}, 'type'),
        ({'limit': '0'}, 'limit'),
        ({'before': 'x'}, 'before'),
    ],
)
def test_a_query_that_asks_for_nothing_there_is_is_refused(backend, query, field):
    answer = backend.get('/events', query_string=query)
    assert (answer.status_code, set(answer.json['errors'])) == (422, {field})
    assert sql('SELECT count(*) FROM endpoint') == [(0,)]


def test_the_events_of_a_chatbot_that_there_is_not_are_not_found(backend):
    answer = backend.get('/events', query_string={'chatbot_id': 'nobody'})
    assert (answer.status_code, answer.json['code']) == (404, 'unknown_chatbot')


def test_only_a_chatbot_that_somebody_listens_to_writes_events(backend):
    backend.account('other', '300155500044478')
    listed(backend, chatbot_id='other')
    publish()
    publish(chatbot_id='other')
    assert sql('SELECT chatbot_id FROM event') == [('other',)]


def test_who_asks_again_listens_on_and_writes_no_more_than_needed(backend):
    listed(backend)
    listed(backend)
    ((row, first),) = sql('SELECT xmin::text, listens_until FROM endpoint')
    listed(backend)
    assert sql('SELECT xmin::text, listens_until FROM endpoint') == [(row, first)]
    sql("UPDATE endpoint SET listens_until = now() - interval '1 hour'")
    publish()
    assert sql('SELECT count(*) FROM event') == [(0,)]
    listed(backend)
    publish()
    assert sql('SELECT count(*) FROM event') == [(1,)]


def test_who_asks_no_more_is_forgotten(backend):
    listed(backend)
    listed(backend, chatbot_id=CHATBOT)
    sql("UPDATE endpoint SET listens_until = now() - interval '1 s' WHERE chatbot_id IS NULL")
    with connection():
        clock.tidy()
    assert sql('SELECT chatbot_id FROM endpoint') == [(CHATBOT,)]
    listed(backend)
    assert sql('SELECT count(*) FROM endpoint') == [(2,)]


def test_an_event_that_is_committed_late_is_not_skipped(backend, postgres):
    """Its id is made before the one of an event that everybody sees already."""
    listed(backend)
    late = psycopg2.connect(postgres.url)
    with late.cursor() as cursor:
        cursor.execute(PUBLISH, ('batch.done', CHATBOT))
        publish()
        page = listed(backend)
        assert page['data'] == []
        late.commit()
    late.close()
    again = listed(backend, after=page['after'])
    assert len(ids(again)) == 2
    assert ids(again) == sorted(ids(again))


def test_the_place_never_goes_back(backend, postgres):
    """A transaction that begins to write late makes the horizon older than it was."""
    listed(backend)
    old = psycopg2.connect(postgres.url)
    with old.cursor() as cursor:
        cursor.execute('SELECT 1')
        time.sleep(0.01)
        first = listed(backend)
        cursor.execute(PUBLISH, ('batch.done', CHATBOT))
        second = listed(backend, after=first['after'])
        assert second['after'] == first['after']
        old.commit()
    old.close()
    assert len(listed(backend, after=second['after'])['data']) == 1


def test_an_id_of_a_moment_lies_between_the_events_before_and_after(backend):
    listed(backend)
    for _ in range(50):
        ((before, moment, after),) = sql(
            'SELECT new_event_id(), clock_timestamp(), new_event_id() FROM pg_sleep(0)'
        )
        assert before < event_list.first_id(moment + timedelta(microseconds=1))
        assert event_list.first_id(moment) < after
        assert time_of(event_list.first_id(moment)) == moment
    far = datetime(9999, 12, 31, tzinfo=UTC)
    assert event_list.first_id(datetime(1969, 1, 1, tzinfo=UTC)) < event_list.first_id(far) < NEVER


class Waiting:
    """A caller that waits for events in a thread of its own."""

    def __init__(self, application, backend, **query):
        self.client, self.headers, self.query = application.test_client(), backend.headers, query
        self.thread = threading.Thread(target=self._ask)
        self.answer = self.seconds = None
        self.thread.start()

    def _ask(self):
        began = time.monotonic()
        self.answer = self.client.get(
            '/whatsapp-cloud/events', query_string=self.query, headers=self.headers
        )
        self.seconds = time.monotonic() - began

    def answered(self):
        self.thread.join(30)
        assert self.answer.status_code == 200, self.answer.text
        return self.answer.json


def waiting():
    """How many callers wait."""
    return events.MAX_WAITERS - events.waiters._value


def test_a_caller_waits_for_the_next_event_without_a_connection(application, backend, customers):
    page = listed(backend)
    caller = Waiting(application, backend, after=page['after'], wait=20)
    wait_until(lambda: waiting() == 1)
    customers.write('Hello')
    (event,) = caller.answered()['data']
    assert event['type'] == 'message.received'
    assert caller.seconds < 15
    assert waiting() == 0


def test_while_callers_wait_connections_are_free(application, backend, monkeypatch):
    listed(backend)
    monkeypatch.setattr(events, 'LOOK_SECONDS', 3)
    free = db._free_places._value
    callers = [Waiting(application, backend, after=NEVER, wait=2) for _ in range(3)]
    wait_until(lambda: waiting() == 3 and db._free_places._value == free)
    assert [caller.answered()['data'] for caller in callers] == [[], [], []]


def test_who_waits_in_vain_is_told_so_in_time(application, backend):
    caller = Waiting(application, backend, after='now', wait=1)
    page = caller.answered()
    assert page['data'] == []
    assert page['next_cursor'] is None
    assert uuid.UUID(page['after'])
    assert caller.seconds >= 1


def test_one_more_than_may_wait_is_asked_to_come_later(application, backend):
    listed(backend)
    callers = [
        Waiting(application, backend, after=NEVER, wait=20) for _ in range(events.MAX_WAITERS)
    ]
    wait_until(lambda: waiting() == events.MAX_WAITERS)
    refused = backend.get('/events', query_string={'after': NEVER, 'wait': 1})
    assert (refused.status_code, refused.json['code']) == (429, 'too_many_waiters')
    assert int(refused.headers['Retry-After']) >= 1
    assert listed(backend, after=NEVER)['data'] == []
    publish()
    assert len(listed(backend, wait=20)['data']) == 1  # nobody has to wait for what is there
    watchdog.hurry()  # as at SIGTERM
    try:
        assert [caller.answered()['data'] for caller in callers] == [[]] * events.MAX_WAITERS
    finally:
        watchdog.relax()


def test_an_event_is_shown_with_its_deliveries(backend):
    made = backend.post('/endpoints', {'url': 'https://platform.example/hook'}).json
    listed(backend)
    publish()
    (found,) = listed(backend)['data']
    shown = backend.get(f'/events/{found["id"]}').json
    (delivery,) = shown.pop('deliveries')
    assert shown == found
    assert delivery['endpoint_id'] == made['id']
    assert (delivery['status'], delivery['attempts']) == ('waiting', 0)
    assert backend.get(f'/events/{NEVER}').status_code == 404


def test_a_look_reads_the_clock_before_the_rows(database, monkeypatch):
    """In two statements: what is committed between them is seen, and else comes later."""
    sent = []
    execute_sql = db.execute_sql
    monkeypatch.setattr(db, 'execute_sql', lambda *given: sent.append(given) or execute_sql(*given))
    with connection():
        event_list.look(event_list.Wanted(None, None), None, 10)
    assert ['pg_stat_activity' in statement for statement, *_ in sent] == [True, False]
