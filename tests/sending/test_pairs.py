"""The pair limit (section 8): one message per 6 s to one person, 45 of them borrowed; and what
131056 does.
"""

import time

import pytest

from tests.people import CHATBOT, CUSTOMER, envelope, sql, status_of

THROTTLED_ALWAYS, THROTTLED_TWICE = '+19991310560', '+19991310562'
OTHER_PERSON = '+12025550144'


@pytest.fixture
def acme(backend, stand_in):
    backend.account()
    return backend


def wait_over():
    """What waits for its time is due now; debts of pairs stay."""
    sql("UPDATE message SET due_at = now() WHERE status = 'queued'")
    sql('UPDATE conversation SET send_after = NULL')


def pass_time(seconds):
    """The clocks of all conversations, moved instead of waited for."""
    sql(
        "UPDATE conversation SET send_after = send_after - %s * interval '1 s', "
        "pair_free_at = pair_free_at - %s * interval '1 s'",
        seconds,
        seconds,
    )
    sql("UPDATE message SET due_at = due_at - %s * interval '1 s' WHERE status = 'queued'", seconds)


def seconds_of_waiting(to=CUSTOMER):
    return sql(
        'SELECT extract(epoch FROM send_after - now())::float FROM conversation WHERE wa_id = %s',
        to,
    )[0][0]


def texts(stand_in, outcome='accepted', to=None):
    calls = [call for call in stand_in.sends() if call['outcome'] == outcome]
    return [call['body']['text']['body'] for call in calls if to in (None, call['body']['to'])]


def test_45_messages_leave_in_a_burst(acme, workers, stand_in):
    for n in range(60):
        acme.send(text=str(n))
    began = time.monotonic()
    workers.send()
    paid_back = (time.monotonic() - began) / 6  # on a slow machine, while they left one by one
    assert 45 <= len(texts(stand_in)) <= 45 + paid_back
    assert texts(stand_in) == [str(n) for n in range(len(texts(stand_in)))]


def test_after_the_burst_one_leaves_every_six_seconds_and_others_go_on(acme, workers, stand_in):
    acme.send(text='first')
    sql(
        "UPDATE conversation SET pair_free_at = now() + interval '258 s'"
    )  # forty-three of forty-five are spent
    for n in range(3):
        acme.send(text=str(n))
    workers.send()
    assert texts(stand_in) == ['first', '0']
    assert 0 < seconds_of_waiting() <= 6
    assert acme.send(OTHER_PERSON, text='other')['status'] == 'queued'
    workers.send()
    assert texts(stand_in)[2:] == ['other']
    for n in (1, 2):
        pass_time(6)
        workers.send()
        assert texts(stand_in)[2 + n :] == [str(n)]
        assert 0 < seconds_of_waiting() <= 6  # one for each six seconds now


def test_a_pair_that_rested_may_burst_again(acme, workers, stand_in):
    acme.send(text='first')
    sql(
        "UPDATE conversation SET pair_free_at = now() + interval '240 s'"
    )  # forty to pay back: five may go
    for n in range(10):
        acme.send(text=str(n))
    workers.send()
    assert texts(stand_in) == ['first', '0', '1', '2', '3']
    pass_time(15)
    workers.send()
    assert texts(stand_in)[5:] == ['4', '5', '6'][: len(texts(stand_in)) - 5]
    assert len(texts(stand_in)) in (7, 8)  # fifteen seconds paid for two and a half


def test_a_pair_is_one_number_and_one_person(acme, workers, stand_in):
    """Two accounts write to one person; neither pays for the other."""
    acme.account('other', '300112233445567')
    acme.send()
    sql(
        "UPDATE conversation SET pair_free_at = now() + interval '300 s', send_after = now() + "
        "interval '30 s'"
    )
    acme.send(text='blocked')
    acme.send(chatbot_id='other', text='free')
    workers.send()
    assert texts(stand_in) == ['free']


def test_a_group_has_no_pair_limit(acme, workers, stand_in):
    for n in range(3):
        answer = acme.post(
            '/send',
            {
                'chatbot_id': CHATBOT,
                'to': 'Y2FwaV9ncm91cDox',
                'recipient_type': 'group',
                'text': {'body': str(n)},
            },
        )
        assert answer.status_code == 202
        workers.send()
        sql("UPDATE conversation SET pair_free_at = now() + interval '1 hour'")
    assert texts(stand_in) == ['0', '1', '2']


def test_a_throttled_message_repeats_and_its_followers_wait_behind_it_in_order(
    acme, workers, stand_in
):
    first = acme.send(THROTTLED_TWICE, text='0')
    for n in range(1, 4):
        acme.send(THROTTLED_TWICE, text=str(n))
    acme.send(OTHER_PERSON, text='other')
    for delay in (2, 4):
        workers.send()
        message = acme.message(first['id'])
        assert (message['status'], message['error']['code']) == ('queued', 131056)
        assert delay - 1.9 < seconds_of_waiting(THROTTLED_TWICE[1:]) <= delay
        assert texts(stand_in) == ['other']
        assert acme.messages(status='accepted')[0]['to'] == OTHER_PERSON
        wait_over()
    assert texts(stand_in, 'error') == ['0', '0']
    for _ in range(12):  # each of the followers is throttled twice as well
        workers.send()
        wait_over()
    assert texts(stand_in, to=THROTTLED_TWICE) == ['0', '1', '2', '3']


def test_the_fourth_refusal_fails_the_message_and_lets_the_next_one_go(acme, workers, stand_in):
    failing, behind = (
        acme.send(THROTTLED_ALWAYS, text='first'),
        acme.send(THROTTLED_ALWAYS, text='second'),
    )
    for _ in range(4):
        workers.send()
        wait_over()
    assert (acme.message(failing['id'])['status'], acme.message(behind['id'])['attempts']) == (
        'failed',
        1,
    )
    assert texts(stand_in, 'error') == ['first'] * 4 + ['second']


def test_a_pair_limit_that_a_status_reports_pauses_the_pair_too(acme, workers, meta, stand_in):
    first = acme.send(text='first')
    workers.send()
    wamid = acme.message(first['id'])['wamid']
    acme.send(text='second')
    error = {'code': 131056, 'title': 'Pair rate limit hit'}
    meta.webhook(
        envelope(statuses=[status_of(wamid, 'failed', opaque=first['id'], errors=[error])])
    )
    workers.incoming()
    acme.send(OTHER_PERSON, text='other')
    workers.send()
    assert texts(stand_in) == ['first', 'other']
    assert 0 < seconds_of_waiting() <= 2
    pass_time(2)
    workers.send()
    assert texts(stand_in) == ['first', 'other', 'first']
    assert 1 < seconds_of_waiting() <= 6  # and it pays its burst back
    pass_time(6)
    workers.send()
    assert texts(stand_in)[3:] == ['second']


def test_debts_stay_when_two_conversations_turn_out_to_be_one(acme, workers, meta, stand_in):
    """A burst to the phone, another to the BSUID; then the person writes and shows both."""
    acme.send()
    workers.send()
    sql("UPDATE conversation SET pair_free_at = now() + interval '270 s'")
    acme.post('/send', {'chatbot_id': CHATBOT, 'recipient': 'US.1', 'text': {'body': 'hello'}})
    message = {
        'from': CUSTOMER,
        'from_user_id': 'US.1',
        'id': 'wamid.B',
        'timestamp': '1790000000',
        'type': 'text',
        'text': {'body': 'both are mine'},
    }
    meta.webhook(envelope([message]))
    workers.incoming()
    (conversation,) = acme.conversations()
    assert (conversation['wa_id'], conversation['user_id']) == (CUSTOMER, 'US.1')
    ((debt,),) = sql('SELECT extract(epoch FROM pair_free_at - now())::float FROM conversation')
    assert debt > 250
