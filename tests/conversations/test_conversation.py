"""One conversation for each person and group, by whatever identities Meta shows, and its 24-hour
window.
"""

import random
import threading
from datetime import UTC, datetime
from itertools import count

import pytest

from service.conversations.identity import resolve
from service.conversations.identity_claim import IdentityClaim
from service.runtime.db import connection, db
from service.webhooks import inbox, process
from tests.people import CHATBOT, contact, envelope, sql, text_message

AT = 1790000000
ANA, BEN = 'US.1001', 'US.2002'
PHONE, OTHER_PHONE = '12025550143', '12025550199'


@pytest.fixture(autouse=True)
def account(backend):
    return backend.account()


@pytest.fixture
def write(meta, workers):
    """write(phone=…, user=…): somebody writes, one POST each time, and a worker hears it."""
    numbers = count(1)

    def post(*people, at=AT, **person):
        messages = [
            text_message(
                wamid=f'wamid.{next(numbers)}', at=one.pop('at', at), **{'phone': None, **one}
            )
            for one in (people or [person])
        ]
        assert meta.webhook(envelope(messages)).status_code == 200
        workers.incoming()

    return post


def moment(seconds):
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec='microseconds')
        .replace('+00:00', 'Z')
    )


def known_by(backend):
    return sorted((one['wa_id'] or '', one['user_id'] or '') for one in backend.conversations())


# ---- who is who


@pytest.mark.parametrize(
    'steps',
    [
        [{'phone': PHONE, 'user': ANA}, {'user': ANA}, {'phone': PHONE, 'user': ANA}],
        [{'user': ANA}, {'phone': PHONE, 'user': ANA}, {'phone': PHONE}],
        [{'phone': PHONE}, {'phone': PHONE, 'user': ANA}, {'user': ANA}],
        [{'phone': PHONE}, {'user': ANA}, {'phone': PHONE, 'user': ANA}],
        [{'user': ANA}, {'phone': PHONE}, {'phone': PHONE, 'user': ANA}, {'phone': PHONE}],
    ],
)
@pytest.mark.parametrize('at_once', [False, True])
def test_a_phone_that_comes_and_goes_makes_no_second_conversation(backend, write, steps, at_once):
    if at_once:
        write(*[dict(step) for step in steps])
    else:
        for step in steps:
            write(**step)
    assert known_by(backend) == [(PHONE, ANA)]
    (conversation,) = backend.conversations()
    assert {message['conversation_id'] for message in backend.messages()} == {conversation['id']}
    assert len(backend.messages()) == len(steps)


def test_a_phone_that_is_hidden_is_still_remembered(backend, write):
    write(phone=PHONE, user=ANA)
    write(user=ANA)
    assert known_by(backend) == [(PHONE, ANA)]


@pytest.mark.parametrize('at_once', [False, True])
def test_a_number_with_another_bsuid_belongs_to_another_person(backend, write, at_once):
    steps = [{'phone': PHONE, 'user': ANA}, {'phone': PHONE, 'user': BEN}]
    if at_once:
        write(*steps)
    else:
        write(**steps[0])
        write(**steps[1])
    assert known_by(backend) == [('', ANA), (PHONE, BEN)]
    write(phone=PHONE)  # without a BSUID: whose the number is now
    write(user=ANA)
    by_person = {one['user_id']: one['id'] for one in backend.conversations()}
    of_messages = [message['conversation_id'] for message in backend.messages()]
    assert of_messages == [by_person[ANA], by_person[BEN], by_person[BEN], by_person[ANA]]


def test_a_person_with_a_new_number_keeps_the_conversation(backend, write):
    write(phone=PHONE, user=ANA)
    write(phone=OTHER_PHONE, user=ANA)
    assert known_by(backend) == [(OTHER_PHONE, ANA)]
    write(phone=OTHER_PHONE)
    assert len(backend.conversations()) == 1


def test_the_case_of_a_bsuid_matters(backend, write):
    write(user='US.abc')
    write(user='US.ABC')
    assert len(backend.conversations()) == 2


def test_the_same_person_has_a_conversation_with_each_chatbot(backend, write, meta, workers):
    backend.account('other', '42')
    write(phone=PHONE, user=ANA)
    meta.webhook(envelope([text_message(phone=PHONE, user=ANA)], number='42'))
    workers.incoming()
    assert len(backend.conversations()) == len(backend.conversations('other')) == 1


def test_whom_we_wrote_to_first_is_known_when_they_answer(backend, write):
    by_phone = backend.send(to='+1 (202) 555-0143')
    by_bsuid = backend.post(
        '/send', {'chatbot_id': CHATBOT, 'recipient': BEN, 'text': {'body': 'Hi'}}
    ).json
    write(phone=PHONE, user=ANA)
    write(phone=OTHER_PHONE, user=BEN)
    assert {one['user_id']: one['id'] for one in backend.conversations()} == {
        ANA: by_phone['conversation_id'],
        BEN: by_bsuid['conversation_id'],
    }


def test_a_conversation_that_was_part_of_another_takes_its_messages_along(backend, write):
    ours = backend.send(to=f'+{PHONE}')
    write(user=ANA, at=AT)
    write(phone=PHONE, user=ANA, at=AT + 5)
    (conversation,) = backend.conversations()
    assert {message['conversation_id'] for message in backend.messages()} == {conversation['id']}
    assert backend.message(ours['id'])['conversation_id'] == conversation['id']
    assert backend.get(f'/conversations/{ours["conversation_id"]}').json['id'] == conversation['id']


def test_the_news_of_a_changed_number_stands_in_the_conversation_which_goes_on_under_the_new_ids(
    meta, backend, write, workers
):
    write(phone=PHONE, user='US.2468013579246801')
    meta.webhook(meta.payload('in_system_user_changed_number'))
    workers.incoming()
    assert known_by(backend) == [(OTHER_PHONE, 'US.3334445556667778')]
    assert [message['type'] for message in backend.messages()] == ['system', 'text']


# ---- what is known of them


def test_names_are_kept_until_there_is_news(meta, backend, workers):
    for n, card in enumerate(
        (contact('Ana', PHONE, ANA, username='ana.1'), {'wa_id': PHONE}, contact('Ana B.', PHONE))
    ):
        meta.webhook(
            envelope(
                [text_message(wamid=f'w.{n}', phone=PHONE, user=ANA, at=AT + n)], contacts=[card]
            )
        )
        workers.incoming()
    (conversation,) = backend.conversations()
    assert (conversation['name'], conversation['username']) == ('Ana B.', 'ana.1')


def test_parent_bsuids_are_kept(meta, backend, workers):
    meta.webhook(envelope([text_message(user=ANA, from_parent_user_id='US.ENT.9')]))
    workers.incoming()
    assert [one['parent_user_id'] for one in backend.conversations()] == ['US.ENT.9']


def test_the_window_is_24_hours_from_metas_time_and_never_shrinks(backend, write):
    for at, latest in ((AT, AT), (AT + 60, AT + 60), (AT - 3600, AT + 60)):
        write(phone=PHONE, at=at)
        (conversation,) = backend.conversations()
        assert conversation['last_inbound_at'] == moment(latest)
        assert conversation['window_expires_at'] == moment(latest + 24 * 3600)


def test_within_one_post_the_latest_message_counts(backend, write):
    write(
        {'phone': PHONE, 'at': AT + 9}, {'phone': PHONE, 'at': AT + 70}, {'phone': PHONE, 'at': AT}
    )
    assert [one['last_inbound_at'] for one in backend.conversations()] == [moment(AT + 70)]


def test_a_message_that_comes_again_changes_nothing(meta, backend, workers):
    for card, more in ((contact('Ana'), {}), (contact('Eve'), {'errors': [{'code': 1}]})):
        meta.webhook(envelope([text_message()], contacts=[card], **more))
        workers.incoming()
    assert [one['name'] for one in backend.conversations()] == ['Ana']


def test_whom_we_only_wrote_to_has_no_window(backend):
    conversation = backend.get(f'/conversations/{backend.send()["conversation_id"]}').json
    assert (conversation['last_inbound_at'], conversation['window_expires_at']) == (None, None)
    assert conversation['paused_until'] is None


# ---- many at once


def test_many_threads_that_meet_the_same_new_people_make_one_conversation_each(backend):
    people = [IdentityClaim(CHATBOT, phone=f'1202555{n:04}', user=f'US.{n}') for n in range(30)]
    start, found, errors = threading.Barrier(8), [], []

    def meet(order):
        start.wait()
        for batch in (order[:10], order[10:], order[5:25]):
            try:
                with connection(), db.atomic():
                    found.extend(resolve(batch).items())
            except Exception as error:
                errors.append(error)

    in_parallel(meet, [random.Random(n).sample(people, 30) for n in range(8)])
    assert errors == []
    assert len(set(found)) == 30
    assert len(backend.conversations()) == 30


def test_phones_and_bsuids_in_any_order_over_many_workers_come_together(meta, backend, monkeypatch):
    monkeypatch.setattr(inbox.claim, '__defaults__', (2,))
    chance, numbers = random.Random(7), count(1)
    kinds = [(True, True), (True, False), (False, True)]
    wanted = [(who, *kind) for who in range(12) for kind in kinds * 6]
    chance.shuffle(wanted)
    for at in range(0, len(wanted), 5):
        messages = [
            text_message(
                wamid=f'wamid.{next(numbers)}',
                phone=f'1202555{who:04}' if phone else None,
                user=f'US.{who}' if user else None,
            )
            for who, phone, user in wanted[at : at + 5]
        ]
        meta.webhook(envelope(messages))
    errors = []

    def work(_):
        try:
            with connection():
                while process.process_due():
                    pass
        except Exception as error:
            errors.append(error)

    in_parallel(work, range(5))
    assert errors == []
    assert backend.outcomes() == [('message', 'stored')] * len(wanted)
    assert known_by(backend) == [(f'1202555{who:04}', f'US.{who}') for who in range(12)]
    strays = """
        SELECT 1 FROM message m WHERE NOT EXISTS (
          SELECT 1 FROM conversation c WHERE c.id = m.conversation_id
            AND coalesce(m.sender ->> 'from_user_id', c.user_id) = c.user_id
            AND coalesce(m.sender ->> 'from', c.wa_id) = c.wa_id)
    """
    assert sql(strays) == []


def in_parallel(work, shares):
    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
