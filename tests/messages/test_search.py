"""GET /messages?q=: messages of both directions by the words of their text."""

import json
import random
import re
from datetime import UTC, datetime, timedelta
from itertools import permutations
from types import SimpleNamespace

import pytest

from service.content.search_words import wanted_words, words
from service.messages import message_list, message_search, search_index
from service.runtime import ids as message_ids
from service.runtime import migrate
from service.runtime.db import connection, db, execute
from service.web.messages import SEARCH_MAX
from tests.messages.test_echoes import echo, echoed
from tests.messages.test_inbound_view import edit, of_type, revoke
from tests.people import CHATBOT, CUSTOMER, Customers, envelope, sql, text_message

OTHER = '300112233445567'  # another chatbot's number
PAST_THE_WALK = 2


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture
def people(acme, meta, workers):
    return Customers(meta, workers)


@pytest.fixture(params=['newest', 'index'])
def either_way(request, monkeypatch):
    """By looking at the newest messages, and by the index."""
    if request.param == 'index':
        monkeypatch.setattr(message_search, 'WALK', PAST_THE_WALK)
        monkeypatch.setattr(message_search, 'CONVERSATION_WALK', PAST_THE_WALK)


def search(backend, q, **query):
    return [one['id'] for one in backend.messages(q=q, **query)]


def texts(backend, q, **query):
    return [one['text'] for one in backend.messages(q=q, **query)]


# ---- what is found


def test_both_directions_newest_first_whatever_case_and_accents(acme, people, either_way):
    people.write('Cadê minha ENCOMENDA?')
    acme.send(text='A encomenda está a caminho')
    people.write('Obrigada')
    acme.send(text='Encômenda: entregue')
    acme.send(text='Nothing of the kind')
    acme.send(text='Good bye')
    found = [
        'Encômenda: entregue',
        'A encomenda está a caminho',
        'Cadê minha ENCOMENDA?',
    ]
    for q in ('encomenda', 'ENCOMENDA', 'êncómendâ', 'enco', 'ｅｎｃｏ', ' encomenda! '):
        assert texts(acme, q) == texts(acme, q, chatbot_id=CHATBOT) == found
    assert texts(acme, 'comenda') == texts(acme, 'encomendas') == []


def test_every_word_but_the_last_is_whole(acme, either_way):
    acme.send(text='the order arrives today')
    acme.send(text='the orders arrive')
    acme.send(text='order')
    acme.send(text='one more')
    acme.send(text='and more')
    assert texts(acme, 'order arr') == ['the order arrives today']
    assert texts(acme, 'arr order') == []
    assert texts(acme, 'arrives order') == ['the order arrives today']
    assert texts(acme, 'the ord') == ['the orders arrive', 'the order arrives today']


def test_any_apostrophe_is_found_by_any_other(acme, either_way):
    sent = [acme.send(text=f'моя сім{one}я')['id'] for one in "'’ʼʻꞌ"][::-1]
    acme.send(text='моя сім')
    acme.send(text='filler')
    for one in "'’ʼʻꞌ":
        assert search(acme, f'моя сім{one}я') == sent
        assert search(acme, f'СІМ{one}Я моя') == sent


def store_words(message_id, words_of_earlier_version):
    """Let a message have these words, at its place in the index."""
    ((place,),) = sql(
        'SELECT left(search::text, 7) FROM message_search WHERE message_id = %s', message_id
    )
    vector = ' '.join(f"{place}{word}'" for word in words_of_earlier_version)
    sql('UPDATE message_search SET search = %s WHERE message_id = %s', vector, message_id)


def test_words_that_an_earlier_version_stored_are_found_as_before(acme, either_way):
    letter, plain, new = (
        acme.send(text=f'моя п{apostrophe}ять хвилин')['id'] for apostrophe in "ʼ'ʼ"
    )
    store_words(letter, ['моя', 'пʼять', 'хвилин'])
    store_words(plain, ['моя', 'п', 'ять', 'хвилин'])
    for q in ('моя пʼять хвилин', 'хвилин пʼя', 'пʼять', 'хвилин'):
        assert search(acme, q) == [new, plain, letter]
    assert search(acme, "п'ять хвилин") == [new, plain]  # as before


def test_every_type_is_found_by_what_its_text_shows(acme, people, either_way):
    people.tell(envelope([of_type('image', {'id': '1', 'caption': 'the broken screen'}, 'w1')]))
    people.tell(envelope([of_type('document', {'id': '2', 'filename': 'invoice-77.pdf'}, 'w2')]))
    people.tell(envelope([of_type('button', {'text': 'Yes please', 'payload': 'p'}, 'w3')]))
    people.tell(envelope([of_type('location', {'name': 'Praça da Sé'}, 'w4')]))
    people.tell(envelope([of_type('holo', {'caption': 'of the future'}, 'w5')]))
    buttons = [{'type': 'reply', 'reply': {'id': 'y', 'title': 'Proceed'}}]
    content = {'type': 'button', 'body': {'text': 'Shall we?'}, 'action': {'buttons': buttons}}
    body = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'type': 'interactive'}
    assert acme.post('/send', body | {'interactive': content}).status_code == 202
    for q in ('broken', 'invoice 77', 'yes', 'praca', 'future', 'proceed', 'shall'):
        assert len(search(acme, q)) == 1, q
    for one in acme.messages():
        assert search(acme, ' '.join(wanted_words(one['text'])[:9])) == [one['id']]


def test_a_template_is_found_by_its_words_not_by_its_name_alone(acme, workers, either_way):
    acme.account(responder={'kind': 'none'}, waba_id='104996122399160')
    definition = [{'type': 'BODY', 'text': 'Dear {{1}}, your parcel waits'}]
    with connection():
        execute('DELETE FROM template')
        execute(
            'INSERT INTO template (waba_id, name, language, status, components)'
            " VALUES ('104996122399160', 'parcel_waits', 'en', 'APPROVED', %s)",
            (json.dumps(definition),),
        )
    parameters = [{'type': 'text', 'text': 'Zuleika'}]
    template = {
        'name': 'parcel_waits',
        'language': {'code': 'en'},
        'components': [{'type': 'body', 'parameters': parameters}],
    }
    body = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}'}
    sent = acme.post('/send', body | {'type': 'template', 'template': template}).json
    assert search(acme, 'dear zuleika parcel waits') == [sent['id']]
    for fallback in (acme.send(text='Hello', fallback_template=template),):
        assert search(acme, 'zul') == [fallback['id'], sent['id']]


def test_echoes_and_bulks_are_found(acme, people, workers, either_way):
    people.tell(echoed(echo('I am at the counter')))
    rows = [{'to': f'+551198888000{n}'} for n in range(4)]
    message = {'type': 'text', 'text': {'body': 'Spring offer'}}
    answer = acme.post(
        '/send/bulk', {'chatbot_id': CHATBOT, 'message': message, 'recipients': rows}
    )
    assert answer.status_code == 202, answer.text
    assert texts(acme, 'counter') == ['I am at the counter']
    assert texts(acme, 'spring offer') == ['Spring offer'] * 4


@pytest.mark.parametrize('order', list(permutations(range(3))))
def test_edits_and_revokes_change_it_in_whichever_order_they_come(acme, people, order):
    start = 1790000000
    messages = [
        text_message('Monday morning', at=start),
        edit('Tuesday evening', 'wamid.1', start + 1),
        edit('Friday evening', 'wamid.2', start + 2),
    ]
    for n in order:
        people.tell(envelope([messages[n]]))
    (original,) = [one for one in acme.messages() if one['wamid'] == 'wamid.A']
    assert original['text'] == 'Friday evening'
    assert original['id'] in search(acme, 'friday evening')
    assert search(acme, 'monday') == []
    assert original['id'] not in search(acme, 'tuesday')
    people.tell(envelope([revoke('wamid.3', start + 3)]))
    assert original['id'] not in search(acme, 'friday')


def test_edits_of_one_webhook_and_of_echoes(acme, people):
    people.tell(envelope([edit('Tuesday', 'wamid.1'), text_message('Monday')]))
    assert search(acme, 'monday') == []
    people.tell(echoed(echo('Wednesday', 'wamid.E')))
    assert len(search(acme, 'wednesday')) == 1
    about = {'original_message_id': 'wamid.E'}
    changed = {**about, 'message': {'type': 'text', 'text': {'body': 'Thursday'}}}
    written = echo(wamid='wamid.F', at=1790000001)
    del written['text']
    people.tell(echoed(written | {'type': 'edit', 'edit': changed}))
    assert search(acme, 'wednesday') == []
    assert len(search(acme, 'thursday')) == 2  # it, and the edit


def test_an_edit_that_does_not_count_changes_nothing(acme, people):
    people.write('Monday', wamid='wamid.A')
    people.tell(envelope([edit('Tuesday', 'wamid.1', about='wamid.X')]))
    people.tell(echoed(echo(wamid='wamid.F') | {'type': 'revoke', 'revoke': {}}))
    assert texts(acme, 'monday') == ['Monday']


# ---- whose, and with which filters


def test_nothing_of_another_chatbot(acme, people, either_way):
    acme.account('other', OTHER)
    for n in range(4):
        acme.send(text=f'secret {n}')
        acme.send(text=f'secret {n}', chatbot_id='other')
    assert len(search(acme, 'secret')) == 8
    for chatbot_id in (CHATBOT, 'other'):
        found = acme.messages(q='secret', chatbot_id=chatbot_id)
        assert [one['chatbot_id'] for one in found] == [chatbot_id] * 4
    assert search(acme, 'secret', chatbot_id='nobody') == []


def test_with_the_other_filters(acme, people, either_way):
    people.write('order one')
    for n in range(3):
        acme.send(text=f'order {n}', client_reference=f'r{n}')
    other = acme.send('+12025550144', text='order other')
    acme.send(text='thanks')
    (conversation,) = {one['conversation_id'] for one in acme.messages(direction='inbound')}
    assert len(search(acme, 'order', conversation_id=conversation)) == 4
    assert search(acme, 'order', conversation_id=other['conversation_id']) == [other['id']]
    assert texts(acme, 'order', direction='inbound') == ['order one']
    assert texts(acme, 'order', client_reference='r1') == ['order 1']
    assert search(acme, 'thanks', client_reference='r1') == []
    assert len(search(acme, 'order', to=CUSTOMER)) == 3
    assert search(acme, 'order', to=CUSTOMER, limit=2) == search(acme, 'order', to=CUSTOMER)[:2]
    wamid = acme.messages(direction='inbound')[0]['wamid']
    assert texts(acme, 'one', wamid=wamid) == ['order one']
    assert search(acme, 'two', wamid=wamid) == []
    assert texts(acme, 'order', status='failed') == []
    assert len(search(acme, 'order', status='queued')) == 4
    at = acme.messages(client_reference='r1')[0]['created_at']
    assert texts(acme, 'order', created_after=at) == ['order other', 'order 2']
    assert texts(acme, 'order', created_before=at) == ['order 0', 'order one']
    assert search(acme, 'order', created_after='2099-01-01T00:00:00Z') == []


def test_pages_meet_without_a_gap(acme, either_way):
    sent = [acme.send(text=f'page {n % 2}')['id'] for n in range(9)][::-1]
    for q, expected in (('page', sent), ('page 1', sent[1::2])):
        found, cursor = [], None
        while True:
            query = {'q': q, 'limit': 2} | ({'cursor': cursor} if cursor else {})
            page = acme.get('/messages', query_string=query).json
            found += [one['id'] for one in page['data']]
            cursor = page['next_cursor']
            if not cursor:
                break
            assert len(page['data']) == 2
        assert found == expected


def test_years_of_messages(acme, monkeypatch):
    """Each 50 days have a place of their own in the index."""
    monkeypatch.setattr(message_search, 'WALK', PAST_THE_WALK)
    now = datetime.now(UTC)
    sent = []
    for days in (1500, 1499, 700, 400, 399, 120, 49, 3, 0):
        at = (now - timedelta(days=days)).timestamp()
        clock = SimpleNamespace(time_ns=lambda at=at: int(at * 1e9))
        monkeypatch.setattr(message_ids, 'time', clock)
        monkeypatch.setattr(message_ids, '_last_ticks', 0)
        sent.insert(0, acme.send(text=f'yearly news {days}')['id'])
    assert search(acme, 'yearly') == search(acme, 'yearly', chatbot_id=CHATBOT) == sent
    assert search(acme, 'news 1499') == [sent[-2]]
    assert search(acme, 'yearly', limit=5) == sent[:5]


def test_any_search_finds_what_a_look_at_every_message_finds(acme, monkeypatch):
    random.seed(11)
    vocabulary = ['red', 'reddish', 'green', 'grün', 'blue', 'bleu', '红色', '1', '12', '👍']
    for _ in range(60):
        acme.send(text=' '.join(random.choices(vocabulary, k=random.randint(1, 4))))
    sent = [(one['id'], set(words(one['text']))) for one in acme.messages()]
    for walk in (1, 7, 5000):
        monkeypatch.setattr(message_search, 'WALK', walk)
        for _ in range(20):
            q = ' '.join(random.choices(vocabulary, k=random.randint(1, 2)))
            *whole, last = wanted_words(q)
            expected = [
                id_
                for id_, has in sent
                if set(whole) <= has and any(word.startswith(last) for word in has)
            ]
            assert search(acme, q) == expected, (walk, q)


def test_behind_a_pooler(acme, setting, monkeypatch):
    """Where the settings of a plan go with each statement, and no session of ours keeps them."""
    monkeypatch.setattr(message_search, 'WALK', PAST_THE_WALK)
    setting('DATABASE_PREPARE', 'no')
    db.close_idle()
    try:
        sent = [acme.send(text=f'pooled {n}')['id'] for n in range(5)][::-1]
        assert search(acme, 'pooled') == search(acme, 'pooled', chatbot_id=CHATBOT) == sent
        assert sql('SHOW enable_seqscan') == sql('SHOW enable_bitmapscan') == [('on',)]
        assert sql('SHOW work_mem') != [('32MB',)]
    finally:
        db.close_idle()


# ---- what may be asked


@pytest.mark.parametrize('q', ['&', "'", '!!', '…', 'x' * (SEARCH_MAX + 1), 'a\0b', '   ', '_'])
def test_what_nothing_can_be_found_by_is_refused(acme, q):
    answer = acme.get('/messages', query_string={'q': q})
    assert answer.status_code == 422
    assert list(answer.json['errors']) == ['q']


@pytest.mark.parametrize('q', ["a' | 'b", 'a:*', 'a\\', 'a & !b', 'a <-> b', '%a%', 'a~', "~'a"])
def test_no_operator_reaches_the_database(acme, q, either_way):
    acme.send(text=q)
    acme.send(text='something else')
    acme.send(text='more')
    acme.send(text='more')
    assert texts(acme, q) == [q]


def test_an_empty_search_and_one_for_changes(acme):
    sent = acme.send()['id']
    assert search(acme, '') == [sent]
    query = {'q': 'hello', 'updated_since': '2026-01-01T00:00:00Z'}
    assert list(acme.get('/messages', query_string=query).json['errors']) == ['q']


# ---- what is stored


def test_the_words_go_with_their_message(acme):
    acme.send(text='short lived')
    assert sql('SELECT count(*) FROM message_search') == [(1,)]
    with connection():
        execute('DELETE FROM message')
    assert sql('SELECT count(*) FROM message_search') == [(0,)]


def test_statuses_do_not_write_the_words_again(acme, workers, stand_in):
    acme.send(text='written once')
    before = sql('SELECT xmin, ctid FROM message_search')
    workers.send()
    assert acme.messages()[0]['status'] == 'accepted'
    assert sql('SELECT xmin, ctid FROM message_search') == before


# ---- messages of earlier versions


ALL = (
    "VALUES (1, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '00000000-0000-0000-0000-000000000000', {})"
)


def of_an_earlier_version(due_at='now()'):
    """As the release finds the messages that are there."""
    with connection():
        execute('DELETE FROM message_search')
        execute('UPDATE conversation SET last_outbound_at = NULL')
        execute(f'INSERT INTO message_backfill {ALL.format(due_at)}')


def test_the_clock_stores_the_words_of_earlier_messages(
    acme, people, workers, stand_in, monkeypatch
):
    monkeypatch.setattr(search_index, 'BATCH', 4)
    people.tell(envelope([text_message('Monday'), edit('Tuesday', 'wamid.1')]))
    sent = [acme.send(text=f'offer {n}')['id'] for n in range(9)][::-1]
    acme.send('+12025550144', text='never accepted')
    acme.send(text='👻')
    with connection():
        execute("UPDATE message SET accepted_at = created_at WHERE content::text LIKE '%offer%'")
    of_an_earlier_version()
    assert search(acme, 'offer') == []
    workers.sweep()
    assert search(acme, 'offer') == sent[: len(search(acme, 'offer'))] != []
    for _ in range(5):
        workers.sweep()
    assert search(acme, 'offer') == sent
    assert search(acme, 'monday') == []
    assert len(search(acme, 'tuesday')) == 2
    assert sql('SELECT count(*) FROM message_backfill') == [(0,)]
    last = {one['wa_id']: one['last_outbound_at'] for one in acme.conversations()}
    assert last[CUSTOMER] == acme.message(sent[0])['created_at']
    assert last['12025550144'] is None


def test_the_backfill_keeps_what_is_newer_and_waits_for_its_time(acme, workers):
    acme.send(text='stored already')
    with connection():
        execute(
            "INSERT INTO message_search VALUES ((SELECT id FROM message), '') "
            'ON CONFLICT (message_id) DO UPDATE SET search = excluded.search'
        )
        execute("UPDATE message SET accepted_at = '2020-01-01Z'")
        execute("UPDATE conversation SET last_outbound_at = '2026-01-01Z'")
        execute(f'INSERT INTO message_backfill {ALL.format("now() + interval $$1 hour$$")}')
    workers.sweep()
    assert sql('SELECT count(*) FROM message_backfill WHERE due_at > now()') == [(1,)]
    with connection():
        execute('UPDATE message_backfill SET due_at = now()')
    workers.sweep()
    assert search(acme, 'stored') == []
    assert acme.conversations()[0]['last_outbound_at'] == '2026-01-01T00:00:00.000000Z'


def test_the_release_asks_for_all_and_later_for_what_came_meanwhile(acme):
    """Processes of the former version go on for a while, and store no words."""
    section = dict(migrate.sections())[10]
    (insert,) = re.findall(r'INSERT INTO message_backfill VALUES.*?;', section, re.DOTALL)
    sent = acme.send()['id']
    sql(insert)
    both = 'SELECT next_id, first_id, due_at <= now() FROM message_backfill ORDER BY id'
    first, second = sql(both)
    assert first == (message_search.LAST_ID, message_list.FIRST_ID, True)
    assert second[0] == message_search.LAST_ID
    assert not second[2]
    hour = int(sent.replace('-', '')[:12], 16) - int(second[1].replace('-', '')[:12], 16)
    assert 3_590_000 < hour < 3_700_000


def test_two_clocks_share_the_backfill(acme, workers, postgres):
    acme.send(text='only one')
    of_an_earlier_version()
    other = postgres.connect()
    with other, other.cursor() as cursor:
        cursor.execute('SELECT 1 FROM message_backfill FOR UPDATE')
        workers.sweep()
        assert search(acme, 'only') == []
    other.close()
    workers.sweep()
    assert len(search(acme, 'only')) == 1
