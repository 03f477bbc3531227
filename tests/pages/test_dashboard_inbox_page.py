"""The dashboard's inbox in a real Chromium, with a customer at the stand-in's phone: `make
test-page`.
"""

import json

import pytest
from playwright.sync_api import expect

from tests.content.test_media_types import sample
from tests.dashboard import PATH
from tests.phone import HARM, PATIENCE, STICKS_OUT, axe, chromium, gateway, of, phone, pick_up

pytestmark = pytest.mark.browser

SCREENS = {
    'light': {'color_scheme': 'light'},
    'dark': {'color_scheme': 'dark'},
    'narrow': {'viewport': {'width': 390, 'height': 844}},
    'own colours': {'forced_colors': 'active'},
}
LIVE = 4000  # milliseconds; the page asks every 2 seconds
# A mark on the window, which a reload would take away.
MARK = 'window.isStillHere = true'
# By how many pixels a page can be scrolled below its end.
SPREADS = '() => document.documentElement.scrollHeight - document.body.offsetHeight'


class Operator:
    """Somebody who has logged in to the dashboard; `page` is their browser's."""

    def __init__(self, page, url):
        self.page, self.home = page, f'{url}{PATH}'
        self.complaints = []
        page.on('console', self._console)
        page.on('pageerror', lambda error: self.complaints.append(str(error)))
        page.goto(f'{self.home}/inbox')
        page.get_by_label('API key').fill('test-key')
        page.get_by_label('API key').press('Enter')
        expect(page.get_by_role('heading', name='Inbox')).to_be_visible()
        self.log = page.get_by_role('region', name='Messages')

    def _console(self, message):
        if message.type in ('error', 'warning'):
            self.complaints.append(message.text)

    def open(self, phone, gateway):
        """The conversation with a customer."""
        (found,) = [one for one in gateway.backend.conversations() if one['wa_id'] == phone.number]
        self.page.goto(f'{self.home}/inbox/{found["id"]}')
        self.page.evaluate(MARK)
        return self

    def said(self, text):
        return self.log.get_by_role('listitem').filter(has_text=text)

    def press(self, name):
        self.page.get_by_role('button', name=name, exact=True).click()

    def is_same_page(self):
        return self.page.evaluate('window.isStillHere === true')


@pytest.fixture
def operate(gateway, chromium):
    """operate(viewport=…): an operator with a browser of their own, which may not be upset."""
    contexts, operators = [], []

    def log_in(**options):
        contexts.append(chromium.new_context(**options))
        contexts[-1].set_default_timeout(PATIENCE)
        operators.append(Operator(contexts[-1].new_page(), gateway.url))
        return operators[-1]

    yield log_in
    for context in contexts:
        context.close()
    assert [one for operator in operators for one in operator.complaints] == []


@pytest.fixture
def operator(operate):
    return operate()


def greet(phone):
    phone.write('Good morning')
    expect(phone.theirs('You said: Good morning')).to_be_visible()


def test_what_a_customer_writes_appears_by_itself(gateway, phone, operator):
    greet(phone)
    operator.open(phone, gateway)
    expect(operator.said('You said: Good morning')).to_contain_text('read')
    phone.write('Is the boat still there?')
    expect(operator.said('Is the boat still there?').first).to_be_visible(timeout=LIVE)
    expect(operator.page.locator('#heard')).to_have_text('Is the boat still there?')
    reply = operator.said('You said: Is the boat')
    expect(reply).to_contain_text('read', timeout=2 * LIVE)
    assert operator.is_same_page()


def test_a_person_takes_over_answers_and_gives_back(gateway, phone, operator):
    greet(phone)
    page = operator.open(phone, gateway).page
    page.get_by_label('Your name').fill('Jo')
    operator.press('Take over')
    expect(page.get_by_text('Jo has this conversation, until')).to_be_visible()
    page.evaluate(MARK)
    phone.write('Anybody there?')
    expect(operator.said('Anybody there?')).to_be_visible(timeout=LIVE)
    page.get_by_label('Write as a person').fill('Jo here.\nHow can I help?')
    operator.press('Send')
    expect(page.get_by_label('Write as a person')).to_have_value('')
    expect(phone.theirs('Jo here.')).to_be_visible()
    expect(operator.said('How can I help?')).to_contain_text('read', timeout=2 * LIVE)
    page.get_by_label('Write as a person').fill('And again')
    page.keyboard.press('Control+Enter')
    expect(phone.theirs('And again')).to_be_visible()
    assert operator.is_same_page()
    sent = [one['content']['body'] for one in of(gateway, phone, 'outbound') if one['from_human']]
    assert sent == ['And again', 'Jo here.\nHow can I help?']
    operator.press('Give back')
    expect(page.get_by_role('button', name='Take over')).to_be_visible()
    phone.write('Thanks')
    expect(phone.theirs('You said: Thanks')).to_be_visible()
    expect(operator.said('You said: Thanks')).to_be_visible(timeout=LIVE)


def test_what_is_refused_stays_in_the_field(gateway, phone, operator):
    greet(phone)
    page = operator.open(phone, gateway).page
    field = page.get_by_label('Write as a person')
    field.fill('   ')
    operator.press('Send')
    expect(page.get_by_role('alert')).to_contain_text('text.body')
    expect(field).to_have_value('   ')
    field.fill('Now')
    operator.press('Send')
    expect(phone.theirs('Now')).to_be_visible()
    expect(page.get_by_role('alert')).to_be_empty()
    operator.complaints = [one for one in operator.complaints if 'status of 422' not in one]


def test_an_answer_that_was_lost_keeps_nobody_from_writing_on(gateway, phone, operator):
    greet(phone)
    page = operator.open(phone, gateway).page
    page.route('**/write', lambda route: (route.fetch(), route.abort()))
    field = page.get_by_label('Write as a person')
    field.fill('Firts')
    operator.press('Send')
    expect(page.get_by_role('alert')).to_contain_text('did not answer')
    page.unroute('**/write')
    field.fill('First')
    operator.press('Send')
    expect(page.get_by_role('alert')).to_contain_text('has arrived')
    expect(field).to_have_value('First')
    operator.press('Send')
    expect(field).to_have_value('')
    expect(phone.theirs('First')).to_be_visible()
    sent = [one['content']['body'] for one in of(gateway, phone, 'outbound') if one['from_human']]
    assert sent == ['First', 'Firts']
    ours = ('status of 422', 'ERR_FAILED')
    operator.complaints = [one for one in operator.complaints if not any(n in one for n in ours)]


def test_who_reads_further_up_stays_there(gateway, phone, operator):
    greet(phone)
    for number in range(12):
        gateway.backend.send(to=f'+{phone.number}', text=f'Line {number}\n' * 5)
    operator.open(phone, gateway)
    expect(operator.said('Line 11')).to_be_in_viewport()
    assert operator.page.evaluate(SPREADS) <= 0
    operator.log.evaluate('(log) => { log.scrollTop = 0; }')
    phone.write('Something new')
    expect(operator.said('Something new').first).to_be_attached(timeout=LIVE)
    assert operator.log.evaluate('(log) => log.scrollTop') == 0
    operator.log.evaluate('(log) => { log.scrollTop = log.scrollHeight; }')
    phone.write('And newer')
    expect(operator.said('And newer').first).to_be_in_viewport(timeout=LIVE)


def test_files_are_shown_and_harm_is_text(gateway, phone, operator):
    phone.write(HARM)
    picture = {'name': 'a.png', 'mimeType': 'image/png', 'buffer': sample('drawing.png')}
    phone.file('Photo, video or audio', **picture)
    phone.write('Look at this')
    expect(phone.mine('Look at this')).to_be_visible()
    page = operator.open(phone, gateway).page
    expect(operator.said('<img src=x').first).to_be_visible(timeout=LIVE)
    image = operator.log.locator('.bubble img')
    expect(image).to_be_visible(timeout=2 * LIVE)
    wide = '(one) => new Promise((done) => { const look = () => one.naturalWidth ? done(true) : '
    assert image.evaluate(wide + 'setTimeout(look, 50); look(); })')
    assert page.evaluate('window.harmed') is None
    page.goto(f'{operator.home}/inbox?q=harmed')
    expect(page.get_by_text('<img src=x').first).to_be_visible()
    assert page.evaluate('window.harmed') is None


def test_a_template_is_chosen_filled_in_and_sent(gateway, phone, operator):
    greet(phone)
    gateway.backend.post('/templates/sync', {'chatbot_id': 'acme'})
    page = operator.open(phone, gateway).page
    page.get_by_role('link', name='Send a template').click()
    expect(page.get_by_role('heading', level=1)).to_contain_text('A template for')
    page.get_by_label('Template').select_option('order_ready (en_US)')
    operator.press('Choose')
    page.get_by_label('Text: 1').fill('Ines')
    page.get_by_label('Text: 2').fill('A-17')
    operator.press('Send')
    expect(phone.theirs('Hello Ines, your order A-17 is ready.')).to_be_visible()
    expect(operator.said('Hello Ines, your order A-17 is ready.')).to_be_visible()


def test_everything_works_by_keyboard_alone(gateway, phone, operator):
    greet(phone)
    page = operator.open(phone, gateway).page

    def tab_to(name):
        for _ in range(40):
            page.keyboard.press('Tab')
            label = page.evaluate(
                '() => document.activeElement.labels?.[0]?.innerText'
                ' ?? document.activeElement.getAttribute("aria-label")'
                ' ?? document.activeElement.innerText'
            )
            if (label or '').strip().startswith(name):
                return
        raise AssertionError(f'{name} is not reached')

    tab_to('Your name')
    page.keyboard.type('Kim')
    tab_to('Take over')
    page.keyboard.press('Enter')
    expect(page.get_by_text('Kim has this conversation')).to_be_visible()
    tab_to('Messages')
    tab_to('Write as a person')
    page.keyboard.type('By keyboard alone')
    tab_to('Send')
    page.keyboard.press('Enter')
    expect(phone.theirs('By keyboard alone')).to_be_visible()


def test_without_scripts_the_page_is_loaded_anew(gateway, phone, operate):
    greet(phone)
    operator = operate(java_script_enabled=False)
    (found,) = [one for one in gateway.backend.conversations() if one['wa_id'] == phone.number]
    page = operator.page
    page.goto(f'{operator.home}/inbox/{found["id"]}')
    page.get_by_label('Write as a person').fill('Without a script')
    operator.press('Send')
    expect(page.get_by_text('Your message is on its way.')).to_be_visible()
    expect(operator.said('Without a script')).to_be_visible()
    expect(phone.theirs('Without a script')).to_be_visible()


@pytest.mark.parametrize('screen', SCREENS.values(), ids=SCREENS)
def test_axe_finds_nothing_and_nothing_sticks_out(gateway, phone, operate, screen):
    greet(phone)
    gateway.backend.post('/templates/sync', {'chatbot_id': 'acme'})
    bulk = {'chatbot_id': 'acme', 'message': {'text': {'body': 'Hello to all'}}}
    bulk['recipients'] = [f'+{phone.number}', '+19971310260']  # the last one fails
    batch = gateway.backend.post('/send/bulk', bulk).json['id']
    operator = operate(**screen)
    page = operator.open(phone, gateway).page
    chat = page.url.removeprefix(operator.home)
    wanted = '/template?template=order_ready+en_US'
    paths = (chat, f'{chat}{wanted}', '/inbox', '/inbox?q=morning', '/batches')
    templates = '/templates?chatbot_id=acme'
    detail = '/templates/order_ready?chatbot_id=acme&language=en_US'
    for path in (*paths, f'/batches/{batch}', templates, detail):
        page.goto(f'{operator.home}{path}')
        expect(page.locator('h1')).to_be_visible()
        assert axe(page) == [], path
        assert page.evaluate(STICKS_OUT) <= 0, path


def test_a_new_conversation_appears_in_the_list_by_itself(pick_up, operator):
    operator.page.evaluate(MARK)
    phone = pick_up()
    phone.become(name='Newcomer')
    phone.write('Is somebody there?')
    expect(operator.page.get_by_role('link', name='Newcomer')).to_be_visible()
    assert operator.is_same_page()
