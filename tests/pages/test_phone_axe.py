"""The phone page for other eyes and hands: axe-core, the reader's own colours, the keyboard: `make
test-page`.
"""

import json

import pytest
import requests
from playwright.sync_api import expect

from tests.phone import axe, buttons, chromium, gateway, phone, pick_up, send
from tests.stack import PHONE_NUMBER_ID
from tests.system.test_examples import EXAMPLES

pytestmark = pytest.mark.browser

SCHEMES = {
    'light': {'color_scheme': 'light'},
    'dark': {'color_scheme': 'dark'},
    'forced': {'forced_colors': 'active'},
}
LIST = {
    'button': 'Choose',
    'sections': [
        {'title': 'Today', 'rows': [{'id': '1', 'title': 'Noon', 'description': 'or so'}]}
    ],
}
STYLE = (
    'one => { const s = getComputedStyle(one); return [s.borderTopStyle, s.borderTopWidth, '
    's.outlineStyle, s.color]; }'
)


def style(locator):
    return dict(zip(('border', 'width', 'outline', 'color'), locator.evaluate(STYLE), strict=True))


@pytest.fixture(params=SCHEMES.values(), ids=SCHEMES)
def scheme(request):
    return request.param


def test_axe_finds_nothing_while_a_person_has_the_chat(gateway, phone, scheme):
    phone.page.emulate_media(**scheme)
    phone.write('Is somebody there?')
    expect(phone.theirs('You said: Is somebody')).to_be_visible()
    phone.page.get_by_text('Write as the business').click()
    phone.page.get_by_role('button', name='Take over').click()
    expect(phone.page.locator('#pause')).to_contain_text('Maria has this chat')
    assert axe(phone.page) == []


def test_axe_finds_nothing_in_a_chat(gateway, phone, scheme):
    phone.page.emulate_media(**scheme)
    assert axe(phone.page) == []
    phone.write('Is it open today?')
    expect(phone.theirs('You said: Is it').get_by_title('read: reported')).to_be_visible()
    send(
        gateway,
        phone,
        type='button',
        body={'text': 'Shall we?'},
        footer={'text': 'foot'},
        action=buttons('Yes', 'No'),
    )
    phone.about(phone.theirs('You said'), 'React with 👍', role='menuitemcheckbox')
    phone.theirs('You said').hover()
    phone.theirs('You said').get_by_role('button', name='Reply to this message').click()
    phone.write('Thank you')
    expect(phone.theirs('Thank you').get_by_title('read: reported')).to_be_visible()
    phone.calls.first.locator('summary').click()
    expect(phone.calls.first.get_by_role('group', name='Answer')).to_be_visible()
    phone.page.get_by_text('Write as the business').click()
    assert axe(phone.page) == []


def test_axe_finds_nothing_in_menus_and_dialogs(gateway, phone, scheme):
    phone.page.emulate_media(**scheme)
    phone.write('Hello')
    send(gateway, phone, type='list', body={'text': 'When?'}, action=LIST)
    expect(phone.theirs('When?').get_by_title('read: reported')).to_be_visible()
    for name in ('Send something else', 'Choose who you are', 'Choose', 'React and more'):
        phone.messages.get_by_role('listitem').last.hover()
        phone.page.get_by_role('button', name=name, exact=True).last.click()
        assert axe(phone.page) == [], name
        phone.page.keyboard.press('Escape')
    for name in ('Location', 'Contact', 'Sticker'):
        phone.attach(name)
        assert axe(phone.page) == [], name
        phone.page.keyboard.press('Escape')
    phone.file('Document', name='notes.txt', mimeType='text/plain', buffer=b'Some notes')
    assert axe(phone.page) == []


def test_axe_finds_nothing_in_any_type_of_message(gateway, phone, scheme):
    """Those of docs/messages.md, as Meta gets them.

    Some are refused, some fail, and all are shown.
    """
    phone.page.emulate_media(**scheme)
    for _, example in EXAMPLES:
        body = {'messaging_product': 'whatsapp', 'to': phone.number, **json.loads(f'{{{example}}}')}
        url = f'{gateway.stand_in.url}/v26.0/{PHONE_NUMBER_ID}/messages'
        requests.post(url, json=body, headers={'Authorization': 'Bearer any'}, timeout=10)
    phone.attach('Something unsupported')
    expect(phone.messages.locator('.theirs').nth(15)).to_be_visible()
    assert axe(phone.page) == []
    phone.become(number='19971310260')
    gateway.backend.send('+19971310260', 'You will not get this')
    expect(
        phone.theirs('You will not get this').last.get_by_title('failed: reported')
    ).to_be_visible()
    assert axe(phone.page) == []
    phone.forgive('status of 404', 'ERR_', 'shown as JSON')


def test_axe_finds_nothing_on_a_narrow_screen(pick_up, scheme):
    phone = pick_up(width=390, height=760)
    phone.page.emulate_media(**scheme)
    phone.write('Hello')
    expect(phone.theirs('You said: Hello').get_by_title('read: reported')).to_be_visible()
    assert axe(phone.page) == []
    phone.page.get_by_role('button', name='What went over the wire').click()
    assert axe(phone.page) == []


def test_in_the_readers_own_colours_lines_say_what_backgrounds_said(gateway, phone):
    phone.page.emulate_media(forced_colors='active')
    gateway.stand_in.config(statuses=['sent'])
    try:
        phone.write('Hello')
        reply = phone.theirs('You said: Hello')
        expect(reply.get_by_title('sent: reported')).to_be_visible()
    finally:
        gateway.stand_in.config(statuses=['sent', 'delivered', 'read'])
    assert style(reply.locator('.bubble'))['border'] == 'solid'
    assert (
        style(phone.mine('Hello').locator('.bubble'))['width']
        != style(reply.locator('.bubble'))['width']
    )
    assert (
        style(reply.get_by_title('sent: reported'))['color']
        != style(reply.get_by_title('read: not'))['color']
    )
    field = phone.page.get_by_role('textbox', name='Message; Enter sends')
    field.focus()
    assert style(field)['outline'] == 'solid'
    phone.about(reply, 'React with 👍', role='menuitemcheckbox')
    expect(reply.get_by_title('Reactions')).to_be_visible()
    reply.hover()
    reply.get_by_role('button', name='React and more').click()
    assert style(phone.page.get_by_role('menu'))['border'] == 'solid'
    assert style(phone.page.locator('#menu [aria-checked=true]'))['outline'] == 'solid'
    phone.page.keyboard.press('End')
    assert style(phone.page.locator('#menu :focus'))['outline'] == 'solid'
    phone.page.keyboard.press('Escape')
    phone.page.get_by_role('button', name='Choose who you are').click()
    assert style(phone.page.get_by_role('dialog'))['border'] == 'solid'


def test_a_link_at_the_top_skips_to_the_message_field(phone):
    link = phone.page.get_by_role('link', name='Skip to the message field')
    expect(link).not_to_be_in_viewport()
    phone.page.get_by_role('button', name='Choose who you are').focus()
    phone.page.keyboard.press('Shift+Tab')
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
    phone.page.keyboard.press('Enter')
    expect(phone.page.get_by_role('textbox', name='Message; Enter sends')).to_be_focused()
    phone.page.keyboard.type('By keyboard alone')
    phone.page.keyboard.press('Enter')
    expect(phone.mine('By keyboard alone')).to_be_visible()
