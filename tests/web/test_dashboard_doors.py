"""The doors of the dashboard: logging in and out, whose forms are taken, what may be loaded."""

import re
import time
from functools import partial
from http.cookies import SimpleCookie

import pytest
from cryptography.fernet import Fernet

from service.runtime import encryption
from service.web.dashboard import dashboard_session, static_files
from tests.dashboard import ORIGIN, PATH, Person, routes
from tests.people import sql
from tests.web.tenants import key_of

ID = '01930000-0000-7000-8000-000000000000'
VALUES = {'path': 'nowhere', 'digest': 'none', 'name': 'dashboard.css', 'chatbot_id': 'acme'}


@pytest.fixture
def person(application, database):
    return Person(application)


@pytest.fixture
def tenant_key(backend):
    """tenant_key(scopes=…): a key that sees the usual chatbot."""
    backend.account()
    return partial(key_of, backend, 'acme')


def cookie(answer, name='dashboard'):
    """A cookie that an answer sets."""
    jar = SimpleCookie()
    for line in answer.headers.getlist('Set-Cookie'):
        jar.load(line)
    return jar[name]


def pages(application, method='GET'):
    """(path, view) of every page behind the log-in."""
    for rule, view in routes(application, method):
        values = {name: VALUES.get(name, ID) for name in rule.arguments}
        yield rule.build(values)[1], view


def test_who_has_not_logged_in_is_led_to_where_they_can(application, person):
    found = list(pages(application))
    assert len(found) >= 3
    for path, _ in found:
        answer = person.get(path)
        assert answer.status_code == 303, path
        assert answer.location.startswith(f'{PATH}/login?next='), path
        assert person.get(path, headers={'Accept': 'application/json'}).status_code == 401
    for path, _ in pages(application, 'POST'):
        answer = person.post(path, {'csrf': 'x'})
        assert (answer.status_code, answer.location) == (303, f'{PATH}/login'), path


def test_a_key_of_the_api_in_the_header_opens_no_page(person):
    answer = person.get(headers={'Authorization': 'Bearer test-key'})
    assert answer.status_code == 303


def test_a_key_logs_in_and_the_page_that_was_asked_for_comes(person):
    way = '/login?next=/whatsapp-cloud/dashboard/accounts?limit=5'
    page = person.get(way)
    assert page.status_code == 200
    assert 'type="password"' in page.text
    answer = person.post(
        '/login?next=/whatsapp-cloud/dashboard/accounts?limit=5', {'key': 'test-key'}
    )
    assert (answer.status_code, answer.location) == (303, f'{PATH}/accounts?limit=5')
    assert person.get().status_code == 200
    assert person.get('/login').location == PATH


@pytest.mark.parametrize(
    'wanted',
    [
        'https://evil.example/whatsapp-cloud/dashboard',
        '//evil.example',
        '/whatsapp-cloud/dashboard.evil.example',
        '/whatsapp-cloud/dashboard//evil.example',
        '/whatsapp-cloud/dashboard/\\evil',
        '/whatsapp-cloud/dashboard/\r\nSet-Cookie: a=b',
        '/whatsapp-cloud/accounts',
        'javascript:alert(1)',
    ],
)
def test_a_log_in_leads_to_pages_of_the_dashboard_alone(person, wanted):
    answer = person.open(
        '/login',
        'POST',
        query_string={'next': wanted},
        data={'key': 'test-key'},
        headers={'Origin': ORIGIN},
    )
    assert (answer.status_code, answer.location) == (303, PATH)


@pytest.mark.parametrize('key', ['', 'wrong', 'wak_' + 'a' * 43, 'test-key,second-key', 'tést\x00'])
def test_an_unknown_key_is_refused_without_a_word_about_it(person, key):
    answer = person.log_in(key)
    assert answer.status_code == 401
    assert 'This is not a valid key' in answer.text
    assert 'role="alert"' in answer.text
    assert 'Set-Cookie' not in answer.headers
    assert not key or key not in answer.text.replace('API_KEYS', '')


def test_the_cookie_is_this_browsers_alone_and_holds_no_key(person):
    answer = person.post('/login', {'key': 'test-key'})
    found = cookie(answer)
    assert found['path'] == PATH
    assert found['httponly']
    assert found['samesite'] == 'Strict'
    assert found['max-age'] == str(12 * 3600)
    assert not found['secure']
    assert 'test-key' not in found.value
    again = person.post('/login', {'key': 'test-key'}, headers={'Origin': 'https://localhost'})
    assert cookie(again)['secure']


def test_a_cookie_of_nobody_opens_nothing(person):
    answer = person.post('/login', {'key': 'test-key'})
    ours = cookie(answer).value
    content = encryption.decrypt(ours)
    of_another_gateway = Fernet(Fernet.generate_key()).encrypt(content.encode()).decode()
    notice = encryption.encrypt('{"notice": "Hello", "tone": "good"}')
    for value in ('x', 'gAAAAA', '', ours[:-4], f'{ours}x', of_another_gateway, notice, content):
        person.browser.set_cookie('dashboard', value, path=PATH)
        assert person.get().status_code == 303, value


def test_a_log_in_ends_after_twelve_hours(person, monkeypatch):
    person.log_in()
    late = time.time() + dashboard_session.SESSION_SECONDS
    monkeypatch.setattr(dashboard_session.time, 'time', lambda: late)
    assert person.get().status_code == 303


def test_a_process_whose_clock_is_behind_knows_a_new_log_in(person, monkeypatch):
    person.log_in()
    early = time.time() - 5
    monkeypatch.setattr(dashboard_session.time, 'time', lambda: early)
    assert person.get().status_code == 200


def test_a_key_that_is_deleted_opens_nothing_any_more(backend, person, tenant_key):
    assert person.log_in(tenant_key()) is person
    assert 'acme' in person.get().text
    (key,) = backend.get('/keys').json['data']
    assert backend.request('DELETE', f'/keys/{key["id"]}').status_code == 204
    assert person.get().status_code == 303


def test_a_root_key_that_is_taken_away_opens_nothing_any_more(person, setting):
    person.log_in('second-key')
    assert person.get().status_code == 200
    setting('API_KEYS', 'test-key')
    assert person.get().status_code == 303


def test_a_key_that_may_not_read_is_told_so(person, tenant_key):
    answer = person.log_in(tenant_key(scopes=('send',)))
    assert answer.status_code == 403
    assert 'lacks the scope' in answer.text


def test_logging_out_ends_it(person):
    person.log_in()
    page = person.get()
    assert person.press(page, 'Log out').location == f'{PATH}/login'
    assert person.get().status_code == 303


def test_a_copy_of_the_cookie_opens_nothing_after_the_log_out(application, person):
    person.log_in()
    copy = person.browser.get_cookie('dashboard', path=PATH).value
    other = Person(application).log_in()
    sql("INSERT INTO dashboard_logout (session, at) VALUES ('old', now() - interval '25 hours')")
    person.post('/logout', {'csrf': person.csrf()})
    person.browser.set_cookie('dashboard', copy, path=PATH)
    assert person.get().status_code == 303  # to the log-in
    assert other.get().status_code == 200  # with the same key
    assert sql("SELECT count(*), bool_or(session = 'old') FROM dashboard_logout") == [(1, False)]


FOREIGN = [
    {'Origin': 'https://evil.example'},
    {'Origin': 'null'},
    {'Sec-Fetch-Site': 'cross-site', 'Origin': ORIGIN},
    {'Sec-Fetch-Site': 'same-site', 'Origin': ORIGIN},
    {'Sec-Fetch-Site': 'none', 'Origin': ''},
    {'Sec-Fetch-Site': '', 'Origin': ''},
]


@pytest.mark.parametrize('headers', FOREIGN)
def test_another_sites_form_is_refused(application, person, headers):
    assert person.post('/login', {'key': 'test-key'}, headers=headers).status_code == 400
    person.log_in()
    word = {'csrf': person.csrf()}
    for path, _ in pages(application, 'POST'):
        assert person.post(path, word, headers=headers).status_code == 400, path
    assert person.open('/logout', 'POST', data=word).status_code == 400  # says nothing of itself
    assert person.get().status_code == 200


@pytest.mark.parametrize('headers', [{'Sec-Fetch-Site': 'cross-site'}, {'Origin': ''}])
def test_one_header_that_does_not_fit_refuses_a_log_in(person, headers):
    form = {'key': 'test-key'}
    assert person.open('/login', 'POST', data=form, headers=headers).status_code == 400


def test_a_program_that_says_nothing_of_its_site_may_log_in_and_send_no_other_form(
    application, person
):
    answer = person.open('/login', 'POST', data={'key': 'test-key'})
    assert (answer.status_code, answer.location) == (303, PATH)
    assert person.open('/login', 'POST', data={'key': 'wrong'}).status_code == 401
    assert person.get().status_code == 200
    word = {'csrf': person.csrf()}
    for path, _ in pages(application, 'POST'):
        assert person.open(path, 'POST', data=word).status_code == 400, path


def test_a_form_without_the_word_of_this_log_in_is_refused(application, person):
    other = Person(application).log_in()
    person.log_in()
    assert other.csrf() != person.csrf()
    for form in ({}, {'csrf': ''}, {'csrf': 'wrong'}, {'csrf': 'é'}, {'csrf': other.csrf()}):
        for path, _ in pages(application, 'POST'):
            answer = person.post(path, form)
            assert (answer.status_code, answer.mimetype) == (400, 'text/html'), path
            assert 'another log-in' in answer.text
    assert person.get().status_code == 200
    headers = {'X-CSRF-Token': person.csrf()}
    assert person.post('/logout', headers=headers).status_code == 303


def test_every_page_brings_its_policy_and_nothing_that_a_browser_would_run(application, person):
    answers = [person.get('/login'), person.log_in('wrong'), person.get('/nowhere')]
    person.log_in()
    answers += [person.get(path) for path, _ in pages(application)]
    for answer in answers:
        policy = answer.headers['Content-Security-Policy'].split('; ')
        assert "default-src 'none'" in policy
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert all('unsafe' not in one and '*' not in one for one in policy)
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'
        assert answer.headers['Referrer-Policy'] == 'same-origin'
        assert answer.headers['Cache-Control'] == 'no-store'
        assert not re.search(r'<script(?! src)|<style|\sstyle=|\son\w+=', answer.text)
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text):
            assert address.startswith(('/whatsapp-cloud/dashboard', '#')), address


def test_a_file_stays_with_the_browser_for_as_long_as_it_is_the_same(person):
    page = person.get('/login').text
    found = re.findall(r'(?:src|href)="([^"]+/static/[^"]+)"', page)
    assert len(found) >= 3
    for address in found:
        answer = person.get(address)
        assert answer.status_code == 200
        assert answer.headers['Cache-Control'] == static_files.FOREVER
    old = person.get('/static/0123456789abcdef/dashboard.css')
    assert (old.status_code, old.headers['Cache-Control']) == (200, 'no-cache')
    for name in ('nothing.css', '..', '%2e%2e%2fpages.py', 'pages.py'):
        assert person.get(f'/static/x/{name}').status_code in (303, 401, 404), name


def test_what_is_no_page_is_one_that_says_so(person):
    person.log_in()
    for answer in (person.get('/nowhere'), person.get('/no/where')):
        assert (answer.status_code, answer.mimetype) == (404, 'text/html')
        assert 'There is no such page here' in answer.text
        assert answer.headers['Request-Id']
    assert person.get('/').location == PATH
    wrong = person.get('?nonsense=<b>')
    assert wrong.status_code == 422
    assert 'nonsense' in wrong.text
    for accepted in ('application/json', 'application/json; charset=utf-8'):
        as_json = person.get('/nowhere', headers={'Accept': accepted})
        assert (as_json.status_code, as_json.json['code']) == (404, 'not_found')


def test_the_database_is_away_and_the_page_says_so(person, monkeypatch):
    from psycopg2 import OperationalError

    person.log_in()

    def away():
        raise OperationalError('connection refused')

    monkeypatch.setattr('service.web.auth.db.connect', away)
    answer = person.get()
    assert answer.status_code in (500, 503)
    assert answer.mimetype == 'text/html'
    assert 'refused' not in answer.text


def test_a_scoped_key_is_led_to_no_page_of_a_root_keys(application, person, tenant_key):
    person.log_in(tenant_key())
    for path, view in pages(application):
        answer = person.get(path)
        assert (answer.status_code == 403) == (view.scope == 'root'), path
    assert 'Webhooks' not in person.get().text
