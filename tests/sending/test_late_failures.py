"""A `failed` that Meta tells of what has arrived: kept as a fact, it moves nothing and has no
consequences.
"""

import pytest

from service.sending import rate_limit
from tests.people import CHATBOT, CUSTOMER, envelope, sql, status_of

ARRIVED = ('delivered', 'read', 'played')
CODES = [131000, 131016, 131026, 131047, 131048, 131050, 131056, 130429, 190, 368, 132015, None]


@pytest.fixture
def acme(backend, stand_in):
    backend.account(responder={'kind': 'none'})
    return backend


def sent(acme, workers, **more):
    message = acme.send(**more)
    workers.send()
    return acme.message(message['id'])


def failed(message, code=131000, wamid=None, named=True):
    errors = [{'code': code, 'title': 'Told late'}] if code else None
    opaque = message['id'] if named else None
    return status_of(wamid or message['wamid'], 'failed', opaque=opaque, errors=errors)


@pytest.mark.parametrize('code', CODES)
@pytest.mark.parametrize('state', ARRIVED)
def test_it_moves_nothing(acme, workers, tell, stand_in, state, code):
    message = sent(acme, workers)
    tell(status_of(message['wamid'], state))
    before, account = acme.message(message['id']), acme.get(f'/account/{CHATBOT}').json
    tell(failed(message, code))
    after = acme.message(message['id'])
    assert (after['status'], after['error'], after['tries']) == (state, None, [])
    assert [one['status'] for one in after['statuses']] == ['queued', 'accepted', state, 'failed']
    assert {**after, 'statuses': None} == {**before, 'statuses': None}
    assert acme.get(f'/account/{CHATBOT}').json['send_state'] == account['send_state'] == 'ok'
    assert not list(rate_limit.client().scan_iter('slow:*'))
    assert sql('SELECT 1 FROM conversation WHERE opted_out_at IS NOT NULL') == []
    workers.sweep()
    workers.send()
    assert len(stand_in.sends()) == 1


@pytest.mark.parametrize('state', ARRIVED)
@pytest.mark.parametrize('turn', [1, -1])
def test_nor_in_one_post_with_the_news_that_it_arrived(acme, workers, tell, state, turn):
    message = sent(acme, workers)
    tell(*[status_of(message['wamid'], state), failed(message)][::turn])
    assert acme.message(message['id'])['status'] == state


@pytest.mark.parametrize('state', ARRIVED)
@pytest.mark.parametrize('posts', [1, 2])
def test_news_that_it_arrived_move_no_failure_that_came_before(acme, workers, meta, state, posts):
    """However close: what comes in between two steps is worked off together."""
    message = sent(acme, workers)
    told = [failed(message, 131026), status_of(message['wamid'], state)]
    for statuses in [told] if posts == 1 else [[one] for one in told]:
        meta.webhook(envelope(statuses=statuses))
    workers.incoming()
    after = acme.message(message['id'])
    assert (after['status'], after['error']['code']) == ('failed', 131026)
    assert {one['status'] for one in after['statuses']} == {'queued', 'accepted', state, 'failed'}


def test_nor_when_both_were_faster_than_metas_answer(acme, workers, tell):
    """The failure names our id, and so brings the wamid; the delivery came without it and waits as
    an orphan.
    """
    message = acme.send()
    tell(status_of('wamid.early', 'delivered'))
    assert acme.outcomes() == [('status', 'orphan')]
    sql(
        "UPDATE message SET status = 'unknown', due_at = now() + interval '1 minute', attempts = 1"
    )  # no answer came
    tell(failed(message, wamid='wamid.early'))
    after = acme.message(message['id'])
    assert (after['status'], after['tries'], after['wamid']) == ('delivered', [], 'wamid.early')
    assert sql('SELECT count(*) FROM message_status WHERE message_id IS NULL') == [(0,)]


def test_nor_when_both_are_joined_later(acme, workers, tell):
    tell(status_of('wamid.early', 'failed', errors=[{'code': 131000, 'title': 'x'}]))
    tell(status_of('wamid.early', 'read'))
    message = sent(acme, workers)
    sql("UPDATE message SET wamid = 'wamid.early'")
    workers.sweep()
    assert acme.message(message['id'])['status'] == 'read'


def test_an_echo_that_arrived_stays_so(acme, tell, workers, meta):
    echo = {
        'from': '15550104477',
        'to': CUSTOMER,
        'id': 'wamid.echo',
        'timestamp': '1790000000',
        'type': 'text',
        'text': {'body': 'From my phone'},
    }
    body = envelope()
    body['entry'][0]['changes'][0] |= {'field': 'smb_message_echoes'}
    body['entry'][0]['changes'][0]['value'] |= {'message_echoes': [echo]}
    meta.webhook(body)
    tell(status_of('wamid.echo', 'delivered'))
    tell(status_of('wamid.echo', 'failed', errors=[{'code': 131026, 'title': 'x'}]))
    (message,) = acme.messages(direction='outbound')
    assert (message['status'], message['error']) == ('delivered', None)


def test_a_failure_before_anything_arrived_still_decides(acme, workers, tell):
    message = sent(acme, workers)
    tell(status_of(message['wamid'], 'sent'))
    tell(failed(message, 131026))
    tell(status_of(message['wamid'], 'delivered'))
    assert acme.message(message['id'])['status'] == 'failed'
