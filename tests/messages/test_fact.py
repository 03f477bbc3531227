"""Statuses that speak of something else than the message, of its payment say: kept, shown, and
nothing moves.
"""

import pytest

from tests.people import CHATBOT, envelope, sql, status_of

PAYMENT = {
    'reference_id': 'order-17',
    'amount': {'value': 21000, 'offset': 100},
    'currency': 'BRL',
    'transaction': {
        'id': 'tx-1',
        'type': 'pix',
        'status': 'failed',
        'created_timestamp': 1790000000,
    },
}


@pytest.fixture
def acme(backend, stand_in):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture
def message(acme, workers):
    sent = acme.send()
    workers.send()
    return acme.message(sent['id'])


def paid(wamid, status='failed', at=1790000100, payment=PAYMENT, **more):
    return status_of(wamid, status, at, type='payment', payment=payment, **more)


def without_statuses(message):
    return {**message, 'statuses': None}


@pytest.mark.parametrize('state', ['accepted', 'sent', 'delivered', 'read', 'played'])
@pytest.mark.parametrize('status', ['failed', 'pending', 'captured', 'delivered', 'read', 'sent'])
def test_it_moves_nothing_and_is_shown(acme, workers, tell, stand_in, message, state, status):
    if state != 'accepted':
        tell(status_of(message['wamid'], state))
    before = acme.message(message['id'])
    tell(
        paid(
            message['wamid'], status, errors=[{'code': 131000, 'title': 'x'}], opaque=message['id']
        )
    )
    after = acme.message(message['id'])
    assert without_statuses(after) == without_statuses(before)
    assert after['status'] == state
    (told,) = [one for one in after['statuses'] if one.get('type') == 'payment']
    assert (told['status'], told['payment'], told['errors'][0]['code']) == (status, PAYMENT, 131000)
    assert [one for one in after['statuses'] if 'type' not in one] == before['statuses']
    workers.sweep()
    workers.send()
    assert len(stand_in.sends()) == 1
    assert ('status', 'stored') in acme.outcomes()


def test_the_news_of_a_message_and_of_its_payment_do_not_take_each_others_place(
    acme, tell, message
):
    tell(paid(message['wamid']))
    tell(status_of(message['wamid'], 'failed', errors=[{'code': 131026, 'title': 'x'}]))
    after = acme.message(message['id'])
    assert (after['status'], after['error']['code']) == ('failed', 131026)
    assert [(one['status'], one.get('type')) for one in after['statuses'][2:]] == [
        ('failed', None),
        ('failed', 'payment'),
    ]


def test_each_attempt_to_pay_is_kept_and_what_comes_again_once(acme, tell, message):
    second = PAYMENT | {'transaction': PAYMENT['transaction'] | {'id': 'tx-2'}}
    first = paid(message['wamid'], 'pending', 1790000001)
    tell(first)
    tell(paid(message['wamid'], 'failed', 1790000002))
    tell(paid(message['wamid'], 'pending', 1790000003, second), first)
    tell(paid(message['wamid'], 'captured', 1790000004, second), first)
    kept = [
        (one['status'], one['payment']['transaction']['id'])
        for one in acme.message(message['id'])['statuses']
        if 'payment' in one
    ]
    assert kept == [
        ('pending', 'tx-1'),
        ('failed', 'tx-1'),
        ('pending', 'tx-2'),
        ('captured', 'tx-2'),
    ]
    assert sorted(acme.outcomes()) == [('status', 'duplicate')] * 2 + [('status', 'stored')] * 4


def test_it_may_come_before_its_message_is_known(acme, workers, tell):
    tell(paid('wamid.early', 'captured'))
    assert acme.outcomes() == [('status', 'orphan')]
    sent = acme.send()
    workers.send()
    sql("UPDATE message SET wamid = 'wamid.early'")
    workers.sweep()
    after = acme.message(sent['id'])
    assert after['status'] == 'accepted'
    assert [one['status'] for one in after['statuses'] if 'payment' in one] == ['captured']


def test_it_finds_a_message_whose_answer_was_lost_and_does_not_settle_it(acme, tell):
    message = acme.send()
    sql("UPDATE message SET status = 'unknown', attempts = 1, due_at = now() + interval '1 minute'")
    tell(paid('wamid.lost', 'pending', opaque=message['id'].upper()))
    after = acme.message(message['id'])
    assert (after['status'], after['wamid']) == ('unknown', None)
    assert [one['payment'] for one in after['statuses'] if 'payment' in one] == [PAYMENT]


def test_another_accounts_message_is_not_found_by_its_id(acme, meta, workers, message):
    acme.account('other', '42')
    meta.webhook(envelope(statuses=[paid('wamid.other', opaque=message['id'])], number='42'))
    workers.incoming()
    assert acme.outcomes() == [('status', 'orphan')]
    assert all('payment' not in one for one in acme.message(message['id'])['statuses'])


def test_a_payment_refused_for_an_opt_out_opts_nobody_out(acme, tell, message):
    tell(paid(message['wamid'], errors=[{'code': 131050, 'title': 'x'}]))
    tell(paid(message['wamid'], errors=[{'code': 190, 'title': 'x'}]))
    assert sql('SELECT 1 FROM conversation WHERE opted_out_at IS NOT NULL') == []
    assert acme.get(f'/account/{CHATBOT}').json['send_state'] == 'ok'


@pytest.mark.parametrize(
    'kind', ['payment', 'call', 'Payment', 'something-new', 7, ['payment'], {'a': 1}, 'x' * 99]
)
def test_only_a_messages_own_type_moves_it(acme, tell, message, kind):
    tell(status_of(message['wamid'], 'delivered', type=kind))
    after = acme.message(message['id'])
    assert after['status'] == 'accepted'
    assert [one['status'] for one in after['statuses']][2:] == ['delivered']


@pytest.mark.parametrize('kind', ['message', 'Message', None, ''])
def test_a_messages_own_type_does_move_it(acme, tell, message, kind):
    tell(status_of(message['wamid'], 'delivered', type=kind))
    assert acme.message(message['id'])['status'] == 'delivered'


def test_a_payment_is_one_without_its_type_too(acme, tell, message):
    tell(status_of(message['wamid'], 'failed', payment=PAYMENT))
    assert acme.message(message['id'])['status'] == 'accepted'


@pytest.mark.parametrize('payment', [None, [], 'paid', 7, {'reference_id': 'a\x00\ud83d'}])
def test_odd_payments_break_nothing(acme, tell, message, payment):
    tell(paid(message['wamid'], payment=payment), status_of(message['wamid'], 'sent'))
    assert acme.message(message['id'])['status'] == 'sent'
    assert acme.outcomes() == [('status', 'stored')] * 2
