"""The business's desk on the phone page: a person takes the chat over, answers in it and gives it
back.
"""

import re

import pytest
from playwright.sync_api import expect

from tests.phone import NUMBERS, TOO_WIDE, chromium, gateway, of, phone, pick_up
from tests.stack import wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def desk(phone):
    phone.page.get_by_text('Write as the business').click()
    return phone.page.locator('#desk')


def press(desk, name):
    desk.get_by_role('button', name=name).click()


def says(phone, text):
    expect(phone.page.locator('#pause')).to_have_text(text)


def conversation(gateway, phone):
    (found,) = [one for one in gateway.backend.conversations() if one['wa_id'] == phone.number]
    return found


def greet(phone):
    phone.write('Good morning')
    expect(phone.theirs('You said: Good morning')).to_be_visible()


def test_who_takes_over_has_the_chat_until_it_is_given_back(gateway, phone, desk):
    greet(phone)
    says(phone, '')
    desk.get_by_label('Your name').fill('Jo')
    press(desk, 'Take over')
    says(phone, re.compile(r'^Jo has this chat, until .*\d:\d\d'))
    paused = conversation(gateway, phone)
    assert (paused['paused_by'], paused['assignee']) == ('api', 'Jo')
    phone.write('Is the boat still there?')
    wait_until(lambda: of(gateway, phone, 'inbound')[0]['text'] == 'Is the boat still there?')
    press(desk, 'Give back')
    expect(phone.theirs('You said: Is the boat still there?')).to_be_visible()
    says(phone, '')
    assert conversation(gateway, phone)['assignee'] is None
    assert len(of(gateway, phone, 'outbound')) == 2


def test_who_answers_as_a_person_takes_over(gateway, phone, desk):
    greet(phone)
    desk.get_by_label('What you answer').fill('Good morning, I am Jo')
    press(desk, 'Answer as a person')
    expect(phone.theirs('Good morning, I am Jo')).to_be_visible()
    expect(desk.get_by_label('What you answer')).to_have_value('')
    says(phone, re.compile('^A person has this chat, until '))
    assert of(gateway, phone, 'outbound')[0]['from_human'] is True
    assert conversation(gateway, phone)['paused_by'] == 'human_send'


def test_a_person_can_begin_the_chat(gateway, phone, desk):
    press(desk, 'Take over')
    expect(desk.locator('.trouble')).to_have_text('This customer has no conversation yet.')
    desk.get_by_label('What you answer').fill('Hello, I am Jo')
    press(desk, 'Answer as a person')
    expect(phone.theirs('Hello, I am Jo')).to_be_visible()
    expect(desk.locator('.trouble')).to_have_text('')


def test_what_others_do_is_seen_too(gateway, phone):
    greet(phone)
    address = f'/conversations/{conversation(gateway, phone)["id"]}'
    gateway.backend.post(f'{address}/pause', {'minutes': None, 'assignee': '<b>Eve</b>'})
    says(phone, '<b>Eve</b> has this chat, until it is given back')
    gateway.backend.post(f'{address}/resume')
    says(phone, '')
    phone.attach('Write on the business')
    phone.write('I am on the phone')
    says(phone, re.compile('^Somebody on the business’s own phone has this chat, until '))


def test_who_hides_the_number_can_be_answered_too(gateway, phone, desk):
    phone.become(hide=True)
    greet(phone)
    press(desk, 'Take over')
    says(phone, re.compile('^Maria has this chat'))
    desk.get_by_label('What you answer').fill('Hello, whoever you are')
    press(desk, 'Answer as a person')
    expect(phone.theirs('Hello, whoever you are')).to_be_visible()


def test_another_customers_chat_is_nobodys(gateway, phone, desk):
    greet(phone)
    press(desk, 'Take over')
    says(phone, re.compile('^Maria has this chat'))
    phone.become(number=next(NUMBERS))
    says(phone, '')


def test_a_refusal_is_told(gateway, phone, desk):
    greet(phone)
    gateway.stand_in.config(api_key='wrong')
    try:
        press(desk, 'Take over')
        expect(desk.locator('.trouble')).to_contain_text('The gateway does not answer')
    finally:
        gateway.stand_in.config(api_key='test-key')


@pytest.mark.parametrize('width', [320, 390])
def test_nothing_of_it_sticks_out_of_a_narrow_screen(gateway, pick_up, width):
    phone = pick_up(width=width, height=760)
    greet(phone)
    phone.page.get_by_role('button', name='What went over the wire').click()
    phone.page.get_by_text('Write as the business').click()
    desk = phone.page.locator('#desk')
    desk.get_by_label('Your name').fill('M' * 60)
    press(desk, 'Take over')
    says(phone, re.compile('^MMM'))
    assert phone.page.evaluate(TOO_WIDE) == []
