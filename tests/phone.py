"""The stand-in's phone page in a real Chromium, against the real gateway: what its tests
(test_phone_*.py) share, some of it with those of the dashboard.
"""

import os
import re
import shutil
from itertools import count

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from tests.gateway import Gateway

ARGUMENTS = (
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
)
PATIENCE = 20_000  # milliseconds
NUMBERS = count(12025550300)  # every test is a customer of its own
HARM = '<img src=x onerror="window.harmed = true"><script>window.harmed = true</script>'
# Every state that the reply's statuses go through, as they are drawn; two that come at once are two
# all the same.
WATCH = """() => {
  window.seen = [];
  const look = () => {
    const on = [...document.querySelectorAll('.theirs .reported .on')].map((one) =>
      one.textContent).join(' ');
    if (seen.at(-1) !== on) seen.push(on);
  };
  new MutationObserver(look).observe(document.querySelector('#messages'), {childList: true,
    subtree: true});
}"""
# By how many pixels a page is wider than its window.
STICKS_OUT = '() => document.documentElement.scrollWidth - document.documentElement.clientWidth'
# What sticks out of the screen, on either side, and what can be scrolled sideways.
TOO_WIDE = """() => [...document.querySelectorAll('body, body *')].filter((one) => {
  const {left, right, width} = one.getBoundingClientRect();
  const scrolls = ['auto', 'scroll'].includes(getComputedStyle(one).overflowX) && one.scrollWidth
    > one.clientWidth;
  return width > 0 && !one.closest('pre, .unseen, .cards') && (left < 0 || right > innerWidth ||
    scrolls);
}).map((one) => one.outerHTML.slice(0, 120))"""


class Phone:
    """The page as a customer sees it. Use `at` for whoever else it becomes."""

    def __init__(self, page, url, number):
        self.page, self.url, self.number = page, url, str(number)
        self.complaints, self.forgiven, self.requests = [], (), []
        page.on('console', self._console)
        page.on('pageerror', lambda error: self.complaints.append(str(error)))
        page.on('request', lambda request: self.requests.append(request.url))
        self.messages = page.get_by_role('log', name='Messages')
        self.calls = page.get_by_role('list', name='Calls, newest first').get_by_role('listitem')
        page.goto(f'{url}/phone?wa_id={number}')
        self.connected()

    def _console(self, message):
        if message.type in ('error', 'warning') and not self._is_forgiven(message.text):
            self.complaints.append(message.text)

    def forgive(self, *words):
        """What the browser itself says of addresses that do not answer well, now or later."""
        self.forgiven += words
        self.complaints = [one for one in self.complaints if not self._is_forgiven(one)]

    def _is_forgiven(self, complaint):
        return any(word in complaint for word in self.forgiven)

    def connected(self):
        expect(self.page.get_by_role('status')).to_have_text('+15550104477')

    def reload(self):
        self.page.reload()
        self.connected()

    def write(self, text):
        field = self.page.get_by_role('textbox', name='Message; Enter sends')
        field.fill(text)
        field.press('Enter')

    def mine(self, text):
        return self.messages.get_by_role('listitem', name=re.compile('^You,')).filter(has_text=text)

    def theirs(self, text):
        return self.messages.get_by_role('listitem', name=re.compile('^The business,')).filter(
            has_text=text
        )

    def become(self, number=None, name=None, hide=None, tick=None):
        self.page.get_by_role('button', name='Choose who you are').click()
        dialog = self.page.get_by_role('dialog', name='Who are you?')
        for label, value in (('Phone number', number), ('Name', name)):
            if value:
                dialog.get_by_role(
                    'combobox' if label == 'Phone number' else 'textbox', name=label
                ).fill(str(value))
        if hide is not None:
            dialog.get_by_role('checkbox', name='Hide my phone number').set_checked(hide)
        if tick:
            dialog.get_by_role('checkbox', name=tick).click()
        dialog.get_by_role('button', name='Use').click()
        expect(dialog).to_be_hidden()
        self.connected()

    def attach(self, what):
        self.page.get_by_role('button', name='Send something else').click()
        self.page.get_by_role('menuitem', name=what).click()

    def file(self, what, **file):
        with self.page.expect_file_chooser() as chooser:
            self.attach(what)
        chooser.value.set_files(file)

    def fill(self, title, **values):
        """Answer a dialog, and send."""
        dialog = self.page.get_by_role('dialog', name=title)
        for label, value in values.items():
            dialog.get_by_label(label, exact=True).fill(value)
        dialog.get_by_role('button', name='Send').click()
        expect(dialog).to_be_hidden()

    def about(self, message, what, role='menuitem'):
        """Do something with a message that is shown."""
        message.hover()
        message.get_by_role('button', name='React and more').click()
        self.page.get_by_role('menu').get_by_role(role, name=what).click()

    def harmed(self):
        """Whether any of HARM became more than text."""
        elements = self.page.locator('#room img, #room script, dialog img, dialog script').count()
        fetched = [url for url in self.requests if url.endswith('/x')]
        return elements or fetched or self.page.evaluate('window.harmed')


@pytest.fixture(scope='module')
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp('gateway')) as running:
        running.backend.account()
        running.stand_in.config(
            latency=0.02, status_delay=0.1, gateway_url=running.url, api_key='test-key'
        )
        yield running


@pytest.fixture(scope='module')
def chromium():
    path = shutil.which(os.environ.get('CHROMIUM') or 'chromium')
    assert path, 'No Chromium here: apt-get install chromium'
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def axe(page):
    """What axe-core holds against the page as it is now, best practices included."""
    page.evaluate('() => Promise.allSettled(document.getAnimations().map((one) => one.finished))')
    found = Axe().run(page).response['violations']
    return [
        (one['id'], node['html'][:200], node['failureSummary'])
        for one in found
        for node in one['nodes']
    ]


@pytest.fixture
def pick_up(gateway, chromium):
    """pick_up(width=390): a phone whose customer never wrote; nothing it did may have upset the
    browser's console.
    """
    contexts, phones = [], []

    def open_page(width=1280, height=800):
        contexts.append(chromium.new_context(viewport={'width': width, 'height': height}))
        contexts[-1].set_default_timeout(PATIENCE)
        phones.append(Phone(contexts[-1].new_page(), gateway.stand_in.url, next(NUMBERS)))
        return phones[-1]

    yield open_page
    for context in contexts:
        context.close()
    assert [complaint for phone in phones for complaint in phone.complaints] == []


@pytest.fixture
def phone(pick_up):
    return pick_up()


def send(gateway, phone, **interactive):
    """An interactive message to the customer, through the API; its JSON."""
    body = {
        'chatbot_id': 'acme',
        'to': f'+{phone.number}',
        'type': 'interactive',
        'interactive': interactive,
    }
    answer = gateway.backend.post('/send', body)
    assert answer.status_code == 202, answer.text
    return answer.json


def buttons(*titles):
    return {
        'buttons': [
            {'type': 'reply', 'reply': {'id': f'choice-{n}', 'title': t}}
            for n, t in enumerate(titles)
        ]
    }


def of(gateway, phone, direction):
    """The customer's messages in GET /messages, the newest first."""
    conversations = [one for one in gateway.backend.conversations() if one['wa_id'] == phone.number]
    assert len(conversations) <= 1
    return [
        message
        for conversation in conversations
        for message in gateway.backend.messages(
            conversation_id=conversation['id'], direction=direction
        )
    ]
