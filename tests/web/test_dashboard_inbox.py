"""The dashboard's inbox: what it lists, what its filters and its search find, and for whom."""

import html
import re

import pytest

from service.conversations import active_conversations
from service.web import pagination
from tests.dashboard import Person, older
from tests.people import CHATBOT, CUSTOMER, Customers, contact, envelope, sql, text_message
from tests.web.tenants import fill, key_of

HARM = '<script>alert("x")</script><img src=x onerror=alert(1)>'


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture
def people(acme, meta, workers):
    return Customers(meta, workers)


@pytest.fixture
def person(application, acme):
    return Person(application).log_in()


def titles(page):
    """Of the conversations on a page, in their order."""
    assert page.status_code == 200, page.text
    found = re.findall(r'/inbox/[0-9a-f-]{36}" dir="auto">(.*?)</a>', page.text, re.DOTALL)
    return [html.unescape(one).strip() for one in found]


def say(people, text, phone, name, ago=0):
    message = text_message(text, f'wamid.{phone}.{text[:9]}', phone)
    message['timestamp'] = str(int(message['timestamp']) - ago)
    people.tell(envelope([message], contacts=[contact(name, phone)]))


@pytest.fixture
def three(people):
    """Ben wrote an hour ago, Ada half an hour ago, Carl a minute ago."""
    say(people, 'I look for a boat', '12025550102', 'Ben', 3600)
    say(people, 'Good morning', '12025550101', 'Ada', 1800)
    say(people, 'Where is my order?', '12025550103', 'Carl', 60)


def test_an_empty_inbox_says_so(person):
    page = person.get('/inbox')
    assert page.status_code == 200
    assert 'No conversations here.' in page.text


def test_the_last_spoken_in_comes_first_with_what_was_said(person, people, three):
    page = person.get('/inbox')
    assert titles(page) == ['Carl', 'Ada', 'Ben']
    assert 'Where is my order?' in page.text
    assert '+12025550103' in page.text
    say(people, 'Hello?', '12025550102', 'Ben')
    assert titles(person.get('/inbox'))[0] == 'Ben'


def test_a_page_goes_on_where_the_last_one_ended(person, three, monkeypatch):
    monkeypatch.setattr(pagination, 'LIMIT_DEFAULT', 1)
    seen, page = [], person.get('/inbox')
    for _ in range(3):
        seen += titles(page)
        more = older(page)
        if more:
            page = person.get(more)
    assert seen == ['Carl', 'Ada', 'Ben']
    assert more is None
    assert person.get('/inbox?cursor=nonsense').status_code == 422


@pytest.mark.parametrize('walk', [5000, 1])
def test_filters_show_those_that_they_name(person, acme, three, monkeypatch, walk):
    """By looking at the latest, and by the indexes."""
    monkeypatch.setattr(active_conversations, 'WALK', walk)
    ids = {one['name']: one['id'] for one in acme.conversations()}
    acme.post(f'/conversations/{ids["Ada"]}/pause', {'assignee': 'maria'})
    sql('UPDATE conversation SET last_outbound_at = now() WHERE id = %s', ids['Carl'])
    assert titles(person.get('/inbox?show=unanswered')) == ['Ada', 'Ben']
    assert titles(person.get('/inbox?show=paused')) == ['Ada']
    assert titles(person.get('/inbox?assignee=maria')) == ['Ada']
    assert titles(person.get('/inbox?assignee=nobody')) == []
    assert titles(person.get('/inbox?show=unanswered&assignee=maria')) == ['Ada']
    assert person.get('/inbox?show=nonsense').status_code == 422


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('ada', ['Ada']),
        ('ADA', ['Ada']),
        ('+1 202-555-0101', ['Ada']),
        ('0102', ['Ben']),
        ('202555', ['Carl', 'Ada', 'Ben']),
        ('boat', ['Ben']),
        ('orde', ['Carl']),
        ('%', []),
        ('Xanthippe', []),
    ],
)
def test_a_search_finds_names_numbers_and_words(person, three, text, found):
    assert titles(person.get('/inbox', query_string={'q': text})) == found


def test_a_whole_number_is_found_however_old_it_is(person, three, monkeypatch):
    monkeypatch.setattr(active_conversations, 'NAME_WALK', 1)
    assert titles(person.get('/inbox?q=%2B12025550102')) == ['Ben']
    assert titles(person.get('/inbox?q=Ben')) == []


def test_messages_that_are_found_come_in_pages(person, people, three, monkeypatch):
    monkeypatch.setattr(pagination, 'LIMIT_DEFAULT', 1)
    say(people, 'A boat, please', '12025550101', 'Ada')
    first = person.get('/inbox?q=boat')
    assert titles(first) == ['Ada']
    assert titles(person.get(older(first))) == ['Ben']
    assert person.get('/inbox?q=' + 'a' * 201).status_code == 422


def test_what_people_write_and_call_themselves_is_text(person, people):
    say(people, HARM, CUSTOMER, HARM)
    for page in (person.get('/inbox'), person.get('/inbox?q=alert')):
        assert '<script>alert' not in page.text
        assert '<img src=x' not in page.text
        assert titles(page)[0] == HARM


def test_a_key_sees_its_own_chatbots_alone(application, backend, meta, workers):
    world = fill(backend, meta, workers)
    key = key_of(backend, 'other', 'third')
    scoped, root = Person(application).log_in(key), Person(application).log_in()
    assert titles(root.get('/inbox')) == ['thirdSecret', 'otherSecret', 'acmeSecret']
    assert titles(scoped.get('/inbox')) == ['thirdSecret', 'otherSecret']
    assert titles(scoped.get('/inbox?chatbot_id=other')) == ['otherSecret']
    queries = ('', '?show=unanswered', '?chatbot_id=acme', '?q=secret', '?q=shared')
    queries += (f'?q={world["acme"].phone}', '?q=acme.user', '?assignee=maria', '?show=paused')
    for query in queries:
        page = scoped.get(f'/inbox{query}')
        assert page.status_code == 200
        assert 'acmeSecret' not in page.text, query
        assert world['acme'].conversation_id not in page.text, query
    assert CHATBOT not in re.findall(r'<option value="(\w*)"', scoped.get('/inbox').text)
