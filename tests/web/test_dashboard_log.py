"""The dashboard's pages of webhooks, endpoints and accounts."""

import re

import pytest

from service.web.dashboard import static_files
from tests import dashboard_world
from tests.dashboard import PATH, Person, older
from tests.listeners import Listener
from tests.people import sql
from tests.web.tenants import key_of


@pytest.fixture
def world(backend, meta, workers):
    dashboard_world.fill(backend, meta, workers, hours=3)


@pytest.fixture
def person(application, world):
    return Person(application).log_in()


@pytest.fixture
def florist(application, backend, world):
    """florist(scopes=…): a person whose key sees the florist alone."""

    def log_in(**more):
        key = key_of(backend, 'florist', **more)
        return Person(application).log_in(key)

    return log_in


def links(page, below):
    return re.findall(rf'href="({PATH}{below}/[^"?#]+)"', page.text)


def test_the_log_shows_webhooks_and_what_became_of_their_items(person):
    page = person.get('/webhooks')
    assert page.status_code == 200
    for text in ('processed', 'quarantined', 'the body is not JSON', '1 × message', 'refused'):
        assert text in page.text
    only = person.get('/webhooks?status=quarantined')
    assert len(links(only, '/webhooks')) == 1
    assert person.get('/webhooks?status=odd').status_code == 422


def test_the_log_goes_on_behind_its_last_row(person):
    first = person.get('/webhooks?limit=2')
    second = person.get(older(first))
    assert len(links(first, '/webhooks')) == len(links(second, '/webhooks')) == 2
    assert not {*links(first, '/webhooks')} & {*links(second, '/webhooks')}
    assert 'Newest' in second.text


def test_a_body_is_shown_to_who_asks_for_it_and_not_before(person):
    (event,) = sql('SELECT id FROM webhook_event WHERE items::text LIKE %s', '%wamid.said.0%')[0]
    page = person.get(f'/webhooks/{event}')
    assert 'wamid.said.0' in page.text
    assert 'rye on Sundays' not in page.text
    shown = person.get(f'/webhooks/{event}?body=shown')
    assert 'rye on Sundays' in shown.text
    odd = links(person.get('/webhooks?status=quarantined'), '/webhooks')[0]
    assert 'not JSON' in person.get(f'{odd}?body=shown').text


def test_what_people_wrote_is_text_in_a_page_and_nothing_else(person, meta, workers):
    meta.webhook(b'<script>alert(1)</script>')
    workers.incoming()
    odd = links(person.get('/webhooks?status=quarantined'), '/webhooks')[0]
    assert '&lt;script&gt;alert(1)' in person.get(f'{odd}?body=shown').text


def test_a_webhook_is_replayed(person, workers):
    odd = links(person.get('/webhooks?status=quarantined'), '/webhooks')[0]
    done = person.press(person.get(odd), 'Replay')
    assert (done.status_code, done.location) == (303, odd)
    page = person.get(odd)
    assert 'is processed once more' in page.text
    assert 'received</span>' in page.text
    assert 'is processed once more' not in person.get(odd).text
    workers.incoming()
    assert 'quarantined' in person.get(odd).text


def test_an_endpoint_shows_its_deliveries_and_is_tried_paused_and_resumed(backend, person, workers):
    with Listener() as listener:
        body = {'url': f'{listener.url}/hook', 'types': ['message.status']}
        endpoint = backend.post('/endpoints', body).json['id']
        page = person.get(f'/endpoints/{endpoint}')
        assert 'No such delivery' in page.text
        person.press(page, 'Test now')
        assert 'It answered 20' in person.get(f'/endpoints/{endpoint}').text
        assert listener.types() == ['endpoint.test']
        listener.answer(500)
        person.press(page, 'Test now')
    assert 'The test failed' in person.get(f'/endpoints/{endpoint}').text
    person.press(page, 'Pause')
    paused = person.get(f'/endpoints/{endpoint}')
    assert 'paused</span>' in paused.text
    person.press(paused, 'Resume')
    assert backend.get(f'/endpoints/{endpoint}').json['state'] == 'active'


def test_deliveries_are_made_once_more(backend, person, workers):
    endpoint = links(person.get('/endpoints'), '/endpoints')[0]
    sql("UPDATE event_delivery SET status = 'failed', due_at = NULL, error = 'it was away'")
    page = person.get(f'{endpoint}?status=failed')
    assert 'it was away' in page.text
    count = page.text.count('it was away')
    assert person.press(page, 'Resend').status_code == 303
    assert person.get(f'{endpoint}?status=failed').text.count('it was away') == count - 1
    person.press(page, 'Replay', hours='24')
    assert 'events are delivered once more' in person.get(endpoint).text
    assert 'it was away' not in person.get(f'{endpoint}?status=failed').text
    assert person.press(page, 'Replay', hours='9999').status_code == 422


def test_accounts_say_who_cannot_send_and_why(person, backend):
    page = person.get('/accounts')
    assert 'Corner Bakery' in page.text
    held = person.get('/accounts?send_state=held')
    assert links(held, '/accounts') == [f'{PATH}/accounts/florist']
    florist = person.get('/accounts/florist')
    assert 'The access token has expired' in florist.text
    assert 'Make a new access token' in florist.text
    person.press(florist, 'Resume')
    assert backend.get('/account/florist').json['send_state'] == 'ok'
    assert 'is sent again' in person.get('/accounts/florist').text


def test_an_account_shows_what_meta_told(person):
    page = person.get('/accounts/bakery')
    assert 'Up to 10,000 people may be written to first' in page.text
    assert 'quality of the number is no longer low' in page.text
    assert 'token-of-' not in page.text


def test_an_account_is_deactivated_by_who_is_sure(person, backend):
    person.press(person.get('/accounts/bakery'), 'Deactivate')
    assert backend.get('/account/bakery').json['active'] is False
    assert 'inactive' in person.get('/accounts/bakery').text


def test_the_brakes_cannot_be_seen_without_redis(person, no_redis):
    assert 'Redis is away' in person.get('/accounts/bakery').text


def test_a_scoped_key_sees_its_own_alone(person, florist, backend):
    mine = florist()
    own = backend.post('/endpoints', {'url': 'http://127.0.0.1:9/f', 'chatbot_id': 'florist'}).json
    assert links(mine.get('/accounts'), '/accounts') == [f'{PATH}/accounts/florist']
    assert links(mine.get('/endpoints'), '/endpoints') == [f'{PATH}/endpoints/{own["id"]}']
    others = links(person.get('/endpoints'), '/endpoints')[1:]
    for path in (*others, '/accounts/bakery', '/accounts/nobody'):
        page = mine.get(path)
        assert page.status_code == 404, path
        assert 'Bakery' not in page.text
    form = {'csrf': mine.csrf()}
    for path in (f'{others[0]}/pause', f'{others[0]}/test', '/accounts/bakery/deactivate'):
        assert mine.post(path, form).status_code == 404, path
    assert backend.get('/account/bakery').json['active'] is True


def test_a_key_that_may_only_read_gets_no_buttons_and_presses_none(florist, backend):
    mine = florist(scopes=('read',))
    page = mine.get('/accounts/florist')
    assert 'Deactivate' not in page.text
    assert 'Resume' not in page.text
    answer = mine.post('/accounts/florist/resume', {'csrf': mine.csrf()})
    assert answer.status_code == 403
    assert 'lacks the scope' in answer.text
    assert backend.get('/account/florist').json['send_state'] == 'held'


CHARTS = {
    'uPlot.iife.min.js': '19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f',
    'uPlot.min.css': 'df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04',
    'uPlot.LICENSE': '8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd',
}  # SHA-256, as they come in uplot-1.6.32.tgz


def test_the_charts_are_drawn_by_what_its_maker_released():
    from hashlib import sha256

    found = {name: sha256((static_files.FOLDER / name).read_bytes()).hexdigest() for name in CHARTS}
    assert found == CHARTS
