"""The dashboard in a real Chromium, for all eyes and hands: `make test-page`."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests import dashboard_world
from tests.dashboard import PATH
from tests.phone import PATIENCE, TOO_WIDE, chromium

pytestmark = pytest.mark.browser

SCREENS = {
    'light': {'color_scheme': 'light'},
    'dark': {'color_scheme': 'dark'},
    'narrow': {'viewport': {'width': 390, 'height': 844}},
    'narrow dark': {'viewport': {'width': 390, 'height': 844}, 'color_scheme': 'dark'},
    'own colours': {'forced_colors': 'active'},
}
PAGES = ('', '/webhooks', '/endpoints', '/accounts', '/accounts/bakery', '/accounts/florist', '/no')


@pytest.fixture
def world(backend, meta, workers):
    dashboard_world.fill(backend, meta, workers)


@pytest.fixture
def visit(web, world, chromium):
    """visit(path, color_scheme='dark', …): a page in a browser of its own, logged in.

    Nothing that it shows may upset the browser's console.
    """
    contexts, complaints = [], []

    def open_page(path='', key='test-key', **options):
        contexts.append(chromium.new_context(**options))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on('console', lambda message: complaints.append(message.text))
        page.on('pageerror', lambda error: complaints.append(str(error)))
        page.home = f'{web.url}{PATH}'
        page.goto(f'{page.home}{path}')
        if key:
            page.get_by_label('API key').fill(key)
            page.get_by_role('button', name='Log in').click()
            expect(page.get_by_role('banner')).to_be_visible()
        return page

    open_page.complaints = complaints
    yield open_page
    for context in contexts:
        context.close()
    assert [one for one in complaints if '404 (NOT FOUND)' not in one] == []


@pytest.fixture(params=SCREENS.values(), ids=SCREENS)
def screen(request):
    return request.param


def axe(page):
    """What axe-core holds against the page, best practices included."""
    found = Axe().run(page).response['violations']
    return [
        (one['id'], node['html'][:200], node['failureSummary'])
        for one in found
        for node in one['nodes']
    ]


def test_axe_finds_nothing_and_nothing_sticks_out_on_any_page(visit, screen):
    page = visit(**screen)
    for path in PAGES:
        page.goto(f'{page.home}{path}')
        expect(page.locator('h1')).to_be_visible()
        assert axe(page) == [], path
        sticking = page.evaluate(
            '() => document.documentElement.scrollWidth - document.documentElement.clientWidth'
        )
        assert sticking <= 0, path


def test_axe_finds_nothing_at_the_log_in(visit, screen):
    page = visit(key=None, **screen)
    assert axe(page) == []
    page.get_by_label('API key').fill('wrong')
    page.get_by_label('API key').press('Enter')
    expect(page.get_by_role('alert')).to_contain_text('not a valid key')
    assert axe(page) == []
    visit.complaints[:] = [one for one in visit.complaints if '401' not in one]
