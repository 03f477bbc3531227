"""The page that shows the API, in a real Chromium: nothing from outside, nothing against its own
Content-Security-Policy: `make test-page`.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.phone import chromium

pytestmark = pytest.mark.browser

PAGE = '/whatsapp-cloud/docs'


@pytest.fixture
def open_page(web, database, chromium):
    """open_page(): the page, and what the browser complains of; with a key in its requests, when
    one is given.
    """
    contexts = []

    def open_page(key=None):
        headers = {'Authorization': f'Bearer {key}'} if key else {}
        contexts.append(chromium.new_context(extra_http_headers=headers))
        page = contexts[-1].new_page()
        page.complaints, page.addresses = [], []
        page.on('console', lambda message: page.complaints.append(message.text))
        page.on('pageerror', lambda error: page.complaints.append(str(error)))
        page.on('request', lambda request: page.addresses.append(request.url))
        page.answer = page.goto(f'{web.url}{PAGE}')
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page):
    """The page of a person who has typed in a key."""
    page = open_page()
    assert page.answer.status == 401
    show_with(page, 'test-key')
    expect(page.get_by_role('heading', name='WhatsApp gateway')).to_be_visible()
    yield page
    refused = [one for one in page.complaints if '401 (UNAUTHORIZED)' not in one]
    assert refused == []


def show_with(page, key):
    page.get_by_label('An API key').fill(key)
    page.get_by_role('button', name='Show').click()


def operation(page, identifier):
    return page.locator(f'#operations-{identifier}')


def count_of_operations(page, web):
    answer = page.request.get(
        f'{web.url}/whatsapp-cloud/openapi.json', headers={'Authorization': 'Bearer test-key'}
    )
    return sum(
        len(methods) for part in ('paths', 'webhooks') for methods in answer.json()[part].values()
    )


def test_it_shows_every_operation_from_this_server_alone(page, web):
    expect(page.locator('.opblock')).to_have_count(count_of_operations(page, web))
    outside = [one for one in page.addresses if not one.startswith((f'{web.url}/', 'data:'))]
    assert outside == []


def test_an_operation_shows_its_body_its_answers_and_its_refusals(page):
    shown = operation(page, 'messages-messages_send')
    shown.get_by_role('button').first.click()
    for text in ('Idempotency-Key', 'Your order is ready', 'window_closed', 'too_many_queued'):
        expect(shown.get_by_text(text).first).to_be_visible()


def test_a_person_can_try_an_operation_with_the_key_that_was_given(page):
    shown = operation(page, 'accounts-accounts_index')
    shown.get_by_role('button').first.click()
    shown.get_by_role('button', name='Try it out').click()
    shown.get_by_role('button', name='Execute').click()
    expect(shown.locator('.live-responses-table')).to_contain_text('"next_cursor": null')


def test_whoever_comes_with_a_key_is_not_asked_for_one(open_page, web):
    page = open_page('test-key')
    assert page.answer.status == 200
    expect(page.locator('.opblock')).to_have_count(count_of_operations(page, web))
    assert page.complaints == []


def test_axe_finds_nothing_against_the_field_for_the_key(open_page):
    found = Axe().run(open_page()).response['violations']
    assert [(one['id'], one['help']) for one in found] == []


def test_a_wrong_key_shows_nothing(open_page):
    page = open_page()
    show_with(page, 'wrong')
    expect(page.get_by_role('status')).to_contain_text('Authorization: Bearer')
    expect(page.locator('.opblock')).to_have_count(0)
