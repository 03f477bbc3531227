"""One person is erased: nothing of them is anywhere, and everything of the others is there."""

import threading

import pytest

from service.runtime.db import connection, db
from tests.files import comes_in, media_message
from tests.listeners import make_due
from tests.people import CHATBOT, CUSTOMER, contact, envelope, sql, status_of, text_message
from tests.privacy.life import OMAR, ZOE, places_of
from tests.stack import wait_until
from workers import incoming, replies, send


def erase(backend, contact_id):
    answer = backend.request('DELETE', f'/contacts/{contact_id}')
    assert answer.status_code == 200, answer.text
    return answer.json['erased']


def the_contact(backend):
    (one,) = backend.conversations()
    return one['id']


@pytest.fixture
def acme(backend, stand_in):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture
def hear(meta, workers):
    """hear(message, …): webhooks come in and are worked off."""

    def hear(*messages, **more):
        assert meta.webhook(envelope(messages, **more)).status_code == 200
        workers.incoming()

    return hear


def test_after_an_erase_nothing_of_the_person_is_kept_anywhere(lived, backend, caplog, capsys):
    usage = sql('SELECT count(*) FROM usage_log')
    sums = backend.get(f'/stats?chatbot_id={CHATBOT}').json['total']
    assert places_of(ZOE.marks()).keys() == set(ZOE.marks())
    others = places_of(OMAR.marks())
    erased = erase(backend, lived[ZOE.word])
    assert places_of(ZOE.marks()) == {}
    assert places_of(OMAR.marks()) == others
    assert all(count > 0 for count in erased.values()), erased
    assert [mark for mark in ZOE.marks() if mark in capsys.readouterr().out + caplog.text] == []
    # what it cost and how many there were is still known
    assert sql('SELECT count(*) FROM usage_log') == usage
    assert backend.get(f'/stats?chatbot_id={CHATBOT}').json['total'] == sums


def test_what_is_left_still_goes_to_those_who_are_told(lived, backend, workers, listener):
    """A relay of a webhook of both is made of what is left of it."""
    erase(backend, lived[ZOE.word])
    listener.answer()
    listener.asks.clear()
    for (endpoint_id,) in sql('SELECT id FROM endpoint'):
        make_due(endpoint_id)
    workers.events()
    heard = [ask['raw'].decode() for ask in listener.asks]
    relayed = [body for body in heard if 'whatsapp_business_account' in body]
    assert len(relayed) == 2
    assert all(f'Last {OMAR.word}' in body for body in relayed)
    assert len(heard) > 2
    assert not any(mark in body for body in heard for mark in ZOE.marks())


def test_it_may_be_done_again_and_the_contact_is_gone(lived, backend):
    contact_id = lived[ZOE.word]
    erase(backend, contact_id)
    assert set(erase(backend, contact_id).values()) == {0}
    for path in ('', '/export'):
        assert backend.get(f'/contacts/{contact_id}{path}').status_code == 404
    nobody = backend.request('DELETE', '/contacts/01930000-0000-7000-8000-000000000000')
    assert nobody.status_code == 404


def test_who_writes_again_is_new(acme, hear):
    hear(text_message('Before'), contacts=[contact('Ines')])
    before = the_contact(acme)
    erase(acme, before)
    hear(text_message('After', 'wamid.B'))
    assert the_contact(acme) != before
    assert [one['text'] for one in acme.messages()] == ['After']


def test_a_merged_person_goes_by_any_id(acme, hear):
    user = 'US.Merged1'
    hear(text_message('By phone', 'wamid.1'))
    hear(text_message('By id', 'wamid.2', None, user))
    first, second = (one['id'] for one in acme.conversations())
    hear(text_message('Both', 'wamid.3', CUSTOMER, user))
    erased = erase(acme, first if first != the_contact(acme) else second)
    assert erased['messages'] == 3
    assert places_of([user, CUSTOMER]) == {}


def test_what_a_person_wrote_in_groups_goes_and_the_group_stays(acme, hear):
    hear(text_message('Alone', 'wamid.1'))
    person = the_contact(acme)
    hear(text_message('In the group', 'wamid.2', group_id='g1'))
    hear(text_message('Me too', 'wamid.3', '12025550199', group_id='g1'))
    assert erase(acme, person)['messages'] == 2
    assert [one['text'] for one in acme.messages()] == ['Me too']
    assert places_of([CUSTOMER]) == {}


def test_who_answered_a_person_in_a_group_names_them_no_more(acme, hear):
    hear(text_message('Alone', 'wamid.1'))
    person = the_contact(acme)
    other = '12025550199'
    hear(text_message('In the group', 'wamid.zq2', group_id='g1'))
    answer = {'context': {'from': CUSTOMER, 'id': 'wamid.zq2'}}
    hear(text_message('I see', 'wamid.3', other, group_id='g1', **answer))
    answer = {'context': {'from': other, 'id': 'wamid.3'}}
    hear(text_message('Do you', 'wamid.4', other, group_id='g1', **answer))
    erase(acme, person)
    assert places_of([CUSTOMER, 'wamid.zq2']) == {}
    assert [one['text'] for one in acme.messages()] == ['Do you', 'I see']
    assert places_of(['Do you', 'I see', 'wamid.3']).keys() == {'Do you', 'I see', 'wamid.3'}
    assert sql("SELECT context ->> 'id' FROM message ORDER BY id") == [(None,), ('wamid.3',)]


def test_files_that_went_to_others_too_are_kept(lived, backend):
    """What was uploaded for one goes, also from the storage, by its id alone."""
    ((shared,),) = sql(
        "SELECT id FROM media WHERE filename LIKE '%%otter%%' AND message_id IS NULL"
    )
    document = {'id': shared, 'caption': 'yours, too'}
    order = {'chatbot_id': CHATBOT, 'to': f'+{ZOE.phone}', 'type': 'document'}
    assert backend.post('/send', order | {'document': document}).status_code == 202
    erase(backend, lived[ZOE.word])
    assert backend.get(f'/media/{shared}/content').status_code == 200


def test_late_statuses_and_redeliveries_bring_nothing_back(acme, hear, meta, workers):
    message = text_message('Hello', contacts=None)
    hear(message)
    sent = acme.send()
    workers.send()
    sent = acme.message(sent['id'])
    erase(acme, the_contact(acme))
    late = [
        status_of(sent['wamid'], 'read'),
        status_of('wamid.of-a-send-under-way', 'sent', opaque=sent['id']),
        status_of('wamid.other', 'sent', recipient_id='12025550199'),
    ]
    hear(statuses=late)
    hear(message, contacts=[contact()])
    assert acme.conversations() == []
    assert places_of([CUSTOMER, sent['wamid']]) == {}
    assert sql('SELECT wamid FROM message_status') == [('wamid.other',)]


def test_a_webhook_that_waits_for_a_worker_is_erased_with_the_person(acme, hear, meta, workers):
    hear(text_message('Known'))
    waiting = [text_message('Waits', 'wamid.B'), text_message('Stays', 'wamid.C', '12025550199')]
    assert meta.webhook(envelope(waiting)).status_code == 200
    assert meta.webhook(envelope([text_message('Alone', 'wamid.D')])).status_code == 200
    erase(acme, the_contact(acme))
    workers.incoming()
    assert [one['text'] for one in acme.messages()] == ['Stays']
    assert places_of([CUSTOMER]) == {}


# ---- while something is under way


def in_background(call, *given):
    thread = threading.Thread(target=call, args=given)
    thread.start()
    return thread


def test_a_send_that_is_under_way_brings_nothing_back(acme, hear, workers, stand_in):
    hear(text_message('Hello'))
    stand_in.config(latency=400)
    sent = acme.send()
    with connection():
        send.sender().step()
    wait_until(lambda: acme.message(sent['id'])['status'] == 'sending')
    erase(acme, the_contact(acme))
    workers.send()
    (call,) = stand_in.sends()
    hear(statuses=[status_of(call['wamid'], 'delivered', opaque=sent['id'])])
    assert acme.conversations() == []
    assert places_of([CUSTOMER, sent['id']]).keys() <= {sent['id']}  # in the log of usage, at most


def test_a_reply_that_is_being_made_is_not_sent(backend, platform, stand_in, meta, workers):
    platform.thinks()
    assert meta.webhook(envelope([text_message('Hello')])).status_code == 200
    with connection():
        while incoming.step():
            pass
    wait_until(lambda: platform.asks)
    erase(backend, the_contact(backend))
    platform.open.set()
    workers.incoming()
    workers.send()
    assert replies.replies_of_this_process().pool.close(10)
    assert (stand_in.sends(), backend.messages(), places_of([CUSTOMER])) == ([], [], {})


def test_a_file_that_is_being_fetched_does_not_stay(
    backend, file_server, meta, workers, setting, media_directory
):
    erased = threading.Event()
    file = file_server.says['/file']

    def wait_and_answer(handler):
        assert erased.wait(10)
        handler.answer(*file)

    file_server.says['/file'] = wait_and_answer
    setting('GRAPH_TIMEOUT', 20)
    comes_in(meta, workers, media_message('77'))
    fetching = in_background(workers.errands)
    wait_until(lambda: '/file' in file_server.paths())
    erase(backend, the_contact(backend))
    erased.set()
    fetching.join(20)
    assert places_of(['a picture', CUSTOMER]) == {}


def test_webhooks_that_come_meanwhile_are_wholly_there_or_wholly_gone(acme, hear, meta, workers):
    """Someone writes without end: each message is erased with its body, or new with its body."""
    hear(text_message('0', 'wamid.0'))
    person = the_contact(acme)
    over = threading.Event()

    def write():
        number = 0
        while not over.is_set():
            number += 1
            meta.webhook(envelope([text_message(f'text{number}', f'wamid.{number}')]))
            with connection():
                incoming.step()

    writing = in_background(write)
    wait_until(lambda: sql('SELECT count(*) > 5 FROM message')[0][0])
    erase(acme, person)
    over.set()
    writing.join(20)
    workers.incoming()
    stored = {one['text'] for one in acme.messages()}
    bodies = ''.join(bytes(body).decode() for (body,) in sql('SELECT body FROM webhook_event'))
    told = {text for text in bodies.split('"') if text.startswith('text')}
    assert told - {'text'} == stored
    assert person not in {one['id'] for one in acme.conversations()}
    assert db.is_closed()
