"""The dashboard in a real Chromium, for all eyes and hands: `make test-page`."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import dashboard_world
from tests.dashboard import PATH
from tests.people import sql
from tests.phone import PATIENCE, STICKS_OUT, axe, chromium

pytestmark = pytest.mark.browser

SCREENS = {
    'light': {'color_scheme': 'light'},
    'dark': {'color_scheme': 'dark'},
    'narrow': {'viewport': {'width': 390, 'height': 844}},
    'narrow dark': {'viewport': {'width': 390, 'height': 844}, 'color_scheme': 'dark'},
    'own colours': {'forced_colors': 'active'},
}
LONG = 'W' * 250  # a name without a blank
LONG_NAMES = """
UPDATE conversation SET name = 'LONG', assignee = 'LONG', paused_until = now() + interval '1 h';
UPDATE whatsapp_cloud_account SET name = 'LONG';
UPDATE endpoint SET description = 'LONG', url = 'http://127.0.0.1:9/LONG';
INSERT INTO template (waba_id, name, language, status, category, components)
SELECT waba_id, 'LONG', 'en_US', 'APPROVED', 'utility', '[{"type": "BODY", "text": "LONG"}]'
FROM whatsapp_cloud_account
"""
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


def first_links(page, *lists):
    """The page that the first row of each list leads to."""
    for path in lists:
        page.goto(f'{page.home}{path}')
        address = page.locator('tbody a').first.get_attribute('href')
        yield address.removeprefix(PATH) + ('?body=shown' if path == '/webhooks' else '')


def test_axe_finds_nothing_and_nothing_sticks_out_on_any_page(visit, screen):
    page = visit(**screen)
    for path in (*PAGES, *first_links(page, '/webhooks', '/endpoints')):
        page.goto(f'{page.home}{path}')
        expect(page.locator('h1')).to_be_visible()
        assert axe(page) == [], path
        sticking = page.evaluate(STICKS_OUT)
        assert sticking <= 0, path


def test_axe_finds_nothing_at_the_log_in(visit, screen):
    page = visit(key=None, **screen)
    assert axe(page) == []
    page.get_by_label('API key').fill('wrong')
    page.get_by_label('API key').press('Enter')
    expect(page.get_by_role('alert')).to_contain_text('not a valid key')
    assert axe(page) == []
    visit.complaints[:] = [one for one in visit.complaints if 'status of 401' not in one]


def test_the_overview_draws_its_chart_and_tells_it_in_a_table_too(visit):
    page = visit()
    expect(page.locator('.plot canvas')).to_be_visible()
    page.get_by_text('As a table').click()
    table = page.get_by_role('table', name='Messages by the hour')
    assert table.get_by_role('row').count() > 160
    page.locator('.plot .u-over').hover()
    expect(page.locator('.readout')).to_contain_text('Out')


def test_a_chatbot_and_a_period_are_chosen_without_a_button(visit):
    page = visit()
    page.get_by_label('Chatbot').select_option('florist')
    expect(page).to_have_url(f'{page.home}?period=week&chatbot_id=florist')
    page.get_by_role('link', name='24 hours').click()
    expect(page).to_have_url(f'{page.home}?period=day&chatbot_id=florist')
    expect(page.get_by_role('link', name='24 hours')).to_have_attribute('aria-current', 'true')


def test_everything_is_reached_by_the_keyboard_alone(visit):
    page = visit(key=None)
    expect(page.get_by_label('API key')).to_be_focused()
    page.keyboard.type('test-key')
    page.keyboard.press('Enter')
    expect(page.get_by_role('heading', name='Overview')).to_be_visible()
    page.keyboard.press('Tab')
    expect(page.get_by_role('link', name='Skip to the content')).to_be_focused()
    page.keyboard.press('Enter')
    expect(page.locator('main')).to_be_focused()
    press_until(page, 'Tab', page.get_by_role('link', name='30 days'))
    page.keyboard.press('Enter')
    expect(page).to_have_url(f'{page.home}?period=month')
    press_until(page, 'Tab', page.get_by_role('link', name='Webhooks', exact=True))
    page.keyboard.press('Enter')
    press_until(page, 'Tab', page.get_by_role('row').nth(1).get_by_role('link'))
    page.keyboard.press('Enter')
    press_until(page, 'Tab', page.get_by_text('Replay…'))
    page.keyboard.press('Enter')
    press_until(page, 'Tab', page.get_by_role('button', name='Replay', exact=True))
    page.keyboard.press('Enter')
    expect(page.get_by_role('status')).to_contain_text('processed once more')
    press_until(page, 'Tab', page.get_by_role('button', name='Log out'))
    page.keyboard.press('Enter')
    expect(page.get_by_label('API key')).to_be_focused()


def press_until(page, key, wanted, most=60):
    """Press a key until an element has the focus, which has to be seen."""
    for _ in range(most):
        page.keyboard.press(key)
        if wanted.evaluate('(one) => one === document.activeElement'):
            outline = wanted.evaluate('(one) => getComputedStyle(one).outlineStyle')
            assert outline == 'solid'
            return
    raise AssertionError(f'{wanted} is not reached')


def test_long_names_stick_out_nowhere(visit):
    sql(LONG_NAMES.replace('LONG', LONG))
    ((conversation,),) = sql('SELECT conversation_id FROM message ORDER BY id DESC LIMIT 1')
    ((endpoint,),) = sql('SELECT id FROM endpoint ORDER BY id LIMIT 1')
    page = visit(viewport={'width': 390, 'height': 844})
    chat, form = f'/inbox/{conversation}', f'template?template={LONG}+en_US'
    template = f'/templates/{LONG}?chatbot_id=bakery&language=en_US'
    templates = ('/templates?chatbot_id=bakery', template)
    more = ('/inbox', chat, f'{chat}/{form}', *templates, f'/endpoints/{endpoint}')
    for path in (*PAGES, *more):
        page.goto(f'{page.home}{path}')
        expect(page.locator('h1')).to_be_visible()
        assert page.evaluate(STICKS_OUT) <= 0, path


def test_the_menu_of_a_narrow_screen_opens_and_says_so(visit):
    page = visit(viewport={'width': 390, 'height': 844})
    menu = page.get_by_role('button', name='Menu')
    expect(page.get_by_role('link', name='Accounts', exact=True)).to_be_hidden()
    menu.click()
    expect(menu).to_have_attribute('aria-expanded', 'true')
    page.get_by_role('link', name='Accounts', exact=True).click()
    expect(page.get_by_role('heading', name='Accounts')).to_be_visible()


def test_pages_work_without_a_script(visit):
    page = visit(java_script_enabled=False)
    page.get_by_label('Chatbot').select_option('florist')
    page.get_by_role('button', name='Show').click()
    expect(page).to_have_url(f'{page.home}?period=week&chatbot_id=florist')
    page.get_by_role('link', name='Endpoints', exact=True).click()
    page.get_by_role('link', name='http://127.0.0.1:9/orders').click()
    page.get_by_role('button', name='Pause').click()
    expect(page.get_by_role('status')).to_contain_text('It is paused')


SAME_TIME = """(one) => one.textContent.endsWith(new Date(one.dateTime).toLocaleTimeString(
  'en-GB', {hour: '2-digit', minute: '2-digit', timeZone: 'Asia/Tokyo'}))"""


def test_times_are_those_of_the_readers_clock(visit):
    page = visit('/webhooks', timezone_id='Asia/Tokyo')
    expect(page.locator('#zone')).to_have_text('Asia/Tokyo')
    shown = page.locator('tbody time').first
    same = shown.evaluate(SAME_TIME)
    assert same


def test_it_loads_nothing_from_elsewhere(visit, web):
    page = visit(key=None)
    asked = []
    page.on('request', lambda request: asked.append(request.url))
    page.get_by_label('API key').fill('test-key')
    page.get_by_label('API key').press('Enter')
    expect(page.locator('.plot canvas')).to_be_visible()
    for path in PAGES:
        page.goto(f'{page.home}{path}')
    assert len(asked) > len(PAGES)
    assert [url for url in asked if not url.startswith((f'{web.url}/', 'data:'))] == []


def test_a_link_on_another_site_leads_to_the_page_without_a_new_log_in(visit, web):
    page = visit()
    page.goto(f'http://localhost:{web.port}/healthz')
    page.evaluate('(url) => { location.href = url; }', f'{page.home}/accounts')
    expect(page.get_by_role('heading', name='Accounts')).to_be_visible()


PICTURES = {
    'dashboard-light.png': {'viewport': {'width': 1280, 'height': 860}},
    'dashboard-dark.png': {'viewport': {'width': 1280, 'height': 860}, 'color_scheme': 'dark'},
    'dashboard-phone.png': {'viewport': {'width': 390, 'height': 844}},
}


def test_pictures_for_the_documents_can_be_taken(visit, tmp_path):
    """PICTURES=docs puts them there."""
    folder = Path(os.environ.get('PICTURES') or tmp_path)
    for name, screen in PICTURES.items():
        page = visit('?period=week', **screen)
        expect(page.locator('.plot canvas')).to_be_visible()
        page.mouse.move(0, 0)
        page.screenshot(path=folder / name)
        assert 10_000 < (folder / name).stat().st_size < 250_000
