"""Meta's statuses: each is kept once with Meta's time, finds its message, and moves it forward
only.
"""

import itertools
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.graph.outcome import Outcome, make_error
from service.runtime.db import connection
from service.sending import dispatch
from service.sending.send_outcome import SendResult
from service.webhooks import inbox, process
from tests.people import CHATBOT, call_bus, envelope, sql, status_of
from workers import send_results

AT = 1790000000
ORDER = ('sent', 'delivered', 'read', 'played')
ERROR = {
    'code': 131026,
    'title': 'Message undeliverable',
    'error_data': {'details': 'No WhatsApp there.'},
}
numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def account(backend):
    return backend.account()


@pytest.fixture
def told(meta, workers):
    """told(status, status, …): Meta says them in one POST, and a worker has heard it."""

    def tell(*statuses):
        assert meta.webhook(envelope(statuses=statuses)).status_code == 200
        workers.incoming()

    return tell


def claim():
    """The send worker takes what is due: {message id: claimed row}."""
    with connection():
        return {row.id: row for row in dispatch.claim({CHATBOT: 100}, 30)}


def answered(row, kind='accepted', **outcome):
    """The send worker records what Meta answered."""
    with connection():
        send_results.record(
            [(row, SendResult(row, Outcome(kind, **outcome), datetime.now(UTC), 7))]
        )


def sent(backend, wamid, **more):
    """An outbound message that Meta has accepted; its id."""
    message = backend.send(to=f'+1202556{next(numbers):04}', **more)
    answered(claim()[message['id']], wamid=wamid)
    return message['id']


def moment(seconds):
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec='microseconds')
        .replace('+00:00', 'Z')
    )


def statuses(message):
    return [entry['status'] for entry in message['statuses']]


def test_a_message_goes_through_all_its_states_with_metas_times(backend, told):
    id_ = sent(backend, 'wamid.1')
    for n, name in enumerate(ORDER):
        told(status_of('wamid.1', name, AT + n))
        assert backend.message(id_)['status'] == name
    message = backend.message(id_)
    assert statuses(message) == ['queued', 'accepted', *ORDER]
    assert [entry['timestamp'] for entry in message['statuses'][2:]] == [
        moment(AT + n) for n in range(4)
    ]
    assert backend.outcomes() == [('status', 'stored')] * 4


def test_a_status_that_comes_again_is_a_duplicate_and_kept_once(backend, told):
    id_ = sent(backend, 'wamid.1')
    told(status_of('wamid.1', 'sent', AT), status_of('wamid.1', 'sent', AT))
    told(status_of('wamid.1', 'sent', AT), status_of('wamid.1', 'delivered', AT))
    assert sorted(backend.outcomes()) == [('status', 'duplicate')] * 2 + [('status', 'stored')] * 2
    assert statuses(backend.message(id_)) == ['queued', 'accepted', 'sent', 'delivered']


def test_statuses_of_one_second_are_shown_in_the_order_in_which_they_can_only_have_happened(
    backend, told
):
    id_ = sent(backend, 'wamid.1')
    told(*(status_of('wamid.1', name, AT) for name in ('read', 'delivered', 'sent')))
    assert statuses(backend.message(id_)) == ['queued', 'accepted', 'sent', 'delivered', 'read']


@pytest.mark.parametrize('first', ['read', 'delivered'])
def test_a_state_never_goes_back(backend, told, first):
    id_ = sent(backend, 'wamid.1')
    told(status_of('wamid.1', first, AT + 5))
    told(status_of('wamid.1', 'sent', AT))
    assert backend.message(id_)['status'] == first


def test_after_a_failure_the_state_stays_and_later_facts_are_kept(backend, told):
    id_ = sent(backend, 'wamid.1')
    told(status_of('wamid.1', 'failed', AT, errors=[ERROR]))
    told(status_of('wamid.1', 'delivered', AT + 1))
    message = backend.message(id_)
    assert message['status'] == 'failed'
    assert message['error'] == {
        'code': 131026,
        'title': 'Message undeliverable',
        'details': 'No WhatsApp there.',
        'fbtrace_id': None,
    }
    assert statuses(message)[2:] == ['failed', 'delivered']
    assert message['statuses'][2]['errors'] == [ERROR]


def test_a_failure_without_a_reason_is_a_failure(backend, told):
    id_ = sent(backend, 'wamid.1')
    told(status_of('wamid.1', 'failed', AT))
    assert (backend.message(id_)['status'], backend.message(id_)['error']) == ('failed', None)


def test_an_unknown_status_is_kept_and_changes_no_state(backend, told):
    id_ = sent(backend, 'wamid.1')
    told(
        *(
            status_of('wamid.1', name, AT + n)
            for n, name in enumerate(('sent', 'screenshotted', 'deleted', 'held'))
        )
    )
    message = backend.message(id_)
    assert message['status'] == 'sent'
    assert statuses(message)[2:] == ['sent', 'screenshotted', 'deleted', 'held']


def test_a_status_finds_its_message_by_our_id_when_the_answer_was_lost(backend, told):
    message = backend.send()
    answered(claim()[message['id']], 'unknown', error=make_error('No answer'))
    assert backend.message(message['id'])['status'] == 'unknown'
    told(status_of('wamid.1', 'delivered', AT, opaque=message['id'].upper()))
    after = backend.message(message['id'])
    assert (after['status'], after['wamid'], after['error']) == ('delivered', 'wamid.1', None)
    assert backend.outcomes() == [('status', 'stored')]


@pytest.mark.parametrize('name', ['screenshotted', 'queued', 'sending', 'accepted', 'unknown'])
def test_any_status_is_a_sign_that_a_lost_message_arrived(backend, told, workers, name):
    message = backend.send()
    answered(claim()[message['id']], 'unknown', error=make_error('No answer'))
    told(status_of('wamid.1', name, AT, opaque=message['id']))
    sql("UPDATE message SET due_at = now() - interval '1 hour' WHERE due_at IS NOT NULL")
    workers.sweep()
    assert backend.message(message['id'])['status'] == 'accepted'
    assert statuses(backend.message(message['id']))[2:] == [name]


def test_a_message_that_was_given_up_keeps_what_meta_says_of_it_later(backend, told):
    message = backend.send()
    answered(claim()[message['id']], 'failed', error=make_error('No answer'))
    told(status_of('wamid.1', 'delivered', AT, opaque=message['id']))
    after = backend.message(message['id'])
    assert (after['status'], after['wamid'], after['error']['title']) == (
        'failed',
        'wamid.1',
        'No answer',
    )
    assert 'delivered' in statuses(after)
    usage = backend.get('/usage', query_string={'chatbot_id': CHATBOT}).json['data']
    assert [row['count'] for row in usage] == [1]  # Meta took it, and bills it


def test_a_failure_that_is_faster_than_the_answer_keeps_its_reason(backend, told):
    message = backend.send()
    row = claim()[message['id']]
    told(status_of('wamid.1', 'failed', AT, opaque=message['id'], errors=[ERROR]))
    answered(row, wamid='wamid.1')
    after = backend.message(message['id'])
    assert (after['status'], after['error']['code']) == ('failed', 131026)


@pytest.mark.parametrize('name', ['sent', 'read'])
def test_a_status_that_is_faster_than_the_answer_waits_for_it_as_an_orphan(backend, told, name):
    message = backend.send()
    row = claim()[message['id']]
    told(status_of('wamid.1', name, AT))
    assert backend.outcomes() == [('status', 'orphan')]
    assert backend.message(message['id'])['status'] == 'sending'
    answered(row, wamid='wamid.1')
    assert backend.message(message['id'])['status'] == name
    assert set(statuses(backend.message(message['id']))) == {'queued', 'accepted', name}


def test_an_orphan_that_fell_between_two_workers_is_joined_by_the_sweep(backend, told, workers):
    told(status_of('wamid.1', 'delivered', AT))
    id_ = sent(backend, 'wamid.other')
    sql("UPDATE message SET wamid = 'wamid.1'")
    workers.sweep()
    assert backend.message(id_)['status'] == 'delivered'


def test_a_status_of_another_account_or_number_moves_nothing(backend, meta, workers):
    backend.account('other', '42')
    id_ = sent(backend, 'wamid.1')
    meta.webhook(envelope(statuses=[status_of('wamid.1', 'read', AT, opaque=id_)], number='42'))
    workers.incoming()
    assert backend.message(id_)['status'] == 'accepted'
    assert backend.outcomes() == [('status', 'orphan')]


def test_the_failure_of_an_earlier_send_does_not_fail_the_message(backend, told):
    id_ = sent(backend, 'wamid.2')
    told(status_of('wamid.1', 'failed', AT, opaque=id_, errors=[ERROR]))
    assert backend.message(id_)['status'] == 'accepted'


def test_the_people_of_a_group_are_told_apart_and_one_failure_fails_nobody_else(backend, told):
    message = backend.send(to='group', recipient_type='group')
    answered(claim()[message['id']], wamid='wamid.1')

    def of(who, name, at=AT, **more):
        return status_of(
            'wamid.1', name, at, recipient_type='group', recipient_participant_user_id=who, **more
        )

    told(
        of('US.1', 'failed', errors=[ERROR]),
        of('US.2', 'delivered'),
        of('US.3', 'delivered'),
        of('US.3', 'read'),
    )
    told(of('US.2', 'delivered'), of('US.1', 'delivered', AT + 9))
    after = backend.message(message['id'])
    assert (after['status'], after['error']) == ('read', None)
    kept = {(entry.get('participant'), entry['status']) for entry in after['statuses'][2:]}
    assert kept == {
        ('US.1', 'failed'),
        ('US.1', 'delivered'),
        ('US.2', 'delivered'),
        ('US.3', 'delivered'),
        ('US.3', 'read'),
    }
    told(status_of('wamid.1', 'failed', AT, errors=[ERROR]))  # all of the group, which has arrived
    assert backend.message(message['id'])['status'] == 'read'


def test_metas_pricing_goes_into_the_usage(backend, told):
    sent(backend, 'wamid.1')
    told(
        status_of(
            'wamid.1',
            'sent',
            AT,
            pricing={'billable': True, 'category': 'utility', 'type': 'regular'},
        )
    )
    told(
        status_of('wamid.1', 'delivered', AT, pricing={'type': 'regular'})
    )  # without a category: the first stays
    sent(backend, 'wamid.2')
    early = backend.send(to='+12025550999')
    told(status_of('wamid.3', 'sent', AT, opaque=early['id'], pricing={'category': 'service'}))
    usage = backend.get('/usage', query_string={'chatbot_id': CHATBOT}).json['data']
    assert {row['category']: row['count'] for row in usage} == {'utility': 1, None: 1, 'service': 1}
    assert {row['direction'] for row in usage} == {'outbound'}


def test_a_price_that_is_told_again_writes_no_row(backend, told):
    sent(backend, 'wamid.1')
    price = {'billable': True, 'category': 'utility', 'type': 'regular'}
    told(status_of('wamid.1', 'sent', AT, pricing=price))
    told(status_of('wamid.1', 'delivered', AT + 1, pricing=price))  # from now on it is billed
    written = sql('SELECT xmin::text, delivered FROM usage_log')
    assert written[0][1] is True
    told(status_of('wamid.1', 'read', AT + 2, pricing=price))
    assert sql('SELECT xmin::text, delivered FROM usage_log') == written
    told(status_of('wamid.1', 'played', AT + 3, pricing=price | {'billable': False}))
    assert sql("SELECT category, pricing ->> 'billable' FROM usage_log") == [('utility', 'false')]


VALUES = (*ORDER, 'failed', 'screenshotted')


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    posts=st.lists(
        st.lists(st.tuples(st.sampled_from(VALUES), st.booleans()), max_size=4), max_size=5
    ),
    answer_after=st.integers(0, 5),
    heard_before=st.booleans(),
)
def test_whatever_the_order_the_end_is_the_same(
    backend, meta, workers, posts, answer_after, heard_before
):
    """Any statuses in any order, over several POSTs and two workers, before and after Meta's
    answer.
    """
    message = backend.send(to=f'+1202557{next(numbers):04}')
    row, wamid = claim()[message['id']], f'wamid.{message["id"]}'
    for n, post in enumerate([*posts, []]):
        if n == min(answer_after, len(posts)):
            if heard_before:
                two_workers()
            answered(row, wamid=wamid)
        said = [
            status_of(
                wamid, name, AT + VALUES.index(name), opaque=named and message['id'], errors=[ERROR]
            )
            for name, named in post
        ]
        meta.webhook(envelope(statuses=said) | {'n': f'{message["id"]}.{n}'})
    two_workers()
    workers.sweep()
    names = {name for post in posts for name, _ in post}
    after = backend.message(message['id'])
    furthest = max((ORDER.index(name) for name in names & {*ORDER}), default=None)
    furthest = 'accepted' if furthest is None else ORDER[furthest]
    arrived_first = {furthest} - {'accepted', 'sent'}  # then the failure moved nothing
    assert after['status'] in ({'failed'} | arrived_first if 'failed' in names else {furthest})
    assert (after['error'] is not None) == (after['status'] == 'failed')
    kept = [
        (entry['status'], entry['timestamp'])
        for entry in after['statuses']
        if entry['status'] in VALUES
    ]
    assert sorted(kept) == sorted((name, moment(AT + VALUES.index(name))) for name in names)
    assert after['wamid'] == wamid


def two_workers():
    call_bus()
    defaults, inbox.claim.__defaults__ = inbox.claim.__defaults__, (1,)
    try:
        threads = [threading.Thread(target=work_off) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    finally:
        inbox.claim.__defaults__ = defaults
    assert not sql("SELECT 1 FROM webhook_event WHERE status <> 'processed'")


def work_off():
    with connection():
        while process.process_due():
            pass
